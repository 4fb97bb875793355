//! A stream of events on its way, and what ends one that breaks: [`Stream`].

use bytes::Bytes;
use fairkey_client::CallError;

use super::frames::Frames;
use crate::{BrokenStream, Failure, Format};

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Stream {
    format: Format,
    frames: Frames,
    /// What passed last: the end of a stream looks like what came before.
    last: Bytes,
}

impl Stream {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            frames: Frames::default(),
            last: Bytes::new(),
        }
    }

    /// Takes a chunk; returns what passes now.
    pub(super) fn push(&mut self, chunk: Bytes) -> Option<Bytes> {
        let passed = self.frames.push(chunk);
        if let Some(passed) = &passed {
            // Shares the bytes.
            self.last = passed.clone();
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
        let told = Told::of(&self.last);
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
