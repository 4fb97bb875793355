//! A body that carries its lease: [`LeasedBody`].

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fairkey_core::{Cost, KeyId};
use fairkey_openrouter::{Cause, Fault, Phase};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::answer::Attempt;
use crate::error::{CallError, CallErrorKind};
use crate::exchange::Exchange;
use crate::summary;
use crate::watch::{News, Watch};

/// The body of an answer, with the lease that it is had by.
///
/// Bytes pass untouched, while a side reader watches. The key counts as in flight until the body
/// ends or is dropped: at its end gates and strategy hear how the call went, usage included. A
/// body that is dropped early is nobody's fault.
///
/// A stream that ends without its end fails with a [`CallError`], as does one whose connection
/// breaks, and one with an event that cannot be read: what is whole before it passes, it does not,
/// and nothing is read after it. An error that the upstream tells *in* the stream passes like
/// everything else.
///
/// # Cancel safety
///
/// Dropping it closes the HTTP/1.1 connection, or resets the one HTTP/2 stream.
pub struct LeasedBody {
    /// What was read before it was known that this is the answer.
    read: VecDeque<Bytes>,
    exchange: Exchange,
    watch: Watch,
    /// The upstream has said that the answer is whole.
    done: bool,
    /// The body has ended.
    over: bool,
    /// Why it ended too soon, to be told after what was read.
    cut: Option<Fault>,
}

impl LeasedBody {
    pub(crate) fn new(exchange: Exchange, watch: Watch) -> Self {
        Self {
            read: VecDeque::new(),
            exchange,
            watch,
            done: false,
            over: false,
            cut: None,
        }
    }

    /// Gives back bytes that were read, to come before the rest.
    pub(crate) fn unread(&mut self, read: impl IntoIterator<Item = Bytes>) {
        self.read
            .extend(read.into_iter().filter(|bytes| !bytes.is_empty()));
    }

    /// Says that nothing comes after what was read.
    pub(crate) fn close(&mut self) {
        self.over = true;
    }

    /// Says that it broke off after what was read, which whoever reads it shall not take for the
    /// whole.
    pub(crate) fn break_off(&mut self) {
        self.over = true;
        self.cut = Some(Fault::network("the connection broke"));
    }

    /// Lets the key go where the answer was read to its end; tells whether it was.
    pub(crate) fn release(&mut self) -> bool {
        if self.over {
            self.exchange.end();
        }
        self.over
    }

    pub(crate) fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// Reads on until the first content has come, or it is known that none will.
    pub(crate) async fn first(&mut self, limit_bytes: usize) -> First {
        let mut kept = 0;
        loop {
            match self.exchange.chunk().await {
                Some(Ok(chunk)) => {
                    kept += chunk.len();
                    self.watch.push(&chunk);
                    self.read.push_back(chunk);
                }
                Some(Err(error)) => return First::Broken(self.exchange.fail_in_transport(&error)),
                None => return self.first_at_end(),
            }
            if let Some(news) = self.watch.news() {
                return match self.take(news) {
                    News::Fault(fault) => First::Fault(fault),
                    News::Content | News::Done => {
                        self.look_behind_content();
                        First::Content
                    }
                };
            }
            if kept > limit_bytes {
                return First::Content;
            }
        }
    }

    /// Takes the news that came in one chunk with the first content.
    fn look_behind_content(&mut self) {
        let Some(fault) = self.take_all() else { return };
        let last = self.read.pop_back().unwrap_or_default();
        self.unread([last.slice(..self.readable(&last))]);
        self.over = true;
        self.cut = Some(fault);
    }

    /// Takes all news there are; returns why the stream cannot be read on, if it cannot.
    fn take_all(&mut self) -> Option<Fault> {
        let mut unreadable = None;
        while let Some(news) = self.watch.news() {
            match self.take(news) {
                // What the upstream says of a failure passes, in the words of its format.
                News::Fault(fault) if fault.cause() == Cause::Malformed => unreadable = Some(fault),
                News::Fault(_) | News::Content | News::Done => {}
            }
        }
        unreadable.filter(|_| self.watch.is_stream())
    }

    /// Returns how much of `chunk`, in which an event ends that cannot be read, comes before it.
    fn readable(&self, chunk: &[u8]) -> usize {
        let end = chunk.len().saturating_sub(self.watch.unread());
        start_of_last_event(&chunk[..end])
    }

