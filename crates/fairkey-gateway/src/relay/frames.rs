//! Where events end: [`Frames`].

use bytes::{Bytes, BytesMut};

/// The most of one event that is held back. What is larger passes in pieces; should its stream then
/// break in the middle of it, the caller reads half an event before it reads of the break.
const MAX_HELD_BYTES: usize = 256 << 10;

/// Lets whole events of an event stream pass, and holds the rest back until it is whole.
///
/// A client does nothing with half an event, so that nothing comes later for it; and a stream that
/// breaks within one can be ended by an event that says so, instead of by one that is no JSON.
/// Nearly every chunk is whole events, and passes as it is, without a copy.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    held: BytesMut,
    /// Bytes of an unfinished event have passed.
    is_within: bool,
    /// The last byte that has passed.
    last: Option<u8>,
}

impl Frames {
    /// Takes a chunk; returns what passes now.
    pub(crate) fn push(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        if self.held.is_empty() && chunk.ends_with(b"\n\n") {
            // Nearly every chunk.
            self.is_within = false;
            self.last = Some(b'\n');
            return Some(chunk);
        }
        let passed = match self.end_of_last_event(&chunk) {
            Some(end) => {
                let rest = chunk.split_off(end);
                let passed = self.joined(chunk);
                self.held.extend_from_slice(&rest);
                self.is_within = false;
                passed
            }
            None if self.is_within || self.held.len() + chunk.len() > MAX_HELD_BYTES => {
                self.is_within = true;
                self.joined(chunk)
            }
            None => {
                self.held.extend_from_slice(&chunk);
                return None;
            }
        };
        self.last = passed.last().copied().or(self.last);
        (!passed.is_empty()).then_some(passed)
    }

    /// What is held, with a chunk behind it.
    fn joined(&mut self, chunk: Bytes) -> Bytes {
        if self.held.is_empty() {
            return chunk;
        }
        self.held.extend_from_slice(&chunk);
        self.held.split().freeze()
    }

    /// Returns what is held when the stream has ended as it should.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let held = self.held.split().freeze();
        (!held.is_empty()).then_some(held)
    }

    /// Forgets what is held, when the stream has broken. Returns whether half an event has passed.
    pub(crate) fn abandon(&mut self) -> bool {
        self.held.clear();
        self.is_within
    }

    /// Returns where the last event ends in `chunk`.
    ///
    /// An event ends with an empty line, and a line with LF, CR, or both. Of a CR at the very end
    /// it is not known whether an LF follows; either way the event is over.
    fn end_of_last_event(&self, chunk: &[u8]) -> Option<usize> {
        // What stands `back` bytes before the place `at`.
        let before = |at: usize, back: usize| match at.checked_sub(back) {
            Some(at) => Some(chunk[at]),
            None => match self.held.len().checked_sub(back - at) {
                Some(at) => Some(self.held[at]),
                None => self.last,
            },
        };
        let mut to = chunk.len();
        while let Some(at) = memchr::memrchr2(b'\n', b'\r', &chunk[..to]) {
            let is_crlf = chunk[at] == b'\n' && before(at, 1) == Some(b'\r');
            // The byte before this line's end; none: the stream begins with it.
            let last = before(at, if is_crlf { 2 } else { 1 });
            if matches!(last, None | Some(b'\n' | b'\r')) {
                return Some(at + 1);
            }
            to = if is_crlf { at.saturating_sub(1) } else { at };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push(frames: &mut Frames, text: &str) -> Option<String> {
        let passed = frames.push(Bytes::copy_from_slice(text.as_bytes()));
        passed.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn whole_events_pass_at_once_and_without_a_copy() {
        let mut frames = Frames::default();
        for text in [
            "data: a\n\n",
            ": hi\n\ndata: b\n\n",
            "data: c\r\n\r\n",
            "event: x\rdata: d\r\r",
            "\n",
        ] {
            let chunk = Bytes::copy_from_slice(text.as_bytes());
            let passed = frames.push(chunk.clone()).unwrap();
            assert_eq!(passed.as_ptr(), chunk.as_ptr(), "{text:?}");
            assert_eq!(passed, chunk);
        }
    }

    #[test]
    fn half_an_event_waits_for_its_end_and_is_forgotten_when_the_stream_breaks() {
        let mut frames = Frames::default();
        let passed = push(&mut frames, "data: a\n\ndata: {\"b\":");
        assert_eq!(passed.unwrap(), "data: a\n\n");
        assert_eq!(push(&mut frames, "1}"), None);
        assert_eq!(push(&mut frames, "\n"), None);
        let passed = push(&mut frames, "\nda");
        assert_eq!(passed.unwrap(), "data: {\"b\":1}\n\n");
        assert!(!frames.abandon());
        assert_eq!(frames.finish(), None);
    }

    #[test]
    fn an_event_beyond_the_bound_passes_in_pieces_and_is_known_to() {
        let mut frames = Frames::default();
        let large = "x".repeat(MAX_HELD_BYTES);
        assert_eq!(push(&mut frames, &large), None);
        assert_eq!(push(&mut frames, "y").unwrap().len(), MAX_HELD_BYTES + 1);
        assert_eq!(push(&mut frames, "z").unwrap(), "z");
        assert!(frames.abandon());
        assert_eq!(push(&mut frames, "\n\n").unwrap(), "\n\n");
        assert!(!frames.abandon());
    }

    proptest! {
        /// However a stream is cut into chunks, the same bytes come out, in order, and after each
        /// chunk all events that are whole by then.
        #[test]
        fn nothing_is_lost_and_whole_events_never_wait(
            pieces in proptest::collection::vec("(data: [a-z]{0,3}|\n|\r\n|\n\n|:)", 0..12),
            cuts in proptest::collection::vec(1usize..6, 1..20),
        ) {
            let text: String = pieces.concat();
            let (mut frames, mut out, mut at) = (Frames::default(), String::new(), 0);
            let mut cuts = cuts.iter().cycle();
            while at < text.len() {
                let to = (at + cuts.next().unwrap()).min(text.len());
                if let Some(passed) = push(&mut frames, &text[at..to]) {
                    out.push_str(&passed);
                }
                at = to;
                prop_assert!(text.starts_with(&out));
                let seen = text[..at].replace("\r\n", "\n");
                if seen.ends_with("\n\n") {
                    prop_assert_eq!(&out, &text[..at]);
                }
            }
            out.extend(frames.finish().map(|rest| String::from_utf8(rest.to_vec()).unwrap()));
            prop_assert_eq!(out, text);
        }
    }
}
