//! Keeping keys out of results: [`Cleaned`].

use fairkey_batch::{Allowance, Caller, CallerState, Failure, Reply, Request};

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

    fn state(&self) -> &dyn CallerState {
        self.0.state()
    }
}
