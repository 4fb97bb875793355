//! Usage in the words of the formats that are not chat: `input_tokens` and `output_tokens`.

use serde::Deserialize;
use serde_json::Value;

use crate::lenient::number;
use crate::response::Usage;

/// Whether the count of the tokens read leaves out those that came from a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// The Messages format counts them apart.
    Apart,
    /// All others count them in.
    Within,
}

/// Notes what `said` says of the usage. What it does not name stays as it was: the Messages format
/// says one half at the beginning and the other near the end.
pub(super) fn note(usage: &mut Option<Usage>, said: &Value, cached: Cached) {
    if !said.is_object() {
        return;
    }
    if said["prompt_tokens"].is_number() || said["completion_tokens"].is_number() {
        if let Ok(chat) = Usage::deserialize(said) {
            *usage = Some(chat);
        }
        return;
    }
    let count = |value: &Value| number(value).map(|n| n as u64);
    let mut new = usage.clone().unwrap_or_default();
    let read = count(&said["cache_read_input_tokens"]);
    let read = read.or_else(|| count(&said["input_tokens_details"]["cached_tokens"]));
    let written = count(&said["cache_creation_input_tokens"]);
    if read.is_some() || written.is_some() {
        let details = new.prompt_tokens_details.get_or_insert_default();
        details.cached_tokens = read.unwrap_or(details.cached_tokens);
        details.cache_write_tokens = written.unwrap_or(details.cache_write_tokens);
    }
    if let Some(input) = count(&said["input_tokens"]) {
        let apart = match cached {
            Cached::Apart => read.unwrap_or(0).saturating_add(written.unwrap_or(0)),
            Cached::Within => 0,
        };
        new.prompt_tokens = input.saturating_add(apart);
    }
    if let Some(output) = count(&said["output_tokens"]) {
        new.completion_tokens = output;
    }
    if let Some(reasoning) = count(&said["output_tokens_details"]["reasoning_tokens"]) {
        let details = new.completion_tokens_details.get_or_insert_default();
        details.reasoning_tokens = reasoning;
    }
    new.total_tokens = count(&said["total_tokens"])
        .unwrap_or_else(|| new.prompt_tokens.saturating_add(new.completion_tokens));
    new.cost = number(&said["cost"]).or(new.cost);
    new.is_byok = said["is_byok"].as_bool().or(new.is_byok);
    // An object that names nothing known is no usage.
    if new != Usage::default() {
        *usage = Some(new);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(said: &[Value], cached: Cached, prompt: u64, completion: u64, total: u64) {
        let mut usage = None;
        for said in said {
            note(&mut usage, said, cached);
        }
        let usage = usage.expect("a usage");
        assert_eq!(
            (
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.total_tokens
            ),
            (prompt, completion, total),
            "{said:?}"
        );
    }

    #[test]
    fn the_halves_of_a_usage_are_put_together() {
        let start = json!({"input_tokens": 12, "output_tokens": 0, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": null});
        let end = json!({"input_tokens": null, "output_tokens": 15, "cost": 0.5});
        check(&[start.clone(), end.clone()], Cached::Apart, 112, 15, 127);
        let mut usage = None;
        note(&mut usage, &start, Cached::Apart);
        note(&mut usage, &end, Cached::Apart);
        let usage = usage.unwrap();
        assert_eq!(usage.cost, Some(0.5));
        assert_eq!(usage.prompt_tokens_details.unwrap().cached_tokens, 100);
    }

    #[test]
    fn the_words_of_every_format_are_understood() {
        let responses = json!({"input_tokens": 10, "output_tokens": 20, "total_tokens": 30,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens_details": {"reasoning_tokens": 7}});
        check(&[responses], Cached::Within, 10, 20, 30);
        let chat = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
        check(&[chat], Cached::Within, 3, 4, 7);
        check(&[json!({"output_tokens": "5"})], Cached::Within, 0, 5, 5);
        for nothing in [
            json!(null),
            json!({}),
            json!({"later": 1}),
            json!(7),
            json!([]),
        ] {
            let mut usage = None;
            note(&mut usage, &nothing, Cached::Within);
            assert_eq!(usage, None, "{nothing}");
        }
    }
}
