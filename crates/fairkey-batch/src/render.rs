//! Results in other shapes: [`OutputFormat`], and [`Rendered`] before any output.

mod csv;
#[cfg(feature = "parquet")]
mod parquet;
mod record;
mod text;

use std::fmt;
use std::str::FromStr;

use crate::{Output, OutputError, ResultLine};

#[cfg(feature = "parquet")]
pub use self::parquet::ParquetOutput;
pub(crate) use self::record::Record;

/// The shape of results.
///
/// But for [`Batch`](Self::Batch) all are made from a line of batch results by
/// [`render`](Self::render), and have less in them: of several choices the first, and of an answer
/// its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputFormat {
    /// Lines in the shape of OpenAI's batch results, with every answer as it came. The default.
    #[default]
    Batch,
    /// The text of each answer, in one line: `\n`, `\r`, `\t` and `\\` stand for the end of a
    /// line, a carriage return, a tab and a backslash. A row that has failed, or has an answer
    /// without text, is `\N`. That is how PostgreSQL writes text.
    Text,
    /// One flat object of JSON a line, each with the same fields.
    Json,
    /// The same fields as a table with a header, quoted as RFC 4180 has it. What is lacking is an
    /// empty cell; an empty text is one in quotes.
    Csv,
    /// The same fields as columns of an Apache Parquet file, which needs the feature `parquet`.
    Parquet,
}

impl OutputFormat {
    const NAMES: [(Self, &str); 5] = [
        (Self::Batch, "batch"),
        (Self::Text, "text"),
        (Self::Json, "json"),
        (Self::Csv, "csv"),
        (Self::Parquet, "parquet"),
    ];

    /// Returns what comes before the first result: the header of CSV, else nothing.
    #[must_use]
    pub fn header(self) -> &'static [u8] {
        match self {
            Self::Csv => record::HEADER.as_bytes(),
            Self::Batch | Self::Text | Self::Json | Self::Parquet => b"",
        }
    }

    /// Returns the extension of files in this shape.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Batch | Self::Json => "jsonl",
            Self::Text => "txt",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// Makes a result of a line of batch results, which ends with `\n` or not. What is no such
    /// line stays as it is, and so does everything for [`Batch`](Self::Batch), and for
    /// [`Parquet`](Self::Parquet), which has no lines.
    ///
    /// ```
    /// use fairkey_batch::OutputFormat;
    ///
    /// let line = br#"{"id":"row-1","custom_id":"a","response":{"status_code":200,
    ///     "request_id":"gen-1","body":{"choices":[{"message":{"content":"two\nlines"}}]}},
    ///     "error":null,"fairkey":{"line":1,"attempts":1}}"#;
    /// assert_eq!(OutputFormat::Text.render(line), b"two\\nlines\n");
    /// ```
    #[must_use]
    pub fn render(self, line: &[u8]) -> Vec<u8> {
        if matches!(self, Self::Batch | Self::Parquet) {
            return line.to_vec();
        }
        let Some(record) = Record::read(line) else {
            return line.to_vec();
        };
        match self {
            Self::Text => text::write(record.text.as_deref()),
            Self::Csv => csv::write(&record),
            Self::Batch | Self::Json | Self::Parquet => json(&record),
        }
    }
}

fn json(record: &Record<'_>) -> Vec<u8> {
    // Texts and numbers can always be written.
    let mut bytes = serde_json::to_vec(record).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::NAMES.iter().find(|(_, own)| *own == name);
        found.map(|(format, _)| *format).ok_or_else(|| {
            format!("unknown format {name:?}: use batch, text, json, csv or parquet")
        })
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Self::NAMES.iter().find(|(format, _)| format == self);
        f.write_str(own.map_or("batch", |(_, name)| name))
    }
}

/// Puts results into another shape before an output takes them.
///
/// The header goes with the first result.
#[derive(Debug)]
pub struct Rendered<O> {
    output: O,
    format: OutputFormat,
    has_header: bool,
}

impl<O> Rendered<O> {
    /// Puts what `output` takes into the shape of `format`. `has_header`: it is there already,
    /// from a run before.
    pub fn new(output: O, format: OutputFormat, has_header: bool) -> Self {
        Self {
            output,
            format,
            has_header,
        }
    }
}

impl<O: Output> Output for Rendered<O> {
    fn push(&mut self, mut line: ResultLine) {
        if self.format != OutputFormat::Batch {
            line.bytes = self.format.render(&line.bytes);
        }
        if !std::mem::replace(&mut self.has_header, true) {
            let header = self.format.header();
            line.bytes.splice(0..0, header.iter().copied());
        }
        self.output.push(line);
    }

    async fn ready(&mut self) -> Result<(), OutputError> {
        self.output.ready().await
    }

    fn is_ready(&self) -> bool {
        self.output.is_ready()
    }

    async fn finish(&mut self) -> Result<(), OutputError> {
        self.output.finish().await
    }

    fn written(&self) -> u64 {
        self.output.written()
    }
}

#[cfg(test)]
mod tests;
