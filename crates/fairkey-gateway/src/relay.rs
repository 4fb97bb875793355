//! Answers on their way to the caller: [`Outbound`].
//!
//! There is no task between the upstream and the caller: whoever writes to the caller's connection
//! polls the upstream's. A chunk that comes in goes out, whole events without a copy.
//!
//! The *commit gate*, which holds the head and all that is no content until the first content, is in
//! the client: what it returns is committed. Until then the client fails over; the caller hears
//! nothing, or, where that takes long, comments ([`Waiting`]).

mod account;
mod departing;
mod frames;
mod stream;
mod waiting;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fairkey_client::LeasedBody;
use fairkey_transport::{Body, BoxError};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::report::Report;
use crate::{Departure, Permit};

pub(crate) use self::account::{Account, Accounts};
pub use self::account::{End, Ended};
pub(crate) use self::departing::Departing;
pub(crate) use self::frames::Frames;
pub(crate) use self::stream::Stream;
pub(crate) use self::waiting::Waiting;

/// The body of an answer to a caller.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// What is there already.
    Full(Option<Bytes>),
    /// An answer by a leased key.
    Relay(Box<Relay>),
    /// A stream that has not begun.
    Waiting(Box<Waiting>),
    /// An answer that is nobody's lease.
    Plain(Box<Plain>),
}

impl Outbound {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Returns when its call is over, whether it has passed by then or not, where it holds anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Full(_) => None,
            Self::Relay(relay) => relay.body.as_ref()?.deadline(),
            Self::Waiting(waiting) => waiting.deadline(),
            Self::Plain(plain) => plain.body.deadline(),
        }
    }

    /// Ends its call, since its deadline has passed: what it holds is free, and what comes next is an
    /// error.
    pub(crate) fn expire(&mut self) {
        match self {
            Self::Full(_) => {}
            Self::Relay(relay) => {
                if let Some(body) = &mut relay.body {
                    body.expire();
                }
            }
            Self::Waiting(waiting) => waiting.expire(),
            Self::Plain(plain) => plain.expire(),
        }
    }

    /// Returns whether nothing more is done for it: a caller that leaves now saves nobody anything.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Full(_) => true,
            Self::Relay(relay) => relay.body.as_ref().is_none_or(LeasedBody::is_whole),
            Self::Waiting(waiting) => waiting.is_over(),
            Self::Plain(plain) => plain.end.is_some() || plain.body.is_end_stream(),
        }
    }
}

impl HttpBody for Outbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relay(relay) => relay.poll_frame(cx),
            Self::Waiting(waiting) => waiting.poll_frame(cx),
            Self::Plain(plain) => plain.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            // The end is told by a poll, at which the call is accounted for.
            Self::Relay(_) | Self::Waiting(_) | Self::Plain(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Plain(plain) => plain.body.size_hint(),
            Self::Relay(relay) => relay.size_hint(),
            Self::Waiting(_) => SizeHint::default(),
        }
    }
}

/// An answer that is nobody's lease, with the place in its tenant's limits that it holds.
#[derive(Debug)]
pub(crate) struct Plain {
    body: Body,
    _permit: Permit,
    report: Report,
    end: Option<End>,
    passed: u64,
    is_overdue: bool,
}

impl Plain {
    pub(crate) fn new(body: Body, permit: Permit, report: Report) -> Self {
        Self {
            body,
            _permit: permit,
            report,
            end: None,
            passed: 0,
            is_overdue: false,
        }
    }

    fn expire(&mut self) {
        self.body = Body::empty();
        self.end = Some(End::Broken);
        self.is_overdue = true;
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if std::mem::take(&mut self.is_overdue) {
            return Poll::Ready(Some(Err("the call took longer than it may".into())));
        }
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match &frame {
                None => self.end = self.end.or(Some(End::Whole)),
                Some(Err(_)) => self.end = Some(End::Broken),
                Some(Ok(frame)) => match frame.data_ref() {
                    Some(data) => self.passed += data.len() as u64,
                    // Trailers stay here.
                    None => continue,
                },
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // Whoever knows its length does not ask whether there is more.
        let is_whole = self.body.is_end_stream() || self.body.size_hint().exact() == Some(0);
        let end = match self.end {
            Some(end) => end,
            None if is_whole => End::Whole,
            None => End::Left,
        };
        self.report.ended(end, None, None, self.passed);
    }
}

/// An answer that passes: to its end, to its break, or until the caller leaves.
#[derive(Debug)]
pub(crate) struct Relay {
    /// `None`: it has ended.
    body: Option<LeasedBody>,
    /// Where it is a stream of events.
    stream: Option<Stream>,
    account: Option<Account>,
    departure: Departure,
    /// Bytes that were passed on.
    passed: u64,
}

impl Relay {
    pub(crate) fn new(
        body: LeasedBody,
        stream: Option<Stream>,
        account: Account,
        departure: Departure,
    ) -> Self {
        Self {
            body: Some(body),
            stream,
            account: Some(account),
            departure,
            passed: 0,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match (&mut self.stream, frame.into_data()) {
                    (None, Ok(chunk)) => {
                        self.passed += chunk.len() as u64;
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                    (Some(stream), Ok(chunk)) => {
                        if let Some(passed) = stream.push(chunk) {
                            self.passed += passed.len() as u64;
                            return Poll::Ready(Some(Ok(Frame::data(passed))));
                        }
                    }
                    // Trailers stay, as do headers that must not travel: see `headers`.
                    (_, Err(_)) => {}
                },
                Some(Err(error)) => {
                    self.end(End::Broken);
                    return Poll::Ready(Some(match &mut self.stream {
                        Some(stream) => Ok(Frame::data(stream.broken(&error))),
                        // There is no other way to say it: the connection ends too soon.
                        None => Err(error.into()),
                    }));
                }
                None => {
                    let end = end_of(body);
                    self.end(end);
                    let rest = self.stream.as_mut().and_then(Stream::finish);
                    return Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))));
                }
            }
        }
    }

    /// Books how it ended, and lets the key go.
    fn end(&mut self, end: End) {
        let body = self.body.take();
        if let (Some(body), Some(account)) = (body, self.account.take()) {
            account.end(end, body.cost(), self.passed);
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.stream) {
            // A stream may get an event of ours at its end.
            (Some(body), None) => body.size_hint(),
            (None, None) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

/// How an answer has ended of which all has passed.
fn end_of(body: &LeasedBody) -> End {
    if body.is_whole() {
        End::Whole
    } else {
        End::Failed
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let (Some(mut body), Some(account)) = (self.body.take(), self.account.take()) else {
            return;
        };
        // Whoever knows its length does not ask whether there is more.
        if body.is_whole() || body.has_ended() {
            account.end(end_of(&body), body.cost(), self.passed);
            return;
        }
        departing::leave(body, account, self.departure, self.passed);
    }
}
