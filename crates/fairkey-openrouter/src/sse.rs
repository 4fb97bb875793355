//! Server-sent events, read incrementally: [`SseParser`].
//!
//! The parser does no I/O and keeps only what is unfinished. It follows the standard: lines end
//! with LF, CR or CRLF; a byte order mark at the start is skipped; a line that begins with a colon
//! is a comment; several `data` lines of one event are joined with LF; a blank line ends an event,
//! and one without data is none. Where the bytes are cut makes no difference.
//!
//! It differs in two points. Comments come out as events of their own: they carry no data, but
//! they show that the connection lives. And there is a bound on what one line and one event may
//! hold, since the server is not under our control.

use std::error::Error;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// The bound on one line and one event that fits chat completions: 16 MiB, room for an image in
/// one event.
pub const DEFAULT_LIMIT_BYTES: usize = 16 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One thing that a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SseEvent {
    /// An event.
    Message(SseMessage),
    /// A comment, without its colon and the space after that.
    Comment(Bytes),
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseMessage {
    /// The event's name, the field `event`; `None` where there is none, as in chat completions.
    pub event: Option<Bytes>,
    /// The event's data, its lines joined with LF. Usually a slice of what was pushed, not a copy.
    /// UTF-8 by the standard; not checked here.
    pub data: Bytes,
    /// The last identifier that the stream named, in this event or before.
    pub id: Option<Bytes>,
}

impl SseMessage {
    /// Returns the name as text; `None` where there is none, or it is no UTF-8.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        std::str::from_utf8(self.event.as_deref()?).ok()
    }

    /// Returns the data as text; `None` where it is no UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.data).ok()
    }
}

/// Reads server-sent events from bytes that come in pieces.
///
/// Push what has come, then take events until there is none.
///
/// ```
/// use fairkey_openrouter::{SseEvent, SseParser};
///
/// let mut parser = SseParser::new(1024);
/// parser.push(b": keep-alive\r\n\r\ndata: {\"a\"");
/// assert!(matches!(parser.next(), Some(Ok(SseEvent::Comment(_)))));
/// assert_eq!(parser.next(), None);
/// parser.push(b":1}\n\n");
/// let Some(Ok(SseEvent::Message(message))) = parser.next() else { panic!() };
/// assert_eq!(message.data, r#"{"a":1}"#);
/// ```
#[derive(Debug)]
pub struct SseParser {
    limit: usize,
    /// A chunk that is read where it lies. Where it has bytes left, `buffer` has none.
    chunk: Bytes,
    /// What has come and is in no finished line yet.
    buffer: BytesMut,
    /// How much of what is unread is known to hold no line end.
    scanned: usize,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// A byte order mark may still come.
    at_start: bool,
    failed: bool,
    event: Option<Bytes>,
    data: Data,
    id: Option<Bytes>,
}

/// The data of the event so far.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    /// One line: a slice of what was pushed.
    One(Bytes),
    /// Several lines, joined.
    Joined(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(line) => line.len(),
            Self::Joined(lines) => lines.len(),
        }
    }

    fn push(&mut self, line: Bytes) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut joined = BytesMut::with_capacity(first.len() + 1 + line.len());
                joined.extend_from_slice(&first);
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&line);
                Self::Joined(joined)
            }
            Self::Joined(mut joined) => {
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&line);
                Self::Joined(joined)
            }
        };
    }

    fn take(&mut self) -> Option<Bytes> {
        match std::mem::take(self) {
            Self::None => None,
            Self::One(line) => Some(line),
            Self::Joined(lines) => Some(lines.freeze()),
        }
    }
}

impl Default for SseParser {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT_BYTES)
    }
}

