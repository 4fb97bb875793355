//! Who sends: the trait [`Caller`], and what it answers.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{AccountId, Cost, FaultKind, KeyId, Scope};

use crate::{Bottleneck, OutOfMoney, Request};

/// Sends one request and comes back with its answer, whatever keys and attempts that takes.
///
/// `fairkey-client`'s `Client` is one, by way of [`ClientCaller`](crate::ClientCaller).
pub trait Caller: Send + Sync + 'static {
    /// Sends a request, with at most the attempts that its row may still make.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must give up the call.
    fn call(
        &self,
        request: &Request,
        allowance: Allowance,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send;

    /// Returns what it knows of itself; `&()` where that is nothing. One that sends through another
    /// returns that one's.
    fn state(&self) -> &dyn CallerState;
}

/// What a [`Caller`] knows of itself, beside the answers. Each part may be unknown, and is by default.
pub trait CallerState {
    /// Returns how many requests are under way upstream now; `None` where that is unknown. A run
    /// that shall end waits for those, and not for rows that merely wait for a key.
    fn in_flight(&self) -> Option<u64> {
        None
    }

    /// Returns the attempts so far, of calls that have not ended, too; `None` where only the ends of
    /// calls tell. Automatic concurrency steps back sooner where it knows.
    fn attempts(&self) -> Option<AttemptCount> {
        None
    }

    /// Says for what rows wait that are not under way: limits that are used up, keys that are out,
    /// money, each in words that stay the same while it lasts. Empty where nobody knows.
    fn bars(&self) -> Vec<Bottleneck> {
        Vec::new()
    }

    /// Returns the keys and the state of each, for the summary.
    fn keys(&self) -> Vec<KeyState> {
        Vec::new()
    }
}

/// Knows nothing.
impl CallerState for () {}

impl<C: Caller> Caller for Arc<C> {
    async fn call(&self, request: &Request, allowance: Allowance) -> Result<Reply, Failure> {
        (**self).call(request, allowance).await
    }

    fn state(&self) -> &dyn CallerState {
        (**self).state()
    }
}

/// What a row may still spend, over all calls that are made for it: its ledger.
///
/// [`RunConfig`](crate::RunConfig) says what each row has at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Attempts, but those that count as failovers.
    pub attempts: u32,
    /// Attempts that a key, a budget or an account refuses before anything is billed.
    pub failovers: u32,
}

impl Allowance {
    /// Returns whether nothing is left of one or the other.
    #[must_use]
    pub fn is_used_up(self) -> bool {
        self.attempts == 0 || self.failovers == 0
    }

    /// Returns what is left after these attempts.
    #[must_use]
    pub fn less(self, attempts: &[Attempt]) -> Self {
        let failovers = attempts.iter().filter(|attempt| attempt.is_failover());
        let failovers = u32::try_from(failovers.count()).unwrap_or(u32::MAX);
        let all = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        Self {
            attempts: self.attempts.saturating_sub(all - failovers),
            failovers: self.failovers.saturating_sub(failovers),
        }
    }
}

/// How many attempts there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptCount {
    /// All of them.
    pub made: u64,
    /// Those that were refused by somebody who asked to slow down, and for whom no key speaks: a
    /// model, a provider or the service. What keys and accounts bear is kept to by waiting.
    pub slow_downs: u64,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status: 200, as a rule.
    pub status: u16,
    /// What the upstream calls the call: the generation's identifier.
    pub request_id: Option<String>,
    /// The body; JSON, as a rule.
    pub body: Bytes,
    /// The key that served it.
    pub key: KeyId,
    /// What it used, where that is known; the bill of the last attempt does not say it again.
    pub cost: Option<Cost>,
    /// Every attempt it took, the good one last.
    pub attempts: Vec<Attempt>,
    /// How long it waited for keys.
    pub waited: Duration,
}

impl Reply {
    /// Returns what it and all attempts before it cost.
    #[must_use]
    pub fn spend(&self) -> Spend {
        let mut spend = Spend::of(&self.attempts);
        spend.cost += self.cost.unwrap_or_default();
        spend
    }
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// A short name for programs: `bad_request`, `no_key`.
    pub code: Cow<'static, str>,
    /// What went wrong, for people. No secret in it.
    pub message: String,
    /// Who is at fault.
    pub scope: Scope,
    /// Why, where an upstream said so.
    pub cause: Option<Cow<'static, str>>,
    /// The status of the last answer, where there was one.
    pub status: Option<u16>,
    /// Every attempt that was made.
    pub attempts: Vec<Attempt>,
    /// What to do about it.
    pub then: Then,
    /// An answer that came all the same, and is not good enough: it is kept in the result.
    pub answer: Option<Box<Reply>>,
}

impl Failure {
    /// Returns what it cost: all its attempts, and the answer that is not good enough.
    #[must_use]
    pub fn spend(&self) -> Spend {
        let mut spend = Spend::of(&self.attempts);
        spend.cost += self
            .answer
            .as_ref()
            .and_then(|answer| answer.cost)
            .unwrap_or_default();
        spend
    }
}

