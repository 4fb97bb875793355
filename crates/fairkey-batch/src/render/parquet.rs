//! Results as the rows of a Parquet file: [`ParquetOutput`].

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::Record;
use crate::{Output, OutputError, ResultLine};

/// The columns, in the order of [`Record`].
const SCHEMA: &str = "message result {
    REQUIRED BYTE_ARRAY custom_id (STRING);
    OPTIONAL BYTE_ARRAY text (STRING);
    OPTIONAL BYTE_ARRAY error (STRING);
    OPTIONAL BYTE_ARRAY error_code (STRING);
    OPTIONAL BYTE_ARRAY error_scope (STRING);
    OPTIONAL DOUBLE cost_usd;
    OPTIONAL INT64 prompt_tokens;
    OPTIONAL INT64 completion_tokens;
    OPTIONAL BYTE_ARRAY finish_reason (STRING);
    OPTIONAL BYTE_ARRAY model (STRING);
    OPTIONAL BYTE_ARRAY provider (STRING);
    OPTIONAL BYTE_ARRAY key (STRING);
    REQUIRED INT64 attempts;
    OPTIONAL INT64 status;
    OPTIONAL BYTE_ARRAY request_id (STRING);
    OPTIONAL BYTE_ARRAY file (STRING);
    REQUIRED INT64 line;
}";

/// The most rows, and bytes of text, of a row group: what is held at most.
const GROUP_ROWS: usize = 1 << 16;
const GROUP_BYTES: usize = 32 << 20;

/// Writes results into a Parquet file, which is there whole or not at all.
///
/// Rows go to a file beside it, whose name ends with `.partial`, and which gets the name of the
/// output when [`finish`](Output::finish) closes it; until then no result counts as written.
/// Dropped before, it leaves nothing behind.
///
/// A group of rows, 32 MiB of text at most, is written at once, on the thread that pushes.
pub struct ParquetOutput {
    path: PathBuf,
    partial: PathBuf,
    writer: Option<SerializedFileWriter<File>>,
    group: Group,
    rows: u64,
    written: u64,
    error: Option<OutputError>,
}

impl ParquetOutput {
    /// Begins a file that will be called `path`. One that is there already is replaced at the
    /// end.
    ///
    /// # Errors
    ///
    /// Where no file can be made beside it.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial)?;
        let schema = parse_message_type(SCHEMA).map_err(io::Error::other)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
        Ok(Self {
            path,
            partial,
            writer: Some(writer.map_err(io::Error::other)?),
            group: Group::default(),
            rows: 0,
            written: 0,
            error: None,
        })
    }

    /// Returns what the file will be called.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the rows that are held.
    fn flush(&mut self) -> Result<(), ParquetError> {
        let group = std::mem::take(&mut self.group);
        match &mut self.writer {
            Some(writer) if group.rows > 0 => group.write(writer),
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let file = writer.into_inner()?;
        // The name shall not be there before the rows are.
        file.sync_all()?;
        drop(file);
        fs::rename(&self.partial, &self.path)?;
        self.written = self.rows;
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        self.error.get_or_insert_with(|| error.into());
        self.writer = None;
    }
}

impl Output for ParquetOutput {
    fn push(&mut self, line: ResultLine) {
        if self.writer.is_none() {
            return;
        }
        let Some(record) = Record::read(&line.bytes) else {
            self.fail(&io::Error::other("a result is no line of batch results"));
            return;
        };
        self.rows += 1;
        self.group.push(&record);
        if (self.group.rows >= GROUP_ROWS || self.group.bytes >= GROUP_BYTES)
            && let Err(error) = self.flush()
        {
            self.fail(&error.into());
        }
    }

    async fn ready(&mut self) -> Result<(), OutputError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    fn is_ready(&self) -> bool {
        self.error.is_none()
    }

    async fn finish(&mut self) -> Result<(), OutputError> {
        if self.error.is_none()
            && let Err(error) = self.close()
        {
            self.fail(&error);
        }
        self.error.clone().map_or(Ok(()), Err)
    }

    fn written(&self) -> u64 {
        self.written
    }
}

impl Drop for ParquetOutput {
    fn drop(&mut self) {
        if self.written == 0 {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

impl fmt::Debug for ParquetOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetOutput")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Rows by their columns, each with whether it is there.
#[derive(Default)]
struct Group {
    rows: usize,
    bytes: usize,
    texts: [Column<ByteArray>; 11],
    numbers: [Column<i64>; 5],
    cost: Column<f64>,
}

#[derive(Default)]
struct Column<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

impl<T> Column<T> {
    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

/// Which column comes next: texts and numbers by their places in [`Group`].
enum Next {
    Text(usize),
    Number(usize),
    Cost,
}

const ORDER: [Next; 17] = [
    Next::Text(0),
    Next::Text(1),
    Next::Text(2),
    Next::Text(3),
    Next::Text(4),
    Next::Cost,
    Next::Number(0),
    Next::Number(1),
    Next::Text(5),
    Next::Text(6),
    Next::Text(7),
    Next::Text(8),
    Next::Number(2),
    Next::Number(3),
    Next::Text(9),
    Next::Text(10),
    Next::Number(4),
];

impl Group {
    fn push(&mut self, record: &Record<'_>) {
        let custom_id = Some(Cow::Borrowed(&*record.custom_id));
        let texts = [
            &custom_id,
            &record.text,
            &record.error,
            &record.error_code,
            &record.error_scope,
            &record.finish_reason,
            &record.model,
            &record.provider,
            &record.key,
            &record.request_id,
            &record.file,
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            self.bytes += text.as_ref().map_or(0, |text| text.len());
            column.push(text.as_ref().map(|text| ByteArray::from(&**text)));
        }
        let numbers = [
            record.prompt_tokens,
            record.completion_tokens,
            Some(record.attempts),
            record.status,
            Some(record.line),
        ];
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.push(number.and_then(|number| i64::try_from(number).ok()));
        }
        self.cost.push(record.cost_usd);
        self.rows += 1;
    }

    fn write(&self, writer: &mut SerializedFileWriter<File>) -> Result<(), ParquetError> {
        let mut rows = writer.next_row_group()?;
        for next in ORDER {
            let Some(mut column) = rows.next_column()? else {
                break;
            };
            match next {
                Next::Text(at) => {
                    let Column { values, levels } = &self.texts[at];
                    let typed = column.typed::<ByteArrayType>();
                    typed.write_batch(values, Some(levels), None)?;
                }
                Next::Number(at) => {
                    let Column { values, levels } = &self.numbers[at];
                    let typed = column.typed::<Int64Type>();
                    typed.write_batch(values, Some(levels), None)?;
                }
                Next::Cost => {
                    let Column { values, levels } = &self.cost;
                    let typed = column.typed::<DoubleType>();
                    typed.write_batch(values, Some(levels), None)?;
                }
            }
            column.close()?;
        }
        rows.close()?;
        Ok(())
    }
}
