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
    message
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
            "invalid type: string \"…\", expected u32"
        );
        let message = "unknown variant `sk-x`, expected one of `a`, `b`";
        assert_eq!(
            without_values(message),
            "unknown variant, expected one of `a`, `b`"
        );
        assert_eq!(without_values("unknown field `x`"), "unknown field `x`");
    }
}
