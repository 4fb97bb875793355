//! What each call came to: [`Ended`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairkey_client::Client;
use fairkey_core::{Cost, KeyId};
use fairkey_transport::Body;
use http::Request;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::gateway::Bookkeeper;
use crate::report::Report;
use crate::{Departure, Operation, Permit, Used};

/// How a call ended that had reached a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The name of the request, as in `x-fairkey-request-id`.
    pub request_id: Arc<str>,
    /// What was asked for.
    pub operation: Operation,
    /// The key that answered.
    pub key: KeyId,
    /// The model that was asked for, where one was named.
    pub model: Option<Arc<str>>,
    /// The status of the answer.
    pub status: u16,
    /// The generation's identifier, where the answer named one.
    pub generation: Option<String>,
    /// How it ended.
    pub end: End,
    /// What it used, where anybody has said so.
    pub cost: Option<Cost>,
}

/// The ways in which a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The answer was whole.
    Whole,
    /// The upstream refused, or said within the answer that it failed.
    Failed,
    /// The answer broke off.
    Broken,
    /// The caller left, and the upstream was left, too. The cost is that of the generation, where it
    /// could be asked for.
    Left,
    /// The caller left, and the rest was read: to its end, or as far as allowed.
    Drained,
}

/// How many calls at a time may be asked about after they were left.
const ASKING: usize = 64;

/// How long after a call was left it is asked about: the record of a generation lags a little.
const ASK_AFTER: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
];

/// Who hears of calls that have ended.
#[derive(Clone)]
pub(crate) struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    listeners: Vec<Arc<dyn Bookkeeper>>,
    asking: Arc<Semaphore>,
}

impl Accounts {
    pub(crate) fn new(client: Client, listeners: Vec<Arc<dyn Bookkeeper>>) -> Self {
        let inner = Inner {
            client,
            listeners,
            asking: Arc::new(Semaphore::new(ASKING)),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns for how many calls that were left it is asked what they have used.
    pub(crate) fn in_question(&self) -> usize {
        ASKING - self.inner.asking.available_permits()
    }

    /// Opens the account of a call.
    pub(crate) fn open(&self, call: Ended, mut permit: Option<Permit>, report: Report) -> Account {
        if let Some(permit) = &mut permit {
            permit.sent();
            permit.served_by(call.key.clone(), call.model.clone());
        }
        Account {
            accounts: self.clone(),
            call,
            permit,
            report,
        }
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts")
            .field("listeners", &self.inner.listeners)
            .finish_non_exhaustive()
    }
}

/// The account of one call, open until its end is known.
#[derive(Debug)]
#[must_use = "an account that is dropped is never told of"]
pub(crate) struct Account {
    accounts: Accounts,
    call: Ended,
    /// What was taken out of the tenant's limits.
    permit: Option<Permit>,
    report: Report,
}

impl Account {
    /// Closes it; `bytes` of the answer were passed on.
    pub(crate) fn end(mut self, end: End, cost: Option<Cost>, bytes: u64) {
        self.call.end = end;
        self.call.cost = cost;
        if let Some(permit) = &mut self.permit {
            match (end, cost) {
                (_, Some(cost)) => permit.settle(Used {
                    tokens: cost.tokens,
                    micro_usd: cost.micro_usd,
                }),
                // Refused, or an answer that has no price: files, lists, jobs.
                (End::Failed | End::Whole, None) => permit.refused(),
                // What nobody has said counts as was expected.
                (End::Broken | End::Left | End::Drained, None) => {}
            }
        }
        let generation = self.call.generation.as_deref();
        self.report.ended(end, cost, generation, bytes);
        for listener in &self.accounts.inner.listeners {
            listener.ended(&self.call);
        }
    }

    /// Closes it for a call that was left, whose cost is asked for where nobody has said it.
    pub(crate) fn left(mut self, end: End, cost: Option<Cost>, bytes: u64) {
        self.report.over();
        if let Some(permit) = &mut self.permit {
            permit.release_place();
        }
        let inner = &self.accounts.inner;
        // Nobody to tell: nothing to ask.
        let has_limits = self.permit.as_ref().is_some_and(Permit::is_counted);
        let is_open = cost.is_none() && (has_limits || !inner.listeners.is_empty());
        let asks = is_open.then(|| Arc::clone(&inner.asking).try_acquire_owned().ok());
        match (asks.flatten(), self.call.generation.clone()) {
            (Some(permit), Some(generation)) => {
                let task = async move {
                    let cost = ask(&self.accounts.inner.client, &self.call.key, &generation).await;
                    self.end(end, cost, bytes);
                    drop(permit);
                };
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(task);
                }
            }
            _ => self.end(end, cost, bytes),
        }
    }
}

/// What a generation came to.
#[derive(Deserialize)]
struct Answer {
    data: Generation,
}

#[derive(Deserialize)]
struct Generation {
    total_cost: Option<f64>,
    #[serde(default)]
    tokens_prompt: Option<u64>,
    #[serde(default)]
    tokens_completion: Option<u64>,
}

async fn ask(client: &Client, key: &KeyId, generation: &str) -> Option<Cost> {
    for wait in ASK_AFTER {
        tokio::time::sleep(wait).await;
        let request = Request::get(format!("/generation?id={generation}"))
            .body(Body::empty())
            .ok()?;
        let Ok(response) = client.send_by(key.as_str(), request).await else {
            continue;
        };
        if !response.status().is_success() {
            continue;
        }
        let Ok(body) = response.into_body().collect_bounded(1 << 20).await else {
            continue;
        };
        if let Ok(Answer { data }) = serde_json::from_slice(&body) {
            return Some(data.cost());
        }
    }
    None
}

impl Generation {
    fn cost(&self) -> Cost {
        let [read, written] = [self.tokens_prompt, self.tokens_completion];
        let tokens = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        let usd = self.total_cost.filter(|usd| usd.is_finite() && *usd > 0.0);
        Cost {
            tokens,
            // Rounded up, as money that is spent is: the cast saturates.
            micro_usd: (usd.unwrap_or(0.0) * 1e6).ceil() as u64,
            ..Cost::ONE
        }
    }
}

const _: fn() = || {
    fn is<T: Send + 'static>() {}
    is::<Account>();
    is::<Departure>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_with_absurd_numbers_costs_the_most_there_is() {
        let said = format!(
            r#"{{"data":{{"total_cost":1e300,"tokens_prompt":{0},"tokens_completion":{0}}}}}"#,
            u64::MAX
        );
        let Answer { data } = serde_json::from_str(&said).unwrap();
        let cost = data.cost();
        assert_eq!((cost.tokens, cost.micro_usd), (u64::MAX, u64::MAX));
    }
}
