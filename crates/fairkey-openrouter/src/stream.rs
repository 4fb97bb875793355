//! Streamed answers, read from bytes: [`ChatStreamReader`], and [`EventStreamReader`] for the
//! other formats.
//!
//! Events alone do not say whether a stream is well: errors come inside it with status 200, the
//! usage comes after the finish or together with a second one, and a stream that breaks off ends
//! like one that is whole. The reader knows the difference, without any I/O.

mod alike;
mod events;
mod frames;
mod plain;
mod tokens;
mod told;

use bytes::Bytes;

use crate::fault::Fault;
use crate::lenient::object;
use crate::response::{ChatChunk, FinishReason};
use crate::sse::{DEFAULT_LIMIT_BYTES, SseMessage};
use crate::stream::alike::Pattern;
use crate::stream::frames::{DONE, Frame, Frames};
use crate::stream::plain::Plain;
use crate::stream::told::{Told, keep_first, reads};

pub use events::{EventFormat, EventItem, EventStreamReader};

/// One thing that a streamed chat completion says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StreamItem {
    /// A comment: nothing new, but the connection lives.
    Comment,
    /// A chunk, and the bytes of its data as they came.
    Chunk(Box<ChatChunk>, Bytes),
    /// The stream is whole. Nothing comes after it.
    Done,
    /// The stream failed. Nothing comes after it.
    Fault(Fault),
}

/// Reads a streamed chat completion from bytes that come in pieces.
///
/// Push what has come, take items until there is none, and say when the body has ended. The last
/// item is always [`StreamItem::Done`] or [`StreamItem::Fault`], exactly once.
///
/// ```
/// use fairkey_openrouter::{ChatStreamReader, StreamItem};
///
/// let mut reader = ChatStreamReader::new();
/// reader.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n");
/// let Some(StreamItem::Chunk(chunk, _)) = reader.next() else { panic!() };
/// assert_eq!(chunk.text(), "Hi");
/// // The body ends here: without a finish reason, and without `[DONE]`.
/// reader.finish();
/// assert!(matches!(reader.next(), Some(StreamItem::Fault(_))));
/// assert_eq!(reader.next(), None);
/// ```
#[derive(Debug)]
pub struct ChatStreamReader {
    frames: Frames,
    has_choices: bool,
    finish_reason: Option<FinishReason>,
    told: Told,
    /// The last chunk that was looked over and left out.
    pattern: Pattern,
}

