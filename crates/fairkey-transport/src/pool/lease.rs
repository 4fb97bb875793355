//! One call's hold on a connection or a stream.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, unconstrained};

use super::arriving::Arriving;
#[cfg(feature = "http2")]
use super::arriving::Http2Body;
use super::lock;
use super::origin::{OriginPool, Returning};
#[cfg(feature = "http2")]
use super::upload::Upload;
use crate::TransportError;
use crate::connect::CountedIo;
use crate::failure;
#[cfg(feature = "http2")]
use crate::failure::Failure;
#[cfg(feature = "http2")]
use crate::request_body::Payload;
use crate::request_body::RequestBody;
use crate::target::Outgoing;

pub(super) type Http1Sender = http1::SendRequest<RequestBody>;
pub(super) type Connection = http1::Connection<TokioIo<CountedIo>, RequestBody>;
#[cfg(feature = "http2")]
pub(super) type Http2Sender = h2::client::SendRequest<Bytes>;

/// An HTTP/1.1 connection that is one call's, or idle. Dropped, it is closed.
pub(super) struct Http1 {
    pub(super) id: u64,
    pub(super) sender: Http1Sender,
    /// The way back to the driver, which waits until the connection can take another request.
    pub(super) back: mpsc::UnboundedSender<Returning>,
    /// Where it is for the driver while no call has it.
    pub(super) slot: Arc<Slot>,
    pub(super) driver: AbortHandle,
    pub(super) written: Arc<AtomicU64>,
    /// Whether it has carried an exchange before.
    pub(super) reused: bool,
    /// The bytes' side, while a call has it and drives it.
    pub(super) connection: Option<Box<Connection>>,
}

impl Http1 {
    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed() && !self.driver.is_finished()
    }

    /// Hands the connection to the pool where it takes another request already, as it mostly does.
    fn give_back(mut self: Box<Self>, pool: &Arc<OriginPool>) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        self.slot.put(connection);
        if self.is_usable() {
            pool.put_idle(self);
        } else {
            self.settle(pool);
        }
    }

    /// Hands the connection to its driver, and that to the pool as soon as it takes a request.
    pub(super) fn settle(self: Box<Self>, pool: &Arc<OriginPool>) {
        let back = self.back.clone();
        // A driver that is gone has closed the connection; nothing is left to give back.
        drop(back.send(pool.returning(self)));
    }
}

/// The bytes' side of a connection, while no call drives it.
pub(super) struct Slot(Mutex<Option<Box<Connection>>>);

impl Slot {
    pub(super) fn new(connection: Box<Connection>) -> Self {
        Self(Mutex::new(Some(connection)))
    }

    fn take(&self) -> Option<Box<Connection>> {
        lock(&self.0).take()
    }

    fn put(&self, connection: Box<Connection>) {
        *lock(&self.0) = Some(connection);
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_none()
    }

    /// Drives the connection that is here; completes when it has ended.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = lock(&self.0);
        let Some(connection) = &mut *slot else {
            return Poll::Pending;
        };
        // How a connection ends is no matter: whoever waits for something hears it.
        let ended = Pin::new(connection).poll(cx).map(drop);
        if ended.is_ready() {
            *slot = None;
        }
        ended
    }
}

/// Polls something that comes by a connection, and drives the connection for it.
fn drive<T>(
    connection: &mut Option<Box<Connection>>,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    if let Some(driven) = connection {
        // Only the connection has news of it, and it is driven here: nobody has to be woken.
        let mut unheard = Context::from_waker(Waker::noop());
        if let Poll::Ready(ready) = poll(&mut unheard) {
            return Poll::Ready(ready);
        }
        if Pin::new(driven).poll(cx).is_pending() {
            return poll(&mut unheard);
        }
        // What it leaves unanswered is told when it is dropped.
        *connection = None;
    }
    poll(cx)
}

/// One call's hold on a connection (HTTP/1.1) or a stream (HTTP/2).
///
/// Dropping it says that the exchange was abandoned or broke: the HTTP/1.1 connection closes at
/// once; the HTTP/2 stream was reset by dropping its future or body, and its place is free again.
/// [`finish`](Self::finish) says that the exchange came to its end.
#[must_use = "dropping a lease closes its connection or gives up its stream"]
pub(crate) struct Lease {
    origin: Arc<OriginPool>,
    hold: Hold,
    /// Whether a request was handed to the connection.
    touched: bool,
    /// Whether the answer was read to its end.
    finished: bool,
}