    /// Reads JSON to its end, unless it has more than `limit_bytes`. The first of it, white space
    /// aside, is waited for until `first`.
    pub(crate) async fn whole(
        &mut self,
        first: Instant,
        limit_bytes: usize,
    ) -> Result<First, Elapsed> {
        let (mut kept, mut content) = (0, false);
        while kept <= limit_bytes {
            let next = if content {
                self.exchange.chunk().await
            } else {
                timeout_at(first, self.exchange.chunk()).await?
            };
            match next {
                Some(Ok(chunk)) => {
                    content |= !chunk.trim_ascii().is_empty();
                    kept += chunk.len();
                    self.watch.push(&chunk);
                    self.read.push_back(chunk);
                }
                Some(Err(error)) => {
                    return Ok(First::Broken(self.exchange.fail_in_transport(&error)));
                }
                None => {
                    let first = self.first_at_end();
                    // What has passed is told by what follows; what is held is told by the verdict.
                    self.cut = None;
                    if matches!(first, First::Content) {
                        self.exchange.end();
                    }
                    return Ok(first);
                }
            }
        }
        Ok(First::Content)
    }

    /// The end has come before anything was known. All that there is to know is read now: whoever
    /// reads on finds nothing but what was kept, and at its end hears that it is not whole.
    fn first_at_end(&mut self) -> First {
        self.over = true;
        self.watch.finish();
        let (mut content, mut fault) = (false, None);
        while let Some(news) = self.watch.news() {
            match self.take(news) {
                News::Fault(found) => fault = Some(found),
                News::Content | News::Done => content = true,
            }
        }
        self.cut.clone_from(&fault);
        match fault {
            Some(fault) if !content => First::Fault(fault),
            _ => First::Content,
        }
    }

    /// Tells the lease what news mean, and returns them: a fault as it is charged.
    fn take(&mut self, news: News) -> News {
        let news = match news {
            News::Fault(fault) => News::Fault(self.exchange.judge(fault)),
            other => other,
        };
        match &news {
            News::Content => self.exchange.note_first_content(),
            News::Done => {
                if let Some(usage) = self.watch.usage() {
                    self.exchange.note_used(usage);
                }
                self.exchange.record_success(self.watch.provider());
                self.done = true;
            }
            News::Fault(fault) => {
                // What broke off may be billed all the same, and have said so.
                if let Some(usage) = self.watch.usage() {
                    self.exchange.note_used(usage);
                }
                self.exchange.record_fault(fault);
            }
        }
        news
    }

    /// Returns the label of the key that serves the answer.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        self.exchange.key()
    }

    /// Returns what the call used, as far as the answer has said by now: usually at its end.
    #[must_use]
    pub fn cost(&self) -> Option<Cost> {
        self.watch.usage().and_then(summary::cost)
    }

    /// Returns whether the upstream has said that the answer is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.done
    }

    /// Returns when the call is over, whether the body has come whole by then or not; `None` where it
    /// holds no key any more, and where the transport has no such deadline.
    ///
    /// A body that is read ends by itself then. One that is not, since its reader is slow, has to be
    /// [expired](Self::expire).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.exchange.deadline()
    }

    /// Ends the call, since its [deadline](Self::deadline) has passed: the key is free at once, and
    /// nobody upstream is blamed. What comes next is the error. Of a body that has ended, nothing
    /// changes.
    pub fn expire(&mut self) {
        if self.over || self.done {
            self.over = true;
            self.exchange.end();
            return;
        }
        self.over = true;
        self.read = VecDeque::new();
        let fault = Fault::timeout(Phase::Total, self.exchange.deadlines.total);
        self.exchange.fail(&fault);
        self.cut = Some(fault);
    }

    /// Returns whether it broke off before it was handed out, so that what is there is not all: that of
    /// a refusal, of which nothing may have come but its head.
    #[must_use]
    pub fn is_broken_off(&self) -> bool {
        self.over && self.cut.is_some()
    }

    /// Returns whether all of it has passed, as it should or not.
    ///
    /// Whoever knows how long a body is does not poll for what comes after its last byte, and drops
    /// one of no bytes without a poll: so its end is looked for here, and when it is dropped.
    pub fn has_ended(&mut self) -> bool {
        self.look_for_end();
        self.is_end_stream()
    }

    /// Ends it where nothing is left of what the head has announced.
    fn look_for_end(&mut self) {
        let is_left = self.over || !self.read.is_empty();
        if !is_left && self.exchange.size_hint().exact() == Some(0) {
            self.cut = self.end();
        }
    }

    fn end(&mut self) -> Option<Fault> {
        self.over = true;
        self.watch.finish();
        let mut cut = None;
        while let Some(news) = self.watch.news() {
            if let News::Fault(fault) = self.take(news) {
                // What JSON says of a failure has passed; that a stream was cut has not.
                cut = self.watch.is_stream().then_some(fault);
            }
        }
        self.exchange.end();
        cut
    }
}

