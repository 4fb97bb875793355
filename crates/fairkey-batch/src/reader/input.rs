//! Files and streams, one after the other: [`Input`] and [`InputReader`].

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::Archive;
#[cfg(feature = "parquet")]
use super::parquet::ParquetRows;
use super::{Format, ReadConfig, RowReader};
use crate::Row;

/// One input of a run: a file, which is opened when its turn comes, or a stream.
pub struct Input {
    name: Arc<str>,
    from: From,
    bytes: Option<u64>,
    format: Format,
    archive: Option<Archive>,
}

enum From {
    File(PathBuf),
    Stream(Box<dyn Read + Send>),
}

impl Input {
    /// Makes one of a file, a pipe or a device. Its name tells its format, and whether it is
    /// packed: `.jsonl`, `.ndjson`, `.json`, `.txt`, `.csv`, `.tsv`, `.parquet`, with `.gz` or
    /// `.zst` behind it.
    ///
    /// # Errors
    ///
    /// Where there is none, or it is a folder.
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (format, archive) = by_name(&path);
        Ok(Self {
            name: path.display().to_string().into(),
            bytes: metadata.is_file().then_some(metadata.len()),
            from: From::File(path),
            format,
            archive,
        })
    }

    /// Makes one of a stream. `name` is for messages.
    pub fn stream(name: &str, input: impl Read + Send + 'static) -> Self {
        Self {
            name: name.into(),
            from: From::Stream(Box::new(input)),
            bytes: None,
            format: Format::Auto,
            archive: None,
        }
    }

    /// Returns what it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how long it is, packed as it is; `None` where that is not known.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Opens it.
    fn open(self, config: &ReadConfig) -> io::Result<Reader> {
        let mut config = config.clone();
        if config.format == Format::Auto {
            config.format = self.format;
        }
        let input: Box<dyn Read + Send> = match self.from {
            From::File(path) => {
                let file = File::open(path)?;
                if self.bytes.is_some() && self.archive.is_none() && is_parquet(&file, &config)? {
                    return parquet(file, config);
                }
                Box::new(file)
            }
            From::Stream(stream) => stream,
        };
        let reader = RowReader::claimed(input, self.archive, config);
        Ok(Reader::Bytes(Box::new(reader)))
    }

    /// Reads as much of a regular file as it takes to know that it can be read; of a table, the
    /// header. A pipe could not be read twice, and is not looked at.
    fn check(&self, config: &ReadConfig) -> io::Result<()> {
        let (From::File(path), Some(_)) = (&self.from, self.bytes) else {
            return Ok(());
        };
        let input = Self {
            name: Arc::clone(&self.name),
            from: From::File(path.clone()),
            ..*self
        };
        match input.open(config)? {
            Reader::Bytes(mut reader) => reader.open(),
            #[cfg(feature = "parquet")]
            Reader::Parquet(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("name", &self.name)
            .field("bytes", &self.bytes)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Returns whether a file is to be read as Parquet: it is said so, or begins like one.
fn is_parquet(file: &File, config: &ReadConfig) -> io::Result<bool> {
    if config.format != Format::Auto {
        return Ok(config.format == Format::Parquet);
    }
    let mut file = file;
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(magic == b"PAR1")
}

#[cfg(feature = "parquet")]
fn parquet(file: File, config: ReadConfig) -> io::Result<Reader> {
    let rows = ParquetRows::open(file, config)?;
    Ok(Reader::Parquet(Box::new(rows)))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: File, _: ReadConfig) -> io::Result<Reader> {
    Err(super::invalid(
        "it is to be read as Parquet, and this build cannot: build it with the feature parquet \
         (cargo install fairkey-cli --features parquet), or export it as JSON lines or CSV",
    ))
}

/// What the name of a file tells: how it is written, and how it is packed.
fn by_name(path: &Path) -> (Format, Option<Archive>) {
    let extension = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.unwrap_or_default().to_ascii_lowercase()
    };
    let last = extension(path);
    match Archive::of_extension(&last) {
        Some(archive) => {
            let inner = path.file_stem().map(Path::new);
            let inner = inner.map(extension).unwrap_or_default();
            (Format::of_extension(&inner), Some(archive))
        }
        None => (Format::of_extension(&last), None),
    }
}

/// Reads the rows of several inputs, one after the other.
///
/// Rows are numbered through all of them. Where there are several, each row says which it comes
/// from.
///
/// ```no_run
/// use fairkey_batch::{Input, InputReader, ReadConfig};
///
/// let inputs = vec![Input::file("a.jsonl.gz")?, Input::file("b.csv")?];
/// let mut reader = InputReader::new(inputs, ReadConfig::default());
/// reader.check()?;
/// while let Some(row) = reader.next_row()? {
///     println!("{}", row.place());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct InputReader {
    inputs: VecDeque<Input>,
    config: ReadConfig,
    several: bool,
    total_bytes: Option<u64>,
    current: Option<Current>,
    rows: u64,
    /// Bytes of the inputs before the current one.
    before: u64,
}

#[derive(Debug)]
struct Current {
    name: Arc<str>,
    bytes: Option<u64>,
    reader: Reader,
}

enum Reader {
    Bytes(Box<RowReader<Box<dyn Read + Send>>>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetRows>),
}

impl Reader {
    fn next_row(&mut self) -> io::Result<Option<Row>> {
        match self {
            Self::Bytes(reader) => reader.next_row(),
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => rows.next_row(),
        }
    }

    fn may_block(&self) -> bool {
        match self {
            Self::Bytes(reader) => reader.may_block(),
            #[cfg(feature = "parquet")]
            Self::Parquet(_) => false,
        }
    }

    fn line(&self) -> u64 {
        match self {
            Self::Bytes(reader) => reader.line(),
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => rows.line(),
        }
    }

    /// Returns how much was used of an input whose length is not known.
    fn position(&self) -> u64 {
        match self {
            Self::Bytes(reader) => reader.position(),
            #[cfg(feature = "parquet")]
            Self::Parquet(_) => 0,
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl InputReader {
    /// Reads `inputs` in their order. A format that `config` names holds for all of them.
    #[must_use]
    pub fn new(inputs: Vec<Input>, config: ReadConfig) -> Self {
        Self {
            several: inputs.len() > 1,
            total_bytes: inputs.iter().map(Input::bytes).sum(),
            inputs: inputs.into(),
            config,
            current: None,
            rows: 0,
            before: 0,
        }
    }

    /// Returns how many bytes there are in all, packed as they are, where that is known.
    #[must_use]
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// Looks at the beginning of every regular file: whether it can be read, and has the columns
    /// that are needed. So nothing is begun that must fail.
    ///
    /// # Errors
    ///
    /// What is wrong with the first that cannot be read.
    pub fn check(&self) -> io::Result<()> {
        for input in &self.inputs {
            let checked = input.check(&self.config);
            checked.map_err(|error| unreadable(&input.name, 0, &error))?;
        }
        Ok(())
    }

    /// Returns the next row; `None` at the end.
    ///
    /// # Errors
    ///
    /// Where an input cannot be read: which, and after which line. After an error, there are no
    /// more rows.
    pub fn next_row(&mut self) -> io::Result<Option<Row>> {
        let next = self.next();
        if next.is_err() {
            self.inputs.clear();
            self.current = None;
        }
        next
    }

    fn next(&mut self) -> io::Result<Option<Row>> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    let Some(input) = self.inputs.pop_front() else {
                        return Ok(None);
                    };
                    let (name, bytes) = (Arc::clone(&input.name), input.bytes);
                    let reader = input.open(&self.config);
                    let reader = reader.map_err(|error| unreadable(&name, 0, &error))?;
                    self.current.insert(Current {
                        name,
                        bytes,
                        reader,
                    })
                }
            };
            match current.reader.next_row() {
                Ok(Some(mut row)) => {
                    row.index = self.rows;
                    self.rows += 1;
                    row.end_byte += self.before;
                    if self.several {
                        row.file = Some(Arc::clone(&current.name));
                        if let Err(bad) = &mut row.request {
                            bad.place.file.clone_from(&row.file);
                        }
                    }
                    return Ok(Some(row));
                }
                Ok(None) => {
                    self.before += current.bytes.unwrap_or(current.reader.position());
                    self.current = None;
                }
                Err(error) => {
                    return Err(unreadable(&current.name, current.reader.line(), &error));
                }
            }
        }
    }

    /// Returns whether the next row may have to wait for an input.
    pub(super) fn may_block(&self) -> bool {
        match &self.current {
            Some(current) => current.reader.may_block(),
            None => true,
        }
    }
}

fn unreadable(name: &str, line: u64, error: &io::Error) -> io::Error {
    let message = match line {
        0 => format!("{name} cannot be read: {error}"),
        line => format!("{name} cannot be read beyond line {line}: {error}"),
    };
    io::Error::new(error.kind(), message)
}
