//! The one task behind each connection. It ends when the connection ends.
//!
//! With HTTP/2 it moves the bytes, and tells the pool how many streams the peer allows: calls queue
//! their requests and take what has come for their streams without another task between. With
//! HTTP/1.1 whoever has the connection drives it: between a caller and its answer there is no task,
//! and of what has come in everything is passed on at once, in one turn of the caller's. Here it is
//! watched while it is idle, so that its end is noticed, and closed when it has been idle too long.

#[cfg(feature = "http2")]
mod gathering;
#[cfg(feature = "http2")]
mod http2;
#[cfg(feature = "http2")]
mod pings;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};

#[cfg(feature = "http2")]
pub(super) use self::http2::STREAM_WINDOW;
use super::Limits;
use super::lease::{Connection, Http1, Http1Sender, Slot};
use super::origin::{Open, Returning};
use crate::connect::{Connected, Protocol};
use crate::deadlines::after;
use crate::{TransportError, TransportErrorKind};

/// How long a connection may take to become ready again after an answer was read to its end. It is
/// ready at once, unless the peer answered without reading the whole request and now reads no
/// further; such a connection is of no use.
const SETTLE: Duration = Duration::from_secs(5);

/// How long calls in line wait for such a connection, rather than for another: less than it mostly
/// takes to open one. As often it is looked whether it stands in the way of another.
const MOMENT: Duration = Duration::from_millis(50);

/// The smallest buffer that hyper takes.
const SMALLEST_HEAD: usize = 8 * 1024;

/// A connection after its handshake, not known to the pool yet.
pub(super) enum Ready {
    Http1(Box<Http1Ready>),
    #[cfg(feature = "http2")]
    Http2(Box<http2::Http2Ready>),
}

pub(super) struct Http1Ready {
    sender: Http1Sender,
    connection: Box<Connection>,
    written: Arc<std::sync::atomic::AtomicU64>,
}

impl Ready {
    pub(super) async fn handshake(
        connected: Connected,
        limits: &Limits,
    ) -> Result<Self, TransportError> {
        match connected.protocol {
            Protocol::Http1 => {
                let written = connected.io.written();
                let (sender, connection) = http1::Builder::new()
                    .max_buf_size(limits.head_bytes.max(SMALLEST_HEAD))
                    .handshake(TokioIo::new(connected.io))
                    .await
                    .map_err(broken)?;
                Ok(Self::Http1(Box::new(Http1Ready {
                    sender,
                    connection: Box::new(connection),
                    written,
                })))
            }
            #[cfg(feature = "http2")]
            Protocol::Http2 => {
                let ready = http2::Http2Ready::handshake(connected.io, limits).await?;
                Ok(Self::Http2(Box::new(ready)))
            }
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            #[cfg(feature = "http2")]
            Self::Http2(_) => Protocol::Http2,
        }
    }

    /// Starts the driver and makes the connection known to the pool.
    pub(super) fn register(self, open: Open) {
        match self {
            Self::Http1(ready) => {
                // Before the driver begins, which counts it out when it ends.
                open.pool.state().exclusive += 1;
                ready.register(open);
            }
            #[cfg(feature = "http2")]
            Self::Http2(ready) => ready.register(open),
        }
    }
}

fn broken(error: hyper::Error) -> TransportError {
    let message = "the connection broke during the HTTP handshake";
    TransportError::new(TransportErrorKind::Connect, message).with_source(error)
}

impl Http1Ready {
    fn register(self, open: Open) {
        let Self {
            sender,
            connection,
            written,
        } = self;
        let pool = Arc::clone(&open.pool);
        let id = pool.id();
        let (back, returned) = mpsc::unbounded_channel();
        let slot = Arc::new(Slot::new(connection));
        let driver = tokio::spawn(drive(Arc::clone(&slot), returned, open, id)).abort_handle();
        let connection = Box::new(Http1 {
            id,
            sender,
            back,
            slot,
            driver,
            written,
            reused: false,
            connection: None,
        });
        connection.settle(&pool);
        // Now that it counts as returning, the calls in line need no other in its place.
        pool.serve_after(|state| {
            state.connecting -= 1;
            state.protocol = Some(Protocol::Http1);
            state.pause_until = None;
        });
    }
}

/// Drives one HTTP/1.1 connection while nobody else does, to its end.
async fn drive(
    slot: Arc<Slot>,
    mut returned: mpsc::UnboundedReceiver<Returning>,
    open: Open,
    id: u64,
) {
    // A connection that an exchange has ended on, until it can take the next, and when to look at it.
    let mut settling: Option<(Returning, Instant)> = None;
    // How long it may take.
    let mut settled_by = Instant::now();
    // Whether the pool and the calls have let it go.
    let mut is_let_go = false;
    // Mostly a connection comes and goes without a word to this task. It looks from time to time:
    // then it watches what is idle, and the pool says when to look again.
    let mut look = pin!(sleep_until(open.pool.expire(id)));
    loop {
        if is_let_go && slot.is_empty() {
            return;
        }
        let settle_until = settling.as_ref().map(|(_, until)| *until);
        tokio::select! {
            biased;
            // The pool and the calls learn of an end through their senders.
            () = poll_fn(|cx| slot.poll_end(cx)) => return,
            back = returned.recv(), if settling.is_none() && !is_let_go => match back {
                Some(returning) => {
                    let now = Instant::now();
                    settled_by = after(now, SETTLE);
                    settling = Some((returning, after(now, MOMENT)));
                }
                None => is_let_go = true,
            },
            ready = poll_fn(|cx| match &mut settling {
                Some((returning, _)) => returning.connection.sender.poll_ready(cx),
                None => std::task::Poll::Pending,
            }) => {
                if let (Ok(()), Some((returning, _))) = (ready, settling.take()) {
                    open.pool.put_returned(returning);
                }
            }
            () = sleep_until_some(settle_until) => {
                if let Some((returning, until)) = &mut settling {
                    returning.give_up();
                    *until = after(*until, MOMENT);
                }
                if Instant::now() >= settled_by || open.pool.is_full() {
                    return;
                }
            }
            () = look.as_mut() => look.as_mut().reset(open.pool.expire(id)),
        }
    }
}

/// Sleeps until `deadline`, or for good without one.
async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
