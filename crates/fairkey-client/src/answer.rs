//! What came of a call: [`Answer`], and the [`Attempt`]s it took.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{AccountId, Cost, FaultKind, KeyId, Scope, Timestamp};
use fairkey_openrouter::{Cause, Fault};

/// An answer, and how it was had.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    /// The key that served it.
    pub key: KeyId,
    /// The model that was asked for, where one was named: the call's own, or the one of its
    /// [`models`](crate::CallOptions::models) that it fell back on. OpenRouter may have served
    /// another one, as the answer itself says.
    pub model: Option<Arc<str>>,
    /// Every attempt that was made, the last one the good one.
    pub attempts: Vec<Attempt>,
    /// What it used, where the answer says so. Attempts before it that failed, and were billed all
    /// the same, say so themselves: see [`Attempt::bill`].
    pub cost: Option<Cost>,
    /// The provider that served it, where the answer says so.
    pub provider: Option<String>,
    /// The generation's identifier, where the answer says so.
    pub generation: Option<String>,
    /// From the call to the whole answer, waiting included.
    pub elapsed: Duration,
    /// How long of that it waited for keys.
    pub waited: Duration,
}

impl<T> Answer<T> {
    /// Returns the answer with another value in it.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            value: f(self.value),
            key: self.key,
            model: self.model,
            attempts: self.attempts,
            cost: self.cost,
            provider: self.provider,
            generation: self.generation,
            elapsed: self.elapsed,
            waited: self.waited,
        }
    }
}

/// One attempt of a call: a request that was sent, or was about to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Attempt {
    /// The key that was used.
    pub key: KeyId,
    /// The account that owns it, where one was named.
    pub account: Option<AccountId>,
    /// The model that was asked for, where one was named.
    pub model: Option<Arc<str>>,
    /// What went wrong; `None` where nothing did.
    pub fault: Option<AttemptFault>,
    /// What is to be paid for it, where a whole answer said so, be it one that is a failure. Of
    /// streams, only the stream itself knows.
    pub bill: Bill,
    /// When it began, on the pool's clock.
    pub began: Timestamp,
    /// How long it took: to the end of the answer, or for a stream to its first content.
    pub elapsed: Duration,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": ", self.key)?;
        match &self.fault {
            Some(fault) => write!(f, "{fault}"),
            None => f.write_str("ok"),
        }
    }
}

/// What is to be paid for an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bill {
    /// What OpenRouter charges, and for how many tokens; `None`: nobody said.
    pub cost: Option<Cost>,
    /// What a provider charges the caller's own account with it (BYOK), in millionths of a US
    /// dollar; OpenRouter's fee for that is in the cost.
    pub byok_micro_usd: u64,
}

impl Bill {
    /// Returns whether there is anything to be paid.
    #[must_use]
    pub fn is_billed(&self) -> bool {
        self.byok_micro_usd > 0 || self.cost.is_some_and(|cost| cost.micro_usd > 0)
    }
}

/// What went wrong with an attempt, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptFault {
    /// Who was at fault.
    pub scope: Scope,
    /// What kind of failure it was.
    pub kind: FaultKind,
    /// Why.
    pub cause: Cause,
    /// The status of the answer or, inside a 200, the one that the error names.
    pub status: Option<u16>,
    /// Whether the request may have run upstream, and be billed, although no answer came: the
    /// connection broke after it was sent, or nobody waited any longer.
    pub may_run: bool,
}

impl From<&Fault> for AttemptFault {
    fn from(fault: &Fault) -> Self {
        Self {
            scope: fault.scope(),
            kind: fault.kind(),
            cause: fault.cause(),
            status: fault.status(),
            may_run: false,
        }
    }
}

impl AttemptFault {
    /// One that nobody waits for any more: it may well run to its end.
    pub(crate) fn given_up() -> Self {
        Self {
            may_run: true,
            ..(&Fault::canceled()).into()
        }
    }
}

impl fmt::Display for AttemptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.scope, self.cause.as_str())?;
        match self.status {
            Some(status) => write!(f, " ({status})"),
            None => Ok(()),
        }
    }
}
