//! Keeping keys out of results: [`Cleaned`].

use fairkey_batch::{Allowance, AttemptCount, Caller, Failure, KeyState, Reply, Request};

use crate::redaction;

/// A caller whose errors, which go into a file, hold no key.
#[derive(Debug)]
pub(super) struct Cleaned<C>(pub(super) C);

impl<C: Caller> Caller for Cleaned<C> {
    async fn call(&self, request: &Request, left: Allowance) -> Result<Reply, Failure> {
        self.0.call(request, left).await.map_err(|mut failure| {
            failure.message = redaction::clean(&failure.message);
            failure
        })
    }

    fn in_flight(&self) -> Option<u64> {
        self.0.in_flight()
    }

    fn attempts(&self) -> Option<AttemptCount> {
        self.0.attempts()
    }

    fn bars(&self) -> Vec<String> {
        self.0.bars()
    }

    fn keys(&self) -> Vec<KeyState> {
        self.0.keys()
    }
}
