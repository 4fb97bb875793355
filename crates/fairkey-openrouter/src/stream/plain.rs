//! Chunks that bring content and nothing else: [`Plain`].
//!
//! Nearly all chunks of a stream are of this kind, and whoever only watches wants nothing of them.
//! They are looked over where they lie: it takes a fraction of what making a chunk of them does.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A chunk without an error, a finish or a usage.
pub(super) struct Plain {
    pub(super) has_id: bool,
    pub(super) has_model: bool,
    pub(super) has_provider: bool,
}

#[derive(Deserialize)]
struct Probe {
    id: Option<IgnoredAny>,
    model: Option<IgnoredAny>,
    provider: Option<IgnoredAny>,
    choices: Option<Vec<ChoiceProbe>>,
    usage: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ChoiceProbe {
    finish_reason: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

impl Plain {
    /// Reads the data of an event; `None`: it is something else, or needs a closer look.
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        // Half of a character, which only whoever makes a text of it finds.
        let is_odd = |at: usize| matches!(data.get(at + 1..at + 3), Some(b"ud" | b"uD"));
        if data.first() != Some(&b'{') || memchr::memchr_iter(b'\\', data).any(is_odd) {
            return None;
        }
        let probe: Probe = serde_json::from_str(std::str::from_utf8(data).ok()?).ok()?;
        let ends = |choice: &ChoiceProbe| choice.finish_reason.is_some() || choice.error.is_some();
        if probe.usage.is_some() || probe.error.is_some() {
            return None;
        }
        let choices = probe.choices?;
        (!choices.iter().any(ends)).then_some(Self {
            has_id: probe.id.is_some(),
            has_model: probe.model.is_some(),
            has_provider: probe.provider.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_brings_nothing_but_content_is_plain() {
        let is_plain = |data: &str| Plain::read(data.as_bytes()).is_some();
        assert!(is_plain(
            r#"{"id":"a","choices":[{"delta":{"content":"x"},"finish_reason":null}],"usage":null}"#
        ));
        for other in [
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{"content":"x"},"error":{"code":502}}]}"#,
            r#"{"choices":[],"usage":{"total_tokens":1}}"#,
            r#"{"choices":[],"error":{"code":502}}"#,
            r#"{"choices":[],"choices":[]}"#,
            r#"{"choices":[{"delta":{"content":"\ud83d"}}]}"#,
            r#"{"choices":[{"delta":"#,
            r#"{"id":"a"}"#,
            r#"[null,null,null,[]]"#,
            "7",
        ] {
            assert!(!is_plain(other), "{other}");
        }
        assert!(Plain::read(b"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}").is_none());
    }
}
