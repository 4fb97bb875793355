//! Text from outside, made fit for errors and logs: the one home of redaction.
//!
//! A message of the upstream is shown to people and written to logs. It may carry anything: the
//! key it complains about, terminal control sequences, a megabyte. [`clean`] takes all of that out.

/// The longest message of a fault, in characters.
pub(crate) const MESSAGE_CHARS: usize = 500;
/// The longest name (of a provider, of an unknown enumeration value), in characters.
pub(crate) const NAME_CHARS: usize = 80;

const MARK: &str = "[key]";

/// Returns `text` without control characters, with whatever looks like an API key replaced by
/// `[key]`, and cut to `chars` characters.
///
/// Line breaks and tabs become spaces; other control characters vanish *before* keys are looked
/// for, so that one in the middle of a key does not hide it.
pub(crate) fn clean(text: &str, chars: usize) -> String {
    // A bound on the work too: a key that starts before the cut is found whole, because the cut
    // comes last; what lies far behind the cut is never looked at.
    let window: String = text
        .chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' => Some(' '),
            c if c.is_control() || is_invisible(c) => None,
            c => Some(c),
        })
        .take(chars.saturating_mul(4).saturating_add(1024))
        .collect();
    let redacted = redact(window.trim());
    if redacted.chars().nth(chars).is_none() {
        return redacted;
    }
    let mut cut: String = redacted.chars().take(chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// What stands for a text in a place of words that is none.
const NO_WORD: &str = "(no word)";
/// The longest word, in bytes.
const WORD_BYTES: usize = 64;

/// Returns `text` where it is a word (letters, digits and `_ - . : /` in ASCII, at most 64 of
/// them, and no key), and a placeholder otherwise: what stands in the place of a word is shown and
/// counted, and must be neither a sentence nor a secret.
pub(crate) fn word(text: &str) -> String {
    let is_word =
        text.len() <= WORD_BYTES && text.bytes().all(|b| is_key_byte(b) || b".:/".contains(&b));
    if is_word && redact(text) == text {
        text.to_owned()
    } else {
        NO_WORD.to_owned()
    }
}

/// Returns a cleaned message without what it quotes at length and without JSON: an error that
/// quotes usually quotes the prompt. Names, options and single words in quotes stay.
pub(crate) fn without_quotes(text: &str) -> String {
    let opened = ["[{\"", "{\"", "[[\"", "[\""];
    let text = match opened.iter().filter_map(|open| text.find(open)).min() {
        Some(start) => {
            let end = text.rfind(['}', ']']).filter(|end| *end > start);
            let end = end.map_or(text.len(), |end| end + 1);
            format!("{}[json]{}", &text[..start], &text[end..])
        }
        None => text.to_owned(),
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['"', '\'', '`', '“', '‘', '«']) {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let open = quoted.chars().next().unwrap_or_default();
        let inside = &quoted[open.len_utf8()..];
        let close = match open {
            '“' => '”',
            '‘' => '’',
            '«' => '»',
            same => same,
        };
        // An apostrophe inside a word opens nothing.
        let opens = open != '\'' || !out.ends_with(|c: char| c.is_alphanumeric());
        // A quotation that was cut off reaches to the end.
        let end = inside.find(close);
        let content = &inside[..end.unwrap_or(inside.len())];
        out.push(open);
        if opens && is_passage(content) {
            out.push_str("[text]");
            rest = &inside[content.len()..];
            if end.is_some() {
                out.push(close);
                rest = &rest[close.len_utf8()..];
            }
        } else if opens && end.is_some() {
            out.push_str(content);
            out.push(close);
            rest = &inside[content.len() + close.len_utf8()..];
        } else {
            rest = inside;
        }
    }
    out.push_str(rest);
    out
}

/// Tells a passage of text from a name or an option.
fn is_passage(quoted: &str) -> bool {
    quoted.len() > WORD_BYTES || (quoted.len() > 16 && quoted.contains(' '))
}

/// Returns whether `c` takes no place on a screen, or turns the direction of writing: it has no
/// business in a log line.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// How keys of vendors begin that do not begin with `sk-`: a provider may name the caller's own.
const PREFIXES: [&[u8]; 8] = [
    b"AIza", b"AKIA", b"gsk_", b"hf_", b"nvapi-", b"pplx-", b"xai-", b"fw_",
];

/// Replaces what looks like an API key: `sk-…` and its like of any vendor, and whatever follows
/// `Bearer`.
fn redact(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(end) = key_at(bytes, at).or_else(|| bearer_at(bytes, at)) {
            // Both ends are ASCII positions, so the slices are on character boundaries.
            out.push_str(&text[copied..at]);
            out.push_str(MARK);
            copied = end;
            at = end;
        } else {
            at += 1;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Returns the end of the key that starts at `at`, if one does.
fn key_at(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if !starts_with(rest, b"sk-") {
        return other_key_at(bytes, at);
    }
    // "task-management" holds "sk-management"; a key of OpenRouter is one wherever it stands.
    let inside_a_word = at > 0 && bytes[at - 1].is_ascii_alphanumeric();
    if inside_a_word && !starts_with(rest, b"sk-or-") {
        return None;
    }
    // Dots belong to it: the masked form of a key is `sk-or-v1-abc...xyz`.
    let len = rest
        .iter()
        .take_while(|b| is_key_byte(**b) || **b == b'.')
        .count();
    (len >= 3 + 8).then_some(at + len)
}

/// Returns the end of a key of another vendor that starts at `at`, if one does.
fn other_key_at(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let inside_a_word = at > 0 && is_key_byte(bytes[at - 1]);
    let prefix = PREFIXES.iter().find(|prefix| rest.starts_with(prefix))?;
    let len = rest.iter().take_while(|b| is_key_byte(**b)).count();
    (!inside_a_word && len >= prefix.len() + 14).then_some(at + len)
}

/// Returns the end of the token after `Bearer `, where that starts at `at`.
fn bearer_at(bytes: &[u8], at: usize) -> Option<usize> {
    const WORD: &[u8] = b"bearer ";
    let rest = &bytes[at..];
    if !starts_with(rest, WORD) {
        return None;
    }
    let token = &rest[WORD.len()..];
    let len = token
        .iter()
        .take_while(|b| is_key_byte(**b) || b".~+/=".contains(b))
        .count();
    // "Bearer token" and "Bearer authentication" are words of a sentence.
    (len >= 16).then_some(at + WORD.len() + len)
}

fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.len() >= prefix.len() && bytes[..prefix.len()].eq_ignore_ascii_case(prefix)
}

fn is_key_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(clean(text, 60), expected, "{text:?}");
    }

    #[test]
    fn keys_are_replaced_wherever_they_stand() {
        check(
            "bad key sk-or-v1-0123456789abcdef, sorry",
            "bad key [key], sorry",
        );
        check("sk-or-v1-0123456789abcdef", "[key]");
        check("SK-OR-V1-0123456789ABCDEF", "[key]");
        check("xsk-or-v1-0123456789abcdef", "x[key]");
        check("masked sk-or-v1-au7...890 it is", "masked [key] it is");
        check("sk-or-v1-0123\u{0}456789abcdef", "[key]");
        check("sk-or-v1-01\u{200b}23456789abcdef", "[key]");
        check(
            "Authorization: Bearer abcdefghijklmnop",
            "Authorization: [key]",
        );
        check(
            "sk-proj-0123456789 and sk-ant-0123456789",
            "[key] and [key]",
        );
    }

    #[test]
    fn keys_of_other_vendors_are_replaced_too() {
        check("AIzaSyA0123456789abcdefghijklmnopqrstu", "[key]");
        check("AKIAIOSFODNN7EXAMPLE is no good", "[key] is no good");
        check("key gsk_0123456789abcdefghij.", "key [key].");
        check("hf_hub and xai-models", "hf_hub and xai-models");
    }

    #[test]
    fn ordinary_words_stay() {
        check(
            "the task-management-system is down",
            "the task-management-system is down",
        );
        check("Bearer token missing", "Bearer token missing");
        check("ask sk- for more", "ask sk- for more");
    }

    #[test]
    fn passages_in_quotes_and_json_are_not_repeated() {
        for (text, expected) in [
            (
                "'models' array must have 3 items or fewer.",
                "'models' array must have 3 items or fewer.",
            ),
            (
                "it's what the key doesn't allow",
                "it's what the key doesn't allow",
            ),
            (
                "bad value 'the quick brown fox' in messages",
                "bad value '[text]' in messages",
            ),
            ("bad value \"the quick brown fox", "bad value \"[text]"),
            ("bad value “the quick brown fox”.", "bad value “[text]”."),
            (
                "got {\"role\":\"user\",\"content\":\"hi\"} here",
                "got [json] here",
            ),
            ("got [{\"content\":\"hi\"", "got [json]"),
            ("a 5' wall and a \"", "a 5' wall and a \""),
            (
                "'a' and 'the quick brown fox' and \"b\"",
                "'a' and '[text]' and \"b\"",
            ),
        ] {
            assert_eq!(without_quotes(text), expected);
        }
        assert_eq!(without_quotes(&format!("`{}`", "x".repeat(65))), "`[text]`");
    }

    #[test]
    fn only_a_word_is_a_word() {
        assert_eq!(word("openrouter_moon_phase"), "openrouter_moon_phase");
        for text in [
            "two words",
            "sk-or-v1-0123456789abcdef",
            "é",
            "a\u{0}b",
            &"x".repeat(65),
        ] {
            assert_eq!(word(text), NO_WORD, "{text}");
        }
    }

    #[test]
    fn control_characters_go_and_length_is_bounded() {
        check("a\u{1b}[31mb\r\nc", "a[31mb  c");
        let long = clean(&"é".repeat(1000), 60);
        assert_eq!(long.chars().count(), 60);
        assert!(long.ends_with('…'));
        // The key straddles the cut: it is replaced before the cut is made.
        let text = format!("{}sk-or-v1-0123456789abcdef", "x ".repeat(27));
        assert!(!clean(&text, 60).contains("sk-or"), "{}", clean(&text, 60));
    }
}