/// What to do about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// The row has failed.
    Fail,
    /// Nothing is wrong with the row, but no key was to be had for it: it is sent again later.
    Wait {
        /// How long that makes no sense; `None` where nobody knows.
        after: Option<Duration>,
        /// What bars each key, where every one is barred by somebody upstream.
        barred: Vec<KeyOut>,
    },
    /// The row is left without a result, for a later run.
    Leave,
    /// Every key is out for good: no row can be answered any more.
    Stop {
        /// Why, for each key.
        keys: Vec<KeyOut>,
    },
    /// There is no money for the row, nor for any after it: none of them is sent.
    OutOfMoney(OutOfMoney),
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOut {
    /// The key.
    pub key: KeyId,
    /// Who bars it: what all keys share, as the service, bars each of them.
    pub by: Scope,
    /// Why, in words.
    pub why: String,
}

impl fmt::Display for KeyOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.key, self.why)
    }
}

/// One attempt of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The key it was made with.
    pub key: KeyId,
    /// The account of the key, where one is named.
    pub account: Option<AccountId>,
    /// What went wrong; `None` where nothing did.
    pub refusal: Option<Refusal>,
    /// What is to be paid for it beside what [`Reply::cost`] says.
    pub bill: Bill,
}

/// What is to be paid for an attempt, beside what [`Reply::cost`] says of a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// What an attempt that brought no good answer used all the same, where something said so.
    pub cost: Option<Cost>,
    /// What a provider charged an account of the caller's own with it (BYOK), in millionths of a
    /// US dollar.
    pub byok_micro_usd: u64,
    /// Whether it may have been billed although nothing came back: the connection broke after the
    /// request was sent, or nobody waited any longer.
    pub is_unknown: bool,
}

/// What some attempts cost together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// What answers said they used.
    pub cost: Cost,
    /// What providers charged an account of the caller's own with, in millionths of a US dollar.
    pub byok_micro_usd: u64,
    /// How many attempts may have been billed although nothing came back.
    pub unknown: u64,
}

impl Spend {
    /// Adds up the bills of attempts.
    #[must_use]
    pub fn of(attempts: &[Attempt]) -> Self {
        let mut spend = Self::default();
        for Attempt { bill, .. } in attempts {
            spend.cost += bill.cost.unwrap_or_default();
            spend.byok_micro_usd = spend.byok_micro_usd.saturating_add(bill.byok_micro_usd);
            spend.unknown += u64::from(bill.is_unknown);
        }
        spend
    }

    /// Returns the money in millionths of a US dollar, whoever gets it.
    #[must_use]
    pub fn micro_usd(&self) -> u64 {
        self.cost.micro_usd.saturating_add(self.byok_micro_usd)
    }
}

impl std::ops::AddAssign for Spend {
    fn add_assign(&mut self, other: Self) {
        self.cost += other.cost;
        self.byok_micro_usd = self.byok_micro_usd.saturating_add(other.byok_micro_usd);
        self.unknown += other.unknown;
    }
}

impl Attempt {
    /// Makes one that went well, and cost nothing beside what its answer says.
    #[must_use]
    pub fn good(key: KeyId, account: Option<AccountId>) -> Self {
        Self {
            key,
            account,
            refusal: None,
            bill: Bill::default(),
        }
    }

    /// Returns whether only a key, a budget or an account was in its way, so that it cost nothing.
    #[must_use]
    pub fn is_failover(&self) -> bool {
        self.refusal
            .as_ref()
            .is_some_and(|refusal| is_of_keys(refusal.scope))
    }
}

/// What went wrong with an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who was at fault.
    pub scope: Scope,
    /// What kind of failure it was.
    pub kind: FaultKind,
    /// Why, as a short name.
    pub cause: Cow<'static, str>,
    /// The status, where there was one.
    pub status: Option<u16>,
}

impl Refusal {
    /// Returns whether it asks to slow down, and whoever asks is no key, budget or account: those
    /// are kept to by waiting for them.
    #[must_use]
    pub fn is_slow_down(&self) -> bool {
        self.kind == FaultKind::Throttled && !is_of_keys(self.scope)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match self.status {
            Some(status) => write!(f, " ({status})"),
            None => Ok(()),
        }
    }
}

/// Names what bears a failure when that is something that all keys share.
pub(crate) fn shared_by_keys(scope: Scope) -> Option<&'static str> {
    match scope {
        Scope::Service => Some("the service"),
        Scope::Network => Some("the network"),
        Scope::Model => Some("the model"),
        Scope::Provider => Some("the provider"),
        _ => None,
    }
}

/// Whether what is charged is a key, or what some keys share.
pub(crate) fn is_of_keys(scope: Scope) -> bool {
    matches!(scope, Scope::Key | Scope::Budget | Scope::Account)
}

/// A key, and its state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub key: KeyId,
    /// Its account, where one is named.
    pub account: Option<AccountId>,
    /// Its state in words: `ok`, `out (key): key_invalid (401)`.
    pub state: String,
}
