//! From bytes to rows: [`RowReader`] reads on the thread that asks, [`ReaderThread`] on its own.
//!
//! Reading is streamed: what is held is one line, and of a [`ReaderThread`] a few hundred rows at
//! most, however long the input is.

mod chat;
mod line;
mod lines;
mod thread;

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use bytes::Bytes;

use self::line::Parser;
use self::lines::{Lines, Next};
use crate::{BadLine, Defaults, Place, Row};

pub use self::thread::ReaderThread;

/// How the lines of an input are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// JSON lines if the first line that is not blank begins with `{`, else text. The default.
    #[default]
    Auto,
    /// One JSON object a line: a line of an OpenAI batch file, the body of a chat request, or
    /// `{"prompt": "…"}` with any other fields of a chat request.
    Jsonl,
    /// One prompt a line.
    Text,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "jsonl" => Ok(Self::Jsonl),
            "text" => Ok(Self::Text),
            _ => Err(format!("unknown format {name:?}: use auto, jsonl or text")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Jsonl => "jsonl",
            Self::Text => "text",
        })
    }
}

/// How an input is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadConfig {
    /// How lines are read. Default [`Format::Auto`].
    pub format: Format,
    /// What lines lack. Default: nothing is filled in.
    pub defaults: Defaults,
    /// The longest line in bytes; a longer one becomes an error row, and is skipped without being
    /// held. Default 64 MiB.
    pub max_line_bytes: usize,
}

impl Default for ReadConfig {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            defaults: Defaults::default(),
            max_line_bytes: 64 << 20,
        }
    }
}

/// Reads rows: every line that is not blank is one, a bad one included.
///
/// A byte order mark at the beginning is skipped, lines end with `\n` or `\r\n`, and the last one
/// needs no end.
///
/// ```
/// use fairkey_batch::{ReadConfig, RowReader};
///
/// let input = "{\"prompt\": \"Hello\", \"temperature\": 0}\n\n{\"prompt\": 5}\n";
/// let mut reader = RowReader::new(input.as_bytes(), ReadConfig::default());
///
/// let row = reader.next_row()?.unwrap();
/// let request = row.request.unwrap();
/// assert_eq!(&*request.path, "/chat/completions");
/// assert_eq!(
///     request.body,
///     r#"{"messages":[{"role":"user","content":"Hello"}],"temperature":0}"#
/// );
///
/// let bad = reader.next_row()?.unwrap();
/// assert_eq!(bad.request.unwrap_err().place.line, 3);
/// assert!(reader.next_row()?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RowReader<R> {
    lines: Lines<R>,
    parser: Parser,
    format: Format,
    rows: u64,
}

impl<R: Read> RowReader<R> {
    /// Reads from `input`, which needs no buffering of its own.
    pub fn new(input: R, config: ReadConfig) -> Self {
        Self {
            lines: Lines::new(input, config.max_line_bytes),
            parser: Parser::new(config.defaults),
            format: config.format,
            rows: 0,
        }
    }

    /// Returns the next row; `None` at the end.
    ///
    /// # Errors
    ///
    /// Where the input cannot be read.
    pub fn next_row(&mut self) -> io::Result<Option<Row>> {
        loop {
            let Some(next) = self.lines.next_line()? else {
                return Ok(None);
            };
            let line = self.lines.number();
            let (custom_id, request) = match next {
                Next::Line(bytes) if bytes.trim_ascii().is_empty() => continue,
                Next::Line(bytes) => self.read(line, bytes),
                Next::TooLong => {
                    let message = format!(
                        "the line is longer than {} bytes, the most that is read as one request",
                        self.lines.max_bytes()
                    );
                    (
                        None,
                        Err(BadLine {
                            place: Place { file: None, line },
                            column: None,
                            message,
                        }),
                    )
                }
            };
            let index = self.rows;
            self.rows += 1;
            let end_byte = self.lines.position();
            return Ok(Some(Row {
                index,
                file: None,
                line,
                end_byte,
                custom_id,
                request,
            }));
        }
    }

    /// Returns whether the next row may have to wait for the input.
    fn may_block(&self) -> bool {
        !self.lines.has_buffered_line()
    }

    fn read(&mut self, line: u64, bytes: Vec<u8>) -> line::Parsed {
        if self.format == Format::Auto {
            let json = bytes.trim_ascii_start().first() == Some(&b'{');
            self.format = if json { Format::Jsonl } else { Format::Text };
        }
        let bytes = Bytes::from(bytes);
        match std::str::from_utf8(&bytes) {
            Ok(text) if self.format == Format::Text => self.parser.text(text),
            Ok(text) => self.parser.json(line, text, &bytes),
            Err(error) => {
                let column = error.valid_up_to() as u64 + 1;
                let message = match bytes.get(..2) {
                    Some([0xff, 0xfe] | [0xfe, 0xff]) if line == 1 => {
                        "the input is UTF-16: convert it to UTF-8"
                    }
                    _ => "the line is not UTF-8",
                };
                (
                    None,
                    Err(BadLine {
                        place: Place { file: None, line },
                        column: Some(column),
                        message: message.to_owned(),
                    }),
                )
            }
        }
    }
}

impl<R> fmt::Debug for RowReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowReader")
            .field("format", &self.format)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
