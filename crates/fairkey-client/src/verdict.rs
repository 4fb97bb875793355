//! What to do about a fault: [`Verdict`].
//!
//! One pure function decides for all kinds of calls. Who is at fault decides *where* the next
//! attempt goes; what kind of fault it is decides *when*; the ledger decides *whether*.

use std::time::Duration;

use fairkey_core::{FaultKind, Scope};
use fairkey_openrouter::{Fault, RetryHint};

use crate::{RetryConfig, backoff};

/// What to do about a fault: what [`verdict`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Hand the fault to the caller: no attempt can help.
    Return,
    /// Try another key at once; another key of the same account will do.
    OtherKey,
    /// Try a key of another account at once.
    OtherAccount,
    /// Try the call's next model at once, with whatever key is free.
    OtherModel,
    /// Try again after this long, with whatever key is free then: no key is to blame.
    SameAfter(Duration),
    /// Another attempt could help, but may not be made.
    GiveUp(GiveUp),
}

impl Verdict {
    /// Returns the verdict as words, without the length of a wait or the reason to give up.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::OtherKey => "other key",
            Self::OtherAccount => "other account",
            Self::OtherModel => "other model",
            Self::SameAfter(_) => "same after a wait",
            Self::GiveUp(_) => "give up",
        }
    }
}

/// Why an attempt that could help is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// The call has used its attempts.
    Attempts,
    /// The call has used its failovers.
    Failovers,
    /// The retries of all calls have used up the fleet's budget.
    Budget,
    /// The next attempt would come after the call's deadline.
    Deadline,
    /// No key is left that this call has not tried.
    NoKeyLeft,
    /// Content has reached the caller already: another attempt would repeat it.
    Committed,
    /// It is unknown whether the attempt still runs, and the configuration says not to send a
    /// request twice.
    Unknown,
    /// The body was sent while it came, and is gone.
    BodySent,
}

impl GiveUp {
    /// Returns the reason as words, to stand behind "given up: ".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "the call has used its attempts",
            Self::Failovers => "the call has used its failovers",
            Self::Budget => "the retry budget of all calls is used up",
            Self::Deadline => "the next attempt would come after the deadline",
            Self::NoKeyLeft => "no other key is left to try",
            Self::Committed => "content has been delivered already",
            Self::Unknown => "the request may still be running, and is not to be sent twice",
            Self::BodySent => "the body was sent while it came, and cannot be sent again",
        }
    }
}

/// A fault, as far as the verdict depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Case {
    /// Where the same call can fare better, where it was refused before anything was billed.
    pub elsewhere: Option<Elsewhere>,
    /// Whether, and when, another model is what helps.
    pub fallback: Fallback,
    /// Whether the same call can fare better later.
    pub later: bool,
    /// The upstream's word on when.
    pub hint: Hint,
    /// Whether the request may be running upstream in spite of the fault, so that another one may
    /// be billed as well.
    pub may_run: bool,
}

/// Where a call that was refused can fare better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Elsewhere {
    /// With any other key.
    Key,
    /// With a key of another account.
    Account,
}

/// Whether another model helps against a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fallback {
    /// It does not: key, account, service or network are the same for every model.
    Never,
    /// It is the first thing to try, after other keys where those help: the model as a whole is
    /// out, or cannot serve this request.
    AtOnce,
    /// It is the second thing to try: one provider failed, and the next attempt at the same model
    /// may meet another one.
    AfterRetries,
}

/// When the upstream says that trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// It says nothing.
    Unknown,
    /// After this long, counted from the fault.
    After(Duration),
    /// Never: not until somebody changes something.
    Never,
}