enum Hold {
    Http1(Option<Box<Http1>>),
    #[cfg(feature = "http2")]
    Http2 {
        id: u64,
        /// Gone when the request is sent.
        sender: Option<Http2Sender>,
        reused: bool,
        /// What is left to send of a body that comes while it is sent.
        upload: Option<Box<Upload>>,
    },
}

/// Why an exchange broke before its head came, and whether it may be sent again.
pub(crate) struct Broken {
    pub(crate) error: TransportError,
    /// The server did nothing with the request, whatever it asks for.
    pub(crate) untouched: bool,
    /// The connection had worked before, so it was probably closed for being idle.
    pub(crate) stale: bool,
}

impl Lease {
    pub(super) fn http1(origin: Arc<OriginPool>, mut http1: Box<Http1>) -> Self {
        origin.counters.began();
        http1.connection = http1.slot.take();
        Self {
            origin,
            hold: Hold::Http1(Some(http1)),
            touched: false,
            finished: false,
        }
    }

    #[cfg(feature = "http2")]
    pub(super) fn http2(
        origin: Arc<OriginPool>,
        id: u64,
        sender: Http2Sender,
        reused: bool,
    ) -> Self {
        origin.counters.began();
        Self {
            origin,
            hold: Hold::Http2 {
                id,
                sender: Some(sender),
                reused,
                upload: None,
            },
            touched: false,
            finished: false,
        }
    }

    /// Returns the origin, as errors name it.
    pub(crate) fn label(&self) -> &Arc<str> {
        &self.origin.label
    }

    /// Sends the request and returns the head of the answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future and then the lease abandons the exchange.
    pub(crate) async fn exchange(
        &mut self,
        request: &Outgoing,
    ) -> Result<Response<Arriving>, Broken> {
        self.touched = true;
        match &mut self.hold {
            Hold::Http1(None) => Err(Broken::unsent(failure::gone())),
            Hold::Http1(Some(http1)) => {
                let Http1 {
                    connection,
                    sender,
                    written,
                    reused,
                    ..
                } = &mut **http1;
                if connection.is_none() {
                    return Err(Broken::unsent(failure::gone()));
                }
                let before = written.load(Ordering::Acquire);
                let request = request.http1(self.origin.host.as_ref());
                let request = request.map_err(Broken::unsent)?;
                let stale = std::mem::replace(reused, true);
                // It is polled without a waker, so that nothing may put it off.
                let sent = unconstrained(sender.try_send_request(request));
                let mut sent = pin!(sent);
                let sent = poll_fn(|cx| drive(connection, cx, |cx| sent.as_mut().poll(cx))).await;
                let sent = sent.map(|response| response.map(Arriving::Http1));
                sent.map_err(|error| {
                    if stale {
                        // The peer has probably closed its other idle connections, too; without
                        // this the resends could be used up on them.
                        self.origin.close_idle();
                    }
                    // Acquire: pairs with the Release of the driver's writes. Not one byte more
                    // than before the exchange means that the peer never heard of it.
                    let unwritten = written.load(Ordering::Acquire) == before;
                    // hyper returns the request itself when it never began to write it.
                    let untouched = unwritten || error.message().is_some();
                    let error = failure::before_head(error.into_error());
                    Broken {
                        error: error.with_before_sent(untouched),
                        untouched,
                        stale,
                    }
                })
            }
            #[cfg(feature = "http2")]
            Hold::Http2 {
                id,
                sender,
                reused,
                upload,
            } => {
                let (id, stale) = (*id, *reused);
                let Some(mut sender) = sender.take() else {
                    return Err(Broken::unsent(failure::gone()));
                };
                let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(Err(error)) = ready {
                    // It takes no more streams; its driver may not have said so yet.
                    self.origin.retire(id);
                    return Err(Broken::unsent(failure::closed_http2(&error)));
                }
                let sent = send(sender, request, self.origin.authority.as_ref());
                let (mut response, rest) = sent?;
                *upload = rest.map(Box::new);
                let answered = poll_fn(|cx| {
                    poll_upload(upload, cx)?;
                    Pin::new(&mut response).poll(cx).map_err(|error| {
                        if failure::is_refused(&error) {
                            self.origin.refused(id);
                        }
                        Broken::http2(&error, stale)
                    })
                });
                let answer = answered.await?;
                if !stale {
                    self.origin.answered(id);
                }
                let (parts, stream) = answer.into_parts();
                let body = Arriving::Http2(Http2Body::new(stream, &parts.headers));
                Ok(Response::from_parts(parts, body))
            }
        }
    }