impl Default for ChatStreamReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ChatStreamReader {
    /// Returns a reader with the bound [`DEFAULT_LIMIT_BYTES`] on one event.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT_BYTES)
    }

    /// Returns a reader that holds at most `limit_bytes` of one event; a larger one is a fault.
    #[must_use]
    pub fn with_limit(limit_bytes: usize) -> Self {
        Self {
            frames: Frames::new(limit_bytes),
            has_choices: false,
            finish_reason: None,
            told: Told::default(),
            pattern: Pattern::default(),
        }
    }

    /// Returns the next item. `None`: push more bytes, or (after the last item) nothing comes.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` does not end it: more can be pushed"
    )]
    pub fn next(&mut self) -> Option<StreamItem> {
        self.step(false)
    }

    /// Returns the next item that is more than content, for who watches a stream that passes: once
    /// content has come, chunks that bring more of it, and tell nothing else that is new, are
    /// looked over and left out. Everything else is as with [`next`](Self::next).
    pub fn skim(&mut self) -> Option<StreamItem> {
        self.step(true)
    }

    fn step(&mut self, skims: bool) -> Option<StreamItem> {
        loop {
            if skims && self.told.has_content && self.has_choices {
                self.frames.skip_while(|data| self.pattern.fits(data));
            }
            let item = match self.frames.next()? {
                Frame::Comment => Some(StreamItem::Comment),
                Frame::Message(message) if skims && self.is_more(&message) => None,
                Frame::Message(message) => self.read(message),
                Frame::Broken(error) => Some(self.fail(Fault::malformed(&error.to_string()))),
                Frame::End => Some(self.end()),
            };
            if item.is_some() {
                return item;
            }
        }
    }

    /// Decides whether a stream without a last event is whole.
    fn end(&mut self) -> StreamItem {
        if self.finish_reason.is_some() {
            self.done()
        } else {
            self.fail(Fault::truncated())
        }
    }

    /// Tells whether an event is a chunk that tells nothing that would be noted.
    fn is_more(&mut self, message: &SseMessage) -> bool {
        let told = &self.told;
        if !told.has_content || !self.has_choices || message.event.is_some() {
            return false;
        }
        if self.pattern.fits(&message.data) {
            return true;
        }
        let is_more = Plain::read(&message.data).is_some_and(|plain| {
            (told.id.is_some() || !plain.has_id)
                && (told.model.is_some() || !plain.has_model)
                && (told.provider.is_some() || !plain.has_provider)
        });
        if is_more {
            self.pattern.keep(&message.data);
        }
        is_more
    }

    fn read(&mut self, message: SseMessage) -> Option<StreamItem> {
        if message.data == DONE {
            return Some(self.done());
        }
        if message.data.is_empty() {
            return None;
        }
        // Where it reads as it is, nothing in it was left out.
        let strict = object(&message.data);
        let is_strict = strict.is_ok();
        let chunk = match strict.or_else(|_| ChatChunk::from_slice(&message.data)) {
            Ok(chunk) if chunk.is_failure() || message.name() == Some("error") => {
                let fault = Fault::from_event(message.name(), &message.data);
                let fault = fault.unwrap_or_else(|| Fault::malformed("an error without content"));
                return Some(self.fail(fault));
            }
            Ok(chunk) => chunk,
            Err(error) => {
                let fault = Fault::from_event(message.name(), &message.data);
                let fault = fault.unwrap_or_else(|| Fault::malformed_frame(&error));
                return Some(self.fail(fault));
            }
        };
        self.note(&chunk);
        if is_strict && message.event.is_none() && self.is_plain(&chunk) {
            self.pattern.keep(&message.data);
        }
        Some(StreamItem::Chunk(Box::new(chunk), message.data))
    }

    /// Tells whether a chunk that was noted brings content, and nothing that would be noted in
    /// another one like it.
    fn is_plain(&self, chunk: &ChatChunk) -> bool {
        let told = &self.told;
        chunk.has_content()
            && chunk.usage.is_none()
            && chunk.finish_reason().is_none()
            && told.id.is_some()
            && told.model.is_some()
            && (told.provider.is_some() || chunk.provider.is_none())
    }

    fn note(&mut self, chunk: &ChatChunk) {
        self.told.has_content |= chunk.has_content();
        self.has_choices |= !chunk.choices.is_empty();
        // The chunk with the usage may repeat the finish: the first one is the one that counts.
        if self.finish_reason.is_none() {
            self.finish_reason = chunk.finish_reason().cloned();
        }
        if chunk.usage.is_some() {
            self.told.usage.clone_from(&chunk.usage);
        }
        keep_first(&mut self.told.provider, chunk.provider.as_deref());
        keep_first(&mut self.told.model, Some(&chunk.model));
        keep_first(&mut self.told.id, Some(&chunk.id));
    }

    fn done(&mut self) -> StreamItem {
        if !self.has_choices && self.finish_reason.is_none() {
            return self.fail(Fault::no_content(
                "the stream ended without a single choice",
            ));
        }
        self.frames.close();
        StreamItem::Done
    }

    fn fail(&mut self, fault: Fault) -> StreamItem {
        self.frames.close();
        StreamItem::Fault(fault.or_provider(self.told.provider.as_deref()))
    }

    /// Returns why the answer ended, once it has.
    #[must_use]
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.finish_reason.as_ref()
    }
}

reads!(ChatStreamReader);
