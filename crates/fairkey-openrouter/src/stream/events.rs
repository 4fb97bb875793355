//! Streams of the formats that are not chat, read from bytes: [`EventStreamReader`].

use serde::Deserialize;
use serde_json::Value;

use crate::endpoint;
use crate::fault::Fault;
use crate::response::Usage;
use crate::sse::{DEFAULT_LIMIT_BYTES, SseMessage};
use crate::stream::frames::{DONE, Frame, Frames};
use crate::stream::tokens::{self, Cached};
use crate::stream::told::{Told, keep_first, reads};

/// The format of a stream of events: which of them are content, and which is the last.
///
/// | format | content | whole |
/// | --- | --- | --- |
/// | `Messages` | a delta or a block with something in it | `message_stop` |
/// | `Responses` | a delta or an item with something in it | `response.completed`, `.incomplete`, `.done` |
/// | `Other` | whatever is no empty choice | the events of finished images; a finish reason |
///
/// `[DONE]` ends a stream of any format, where content or a reason to have ended came before. A
/// body that ends without an end is a truncated one. An event that this version does not know is
/// content: once it has reached a caller, another attempt could repeat it.
///
/// Sources: the OpenAPI description of the service, and its page on the Responses format, which
/// calls the last event `response.done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventFormat {
    /// The Messages format of Anthropic.
    Messages,
    /// The Responses format of OpenAI.
    Responses,
    /// Images, legacy completions, and whatever comes.
    Other,
}

impl EventFormat {
    /// Returns the format of what an endpoint such as `/api/v1/messages` streams. Chat completions
    /// have a [reader](crate::ChatStreamReader) of their own.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let path = path
            .split('?')
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        if path.ends_with(endpoint::MESSAGES) {
            Self::Messages
        } else if path.ends_with(endpoint::RESPONSES) {
            Self::Responses
        } else {
            Self::Other
        }
    }

    /// Reads the usage of a whole answer in this format, in the words of chat completions; `None`:
    /// it names none, or is no JSON.
    #[must_use]
    pub fn usage(self, answer: &[u8]) -> Option<Usage> {
        #[derive(Deserialize)]
        struct Answer {
            usage: Option<Value>,
        }
        let said = serde_json::from_slice::<Answer>(answer).ok()?.usage?;
        let mut usage = None;
        tokens::note(&mut usage, &said, self.cached());
        usage
    }

    fn cached(self) -> Cached {
        match self {
            Self::Messages => Cached::Apart,
            Self::Responses | Self::Other => Cached::Within,
        }
    }
}

/// One thing that a stream of events says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventItem {
    /// A comment: nothing new, but the connection lives.
    Comment,
    /// An event, as it came.
    Event(SseMessage),
    /// The stream is whole. Nothing comes after it.
    Done,
    /// The stream failed. Nothing comes after it.
    Fault(Fault),
}

/// Reads a stream of events, of any format but chat, from bytes that come in pieces.
///
/// Its usage is in the words of chat completions: what was read from a cache counts as read.
///
/// Push what has come, take items until there is none, and say when the body has ended. The last
/// item is always [`EventItem::Done`] or [`EventItem::Fault`], exactly once.
///
/// ```
/// use fairkey_openrouter::{EventFormat, EventItem, EventStreamReader};
///
/// let mut reader = EventStreamReader::new(EventFormat::Messages);
/// reader.push(b"event: content_block_delta\n");
/// reader.push(br#"data: {"type":"content_block_delta","delta":{"text":"Hi"}}"#);
/// reader.push(b"\n\n");
/// assert!(matches!(reader.next(), Some(EventItem::Event(_))));
/// assert!(reader.has_content());
/// // The body ends here, without `message_stop`.
/// reader.finish();
/// assert!(matches!(reader.next(), Some(EventItem::Fault(_))));
/// assert_eq!(reader.next(), None);
/// ```
#[derive(Debug)]
pub struct EventStreamReader {
    format: EventFormat,
    frames: Frames,
    /// The last event was taken: the stream is whole.
    whole: bool,
    stop_reason: Option<String>,
    told: Told,
}

impl EventStreamReader {
    /// Returns a reader with the bound [`DEFAULT_LIMIT_BYTES`] on one event.
    #[must_use]
    pub fn new(format: EventFormat) -> Self {
        Self::with_limit(format, DEFAULT_LIMIT_BYTES)
    }

    /// Returns a reader that holds at most `limit_bytes` of one event; a larger one is a fault.
    #[must_use]
    pub fn with_limit(format: EventFormat, limit_bytes: usize) -> Self {
        Self {
            format,
            frames: Frames::new(limit_bytes),
            whole: false,
            stop_reason: None,
            told: Told::default(),
        }
    }

