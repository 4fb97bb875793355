//! One line for each request: [`AccessLog`].

mod line;

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fairkey_core::WallClock;

use self::line::Room;
#[cfg(feature = "otlp")]
pub(crate) use self::line::{cut, end};
use crate::record::CallRecord;

/// The most bytes of lines that wait to be written: who reads them too slowly loses some, and no
/// request waits.
const MAX_WAITING: usize = 4 << 20;
/// What is kept of the room for lines: enough for those of a busy moment, and not for those that came
/// while nothing could be written.
const KEPT: usize = 1 << 20;
/// How long a line may wait for others, to be written with them.
const GATHER: Duration = Duration::from_millis(50);
/// How long the end waits for what is still to be written: a pipe that nobody reads takes nothing.
const WAIT_AT_END: Duration = Duration::from_secs(2);

/// Writes a line of JSON for each request, by a thread of its own.
///
/// ```json
/// {"time":"2025-01-01T12:00:00.000Z","request_id":"r1","tenant":"team-a","method":"POST",
///  "operation":"chat","model":"a/b","stream":true,"status":200,"end":"whole","key":"k1",
///  "account":"acme","attempts":1,"queued_ms":0,"first_content_ms":310.5,"total_ms":1204.7,
///  "tokens":92,"usd":0.00012,"generation":"gen-1",
///  "bytes_in":812,"bytes_out":9120}
/// ```
///
/// No secret is in it, and nothing of what was asked or answered. What a caller chose (the model)
/// is cut and escaped. Dropped, it writes what waits, for two seconds at most.
pub struct AccessLog {
    shared: Arc<Shared>,
    wall: Arc<dyn WallClock>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// The thread has written all, and writes no more.
    ended: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    stop: bool,
    has_ended: bool,
}

impl AccessLog {
    /// Starts to write to `to`.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn new(to: impl Write + Send + 'static, wall: Arc<dyn WallClock>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("fairkey-access-log".to_owned())
            .spawn(move || writer.run(to))?;
        Ok(Self {
            shared,
            wall,
            thread: Some(thread),
        })
    }

    /// Writes the line of one request. Never waits: where too many wait already, it is lost, and
    /// counted.
    pub fn write(&self, call: &CallRecord<'_>) {
        thread_local! {
            static ROOM: RefCell<Room> = const { RefCell::new(Room::new()) };
        }
        ROOM.with_borrow_mut(|room| {
            let line = room.write(call, self.wall.since_epoch());
            let mut waiting = self.shared.waiting();
            if waiting.bytes.len() + line.len() > MAX_WAITING {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let is_first = waiting.bytes.is_empty();
            waiting.bytes.extend_from_slice(line);
            drop(waiting);
            if is_first {
                self.shared.wake.notify_one();
            }
        });
    }

    /// Returns how many lines were lost.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut to: impl Write) {
        let mut lines = Vec::new();
        loop {
            let is_idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.stop;
            let woken = self.wake.wait_while(self.waiting(), is_idle);
            let waiting = woken.unwrap_or_else(PoisonError::into_inner);
            // Others come a moment later: one system call for all of them.
            let running = |waiting: &mut Waiting| !waiting.stop;
            let woken = self.wake.wait_timeout_while(waiting, GATHER, running);
            let (mut waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.bytes, &mut lines);
            let stop = waiting.stop;
            drop(waiting);
            // Nobody is there to tell of an error but the log itself.
            if to.write_all(&lines).and_then(|()| to.flush()).is_err() {
                let lost = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.dropped.fetch_add(lost, Ordering::Relaxed);
            }
            lines.clear();
            lines.shrink_to(KEPT);
            if stop {
                self.waiting().has_ended = true;
                self.ended.notify_all();
                return;
            }
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting();
        waiting.stop = true;
        self.shared.wake.notify_all();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let is_writing = |waiting: &mut Waiting| !waiting.has_ended && !thread.is_finished();
        let woken = (self.shared.ended).wait_timeout_while(waiting, WAIT_AT_END, is_writing);
        let (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        if waiting.has_ended {
            drop(waiting);
            // So that what it writes to is dropped by then, too.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::line::MAX_TEXT;
    use super::*;
    use crate::End;
    use crate::reply::Reason;

    #[derive(Debug)]
    struct Noon;

    impl WallClock for Noon {
        fn since_epoch(&self) -> Duration {
            Duration::from_millis(1_735_732_800_250)
        }
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(calls: &[CallRecord<'_>]) -> Vec<Value> {
        let sink = Sink::default();
        let log = AccessLog::new(sink.clone(), Arc::new(Noon)).unwrap();
        for call in calls {
            log.write(call);
        }
        assert_eq!(log.dropped(), 0);
        drop(log);
        let bytes = sink.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn each_request_is_one_line() {
        let call = CallRecord {
            request_id: "r1",
            tenant: "team-a",
            method: "POST",
            operation: "chat",
            model: Some("a/b\n{\"forged\":1}"),
            status: 429,
            reason: Some(Reason::OverRate),
            end: Some(End::Left),
            total: Duration::from_micros(1_204_700),
            ..CallRecord::default()
        };
        let all = lines(&[call, CallRecord::default(), call]);
        assert_eq!(all.len(), 3);
        assert_eq!(all[0]["time"], "2025-01-01T12:00:00.250Z");
        assert_eq!(all[0]["reason"], "over_rate");
        assert_eq!(all[0]["total_ms"], 1_204.7);
        assert_eq!(all[0]["model"], "a/b\n{\"forged\":1}");
        assert_eq!(all[1].get("key"), None);
    }

    #[test]
    fn nobody_waits_for_ever_for_one_who_reads_nothing() {
        struct Stuck(std::sync::mpsc::Receiver<()>);

        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let (release, stuck) = std::sync::mpsc::channel();
        let log = AccessLog::new(Stuck(stuck), Arc::new(Noon)).unwrap();
        log.write(&CallRecord::default());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(log);
            tell.send(())
        });
        let ended = told.recv_timeout(Duration::from_secs(30));
        drop(release);
        ended.expect("its end does not wait for ever");
    }

    #[test]
    fn what_callers_choose_is_cut() {
        let long = "ü".repeat(5_000);
        let call = CallRecord {
            model: Some(&long),
            request_id: &long,
            ..CallRecord::default()
        };
        let all = lines(&[call]);
        assert!(all[0]["model"].as_str().unwrap().len() <= MAX_TEXT);
        assert!(all[0]["request_id"].as_str().unwrap().len() <= MAX_TEXT);
    }
}
