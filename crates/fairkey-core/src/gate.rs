//! What admits or denies: the trait [`Gate`].

use std::fmt;
use std::sync::Arc;

use crate::{
    Ask, Candidate, Gated, KeySet, Report, Scope, Scopes, SlotBits, Strategy, Timestamp, Turn,
};

/// Where a gate stands: before one key, for one ask, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The key in question.
    pub key: Candidate<'a>,
    /// What the call wants.
    pub ask: &'a Ask<'a>,
    /// The time of the selection; a gate does not read a clock.
    pub now: Timestamp,
}

/// What a gate gives out at [`Gate::enter`] and gets back at [`Gate::leave`]: a number that means
/// something to that gate alone, such as the generation a call belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// A gate's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The scope that bars. [`Scope::Local`] for a cap of our own: a release opens it.
    pub by: Scope,
    /// When asking again makes sense; `None` where only a release or a change can help.
    pub until: Option<Timestamp>,
    /// Whether the end of a call under way, or its first content, may open it: before `until`,
    /// where that only bounds how long a probe is waited for; where `until` is `None`, at all. A
    /// refusal of [`Scope::Local`] need not say so.
    pub may_open_sooner: bool,
    /// Whether a limit bars that is used up for now: what is behind it works, as fast as the limit
    /// allows. Else something has failed, and nobody knows what comes after it. Who waits is told
    /// by it whether what was served of late tells how it goes on. True of [`Scope::Local`], unless
    /// said otherwise; else false.
    pub by_limit: bool,
}

impl Denied {
    /// Returns a refusal until `until`.
    #[must_use]
    pub const fn until(by: Scope, until: Timestamp) -> Self {
        Self {
            by,
            until: Some(until),
            may_open_sooner: false,
            by_limit: matches!(by, Scope::Local),
        }
    }

    /// Says that the end of a call may open it sooner.
    #[must_use]
    pub const fn or_sooner(self) -> Self {
        Self {
            may_open_sooner: true,
            ..self
        }
    }

    /// Says that it is a limit that bars, used up for now.
    #[must_use]
    pub const fn of_limit(self) -> Self {
        Self {
            by_limit: true,
            ..self
        }
    }

    /// Returns a refusal that no passing of time ends.
    #[must_use]
    pub const fn for_good(by: Scope) -> Self {
        Self {
            by,
            until: None,
            may_open_sooner: false,
            by_limit: matches!(by, Scope::Local),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Some(until) => write!(f, "barred by {} until {until:?}", self.by),
            None => write!(f, "barred by {}", self.by),
        }
    }
}

/// What a gate adds to its denial where a person reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Since when it denies.
    pub since: Option<Timestamp>,
    /// What it waits for, in a few words: "a probe is under way".
    pub what: Option<&'static str>,
}

/// Admits or denies one key, or one group of keys, until a time.
///
/// One object stands before all keys of a pool; state per key lives in
/// [`Slots`](crate::Slots) by [`Slot`](crate::Slot), per account by
/// [`AccountSlot`](crate::AccountSlot). Only [`check`](Gate::check) is required.
///
/// # Contract
///
/// - `check` and `narrow` have no effect that a caller could notice: they are asked as often as
///   the pool likes, on any thread, without any call being made.
/// - Between `check` and `enter` anything can happen; `enter` decides, and may deny what `check`
///   admitted.
/// - For every `enter` that gave a ticket, `leave` is called exactly once with it: after the call
///   with its outcome, or at once with [`Outcome::Neutral`](crate::Outcome::Neutral) where
///   another gate denied. `leave` always gives back what `enter` reserved, whatever the outcome.
/// - Nothing blocks, allocates on the path of a call, reads a clock or panics.
///
/// # Examples
///
/// At most one call at a time with a key, in [`Scope::Local`]:
///
/// ```
/// use fairkey_core::{At, Denied, Gate, Scope};
///
/// #[derive(Debug)]
/// struct OneAtATime;
///
/// impl Gate for OneAtATime {
///     fn check(&self, at: &At<'_>) -> Result<(), Denied> {
///         if at.key.in_flight() == 0 { Ok(()) } else { Err(Denied::for_good(Scope::Local)) }
///     }
/// }
/// ```
///
/// (Two threads can pass this check together; a gate that must not let them reserves in `enter`,
/// as `MaxInFlight` of fairkey-strategy does.)
pub trait Gate: fmt::Debug + Send + Sync {
    /// Tells whether a call may use the key now. Advisory, and free of effects.
    ///
    /// # Errors
    ///
    /// Who bars, and until when.
    fn check(&self, at: &At<'_>) -> Result<(), Denied>;

    /// Takes every key that may not be used out of the turn. Override it where one look answers
    /// for many keys; it must then agree with [`check`](Gate::check).
    fn narrow(&self, turn: &mut Turn<'_>) {
        turn.retain(|at| self.check(at).is_ok());
    }

    /// Returns the set of what this gate has closed, by whatever it counts in: while that set is
    /// empty, [`narrow`](Gate::narrow) is not called, since there is nothing to take out. Asked
    /// once, when the gate is put before a strategy. By default there is none.
    fn closed(&self) -> Option<Arc<SlotBits>> {
        None
    }

    /// Decides, and reserves what the call needs: all of it or nothing.
    ///
    /// # Errors
    ///
    /// Who bars, and until when; nothing is reserved.
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at).map(|()| Ticket::default())
    }

    /// Hears that the first content of a call has come, at `at`. The call goes on, perhaps for
    /// minutes; [`leave`](Gate::leave) follows with the same ticket, and its report names the same
    /// time. At most once for each ticket, and not on the path of a selection.
    fn first_content(&self, key: Candidate<'_>, ticket: Ticket, at: Timestamp) {
        let _ = (key, ticket, at);
    }

    /// Takes the ticket back and learns from the report, whose outcome is filtered to what this
    /// gate [`hears`](Gate::hears).
    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        let _ = (key, ticket, report);
    }

    /// Returns the scopes whose faults this gate hears; all others reach it as
    /// [`Outcome::Neutral`](crate::Outcome::Neutral). By default [`Scope::Key`] only.
    fn hears(&self) -> Scopes {
        Scopes::of(Scope::Key)
    }

    /// Takes note of the keys there are: at the start, and before a reloaded set is published.
    /// State of [`KeySet::fresh`] slots is to be made new; all other state stays.
    fn rekey(&self, keys: &KeySet) {
        let _ = keys;
    }

    /// Returns what explanations show beside a denial. By default nothing.
    fn detail(&self, at: &At<'_>) -> Detail {
        let _ = at;
        Detail::default()
    }

    /// Returns the name that explanations show. By default the name of the type.
    fn name(&self) -> &'static str {
        let name = std::any::type_name::<Self>();
        let name = name.split('<').next().unwrap_or(name);
        name.rsplit("::").next().unwrap_or(name)
    }

    /// Puts this gate before `strategy`.
    fn guarding<S: Strategy>(self, strategy: S) -> Gated<S>
    where
        Self: Sized + 'static,
    {
        Gated::new(strategy).gate(self)
    }
}

/// Stops compiling when the trait cannot be used as an object any more.
const _: fn(&dyn Gate) = |_| {};