impl Case {
    /// Reads a fault that came at `wall`, a time of day since 1970-01-01 00:00 UTC. `may_run`:
    /// whether the request may be running upstream all the same.
    ///
    /// - *Elsewhere* is what the fault's remedies say of keys and accounts.
    /// - *Fallback* is `AtOnce` where another model is among the remedies and the fault is not a
    ///   provider's; a provider's is one for after the retries. That covers a model that is out,
    ///   full, gone or unknown, a prompt that is too long for it, and a routing that left none of
    ///   its endpoints.
    /// - *Later* is true of what throttles or fails upstream, unless OpenRouter's
    ///   `availability.retryable` says no; of what is used up or refused, only where a wait is among
    ///   the remedies. What nobody upstream is to blame for gets no better by itself.
    #[must_use]
    pub fn of(fault: &Fault, wall: Duration, may_run: bool) -> Self {
        let (scope, remedy) = (fault.scope(), fault.remedy());
        let local = matches!(scope, Scope::Caller | Scope::Local);
        let theirs = !local && scope != Scope::Request;
        let other_key = matches!(
            scope,
            Scope::Key | Scope::Budget | Scope::Account | Scope::Request
        );
        let elsewhere = if !other_key {
            // A provider, a model or the service does not get better by changing keys.
            None
        } else if remedy.same_account_key && !matches!(scope, Scope::Account | Scope::Budget) {
            Some(Elsewhere::Key)
        } else if remedy.other_key() {
            Some(Elsewhere::Account)
        } else {
            None
        };
        let fallback = match scope {
            _ if !remedy.other_model || local => Fallback::Never,
            Scope::Provider | Scope::Service | Scope::Network => Fallback::AfterRetries,
            _ => Fallback::AtOnce,
        };
        let hint = match (fault.retry(), fault.wait(wall)) {
            (RetryHint::Never, _) => Hint::Never,
            (_, Some(wait)) => Hint::After(wait),
            (_, None) => Hint::Unknown,
        };
        let retryable = fault.availability().and_then(|it| it.retryable);
        let later = match (fault.kind(), retryable) {
            (_, Some(false)) => false,
            // What is used up does not come back within the life of a call.
            (FaultKind::Exhausted, _) => false,
            (FaultKind::Throttled | FaultKind::Failed, _) => theirs || remedy.wait,
            _ => remedy.wait,
        };
        Self {
            elsewhere,
            fallback,
            later: later && !local,
            hint,
            may_run,
        }
    }
}

/// The state of a call, its ledger, as far as the verdict depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spent {
    /// The first attempt and the retries, of all models: attempts that followed a failover or a
    /// fallback do not count.
    pub attempts: u32,
    /// The same of the present model alone.
    pub attempts_on_model: u32,
    /// Attempts that followed the refusal of a key or an account.
    pub failovers: u32,
    /// Attempts that followed a fault by going to another model.
    pub fallbacks: u32,
    /// How many models the call names that it has not failed with, the present one aside.
    pub models_left: u32,
    /// Until the call's deadline; `None`: it has none.
    pub left: Option<Duration>,
    /// Whether content has reached the caller.
    pub committed: bool,
}

impl Spent {
    /// Returns the state of a call whose first attempt has just failed, and that could go on to
    /// `models_left` other models.
    #[must_use]
    pub fn first(models_left: u32) -> Self {
        Self {
            attempts: 1,
            attempts_on_model: 1,
            models_left,
            ..Self::default()
        }
    }
}

