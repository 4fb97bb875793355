//! Tables of text.

use std::fmt::Write as _;

/// A table whose columns are as wide as what is in them.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    title: &'static str,
    right: bool,
}

impl Table {
    /// Makes a table; a title that begins with `>` is that of a column of numbers.
    pub(crate) fn new(titles: &[&'static str]) -> Self {
        let column = |title: &&'static str| match title.strip_prefix('>') {
            Some(title) => Column { title, right: true },
            None => Column {
                title,
                right: false,
            },
        };
        Self {
            columns: titles.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with one cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        // What comes from elsewhere must not move the cursor.
        let clean = |cell: String| cell.replace(char::is_control, " ");
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Returns the table as text, one line for each row after the titles. Where that is wider than
    /// `width`, the last columns are told below each row instead, as few of them as will do.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.title.to_owned())
            .collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&titles).chain(&self.rows).collect();
        let width_of = |at: usize| {
            lines
                .iter()
                .map(|line| line[at].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width_of).collect();
        let mut beside = widths.len();
        if let Some(width) = width {
            let needed = |columns: usize| widths[..columns].iter().map(|width| width + 2).sum();
            while beside > 1 && width + 2 < needed(beside) {
                beside -= 1;
            }
        }
        let mut text = String::new();
        for (at, line) in lines.into_iter().enumerate() {
            let mut out = String::new();
            let columns = self.columns.iter().zip(&widths).take(beside);
            for (cell, (column, &width)) in line.iter().zip(columns) {
                let _ = if column.right {
                    write!(out, "{cell:>width$}  ")
                } else {
                    write!(out, "{cell:<width$}  ")
                };
            }
            text.push_str(out.trim_end());
            text.push('\n');
            if let (Some(width), 1..) = (width, at) {
                let below: Vec<String> = line
                    .iter()
                    .zip(&self.columns)
                    .skip(beside)
                    .filter(|(cell, _)| *cell != "-")
                    .map(|(cell, column)| format!("{}: {cell}", column.title))
                    .collect();
                wrap(&below.join("; "), width, &mut text);
            }
        }
        text
    }
}

/// Adds `words` to `text`, indented, in lines that are no wider than `width` where words allow it.
fn wrap(words: &str, width: usize, text: &mut String) {
    const INDENT: usize = 4;
    let mut column = 0;
    for word in words.split_whitespace() {
        let len = word.chars().count();
        if column > 0 && column + 1 + len <= width {
            let _ = write!(text, " {word}");
            column += 1 + len;
        } else {
            if column > 0 {
                text.push('\n');
            }
            let _ = write!(text, "{:INDENT$}{word}", "");
            column = INDENT + len;
        }
    }
    if column > 0 {
        text.push('\n');
    }
}

/// Returns a number with commas between the thousands.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns an amount of money in US dollars, small ones with more places.
pub(crate) fn usd(micro_usd: u64) -> String {
    let usd = micro_usd as f64 / 1e6;
    if micro_usd < 1_000_000 {
        format!("${usd:.6}")
    } else {
        format!("${usd:.2}")
    }
}

/// Returns `1 key`, `2 keys`.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["key", ">calls", "state"]);
        table.row(vec!["a".into(), "12".into(), "ok".into()]);
        table.row(vec!["größer".into(), "3".into(), "out\x1b[2J".into()]);
        let expected = "key     calls  state\na          12  ok\ngrößer      3  out [2J\n";
        assert_eq!(table.render(None), expected);
        assert_eq!(table.render(Some(22)), expected, "it fits");
    }

    #[test]
    fn what_is_too_wide_for_the_terminal_is_told_below_its_row() {
        let mut table = Table::new(&["key", ">calls", "state", "refused"]);
        let refused = "account_rate_limited 513, provider_error 10, network 4";
        table.row(vec!["a".into(), "687".into(), "ok".into(), refused.into()]);
        table.row(vec!["b".into(), "3".into(), "out".into(), "-".into()]);
        let expected = "\
key  calls  state
a      687  ok
    refused: account_rate_limited 513,
    provider_error 10, network 4
b        3  out
";
        assert_eq!(table.render(Some(40)), expected);
        let expected = "\
key  calls
a      687
    state:
    ok;
    refused:
    account_rate_limited
    513,
    provider_error
    10,
    network
    4
b        3
    state:
    out
";
        assert_eq!(table.render(Some(10)), expected, "words are never cut");
        assert!(table.render(Some(0)).starts_with("key\na\n"));
    }

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(n), text);
        }
        assert_eq!(usd(12), "$0.000012");
        assert_eq!(usd(12_345_678), "$12.35");
        assert_eq!(count(1, "key"), "1 key");
    }
}
