//! A stream that has not begun, and what keeps its caller alive meanwhile: [`Waiting`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::BoxError;
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::Outbound;

/// What every client of event streams skips.
const COMMENT: &[u8] = b": fairkey is waiting\n\n";

type Call = Pin<Box<dyn Future<Output = Outbound> + Send>>;

/// A stream whose head is out, since its first content took so long: comments, and then what comes
/// of the call.
pub(crate) struct Waiting {
    state: State,
    timer: Pin<Box<Sleep>>,
    every: Duration,
}

enum State {
    Waits(Call),
    Flows(Outbound),
}

impl Waiting {
    /// Waits for a call, with a comment at once and one after each silence of `every`.
    pub(crate) fn new(call: Call, every: Duration) -> Self {
        Self {
            state: State::Waits(call),
            timer: Box::pin(sleep(Duration::ZERO)),
            every,
        }
    }

    /// As [`Outbound::is_over`].
    pub(super) fn is_over(&self) -> bool {
        match &self.state {
            State::Waits(_) => false,
            State::Flows(outbound) => outbound.is_over(),
        }
    }

    /// As [`Outbound::deadline`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waits(_) => None,
            State::Flows(outbound) => outbound.deadline(),
        }
    }

    /// As [`Outbound::expire`].
    pub(super) fn expire(&mut self) {
        if let State::Flows(outbound) = &mut self.state {
            outbound.expire();
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let State::Waits(call) = &mut self.state {
            match call.as_mut().poll(cx) {
                Poll::Ready(outbound) => self.state = State::Flows(outbound),
                Poll::Pending => {
                    std::task::ready!(self.timer.as_mut().poll(cx));
                    let next = Instant::now() + self.every;
                    self.timer.as_mut().reset(next);
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
                }
            }
        }
        match &mut self.state {
            State::Flows(outbound) => Pin::new(outbound).poll_frame(cx),
            State::Waits(_) => Poll::Pending,
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}
