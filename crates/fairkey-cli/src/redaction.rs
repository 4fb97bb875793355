//! What keeps keys out of everything that is printed.
//!
//! Nothing in this program prints a key on purpose. What it prints may come from elsewhere,
//! though (a mistyped argument, a message of an upstream, a panic), so that everything on its way
//! to the terminal passes here, and so do errors on their way to a file.

use std::sync::{PoisonError, RwLock};

use fairkey_core::ApiKey;

/// What stands in for a key.
const MARK: &str = "[key]";
/// Shorter secrets are not looked for: they could be any word.
const SHORTEST: usize = 8;

static SECRETS: RwLock<Vec<ApiKey>> = RwLock::new(Vec::new());

/// Remembers secrets that shall never be printed.
pub(crate) fn hide(secrets: impl IntoIterator<Item = ApiKey>) {
    let secrets = secrets
        .into_iter()
        .filter(|secret| secret.expose().len() >= SHORTEST);
    SECRETS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(secrets);
}

/// Returns `text` without keys: those in use, and whatever looks like one.
pub(crate) fn clean(text: &str) -> String {
    let mut text = text.to_owned();
    for secret in SECRETS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        if text.contains(secret.expose()) {
            text = text.replace(secret.expose(), MARK);
        }
    }
    without_lookalikes(&text)
}

/// Replaces `sk-` and what follows it, where that is long enough to be a key.
fn without_lookalikes(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("sk-") {
        let inside_word = rest[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_ascii_alphanumeric());
        let end = rest[at..]
            .find(|c| !is_part(c))
            .map_or(rest.len(), |end| at + end);
        out.push_str(&rest[..at]);
        let found = &rest[at..end];
        out.push_str(if !inside_word && found.len() >= "sk-".len() + SHORTEST {
            MARK
        } else {
            found
        });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_use_and_lookalikes_are_replaced() {
        hide([ApiKey::new("correct-horse-battery"), ApiKey::new("short")]);
        assert_eq!(clean("x correct-horse-battery y short"), "x [key] y short");
        assert_eq!(
            clean("bad \"sk-or-v1-0123456789abcdef\"."),
            "bad \"[key]\"."
        );
        assert_eq!(
            clean("sk-ant-api03-AbC_dEf123,sk-or-v1-12345678"),
            "[key],[key]"
        );
    }

    #[test]
    fn other_words_stay() {
        for text in [
            "",
            "a task-force of eleven",
            "sk-",
            "disk-encryption-key",
            "risk-free-money",
        ] {
            assert_eq!(clean(text), text);
        }
    }
}
