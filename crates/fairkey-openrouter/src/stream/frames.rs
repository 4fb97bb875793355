//! The frames of a stream until its end, common to all readers: [`Frames`].

use bytes::Bytes;

use crate::sse::{SseError, SseEvent, SseMessage, SseParser};

/// The data of the event that ends most streams.
pub(super) const DONE: &[u8] = b"[DONE]";

/// One thing that came.
#[derive(Debug)]
pub(super) enum Frame {
    Comment,
    Message(SseMessage),
    /// The bound was exceeded: nothing comes after it.
    Broken(SseError),
    /// The body has ended, and everything in it was taken.
    End,
}

/// Takes bytes, gives frames, and remembers whether more can come.
#[derive(Debug)]
pub(super) struct Frames {
    parser: SseParser,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The body has ended; what was pushed is still to be taken.
    Ending,
    /// Nothing is to be taken any more.
    Over,
}

impl Frames {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            parser: SseParser::new(limit_bytes),
            state: State::Reading,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        if self.state == State::Reading {
            self.parser.push(chunk);
        }
    }

    pub(super) fn push_bytes(&mut self, chunk: Bytes) {
        if self.state == State::Reading {
            self.parser.push_bytes(chunk);
        }
    }

    pub(super) fn finish(&mut self) {
        if self.state == State::Reading {
            self.state = State::Ending;
        }
    }

    /// Returns how many bytes come after the last frame.
    pub(super) fn unread_bytes(&self) -> usize {
        self.parser.unread_bytes()
    }

    /// Gives nothing from now on.
    pub(super) fn close(&mut self) {
        self.state = State::Over;
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Passes over events for as long as `is_known` tells that nothing of their data matters.
    pub(super) fn skip_while(&mut self, mut is_known: impl FnMut(&[u8]) -> bool) {
        while self.state != State::Over && self.parser.skip(&mut is_known) {}
    }

    /// Returns the next frame; `None`: more must be pushed, or nothing comes.
    pub(super) fn next(&mut self) -> Option<Frame> {
        if self.state == State::Over {
            return None;
        }
        Some(match self.parser.next() {
            Some(Ok(SseEvent::Comment(_))) => Frame::Comment,
            Some(Ok(SseEvent::Message(message))) => Frame::Message(message),
            Some(Err(error)) => Frame::Broken(error),
            None if self.state == State::Ending => match self.parser.finish() {
                // The last event, where nothing ended it: JSON shows by itself whether it is
                // whole, and a cut word is no `[DONE]`.
                Some(SseEvent::Message(message)) if is_whole(&message) => Frame::Message(message),
                _ => Frame::End,
            },
            None => return None,
        })
    }
}

fn is_whole(message: &SseMessage) -> bool {
    message.data == DONE || serde_json::from_slice::<serde::de::IgnoredAny>(&message.data).is_ok()
}