/// What a body begins with.
pub(crate) enum First {
    /// Content, or so much else that waiting longer would cost more than it brings.
    Content,
    /// A fault, in place of an answer.
    Fault(Fault),
    /// The connection broke.
    Broken(crate::exchange::Failure),
}

impl HttpBody for LeasedBody {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        if let Some(bytes) = self.read.pop_front() {
            if self.read.is_empty() {
                // Nothing is put there any more.
                self.read = VecDeque::new();
                self.look_for_end();
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.over {
            self.exchange.end();
            let cut = self.cut.take();
            return Poll::Ready(cut.map(|fault| Err(interrupted(fault, Vec::new()))));
        }
        Poll::Ready(match ready!(self.exchange.poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(chunk) = frame.data_ref() {
                    self.watch.push(chunk);
                    if let Some(fault) = self.take_all() {
                        self.over = true;
                        self.exchange.end();
                        let before = chunk.slice(..self.readable(chunk));
                        if before.is_empty() {
                            return Poll::Ready(Some(Err(interrupted(fault, Vec::new()))));
                        }
                        self.cut = Some(fault);
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                    self.look_for_end();
                }
                Some(Ok(frame))
            }
            Some(Err(_)) if self.done => {
                // The answer was whole; how the connection ended is of no interest.
                self.over = true;
                self.exchange.end();
                None
            }
            Some(Err(error)) => {
                self.over = true;
                let failure = self.exchange.fail_in_transport(&error);
                Some(Err(interrupted(failure.fault, Vec::new())))
            }
            None => self.end().map(|fault| Err(interrupted(fault, Vec::new()))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.read.is_empty() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self
            .read
            .iter()
            .map(|bytes| bytes.len() as u64)
            .sum::<u64>();
        let rest = if self.cut.is_some() {
            // No length that a reader could take for the whole.
            SizeHint::default()
        } else if self.over {
            SizeHint::with_exact(0)
        } else {
            self.exchange.size_hint()
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl Drop for LeasedBody {
    fn drop(&mut self) {
        self.look_for_end();
    }
}

/// Returns where the last event begins in `text`, whether it ends there or not. An event ends with
/// an empty line, and a line with LF, CR or both.
fn start_of_last_event(text: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let Some(last) = text.iter().rposition(|byte| !is_end(byte)) else {
        return 0;
    };
    let (mut start, mut line, mut at) = (0, 0, 0);
    while at < last {
        if !is_end(&text[at]) {
            at += 1;
            continue;
        }
        let is_empty = at == line;
        at += if text[at..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        line = at;
        if is_empty {
            start = at;
        }
    }
    start
}

/// Makes the error of an answer that broke off after content was delivered.
pub(crate) fn interrupted(fault: Fault, attempts: Vec<Attempt>) -> CallError {
    CallError::new(
        CallErrorKind::Fault,
        format!("the answer broke off: {fault}"),
    )
    .with_give_up(Some(crate::GiveUp::Committed))
    .with_fault(Some(fault))
    .with_attempts(attempts)
}

impl fmt::Debug for LeasedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedBody")
            .field("key", self.exchange.key())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn is<T: Send + Unpin + 'static>() {}
    is::<LeasedBody>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_begins_behind_the_last_empty_line() {
        for (before, last) in [
            ("", "data: x\n\n"),
            ("", "ta: the rest of one\n\n"),
            ("data: a\n\n", "data: x\n\n"),
            ("data: a\n\n", "event: e\ndata: x\n\n"),
            ("data: a\r\n\r\n", "data: x\r\n\r\n"),
            ("data: a\r\r", "data: x\r\r"),
            (": hold\n\n\n", "data: x"),
            ("\n", "data: x\n\n"),
        ] {
            let text = format!("{before}{last}");
            assert_eq!(
                start_of_last_event(text.as_bytes()),
                before.len(),
                "{text:?}"
            );
        }
        assert_eq!(start_of_last_event(b""), 0);
        assert_eq!(start_of_last_event(b"\n\n"), 0);
    }
}