/// Decides what to do about a fault, with `chance` from 0 to 1 for the jitter of a wait.
///
/// Pure: the same input gives the same verdict. What it cannot know is asked afterwards: whether
/// there is another key, and, for [`Verdict::SameAfter`] only, whether the fleet's budget allows a
/// retry, since asking takes from it.
///
/// The rules, in this order:
///
/// 1. Where neither another key, nor another model that the call names, nor a wait can help: return.
/// 2. After content has reached the caller: give up.
/// 3. Where a key or an account is at fault, and the call has failovers left: another one.
/// 4. Where the request may still be running, and is not to be sent twice: give up.
/// 5. Where the model as a whole is at fault, and the call names another: that one.
/// 6. Where waiting helps: the same again, after the hint or the backoff. It goes to the next model
///    instead, where there is one that helps, once this model has had its
///    [`attempts_per_model`](RetryConfig::attempts_per_model), for a hint beyond the
///    [`patience`](RetryConfig::patience), and where the wait would pass the deadline.
/// 7. Where the ledger has no more: give up.
///
/// ```
/// use std::time::Duration;
/// use fairkey_client::{Case, RetryConfig, Spent, Verdict, verdict};
/// use fairkey_openrouter::{Cause, Fault};
///
/// let policy = RetryConfig::default();
/// let of = |cause, models_left| {
///     let case = Case::of(&Fault::new(cause, ""), Duration::ZERO, false);
///     verdict(case, Spent::first(models_left), &policy, 1.0)
/// };
/// assert_eq!(of(Cause::KeyInvalid, 0), Verdict::OtherKey);
/// assert_eq!(of(Cause::BalanceExhausted, 0), Verdict::OtherAccount);
/// assert_eq!(of(Cause::CapacityExhausted, 1), Verdict::OtherModel);
/// assert_eq!(of(Cause::CapacityExhausted, 0), Verdict::SameAfter(policy.base));
/// assert_eq!(of(Cause::ContextTooLong, 0), Verdict::Return);
/// ```
///
/// What it decides about the first fault of a call, for each answer that OpenRouter gives; first
/// where the call names one model, then where it names another one to fall back on:
///
#[doc = include_str!("verdict/table.md")]
#[must_use]
pub fn verdict(case: Case, spent: Spent, policy: &RetryConfig, chance: f64) -> Verdict {
    let other_model = spent.models_left > 0 && spent.fallbacks < policy.fallbacks;
    let fallback = if other_model {
        case.fallback
    } else {
        Fallback::Never
    };
    let or_other_model = |give_up| match fallback {
        Fallback::Never => Verdict::GiveUp(give_up),
        _ => Verdict::OtherModel,
    };
    let later = case.later && case.hint != Hint::Never;
    if case.elsewhere.is_none() && !later && fallback == Fallback::Never {
        return Verdict::Return;
    }
    if spent.committed {
        return Verdict::GiveUp(GiveUp::Committed);
    }
    match case.elsewhere {
        Some(_) if spent.failovers >= policy.failovers => {
            return or_other_model(GiveUp::Failovers);
        }
        Some(Elsewhere::Key) => return Verdict::OtherKey,
        Some(Elsewhere::Account) => return Verdict::OtherAccount,
        None => {}
    }
    if case.may_run && !policy.resend_unknown {
        return Verdict::GiveUp(GiveUp::Unknown);
    }
    if fallback == Fallback::AtOnce || !later {
        return Verdict::OtherModel;
    }
    if spent.attempts >= policy.attempts.max(1) {
        return or_other_model(GiveUp::Attempts);
    }
    let hint = match case.hint {
        Hint::After(hint) => Some(hint),
        Hint::Unknown | Hint::Never => None,
    };
    if fallback != Fallback::Never
        && (spent.attempts_on_model >= policy.attempts_per_model.max(1)
            || hint.is_some_and(|hint| hint > policy.patience))
    {
        return Verdict::OtherModel;
    }
    let retries = spent.attempts.saturating_sub(1);
    let wait = backoff::wait(policy, retries, hint, chance);
    if spent.left.is_some_and(|left| wait >= left) {
        return or_other_model(GiveUp::Deadline);
    }
    Verdict::SameAfter(wait)
}

/// What becomes of [`Verdict::SameAfter`] where the fleet's budget does not allow a retry.
pub(crate) fn without_budget(case: Case, spent: Spent, policy: &RetryConfig) -> Verdict {
    let other_model = spent.models_left > 0 && spent.fallbacks < policy.fallbacks;
    if other_model && case.fallback != Fallback::Never {
        Verdict::OtherModel
    } else {
        Verdict::GiveUp(GiveUp::Budget)
    }
}

#[cfg(test)]
mod tests;
