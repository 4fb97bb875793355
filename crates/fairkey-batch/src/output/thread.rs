//! Writing on a thread of its own: [`WriterThread`].

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::Notify;

use super::{Output, OutputError, ResultLine};

/// How much may wait to be written before more is unwelcome.
const BACKLOG: usize = 1 << 20;

/// What a [`WriterThread`] writes to.
pub enum Sink {
    /// A regular file, empty, that nobody else writes to. When a write fails half way, as on a
    /// full disk, the file is cut back to its last whole line.
    File(File),
    /// Anything else: a pipe, a terminal, a device.
    Stream(Box<dyn Write + Send>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "Sink::File",
            Self::Stream(_) => "Sink::Stream",
        })
    }
}

/// Writes lines on a thread of its own.
///
/// What waits is written with one call as soon as the thread is free: under load many lines at
/// once, otherwise each line when it comes. Nothing is kept back; lines are handed to the system,
/// not synced to the disk.
///
/// Dropped without [`finish`](Output::finish), it writes what it holds and ends.
#[derive(Debug)]
pub struct WriterThread {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the thread: there is something to do.
    work: Condvar,
    /// For whoever pushes: there is room, or an error.
    done: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Where each result in it ends.
    ends: Vec<usize>,
    busy: bool,
    closed: bool,
    written: u64,
    error: Option<OutputError>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriterThread {
    /// Starts writing to `sink`.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(sink: Sink) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("fairkey-writer".to_owned())
            .spawn(move || write(Lines { sink, bytes: 0 }, &theirs))?;
        Ok(Self { shared })
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) -> Result<(), OutputError> {
        loop {
            // Registered before the look: what is done after it wakes us.
            let done = self.shared.done.notified();
            {
                let state = self.shared.state();
                if let Some(error) = &state.error {
                    return Err(error.clone());
                }
                if reached(&state) {
                    return Ok(());
                }
            }
            done.await;
        }
    }
}

impl Output for WriterThread {
    fn push(&mut self, line: ResultLine) {
        let mut state = self.shared.state();
        if state.error.is_some() {
            return;
        }
        if state.pending.is_empty() {
            state.pending = line.bytes;
        } else {
            state.pending.extend_from_slice(&line.bytes);
        }
        let end = state.pending.len();
        state.ends.push(end);
        self.shared.work.notify_one();
    }

    async fn ready(&mut self) -> Result<(), OutputError> {
        self.until(|state| state.pending.len() < BACKLOG).await
    }

    fn is_ready(&self) -> bool {
        let state = self.shared.state();
        state.error.is_none() && state.pending.len() < BACKLOG
    }

    async fn finish(&mut self) -> Result<(), OutputError> {
        self.until(|state| state.pending.is_empty() && !state.busy)
            .await
    }

    fn written(&self) -> u64 {
        self.shared.state().written
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.work.notify_one();
    }
}

fn write(mut lines: Lines, shared: &Shared) {
    loop {
        let (chunk, ends) = {
            let mut state = shared.state();
            while state.pending.is_empty() && !state.closed {
                state = shared
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if state.pending.is_empty() {
                return;
            }
            state.busy = true;
            let state = &mut *state;
            (
                std::mem::take(&mut state.pending),
                std::mem::take(&mut state.ends),
            )
        };
        let (written, result) = lines.write(&chunk, &ends);
        let mut state = shared.state();
        state.busy = false;
        state.written += written;
        let failed = result.is_err();
        if let Err(error) = result {
            state.error = Some((&error).into());
            state.pending = Vec::new();
            state.ends = Vec::new();
        }
        drop(state);
        shared.done.notify_waiters();
        if failed {
            return;
        }
    }
}

/// A sink that holds whole results only, as far as it can be helped.
struct Lines {
    sink: Sink,
    /// Bytes of whole results so far.
    bytes: u64,
}

impl Lines {
    /// Writes results, each up to one of `ends`. Returns how many more are there now, whatever
    /// went wrong.
    fn write(&mut self, chunk: &[u8], ends: &[usize]) -> (u64, io::Result<()>) {
        let (done, mut result) = self.write_bytes(chunk);
        let count = ends.partition_point(|&end| end <= done);
        let whole = count.checked_sub(1).map_or(0, |last| ends[last]);
        self.bytes += whole as u64;
        if let Sink::File(file) = &self.sink
            && whole < done
            && let Err(error) = file.set_len(self.bytes)
        {
            result = Err(error);
        }
        (count as u64, result)
    }

    fn write_bytes(&mut self, chunk: &[u8]) -> (usize, io::Result<()>) {
        let sink: &mut dyn Write = match &mut self.sink {
            Sink::File(file) => file,
            Sink::Stream(stream) => stream,
        };
        let mut done = 0;
        while done < chunk.len() {
            match sink.write(&chunk[done..]) {
                Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (done, Err(error)),
            }
        }
        (done, sink.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then is full.
    struct Full(Arc<Mutex<Vec<u8>>>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut held = self.0.lock().unwrap();
            let room = (self.1 - held.len()).min(bytes.len()).min(3);
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            held.extend_from_slice(&bytes[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_whole_lines_count_as_written_when_the_disk_is_full() {
        let held = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::Stream(Box::new(Full(Arc::clone(&held), 13)));
        let mut output = WriterThread::start(sink).unwrap();
        for _ in 0..5 {
            output.push(ResultLine::new(0, true, b"1\n345\n".to_vec()));
        }
        let error = output.finish().await.unwrap_err();
        assert!(!error.is_broken_pipe());
        assert_eq!(output.written(), 2);
        assert_eq!(output.ready().await, Err(error), "it stays an error");
        assert!(!output.is_ready());
    }

    #[tokio::test]
    async fn what_is_pushed_is_written_in_order() {
        let held = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::Stream(Box::new(Full(Arc::clone(&held), usize::MAX / 2)));
        let mut output = WriterThread::start(sink).unwrap();
        let mut expected = Vec::new();
        for n in 0..2_000 {
            let line = format!("{n}\n").into_bytes();
            expected.extend_from_slice(&line);
            output.ready().await.unwrap();
            output.push(ResultLine::new(n, true, line));
        }
        output.finish().await.unwrap();
        assert_eq!(output.written(), 2_000);
        assert_eq!(*held.lock().unwrap(), expected);
    }
}
