//! From bytes to rows: [`RowReader`] reads one input on the thread that asks, [`InputReader`]
//! several one after the other, [`ReaderThread`] does so on its own.
//!
//! Reading is streamed: what is held is one row, and of a [`ReaderThread`] a few hundred rows at
//! most, however long the input is.

mod archive;
mod body;
mod buffer;
mod endpoint;
mod format;
mod input;
mod line;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod records;
mod table;
mod template;
mod thread;

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;

use self::archive::{Archive, Stream};
use self::line::{Parsed, Parser, Problem};
use self::lines::Lines;
use self::records::Records;
use self::table::Table;
use crate::{BadLine, Defaults, Place, Row};

pub use self::endpoint::Endpoint;
pub use self::format::Format;
pub use self::input::{Input, InputReader};
pub use self::template::Template;
pub use self::thread::ReaderThread;

/// How an input is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadConfig {
    /// How the input is written. Default [`Format::Auto`].
    pub format: Format,
    /// How a prompt is made of a row. Where it is set, rows are data: nothing of them is used but
    /// what it names, and their `custom_id` or `id`. Of plain text, the name of a line is `text`.
    /// Default: none.
    pub template: Option<Template>,
    /// What separates the cells of a table, an ASCII character; with it, what is of no known
    /// format is a table. Default: a comma, of TSV a tab.
    pub delimiter: Option<u8>,
    /// Where requests go that do not say so themselves. Default: chats.
    pub endpoint: Endpoint,
    /// What lines lack. Default: nothing is filled in.
    pub defaults: Defaults,
    /// The longest line or record in bytes; a longer one becomes an error row, and is skipped
    /// without being held. Default 64 MiB.
    pub max_line_bytes: usize,
}

impl Default for ReadConfig {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            template: None,
            delimiter: None,
            endpoint: Endpoint::default(),
            defaults: Defaults::default(),
            max_line_bytes: 64 << 20,
        }
    }
}

/// Reads the rows of one input: every line that is not blank is one, a bad one included; in a
/// table, every record.
///
/// What is packed with gzip or zstd is unpacked, by its first bytes. A byte order mark at the
/// beginning is skipped, lines end with `\n` or `\r\n`, and the last one needs no end.
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
///
/// A table with a template:
///
/// ```
/// use fairkey_batch::{Format, ReadConfig, RowReader};
///
/// let input = "id,text\nq1,\"Guten Tag,\nWelt\"\n";
/// let mut config = ReadConfig::default();
/// config.format = Format::Csv;
/// config.template = Some("Translate: {text}".parse()?);
/// let row = RowReader::new(input.as_bytes(), config).next_row()?.unwrap();
/// assert_eq!((row.line, row.custom_id.as_deref()), (2, Some("q1")));
/// assert_eq!(
///     row.request.unwrap().body,
///     r#"{"messages":[{"role":"user","content":"Translate: Guten Tag,\nWelt"}]}"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RowReader<R> {
    /// Until the first row is asked for.
    input: Option<(R, Option<Archive>)>,
    stream: Option<Stream<R>>,
    kind: Kind,
    parser: Parser,
    rows: u64,
    line: u64,
}

enum Kind {
    Lines {
        lines: Lines,
        format: Format,
    },
    Records {
        records: Box<Records>,
        table: Option<Table>,
    },
    /// Something that cannot be read here.
    Nothing,
}

impl<R: Read> RowReader<R> {
    /// Reads from `input`, which needs no buffering of its own.
    pub fn new(input: R, config: ReadConfig) -> Self {
        Self::claimed(input, None, config)
    }

    /// Reads from an input whose name says that it is packed.
    fn claimed(input: R, archive: Option<Archive>, config: ReadConfig) -> Self {
        let max_bytes = config.max_line_bytes;
        let records = |delimiter| Kind::Records {
            records: Box::new(Records::new(
                config.delimiter.unwrap_or(delimiter),
                max_bytes,
            )),
            table: None,
        };
        let kind = match config.format {
            Format::Auto if config.delimiter.is_some() => records(b','),
            Format::Csv => records(b','),
            Format::Tsv => records(b'\t'),
            Format::Parquet => Kind::Nothing,
            format @ (Format::Auto | Format::Jsonl | Format::Text) => Kind::Lines {
                lines: Lines::new(max_bytes),
                format,
            },
        };
        Self {
            input: Some((input, archive)),
            stream: None,
            kind,
            parser: Parser::new(config.defaults, config.template, config.endpoint),
            rows: 0,
            line: 0,
        }
    }

    /// Returns the next row; `None` at the end.
    ///
    /// # Errors
    ///
    /// Where the input cannot be read, is something else than its format says, or lacks a column
    /// that is needed. After an error, there are no more rows.
    pub fn next_row(&mut self) -> io::Result<Option<Row>> {
        let next = self.open().and_then(|()| self.next());
        if next.is_err() {
            self.stream = None;
        }
        next
    }

