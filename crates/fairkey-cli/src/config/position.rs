//! Where in a file something is, and what an error may say about it.

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    /// Returns where the byte `at` of `text` is. Columns count characters.
    pub(super) fn of(text: &str, at: usize) -> Self {
        let before = &text[..text.floor_char_boundary(at.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Self { line, column }
    }
}

/// Takes out of a message of serde what it repeats of the file: a value may be a key.
///
/// Names in backticks stay where they are names of fields; a value in quotes goes.
pub(super) fn without_values(message: &str) -> String {
    let mut message = message.to_owned();
    if let (Some(from), Some(to)) = (message.find('"'), message.rfind('"'))
        && from < to
    {
        message.replace_range(from..=to, "\"…\"");
    }
    // "unknown variant `value`, expected …": here the value is in backticks.
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some(end) = rest.find("`, ")
    {
        message = format!("unknown variant, {}", &rest[end + 3..]);
    }
    in_words_of_toml(message)
}

/// Names what was expected as whoever writes TOML calls it, not as the program does.
fn in_words_of_toml(mut message: String) -> String {
    let Some(at) = message.find(", expected ") else {
        return message;
    };
    let (found, expected) = message.split_at(at + ", expected ".len());
    let words = match expected {
        "i64" | "u64" | "u32" | "u16" | "usize" => "a whole number",
        "f64" => "a number",
        "a map" => "a table",
        // A table of which there may be many is a common slip.
        "a sequence" if found.contains(": map,") => "a list: is [[…]] meant?",
        "a sequence" => "a list",
        _ if expected.starts_with("struct ") => "a table",
        _ => return message,
    };
    message.replace_range(at + ", expected ".len().., words);
    message.replacen("invalid type: map,", "invalid type: table,", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters() {
        let text = "ä = 1\nöb = 2\n";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        assert_eq!(
            Position::of(text, text.find('b').unwrap()),
            Position { line: 2, column: 2 }
        );
        assert_eq!(Position::of(text, 999), Position { line: 3, column: 1 });
    }

    #[test]
    fn values_are_taken_out() {
        let message = "invalid type: string \"a \\\" b\", expected u32";
        assert_eq!(
            without_values(message),
            "invalid type: string \"…\", expected a whole number"
        );
        let message = "unknown variant `sk-x`, expected one of `a`, `b`";
        assert_eq!(
            without_values(message),
            "unknown variant, expected one of `a`, `b`"
        );
        assert_eq!(without_values("unknown field `x`"), "unknown field `x`");
    }

    #[test]
    fn what_is_expected_is_said_in_words_of_toml() {
        for (message, words) in [
            (
                "integer `7`, expected struct Route",
                "integer `7`, expected a table",
            ),
            (
                "map, expected a sequence",
                "table, expected a list: is [[…]] meant?",
            ),
            (
                "boolean `true`, expected a sequence",
                "boolean `true`, expected a list",
            ),
            (
                "integer `7`, expected a string",
                "integer `7`, expected a string",
            ),
        ] {
            let message = without_values(&format!("invalid type: {message}"));
            assert_eq!(message, format!("invalid type: {words}"));
        }
    }
}
