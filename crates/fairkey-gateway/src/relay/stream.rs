//! A stream of events on its way, and what ends one that breaks: [`Stream`].

use bytes::Bytes;
use fairkey_client::CallError;
use memchr::memmem;

use super::frames::Frames;
use crate::{BrokenStream, Failure, Format};

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Stream {
    format: Format,
    frames: Frames,
    last: Last,
}

impl Stream {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            frames: Frames::default(),
            last: Last::default(),
        }
    }

    /// Takes a chunk; returns what passes now.
    pub(super) fn push(&mut self, chunk: Bytes) -> Option<Bytes> {
        let passed = self.frames.push(chunk);
        if let Some(passed) = &passed {
            self.last.keep(passed);
        }
        passed
    }

    /// Returns the rest of a stream that has ended as it should.
    pub(super) fn finish(&mut self) -> Option<Bytes> {
        self.frames.finish()
    }

    /// Returns the event that ends a stream that broke. Nothing follows it.
    pub(super) fn broken(&mut self, error: &CallError) -> Bytes {
        let failure = Failure::of_call(error);
        let told = Told::of(self.last.bytes());
        let stream = BrokenStream {
            id: told.id.as_deref(),
            model: told.model.as_deref(),
            created: told.created,
            sequence_number: told.sequence_number.map(|number| number + 1),
            is_within_event: self.frames.abandon(),
        };
        failure.to_event(self.format, &stream)
    }
}

/// What passed last: the end of a stream looks like what came before.
///
/// A stream may say nothing for long, and a slice of what came would keep all of the 8 kB alive
/// that it was read into. So little is copied, which costs no more than to share it.
#[derive(Debug, Default)]
struct Last {
    copy: Vec<u8>,
    /// What is too large for that, in place of it.
    shared: Bytes,
}

/// The most that is copied of what passes.
const MAX_COPY_BYTES: usize = 1 << 10;

impl Last {
    fn keep(&mut self, passed: &Bytes) {
        self.copy.clear();
        self.shared = Bytes::new();
        if passed.len() <= MAX_COPY_BYTES {
            self.copy.extend_from_slice(passed);
        } else if let Some(events) = last_events(passed) {
            self.copy.extend_from_slice(events);
        } else {
            self.shared = passed.clone();
        }
    }

    fn bytes(&self) -> &[u8] {
        if self.copy.is_empty() {
            &self.shared
        } else {
            &self.copy
        }
    }
}

/// Returns the last few events with JSON in them of much that passed, where they are not large.
fn last_events(passed: &[u8]) -> Option<&[u8]> {
    let end = &passed[passed.len().saturating_sub(MAX_COPY_BYTES)..];
    let mut lines = memmem::find_iter(end, b"\ndata:").map(|at| &end[at + 1..]);
    lines.find(|line| line[b"data:".len()..].trim_ascii_start().starts_with(b"{"))
}

/// What the last event that passed says of its stream.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Told {
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
    sequence_number: Option<u64>,
}

impl Told {
    /// Reads the last event of `passed` that can be read.
    fn of(passed: &[u8]) -> Self {
        let lines = passed.rsplit(|byte| matches!(byte, b'\n' | b'\r'));
        let data = lines.filter_map(|line| line.strip_prefix(b"data:"));
        let mut told = data.filter_map(|data| serde_json::from_slice(data).ok());
        told.next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_last_is_known_and_no_more_is_kept_alive_than_that() {
        let event = |id: usize, text: usize| {
            let text = "x".repeat(text);
            format!("data: {{\"id\":\"gen-{id}\",\"text\":\"{text}\"}}\n\n")
        };
        let small: String = (0..100).map(|id| event(id, 100)).collect();
        let large = event(100, MAX_COPY_BYTES);
        let comments = event(101, 9) + &": hold\n\n".repeat(MAX_COPY_BYTES);
        let mut last = Last::default();
        for (passed, id, is_shared) in [
            (event(7, 9), "gen-7", false),
            (small, "gen-99", false),
            (large.clone(), "gen-100", true),
            (event(8, 9), "gen-8", false),
            (event(9, 9) + &large, "gen-100", true),
            (comments, "gen-101", true),
        ] {
            let passed = Bytes::from(passed);
            last.keep(&passed);
            assert_eq!(Told::of(last.bytes()).id.as_deref(), Some(id));
            assert_eq!(!passed.is_unique(), is_shared, "{id}");
            assert!(last.bytes().len() <= MAX_COPY_BYTES || is_shared, "{id}");
        }
    }

    #[test]
    fn the_last_event_that_can_be_read_tells_of_its_stream() {
        let told = Told::of(
            b"data: {\"id\":\"gen-1\",\"model\":\"a/b\",\"created\":7}\r\n\r\n: hold\n\ndata: [DONE]\n\n",
        );
        assert_eq!(told.id.as_deref(), Some("gen-1"));
        assert_eq!(
            (told.model.as_deref(), told.created),
            (Some("a/b"), Some(7))
        );
        let told = Told::of(b"event: x\ndata: {\"type\":\"x\",\"sequence_number\":4}\n\n");
        assert_eq!(told.sequence_number, Some(4));
        assert!(Told::of(b"data: no JSON\n\n").id.is_none());
        assert!(Told::of(b"").id.is_none());
    }
}
