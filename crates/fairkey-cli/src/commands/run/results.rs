//! What results are made of them on their way out: [`Results`].

use std::io;

#[cfg(feature = "parquet")]
use fairkey_batch::ParquetOutput;
use fairkey_batch::{Output, OutputError, OutputFormat, Rendered, ResultLine, Sink, WriterThread};

/// Results on their way to a file or a pipe, in their shape.
pub(super) enum Results {
    Lines(Rendered<WriterThread>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetOutput>),
}

impl Results {
    /// Writes lines in their shape.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub(super) fn lines(sink: Sink, format: OutputFormat) -> io::Result<Self> {
        let writer = WriterThread::start(sink)?;
        Ok(Self::Lines(Rendered::new(writer, format, false)))
    }
}

impl Output for Results {
    fn push(&mut self, line: ResultLine) {
        match self {
            Self::Lines(lines) => lines.push(line),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.push(line),
        }
    }

    async fn ready(&mut self) -> Result<(), OutputError> {
        match self {
            Self::Lines(lines) => lines.ready().await,
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.ready().await,
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.is_ready(),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.is_ready(),
        }
    }

    async fn finish(&mut self) -> Result<(), OutputError> {
        match self {
            Self::Lines(lines) => lines.finish().await,
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.finish().await,
        }
    }

    fn written(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.written(),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.written(),
        }
    }
}