    /// Returns the next item. `None`: push more bytes, or (after the last item) nothing comes.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` does not end it: more can be pushed"
    )]
    pub fn next(&mut self) -> Option<EventItem> {
        loop {
            if self.whole && !self.frames.is_over() {
                return Some(self.done());
            }
            let item = match self.frames.next()? {
                Frame::Comment => Some(EventItem::Comment),
                Frame::Message(message) => self.read(message),
                Frame::Broken(error) => Some(self.fail(Fault::malformed(&error.to_string()))),
                Frame::End => Some(self.end()),
            };
            if item.is_some() {
                return item;
            }
        }
    }

    fn end(&mut self) -> EventItem {
        // Legacy completions finish as chat does; the others say when they are whole.
        if self.format == EventFormat::Other && self.stop_reason.is_some() {
            self.done()
        } else {
            self.fail(Fault::cut_before(match self.format {
                EventFormat::Messages => "message_stop",
                EventFormat::Responses => "response.completed",
                EventFormat::Other => "[DONE]",
            }))
        }
    }

    fn read(&mut self, message: SseMessage) -> Option<EventItem> {
        if message.data == DONE {
            return Some(self.done());
        }
        if message.data.is_empty() {
            return None;
        }
        let Ok(root) = serde_json::from_slice::<Value>(&message.data) else {
            return Some(self.unreadable(message));
        };
        if let Some(fault) = Fault::from_event_value(message.name(), &root) {
            return Some(self.fail(fault));
        }
        self.note(message.name(), &root);
        Some(EventItem::Event(message))
    }

    /// Reads an event that is no JSON: only what is unknown altogether may be that.
    fn unreadable(&mut self, message: SseMessage) -> EventItem {
        if let Some(fault) = Fault::from_event(message.name(), &message.data) {
            return self.fail(fault);
        }
        if self.format == EventFormat::Other {
            self.told.has_content = true;
            return EventItem::Event(message);
        }
        match serde_json::from_slice::<serde::de::IgnoredAny>(&message.data) {
            Err(error) => self.fail(Fault::malformed_frame(&error)),
            // Nested more deeply than we look: it is somebody's content.
            Ok(_) => {
                self.told.has_content = true;
                EventItem::Event(message)
            }
        }
    }

    fn note(&mut self, name: Option<&str>, root: &Value) {
        let kind = root["type"].as_str().or(name).unwrap_or_default();
        let response = &root["response"];
        for place in [root, &root["message"], response] {
            tokens::note(&mut self.told.usage, &place["usage"], self.format.cached());
            keep_first(&mut self.told.provider, place["provider"].as_str());
            keep_first(&mut self.told.model, place["model"].as_str());
        }
        for place in [&root["message"], response, root] {
            keep_first(&mut self.told.id, place["id"].as_str());
        }
        for reason in [
            &root["delta"]["stop_reason"],
            &response["incomplete_details"]["reason"],
            &root["choices"][0]["finish_reason"],
        ] {
            keep_first(&mut self.stop_reason, reason.as_str());
        }
        self.told.has_content |= match self.format {
            EventFormat::Messages => messages_content(kind, root),
            EventFormat::Responses => responses_content(kind, root),
            EventFormat::Other => other_content(root),
        };
        self.whole = match kind {
            "response.completed" | "response.done" => {
                // A response that says it is complete needs no other reason to have ended.
                self.stop_reason
                    .get_or_insert_with(|| "completed".to_owned());
                true
            }
            "message_stop" | "response.incomplete" => true,
            "image_generation.completed" | "image_edit.completed" => true,
            _ => false,
        };
    }

    fn done(&mut self) -> EventItem {
        if !self.told.has_content && self.stop_reason.is_none() {
            return self.fail(Fault::no_content(
                "the stream ended without content and without a reason to have ended",
            ));
        }
        self.frames.close();
        EventItem::Done
    }

    fn fail(&mut self, fault: Fault) -> EventItem {
        self.frames.close();
        EventItem::Fault(fault.or_provider(self.told.provider.as_deref()))
    }

    /// Returns why the answer ended, in the format's own words, once the stream has said so:
    /// `end_turn`, `max_output_tokens`, `completed`.
    #[must_use]
    pub fn stop_reason(&self) -> Option<&str> {
        self.stop_reason.as_deref()
    }
}

reads!(EventStreamReader);

fn messages_content(kind: &str, root: &Value) -> bool {
    match kind {
        "ping" | "message_delta" | "content_block_stop" | "message_stop" => false,
        "message_start" => says_something(&root["message"]["content"]),
        "content_block_start" => is_begun(&root["content_block"], &["text", "thinking"]),
        "content_block_delta" => says_something(&root["delta"]),
        _ => true,
    }
}

fn responses_content(kind: &str, root: &Value) -> bool {
    match kind {
        "response.created" | "response.queued" | "response.in_progress" | "response.debug" => false,
        "response.output_item.added" => is_begun(&root["item"], &["message", "reasoning"]),
        "response.content_part.added" | "response.reasoning_summary_part.added" => {
            says_something(&root["part"])
        }
        "response.completed" | "response.incomplete" | "response.done" => {
            says_something(&root["response"]["output"])
        }
        _ if kind.ends_with(".delta") => says_something(&root["delta"]),
        _ => true,
    }
}

fn other_content(root: &Value) -> bool {
    match root["choices"].as_array() {
        Some(choices) => choices
            .iter()
            .any(|choice| says_something(&choice["text"]) || says_something(&choice["delta"])),
        // What brings usage and nothing else is no content.
        None => !root["usage"].is_object() || root["type"].is_string(),
    }
}

/// Returns whether a block or an item is more than the announcement of a text: of a tool call the
/// announcement itself says something.
fn is_begun(block: &Value, texts: &[&str]) -> bool {
    let kind = block["type"].as_str().unwrap_or_default();
    !texts.contains(&kind) || says_something(block)
}

/// Returns whether there is a text in it that is not empty, beside the names of things.
fn says_something(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => list.iter().any(says_something),
        Value::Object(members) => members.iter().any(|(name, value)| {
            !matches!(name.as_str(), "type" | "id" | "role" | "status") && says_something(value)
        }),
        _ => false,
    }
}
