//! One call's hold on a connection or a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::origin::{OriginPool, Returning};
use crate::TransportError;
use crate::failure::{self, Failure};
use crate::request_body::RequestBody;
use crate::target::Outgoing;

pub(super) type Http1Sender = http1::SendRequest<RequestBody>;
#[cfg(feature = "http2")]
pub(super) type Http2Sender = hyper::client::conn::http2::SendRequest<RequestBody>;

/// An HTTP/1.1 connection that is one call's, or idle.
pub(super) struct Http1 {
    pub(super) id: u64,
    pub(super) sender: Http1Sender,
    /// The way back to the driver, which waits until the connection can take another request.
    pub(super) back: mpsc::UnboundedSender<Returning>,
    pub(super) driver: AbortHandle,
    pub(super) written: Arc<AtomicU64>,
    /// Whether it has carried an exchange before.
    pub(super) reused: bool,
}

impl Http1 {
    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }

    /// Hands the connection to its driver, and that to the pool as soon as it takes a request.
    pub(super) fn give_back(self, pool: &Arc<OriginPool>) {
        let back = self.back.clone();
        // A driver that is gone has closed the connection; nothing is left to give back.
        drop(back.send(pool.returning(self)));
    }
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
    Http1(Option<Http1>),
    #[cfg(feature = "http2")]
    Http2 {
        id: u64,
        sender: Http2Sender,
        reused: bool,
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
    pub(super) fn http1(origin: Arc<OriginPool>, connection: Http1) -> Self {
        origin.counters.began();
        Self {
            origin,
            hold: Hold::Http1(Some(connection)),
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
            hold: Hold::Http2 { id, sender, reused },
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
    ) -> Result<Response<Incoming>, Broken> {
        self.touched = true;
        match &mut self.hold {
            Hold::Http1(None) => Err(Broken::unsent(failure::gone())),
            Hold::Http1(Some(connection)) => {
                let before = connection.written.load(Ordering::Acquire);
                let request = request.http1().map_err(Broken::unsent)?;
                let stale = connection.reused;
                let sent = connection.sender.try_send_request(request).await;
                connection.reused = true;
                sent.map_err(|error| {
                    if stale {
                        // The peer has probably closed its other idle connections, too; without
                        // this the resends could be used up on them.
                        self.origin.close_idle();
                    }
                    // Acquire: pairs with the Release of the driver's writes. Not one byte more
                    // than before the exchange means that the peer never heard of it.
                    let unwritten = connection.written.load(Ordering::Acquire) == before;
                    Broken::head(error, unwritten, stale)
                })
            }
            #[cfg(feature = "http2")]
            Hold::Http2 { id, sender, reused } => {
                let request = request.http2().map_err(Broken::unsent)?;
                let begun = request.body().begun();
                let (id, stale) = (*id, *reused);
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        self.origin.answered(id);
                        Ok(response)
                    }
                    Err(error) => {
                        if failure::is_refused(error.error()) {
                            self.origin.refused(id);
                        }
                        // hyper lets a request fall that waits for the last free stream when a
                        // GOAWAY comes. Its head may be out by then, its body is not: the server
                        // saw no whole request.
                        let fell = failure::is_gone(error.error());
                        Err(Broken::head(error, fell && !begun.is_true(), stale || fell))
                    }
                }
            }
        }
    }

    /// Gives the connection back for the next exchange: this one was read to its end.
    pub(crate) fn finish(mut self) {
        self.finished = true;
        if let Hold::Http1(connection) = &mut self.hold
            && let Some(connection) = connection.take()
        {
            connection.give_back(&self.origin);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match &mut self.hold {
            Hold::Http1(connection) => {
                if let Some(connection) = connection.take() {
                    if self.touched {
                        // Dropping the sender alone would let hyper read on for a while.
                        connection.driver.abort();
                    } else {
                        // Granted to a call that had left the line: as good as before.
                        connection.give_back(&self.origin);
                    }
                }
            }
            #[cfg(feature = "http2")]
            Hold::Http2 { id, .. } => self.origin.release(*id, self.finished),
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

    fn head(error: TrySendError<Request<RequestBody>>, unwritten: bool, stale: bool) -> Self {
        // hyper returns the request itself when it never began to write it.
        let unwritten = unwritten || error.message().is_some();
        let Failure { error, untouched } = failure::before_head(error.into_error());
        let untouched = untouched || unwritten;
        Self {
            error: error.with_before_sent(untouched),
            untouched,
            stale,
        }
    }
}
