//! How an input is written: [`Format`].

use std::fmt;
use std::str::FromStr;

/// How an input is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// By the name of a file, where it tells; else JSON lines if the first line that is not blank
    /// begins with `{`, else text. The default.
    #[default]
    Auto,
    /// One JSON object a line: a line of an OpenAI batch file, the body of a request, or
    /// `{"prompt": "…"}` with any other fields of a request. With a template, an object with the
    /// fields that it names.
    Jsonl,
    /// One prompt a line.
    Text,
    /// A table whose first record names its columns, quoted as RFC 4180 has it.
    Csv,
    /// The same, with tabs between the cells.
    Tsv,
    /// An Apache Parquet file. Needs the feature `parquet`, and a file: it is read from its end.
    Parquet,
}

impl Format {
    const NAMES: [(Self, &str); 6] = [
        (Self::Auto, "auto"),
        (Self::Jsonl, "jsonl"),
        (Self::Text, "text"),
        (Self::Csv, "csv"),
        (Self::Tsv, "tsv"),
        (Self::Parquet, "parquet"),
    ];

    /// Returns what the extension of a file's name tells; [`Auto`](Self::Auto): nothing.
    pub(super) fn of_extension(extension: &str) -> Self {
        match extension {
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            "txt" | "text" => Self::Text,
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "parquet" | "pq" => Self::Parquet,
            _ => Self::Auto,
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::NAMES.iter().find(|(_, own)| *own == name);
        found.map(|(format, _)| *format).ok_or_else(|| {
            format!("unknown format {name:?}: use auto, jsonl, text, csv, tsv or parquet")
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Self::NAMES.iter().find(|(format, _)| format == self);
        f.write_str(own.map_or("auto", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_name_of_its_own() {
        for (format, name) in Format::NAMES {
            assert_eq!(format.to_string(), name);
            assert_eq!(name.parse(), Ok(format));
        }
        let error = "xml".parse::<Format>().unwrap_err();
        assert!(
            error.contains("use auto, jsonl, text, csv, tsv or parquet"),
            "{error}"
        );
    }
}
