//! A caller that begins no call without the money for it: [`Metered`].

use std::borrow::Cow;
use std::sync::Arc;

use fairkey_core::Scope;

use super::{Appraiser, Purse};
use crate::{
    Allowance, AttemptCount, Bottleneck, Caller, CallerState, Failure, KeyState, Reply, Request,
    Then,
};

/// Sends rows through another caller, as long as the money for them is there.
///
/// Before each call what it may cost is set aside in a [`Purse`], and when it ends, what it did
/// cost is booked. A row whose price nobody knows fails with `no_price`, and is not sent; one for
/// which the money does not reach ends the run ([`Then::OutOfMoney`]). Without a purse every row is
/// sent.
#[derive(Debug)]
pub struct Metered<C> {
    inner: C,
    money: Option<(Appraiser, Arc<Purse>)>,
}

impl<C> Metered<C> {
    /// Sends through `inner`, with the money in a purse where there is one, and with who says what
    /// rows cost.
    pub fn new(inner: C, money: Option<(Appraiser, Arc<Purse>)>) -> Self {
        Self { inner, money }
    }
}

impl<C: Caller> Caller for Metered<C> {
    async fn call(&self, request: &Request, left: Allowance) -> Result<Reply, Failure> {
        let Some((appraiser, purse)) = &self.money else {
            return self.inner.call(request, left).await;
        };
        let quote = appraiser.quote(request);
        let most = appraiser
            .most(&quote)
            .map_err(|error| unsent("no_price", error.to_string(), Then::Fail))?;
        // How long answers are that nothing bounds, the appraiser learns: only what else makes
        // calls dear is left to the purse.
        let is_bounded = quote.limit.is_some() || quote.choices == 0;
        let model = quote.models.first().filter(|_| is_bounded);
        let reserved = purse.reserve(model, most).await;
        let reserved = reserved.map_err(|why| {
            let message = why.to_string();
            unsent("out_of_money", message, Then::OutOfMoney(why))
        })?;
        let result = self.inner.call(request, left).await;
        let spend = match &result {
            Ok(reply) => {
                let mut spend = reply.spend();
                // An answer that does not say what it cost has cost something all the same.
                spend.unknown += u64::from(reply.cost.is_none() && most > 0);
                spend
            }
            Err(failure) => failure.spend(),
        };
        reserved.settle(spend);
        result
    }

    fn state(&self) -> &dyn CallerState {
        self
    }
}

impl<C: Caller> CallerState for Metered<C> {
    fn in_flight(&self) -> Option<u64> {
        self.inner.state().in_flight()
    }

    fn attempts(&self) -> Option<AttemptCount> {
        self.inner.state().attempts()
    }

    fn bars(&self) -> Vec<Bottleneck> {
        let mut bars = self.inner.state().bars();
        if self
            .money
            .as_ref()
            .is_some_and(|(_, purse)| purse.is_awaited())
        {
            bars.push(Bottleneck::Money);
        }
        bars
    }

    fn keys(&self) -> Vec<KeyState> {
        self.inner.state().keys()
    }
}

/// A row that is not sent.
fn unsent(code: &'static str, message: String, then: Then) -> Failure {
    Failure {
        code: Cow::Borrowed(code),
        message,
        scope: Scope::Local,
        cause: None,
        status: None,
        attempts: Vec::new(),
        then,
        answer: None,
    }
}