    /// Polls the answer's body. With HTTP/1.1 the connection is driven by this.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Arriving,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        match (&mut self.hold, body) {
            (Hold::Http1(Some(leased)), Arriving::Http1(body)) => {
                let mut body = Pin::new(body);
                drive(&mut leased.connection, cx, |cx| {
                    body.as_mut().poll_frame(cx)
                })
                .map_err(failure::in_body)
            }
            #[cfg(feature = "http2")]
            (Hold::Http2 { upload, .. }, Arriving::Http2(body)) => {
                if let Err(broken) = poll_upload(upload, cx) {
                    return Poll::Ready(Some(Err(broken.error)));
                }
                (body.poll_frame(cx)).map_err(|error| failure::in_http2_body(&error))
            }
            // What was given back has nothing left.
            _ => Poll::Ready(None),
        }
    }

    /// Gives the connection back for the next exchange: this one was read to its end.
    pub(crate) fn finish(mut self) {
        self.finished = true;
        if let Hold::Http1(http1) = &mut self.hold
            && let Some(http1) = http1.take()
        {
            http1.give_back(&self.origin);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match &mut self.hold {
            Hold::Http1(http1) => {
                if let Some(http1) = http1.take() {
                    if self.touched {
                        // The connection closes as it is dropped; nothing is left to watch.
                        http1.driver.abort();
                    } else {
                        // Granted to a call that had left the line: as good as before.
                        http1.give_back(&self.origin);
                    }
                }
            }
            #[cfg(feature = "http2")]
            Hold::Http2 { id, upload, .. } => {
                // First the stream ends, and then its place is free.
                *upload = None;
                self.origin.release(*id, self.finished);
            }
        }
        self.origin.counters.ended();
    }
}

impl Broken {
    fn unsent(error: TransportError) -> Self {
        Self {
            error: error.with_before_sent(true),
            untouched: true,
            stale: false,
        }
    }

    #[cfg(feature = "http2")]
    fn http2(error: &h2::Error, stale: bool) -> Self {
        let Failure { error, untouched } = failure::before_http2_head(error);
        Self {
            error: error.with_before_sent(untouched),
            untouched,
            stale,
        }
    }
}

/// Queues a request with its body, or with what is to be asked for its body.
#[cfg(feature = "http2")]
fn send(
    mut sender: Http2Sender,
    request: &Outgoing,
    to: Option<&http::uri::Authority>,
) -> Result<(h2::client::ResponseFuture, Option<Upload>), Broken> {
    let head = request.http2(to).map_err(Broken::unsent)?;
    let body = request.payload();
    let is_empty = body.is_empty();
    let queued = sender.send_request(head, is_empty);
    let (response, mut stream) =
        queued.map_err(|error| Broken::unsent(failure::before_http2_head(&error).error))?;
    let upload = match body {
        _ if is_empty => None,
        Payload::Whole(bytes) => {
            // It is in memory, and waits there for the peer's window. Should the stream have ended
            // meanwhile, that is told in place of the answer.
            let _ = stream.send_data(bytes.clone(), true);
            None
        }
        Payload::Streamed(_) => Some(Upload::new(body.body(), stream)),
    };
    Ok((response, upload))
}

/// Sends what has come of a body, as far as the peer takes it.
#[cfg(feature = "http2")]
fn poll_upload(upload: &mut Option<Box<Upload>>, cx: &mut Context<'_>) -> Result<(), Broken> {
    let Some(sending) = upload else { return Ok(()) };
    match sending.poll(cx) {
        Poll::Pending => Ok(()),
        Poll::Ready(sent) => {
            *upload = None;
            sent.map_err(|error| Broken {
                // The head is queued, and so may be pieces.
                error: error.with_before_sent(false),
                untouched: false,
                stale: false,
            })
        }
    }
}
