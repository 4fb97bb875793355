//! The transport that talks to the network.

mod builder;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use tokio::time::{Instant, timeout_at};

pub use self::builder::HttpTransportBuilder;
use crate::body::too_large;
use crate::deadlines::after;
use crate::exchange::{Wire, timeout};
use crate::pool::{Arriving, Broken, Lease, Pool};
use crate::request_body::Payload;
use crate::target::{Origins, Outgoing};
use crate::{Body, Deadlines, Phase, Stats, StreamedBody, Transport, TransportError};

/// How often a request is sent again unseen before its trouble is told. A peer that refuses four
/// times in a row means it.
const MOST_RESENDS: u32 = 3;

/// HTTP/1.1 and HTTP/2 over TCP and TLS, with connections of its own.
///
/// A clone shares the connections. They are driven by the runtime that the call ran on for which
/// they were opened: use a transport on one runtime.
///
/// # What is sent again
///
/// A request that surely had no effect is sent again on another connection, up to 3 times, and
/// nobody notices but [`Stats::resends`]:
///
/// - it was not written, not one byte of it: the peer had closed the pooled connection before;
/// - the peer refused the HTTP/2 stream (`REFUSED_STREAM`), or closed the connection with a
///   `GOAWAY` that names an earlier stream as its last (RFC 9113 8.7);
/// - its method is idempotent (RFC 9110 9.2.2: not `POST`), and a connection that had worked
///   before broke before a byte of the answer: probably it was closed for being idle.
///
/// A `POST` of which a byte was written to an HTTP/1.1 connection is *not* sent again, even if the
/// connection was an old one and closed without an answer. The close may have crossed the request
/// on its way, but a server that crashed after it had begun looks the same from here, and an
/// upstream without idempotency keys would bill both. Such a call fails as
/// [`Reset`](crate::TransportErrorKind::Reset) with
/// [`before_sent`](TransportError::before_sent) false, and the caller decides. It is rare: a close
/// that has arrived is seen before the first byte is written, and idle connections are closed here
/// ([`pool_idle_timeout`](HttpTransportBuilder::pool_idle_timeout)) before common servers do.
///
/// A body that comes while it is sent ([`StreamedBody`]) is sent again in none of these cases once
/// a piece of it was asked for.
///
/// # Cancel safety
///
/// Dropping the future of `send`, or the body of its answer, closes the HTTP/1.1 connection, or
/// resets the one HTTP/2 stream while the others on its connection go on. Nothing is read any
/// further.
#[derive(Clone)]
pub struct HttpTransport {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    origins: Origins,
    deadlines: Deadlines,
    limit_bytes: u64,
    allow_plaintext: bool,
}

impl HttpTransport {
    /// Returns a builder with all defaults.
    pub fn builder() -> HttpTransportBuilder {
        HttpTransportBuilder::new()
    }

    /// Returns the counts of connections and exchanges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.pool.counters.read()
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        self.inner.send(request.map(Payload::Whole)).await
    }

    async fn send_streamed(
        &self,
        request: Request<StreamedBody>,
    ) -> Result<Response<Body>, TransportError> {
        self.inner.send(request.map(Payload::Streamed)).await
    }

    fn deadlines(&self) -> Option<Deadlines> {
        Some(self.inner.deadlines)
    }
}

impl Inner {
    async fn send(&self, request: Request<Payload>) -> Result<Response<Body>, TransportError> {
        let deadlines = request
            .extensions()
            .get()
            .copied()
            .unwrap_or(self.deadlines);
        let mut now = Instant::now();
        let total_at = after(now, deadlines.total);
        let request = Outgoing::check(request, self.allow_plaintext, &self.origins)?;
        let mut resends = 0;
        loop {
            // What is free takes no time.
            let mut lease = if let Some(free) = self.pool.free(&request.origin, now)? {
                free
            } else {
                let acquired = self.pool.acquire(&request.origin, deadlines.connect);
                let lease = timeout_at(total_at, acquired).await.unwrap_or_else(|_| {
                    Err(timeout(Phase::Total, &request.origin.label()).with_before_sent(true))
                })?;
                now = Instant::now();
                lease
            };
            let head_at = if request.is_streamed() {
                total_at
            } else {
                after(now, deadlines.head)
            };
            let answer = timeout_at(head_at.min(total_at), lease.exchange(&request)).await;
            let broken = match answer {
                Ok(Ok(response)) => return self.answer(response, lease, deadlines, total_at),
                Ok(Err(broken)) => broken,
                Err(_) => {
                    let phase = if total_at <= head_at {
                        Phase::Total
                    } else {
                        Phase::Head
                    };
                    return Err(timeout(phase, lease.label()));
                }
            };
            let Broken {
                error,
                untouched,
                stale,
            } = broken;
            let harmless = untouched || (stale && error.is_reset() && request.is_idempotent());
            if !harmless || error.is_request() || resends == MOST_RESENDS || !request.is_there() {
                return Err(error.at(lease.label()));
            }
            resends += 1;
            now = Instant::now();
            self.pool.counters.resent();
        }
    }

    fn answer(
        &self,
        response: Response<Arriving>,
        lease: Lease,
        deadlines: Deadlines,
        total_at: Instant,
    ) -> Result<Response<Body>, TransportError> {
        let (parts, incoming) = response.into_parts();
        if incoming.size_hint().lower() > self.limit_bytes {
            return Err(too_large(self.limit_bytes).at(lease.label()));
        }
        let wire = Wire::new(
            incoming,
            lease,
            self.limit_bytes,
            deadlines.first_content,
            deadlines.idle,
            total_at,
        );
        Ok(Response::from_parts(parts, Body::wire(wire)))
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("deadlines", &self.inner.deadlines)
            .field("max_body_bytes", &self.inner.limit_bytes)
            .field("allow_plaintext", &self.inner.allow_plaintext)
            .field("pool", &self.inner.pool)
            .finish()
    }
}
