//! Callers that leave.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fairkey_client::LeasedBody;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use super::{Account, End};
use crate::Departure;

/// Leaves an answer, or reads it to its end for what it says of its usage.
pub(super) fn leave(body: LeasedBody, account: Account, departure: Departure, passed: u64) {
    match (departure, tokio::runtime::Handle::try_current()) {
        (Departure::Drain { within, bytes }, Ok(runtime))
            if body.deadline().is_none_or(|at| Instant::now() < at) =>
        {
            runtime.spawn(drain(body, account, (within, bytes), passed));
        }
        _ => {
            let cost = body.cost();
            // Closes the connection upstream, or resets its stream, and lets the key go.
            drop(body);
            account.left(End::Left, cost, passed);
        }
    }
}

async fn drain(
    mut body: LeasedBody,
    account: Account,
    (within, most): (Duration, u64),
    passed: u64,
) {
    let read = async {
        let mut left = most;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            left = match left.checked_sub(bytes) {
                Some(left) if !body.is_end_stream() => left,
                _ => break,
            };
        }
    };
    let _ = timeout(within, read).await;
    let cost = body.cost();
    drop(body);
    account.left(End::Drained, cost, passed);
}

/// A call that goes on for a while when nobody waits for its answer any more. What then comes of it
/// is handed to `settle`.
#[derive(Debug)]
pub(crate) struct Departing<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// `None`: it was answered.
    call: Option<Pin<Box<F>>>,
    within: Duration,
    settle: fn(F::Output),
}

impl<F> Departing<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(crate) fn new(call: F, departure: Departure, settle: fn(F::Output)) -> Self {
        let within = match departure {
            Departure::Cancel => Duration::ZERO,
            Departure::Drain { within, .. } => within,
        };
        Self {
            call: Some(Box::pin(call)),
            within,
            settle,
        }
    }
}

impl<F> Future for Departing<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(call) = &mut self.call else {
            // Polled after its end, which nobody does.
            return Poll::Pending;
        };
        let output = std::task::ready!(call.as_mut().poll(cx));
        self.call = None;
        Poll::Ready(output)
    }
}

impl<F> Drop for Departing<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        let Some(call) = self.call.take().filter(|_| !self.within.is_zero()) else {
            return;
        };
        let (within, settle) = (self.within, self.settle);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Ok(output) = timeout(within, call).await {
                    settle(output);
                }
            });
        }
    }
}
