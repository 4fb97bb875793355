//! A streamed chat completion, read from bytes: [`ChatStreamReader`].
//!
//! Events alone do not say whether a stream is well: errors come inside it with status 200, the
//! usage comes after the finish or together with a second one, and a stream that breaks off ends
//! like one that is whole. The reader knows the difference, without any I/O.

use bytes::Bytes;
use fairkey_core::Cost;

use crate::fault::Fault;
use crate::response::{ChatChunk, FinishReason, Usage};
use crate::sse::{DEFAULT_LIMIT_BYTES, SseEvent, SseMessage, SseParser};

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
    parser: SseParser,
    state: State,
    has_content: bool,
    has_choices: bool,
    finish_reason: Option<FinishReason>,
    usage: Option<Usage>,
    provider: Option<String>,
    model: Option<String>,
    id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The body has ended; what was pushed is still to be taken.
    Ending,
    /// The last item was taken.
    Over,
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
            parser: SseParser::new(limit_bytes),
            state: State::Reading,
            has_content: false,
            has_choices: false,
            finish_reason: None,
            usage: None,
            provider: None,
            model: None,
            id: None,
        }
    }

    /// Takes the bytes that have come, however they are cut. Does nothing after
    /// [`finish`](Self::finish) and after the last item.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.state == State::Reading {
            self.parser.push(chunk);
        }
    }

    /// Says that the body has ended, in whatever way: what is missing now is missing for good.
    pub fn finish(&mut self) {
        if self.state == State::Reading {
            self.state = State::Ending;
        }
    }

    /// Returns the next item. `None`: push more bytes, or (after the last item) nothing comes.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` does not end it: more can be pushed"
    )]
    pub fn next(&mut self) -> Option<StreamItem> {
        if self.state == State::Over {
            return None;
        }
        loop {
            let item = match self.parser.next() {
                Some(Ok(SseEvent::Comment(_))) => Some(StreamItem::Comment),
                Some(Ok(SseEvent::Message(message))) => self.read(message),
                Some(Err(error)) => Some(self.fail(Fault::malformed(&error.to_string()))),
                None if self.state == State::Ending => Some(self.end()),
                None => return None,
            };
            if item.is_some() {
                return item;
            }
        }
    }

    /// Reads the last event, where nothing ended it, and decides whether the stream is whole.
    fn end(&mut self) -> StreamItem {
        if let Some(SseEvent::Message(message)) = self.parser.finish() {
            // JSON shows by itself whether it is whole, and a cut word is no `[DONE]`.
            let is_whole = message.data == DONE
                || serde_json::from_slice::<serde::de::IgnoredAny>(&message.data).is_ok();
            if is_whole && let Some(item) = self.read(message) {
                // What follows it, `next` decides the next time it is called.
                return item;
            }
        }
        if self.finish_reason.is_some() {
            self.done()
        } else {
            self.fail(Fault::truncated())
        }
    }

    fn read(&mut self, message: SseMessage) -> Option<StreamItem> {
        if message.data == DONE {
            return Some(self.done());
        }
        if message.data.is_empty() {
            return None;
        }
        let chunk = match ChatChunk::from_slice(&message.data) {
            Ok(chunk) if chunk.is_failure() || message.name() == Some("error") => {
                let fault = Fault::from_frame(&message.data);
                let fault = fault.unwrap_or_else(|| Fault::malformed("an error without content"));
                return Some(self.fail(fault));
            }
            Ok(chunk) => chunk,
            Err(error) => {
                let fault = Fault::from_frame(&message.data);
                let fault = fault.unwrap_or_else(|| Fault::malformed_frame(&error));
                return Some(self.fail(fault));
            }
        };
        self.note(&chunk);
        Some(StreamItem::Chunk(Box::new(chunk), message.data))
    }

    fn note(&mut self, chunk: &ChatChunk) {
        self.has_content |= chunk.has_content();
        self.has_choices |= !chunk.choices.is_empty();
        // The chunk with the usage may repeat the finish: the first one is the one that counts.
        if self.finish_reason.is_none() {
            self.finish_reason = chunk.finish_reason().cloned();
        }
        if chunk.usage.is_some() {
            self.usage.clone_from(&chunk.usage);
        }
        if self.provider.is_none() {
            self.provider.clone_from(&chunk.provider);
        }
        if self.model.is_none() && !chunk.model.is_empty() {
            self.model = Some(chunk.model.clone());
        }
        if self.id.is_none() && !chunk.id.is_empty() {
            self.id = Some(chunk.id.clone());
        }
    }

    fn done(&mut self) -> StreamItem {
        if !self.has_choices && self.finish_reason.is_none() {
            return self.fail(Fault::no_content(
                "the stream ended without a single choice",
            ));
        }
        self.state = State::Over;
        StreamItem::Done
    }

    fn fail(&mut self, fault: Fault) -> StreamItem {
        self.state = State::Over;
        StreamItem::Fault(fault.or_provider(self.provider.as_deref()))
    }

    /// Returns whether content has come: text, reasoning, a piece of a tool call. Before that,
    /// another attempt costs the caller nothing.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.has_content
    }

    /// Returns why the answer ended, once it has.
    #[must_use]
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.finish_reason.as_ref()
    }

    /// Returns what the call used and cost, once the stream has said so.
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// Returns what the call cost as the pool counts it, once the stream has said so.
    #[must_use]
    pub fn cost(&self) -> Option<Cost> {
        self.usage.as_ref().map(Usage::cost)
    }

    /// Returns the provider that answers, once the stream has said so.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// Returns the model that answers, once the stream has said so.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns the generation's identifier, once the stream has said so.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns whether the last item was taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

/// The data of the event that ends a stream.
const DONE: &[u8] = b"[DONE]";
