//! Reading on a thread of its own: [`ReaderThread`].

use std::collections::VecDeque;
use std::io::{self, Read};
use std::thread;

use tokio::sync::mpsc;

use super::{InputReader, ReadConfig, RowReader};
use crate::{Request, Row, Source};

/// The most rows handed over at once.
const BATCH_ROWS: usize = 64;
/// The most bytes of bodies handed over at once, a last long one aside.
const BATCH_BYTES: usize = 256 << 10;
/// How many hand-overs may wait.
const BATCHES: usize = 2;

/// What the thread hands over. Its end is told: a thread that is gone without a word has failed.
enum Batch {
    Rows(Vec<Row>),
    End(io::Result<()>),
}

/// Reads rows on a thread of its own, a few ahead of whoever asks.
///
/// Files and pipes block; a runtime must not. The thread ends with the input, or when this value
/// is dropped and the read it sits in returns.
#[derive(Debug)]
pub struct ReaderThread {
    batches: mpsc::Receiver<Batch>,
    ready: VecDeque<Row>,
    is_over: bool,
    total_bytes: Option<u64>,
}

impl ReaderThread {
    /// Starts reading. `total_bytes` is the length of the input, where that is known: progress is
    /// measured against it.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(
        input: impl Read + Send + 'static,
        config: ReadConfig,
        total_bytes: Option<u64>,
    ) -> io::Result<Self> {
        Self::spawn(RowReader::new(input, config), total_bytes)
    }

    /// Starts reading several inputs, one after the other.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start_inputs(reader: InputReader) -> io::Result<Self> {
        let total_bytes = reader.total_bytes();
        Self::spawn(reader, total_bytes)
    }

    fn spawn(reader: impl Reads + Send + 'static, total_bytes: Option<u64>) -> io::Result<Self> {
        let (sender, batches) = mpsc::channel(BATCHES);
        thread::Builder::new()
            .name("fairkey-reader".to_owned())
            .spawn(move || read(reader, &sender))?;
        Ok(Self {
            batches,
            ready: VecDeque::new(),
            is_over: false,
            total_bytes,
        })
    }

    /// Returns whether there is a row at all, waiting for the first.
    ///
    /// # Errors
    ///
    /// Where the input cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub async fn has_rows(&mut self) -> io::Result<bool> {
        self.fill().await?;
        Ok(!self.ready.is_empty())
    }

    async fn fill(&mut self) -> io::Result<()> {
        while self.ready.is_empty() && !self.is_over {
            match self.batches.recv().await {
                Some(Batch::Rows(rows)) => self.ready.extend(rows),
                Some(Batch::End(Ok(()))) => self.is_over = true,
                Some(Batch::End(Err(error))) => {
                    self.is_over = true;
                    return Err(error);
                }
                None => {
                    self.is_over = true;
                    let message = "reading has ended in the middle: this is a bug, please report";
                    return Err(io::Error::other(message));
                }
            }
        }
        Ok(())
    }
}

impl Source for ReaderThread {
    async fn next(&mut self) -> io::Result<Option<Row>> {
        self.fill().await?;
        Ok(self.ready.pop_front())
    }

    fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }
}

/// What a thread reads from.
trait Reads {
    fn next_row(&mut self) -> io::Result<Option<Row>>;
    fn may_block(&self) -> bool;
}

impl<R: Read> Reads for RowReader<R> {
    fn next_row(&mut self) -> io::Result<Option<Row>> {
        self.next_row()
    }

    fn may_block(&self) -> bool {
        self.may_block()
    }
}

impl Reads for InputReader {
    fn next_row(&mut self) -> io::Result<Option<Row>> {
        self.next_row()
    }

    fn may_block(&self) -> bool {
        self.may_block()
    }
}

fn read(mut reader: impl Reads, sender: &mpsc::Sender<Batch>) {
    let mut rows = Vec::new();
    let mut bytes = 0;
    loop {
        match reader.next_row() {
            Ok(Some(row)) => {
                bytes += row
                    .request
                    .as_ref()
                    .map_or(0, |request: &Request| request.body.len());
                rows.push(row);
                let full = rows.len() >= BATCH_ROWS || bytes >= BATCH_BYTES;
                // What is there is handed over before a slow input is waited for.
                if full || reader.may_block() {
                    bytes = 0;
                    if sender
                        .blocking_send(Batch::Rows(std::mem::take(&mut rows)))
                        .is_err()
                    {
                        return;
                    }
                }
            }
            end => {
                let _ = sender.blocking_send(Batch::Rows(rows));
                let _ = sender.blocking_send(Batch::End(end.map(|_| ())));
                return;
            }
        }
    }
}