impl SseParser {
    /// Returns a parser that holds at most `limit_bytes` of one line (its end not counted) and of
    /// one event's data.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit: limit_bytes,
            chunk: Bytes::new(),
            buffer: BytesMut::new(),
            scanned: 0,
            after_cr: false,
            at_start: true,
            failed: false,
            event: None,
            data: Data::None,
            id: None,
        }
    }

    /// Takes the bytes that have come, however they are cut.
    ///
    /// The bound is on lines and events, not on `chunk`: take all events before pushing more.
    pub fn push(&mut self, chunk: &[u8]) {
        if !self.failed {
            self.buffer
                .extend_from_slice(&std::mem::take(&mut self.chunk));
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The same without a copy, where nothing unread is left: events are slices of `chunk`, and
    /// keep all of it alive.
    pub fn push_bytes(&mut self, chunk: Bytes) {
        if !self.failed && self.unread().is_empty() {
            self.chunk = chunk;
        } else {
            self.push(&chunk);
        }
    }

    /// Returns how many of the bytes that were pushed come after the last event that was returned,
    /// and after what was thrown away with an error.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.unread().len()
    }

    fn unread(&self) -> &[u8] {
        if self.buffer.is_empty() {
            &self.chunk
        } else {
            &self.buffer
        }
    }

    fn advance(&mut self, bytes: usize) {
        if self.buffer.is_empty() {
            self.chunk.advance(bytes);
            if self.chunk.is_empty() {
                // An empty slice would keep the block alive that it came in, as long as the stream
                // has nothing more to say.
                self.chunk = Bytes::new();
            }
        } else {
            self.buffer.advance(bytes);
        }
    }

    fn split_to(&mut self, bytes: usize) -> Bytes {
        if self.buffer.is_empty() {
            self.chunk.split_to(bytes)
        } else {
            self.buffer.split_to(bytes).freeze()
        }
    }

    /// Returns the next event; `None`: push more bytes first.
    ///
    /// # Errors
    ///
    /// Once, where a line or an event exceeds the bound. Nothing comes after an error.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` does not end it: more can be pushed"
    )]
    pub fn next(&mut self) -> Option<Result<SseEvent, SseError>> {
        if self.failed || !self.skip_bom() {
            return None;
        }
        loop {
            let line = match self.line() {
                Ok(line) => line?,
                Err(error) => return Some(Err(self.fail(error))),
            };
            match self.read(&line) {
                Ok(None) => {}
                Ok(Some(event)) => return Some(Ok(event)),
                Err(error) => return Some(Err(self.fail(error))),
            }
        }
    }

    /// Ends the stream, and returns what is left of an event that no blank line ended: its lines,
    /// the last one perhaps cut off.
    ///
    /// The standard throws that away. It is of use where the data shows by itself whether it is
    /// whole, as JSON does: some servers do not end their last event.
    pub fn finish(&mut self) -> Option<SseEvent> {
        if self.failed {
            return None;
        }
        let _ = self.skip_bom();
        let rest = self.split_to(self.unread().len());
        let rest = if self.after_cr && rest.first() == Some(&b'\n') {
            rest.slice(1..)
        } else {
            rest
        };
        if !rest.is_empty() && !rest.starts_with(b":") {
            // An event beyond the bound is given up with the rest of it.
            let _ = self.read(&rest);
        }
        let event = self.dispatch();
        self.failed = true;
        event
    }

    /// Passes over the next event without making one of it, where `is_known` tells that nothing of
    /// its data matters. Returns whether it did so; the event is untouched otherwise.
    ///
    /// Only events in the form of nearly all are looked at: one line of data that is here whole,
    /// and nothing else.
    pub(crate) fn skip(&mut self, is_known: impl FnOnce(&[u8]) -> bool) -> bool {
        let is_between = !self.failed
            && !self.at_start
            && !self.after_cr
            && self.scanned == 0
            && self.event.is_none()
            && matches!(self.data, Data::None);
        if !is_between {
            return false;
        }
        let Some(line) = self.unread().strip_prefix(b"data: ") else {
            return false;
        };
        let Some(end) = memchr::memchr2(b'\n', b'\r', line) else {
            return false;
        };
        let is_one = line[end..].starts_with(b"\n\n") && end <= self.limit;
        if !is_one || !is_known(&line[..end]) {
            return false;
        }
        self.advance(b"data: ".len() + end + 2);
        true
    }

    fn fail(&mut self, error: SseError) -> SseError {
        self.failed = true;
        self.chunk = Bytes::new();
        self.buffer = BytesMut::new();
        self.data = Data::None;
        error
    }

    /// Skips a byte order mark at the start; false: not enough bytes to know.
    fn skip_bom(&mut self) -> bool {
        if self.at_start {
            let unread = self.unread();
            if unread.len() < BOM.len() && BOM.starts_with(unread) {
                return false;
            }
            if unread.starts_with(BOM) {
                self.advance(BOM.len());
            }
            self.at_start = false;
        }
        true
    }

    /// Takes the next finished line, without its end.
    fn line(&mut self) -> Result<Option<Bytes>, SseError> {
        if self.after_cr
            && let Some(first) = self.unread().first()
        {
            if *first == b'\n' {
                self.advance(1);
            }
            self.after_cr = false;
        }
        let unread = self.unread();
        let Some(found) = memchr::memchr2(b'\n', b'\r', &unread[self.scanned..]) else {
            self.scanned = unread.len();
            return if self.scanned > self.limit {
                Err(self.too_long())
            } else {
                Ok(None)
            };
        };
        let end = self.scanned + found;
        self.scanned = 0;
        if end > self.limit {
            return Err(self.too_long());
        }
        let line = self.split_to(end);
        self.after_cr = self.unread()[0] == b'\r';
        self.advance(1);
        Ok(Some(line))
    }

    /// Reads one line; returns the event that it ends, if it ends one.
    fn read(&mut self, line: &Bytes) -> Result<Option<SseEvent>, SseError> {
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let colon = memchr::memchr(b':', line);
        let value = match colon {
            Some(colon) => {
                let skip = if line.get(colon + 1) == Some(&b' ') {
                    2
                } else {
                    1
                };
                line.slice(colon + skip..)
            }
            None => Bytes::new(),
        };
        match &line[..colon.unwrap_or(line.len())] {
            b"" => return Ok(Some(SseEvent::Comment(value))),
            b"data" => {
                if self.data.len() + value.len() > self.limit {
                    return Err(self.too_long());
                }
                self.data.push(value);
            }
            b"event" => self.event = Some(value),
            b"id" if !value.contains(&0) => {
                // Copied: it outlives the event, and shall not keep all that came with it alive.
                self.id = Some(Bytes::copy_from_slice(&value)).filter(|id| !id.is_empty());
            }
            // `retry` is for browsers that connect again; others are not fields.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let event = self.event.take().filter(|name| !name.is_empty());
        let data = self.data.take()?;
        Some(SseEvent::Message(SseMessage {
            event,
            data,
            id: self.id.clone(),
        }))
    }

    fn too_long(&self) -> SseError {
        SseError {
            limit_bytes: self.limit,
        }
    }
}

/// A line or an event of a stream that exceeds the parser's bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseError {
    limit_bytes: usize,
}

impl SseError {
    /// Returns the bound, in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an event of the stream exceeds the bound of {} bytes",
            self.limit_bytes
        )
    }
}

impl Error for SseError {}