    /// Reads as much as it takes to know what kind of input it is; of a table, the header.
    fn open(&mut self) -> io::Result<()> {
        let Some((input, archive)) = self.input.take() else {
            return Ok(());
        };
        let mut stream = Stream::open(input, archive)?;
        match &mut self.kind {
            Kind::Lines { format, .. } => {
                if *format == Format::Text {
                    names_text(&self.parser)?;
                }
            }
            Kind::Records { records, table } => {
                *table = header(records, &mut stream, &self.parser)?;
            }
            Kind::Nothing => {
                return Err(invalid(
                    "Parquet is read from its end: name it as a file, not as a stream",
                ));
            }
        }
        self.stream = Some(stream);
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Row>> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let parsed = match &mut self.kind {
            Kind::Lines { lines, format } => loop {
                let Some(next) = lines.next(stream)? else {
                    return Ok(None);
                };
                self.line = lines.number();
                break match next {
                    lines::Next::Line(bytes) if bytes.trim_ascii().is_empty() => continue,
                    lines::Next::Line(bytes) => {
                        if self.rows == 0 {
                            look(&bytes, format, &self.parser)?;
                        }
                        read_line(bytes, *format, &mut self.parser)
                    }
                    lines::Next::TooLong => too_long("line", lines.max_bytes(), ""),
                };
            },
            Kind::Records {
                records,
                table: Some(table),
            } => loop {
                let Some(next) = records.next(stream)? else {
                    return Ok(None);
                };
                self.line = records.number();
                break match next {
                    records::Next::Record if records.is_blank() => continue,
                    records::Next::Record => table.read(records, &mut self.parser),
                    records::Next::TooLong => too_long(
                        "record",
                        records.max_bytes(),
                        "; is one of its quotes not closed?",
                    ),
                    records::Next::TooWide => {
                        (None, Err(Problem::new("the record has too many cells")))
                    }
                    records::Next::Unclosed => unclosed(records),
                };
            },
            Kind::Records { .. } | Kind::Nothing => return Ok(None),
        };
        let end_byte = stream.position();
        Ok(Some(self.row(parsed, end_byte)))
    }

    fn row(&mut self, (custom_id, request): Parsed, end_byte: u64) -> Row {
        let index = self.rows;
        self.rows += 1;
        let line = self.line;
        Row {
            index,
            file: None,
            line,
            end_byte,
            custom_id,
            request: request.map_err(|problem| BadLine {
                place: Place { file: None, line },
                column: problem.column,
                message: problem.message,
            }),
        }
    }

    /// Returns whether the next row may have to wait for the input.
    fn may_block(&self) -> bool {
        match &self.stream {
            Some(stream) => !lines::has_line(stream.buffered()),
            None => self.input.is_some(),
        }
    }

    /// Returns how much of the input was used.
    fn position(&self) -> u64 {
        self.stream.as_ref().map_or(0, Stream::position)
    }

    /// Returns the line of the last row, from 1; 0 before the first.
    fn line(&self) -> u64 {
        self.line
    }
}

impl<R> fmt::Debug for RowReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowReader")
            .field("rows", &self.rows)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Looks at the first line that is not blank: what it is, and whether it is JSON but no lines.
fn look(bytes: &[u8], format: &mut Format, parser: &Parser) -> io::Result<()> {
    let line = bytes.trim_ascii();
    let is_array = line == b"["
        || line
            .strip_prefix(b"[")
            .is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"));
    if *format != Format::Text && is_array {
        return Err(invalid(
            "it is an array of JSON; one object a line is read: jq -c '.[]' FILE | fairkey run -",
        ));
    }
    if *format != Format::Text && line == b"{" {
        return Err(invalid(
            "its JSON goes over several lines; one object a line is read: \
             jq -c . FILE | fairkey run -",
        ));
    }
    if *format == Format::Auto {
        *format = if line.starts_with(b"{") {
            Format::Jsonl
        } else {
            names_text(parser)?;
            Format::Text
        };
    }
    Ok(())
}

/// A template for plain text can name the line only.
fn names_text(parser: &Parser) -> io::Result<()> {
    let mut names = parser.template().into_iter().flat_map(Template::names);
    match names.find(|name| *name != "text") {
        None => Ok(()),
        Some(name) => Err(invalid(format!(
            "the template names {name:?}, and a line of plain text is {{text}}; for a table say \
             --format csv or tsv"
        ))),
    }
}

fn read_line(bytes: Vec<u8>, format: Format, parser: &mut Parser) -> Parsed {
    let bytes = Bytes::from(bytes);
    match std::str::from_utf8(&bytes) {
        Ok(text) if format == Format::Text => parser.text(text),
        Ok(text) => parser.json(text, &bytes),
        Err(error) => {
            let problem = Problem {
                column: Some(error.valid_up_to() as u64 + 1),
                message: "the line is not UTF-8".to_owned(),
            };
            (None, Err(problem))
        }
    }
}

/// Reads the header; `None` where the input is empty.
fn header<R: Read>(
    records: &mut Records,
    stream: &mut Stream<R>,
    parser: &Parser,
) -> io::Result<Option<Table>> {
    let next = loop {
        match records.next(stream)? {
            Some(records::Next::Record) if records.is_blank() => {}
            next => break next,
        }
    };
    match next {
        None => return Ok(None),
        Some(records::Next::Record) => {}
        Some(_) => {
            return Err(invalid(
                "the header is too long, has too many columns, or a quote in it is not closed",
            ));
        }
    }
    let names = (0..records.columns()).map(|column| {
        let name = std::str::from_utf8(records.cell(column));
        name.map(|name| name.trim().to_owned())
    });
    let names: Result<Vec<String>, _> = names.collect();
    let names = names.map_err(|_| invalid("the header is not UTF-8: convert the file first"))?;
    let table = Table::new(names, parser.template(), parser.endpoint());
    table.map(Some).map_err(invalid)
}

fn too_long(what: &str, max_bytes: usize, hint: &str) -> Parsed {
    let message = format!(
        "the {what} is longer than {max_bytes} bytes, the most that is read as one request{hint}"
    );
    (None, Err(Problem::new(message)))
}

fn unclosed(records: &Records) -> Parsed {
    let message = format!(
        "a quote of this row is never closed: from line {} on, all is in it, and nothing is sent",
        records.number()
    );
    (None, Err(Problem::new(message)))
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
