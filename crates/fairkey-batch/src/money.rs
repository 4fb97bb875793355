//! Money of a run that may spend only so much: [`Purse`].
//!
//! What a call may cost at most is set aside before it begins, and what it did cost is booked when
//! it ends. No call begins while what is spent, what is set aside and what it needs itself exceed
//! the limit together, so that no number of calls at a time can overrun it.

mod appraiser;
mod metered;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use self::appraiser::{Appraiser, Unpriced};
pub use self::metered::Metered;

/// How much more is set aside than what an answer that was dearer than its estimate says, so that
/// the next one like it fits.
const MARGIN: f64 = 1.25;
/// How many models may be dear in a way of their own; what is learned of others holds for all.
const MODELS: usize = 512;

/// Money that a run may spend. All amounts are millionths of a US dollar.
///
/// At any time `spent + unknown + set aside ≤ limit + shortfalls`, where a shortfall is what an
/// answer cost more than was set aside for it. After one, more is set aside for calls that name the
/// same model, in proportion.
///
/// ```
/// use std::sync::Arc;
/// use fairkey_batch::{Purse, Spend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let purse = Arc::new(Purse::new(1_000_000, 0));
/// let first = purse.reserve(None, 600_000).await.unwrap();
/// first.settle(Spend::default()); // it cost nothing after all
/// let second = purse.reserve(None, 1_000_000).await.unwrap();
/// drop(second); // given up while under way: nobody knows whether it is billed
/// assert_eq!(purse.used().unknown_micro_usd, 1_000_000);
/// assert!(purse.reserve(None, 1).await.is_err());
/// # }
/// ```
#[derive(Debug)]
pub struct Purse {
    limit: u64,
    state: Mutex<State>,
    /// Something was booked.
    changed: Notify,
    /// Who waits for money waits in the order of coming.
    line: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    used: PurseUse,
    /// How much more than its estimate a call of a model may cost.
    factors: HashMap<Arc<str>, f64>,
    /// The same for all that have no place of their own.
    others: f64,
    /// How many wait for money that is set aside for others: the first in line, or nobody.
    awaiting: u64,
    /// Set with the first call for which there was no money: none begins from then on.
    out: Option<OutOfMoney>,
}

/// What became of a purse's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurseUse {
    /// What was spent for sure, before this run included.
    pub spent_micro_usd: u64,
    /// What may have been spent on calls of which nothing came back.
    pub unknown_micro_usd: u64,
    /// What is set aside for calls under way.
    pub reserved_micro_usd: u64,
    /// What answers cost more than was set aside for them, all together.
    pub shortfall_micro_usd: u64,
}

impl PurseUse {
    fn gone(&self) -> u64 {
        self.spent_micro_usd.saturating_add(self.unknown_micro_usd)
    }
}

/// Why a call does not begin: what it may cost is more than what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfMoney {
    /// What may be spent.
    pub limit_micro_usd: u64,
    /// What is spent.
    pub spent_micro_usd: u64,
    /// What may be spent as well, on calls of which nothing came back.
    pub unknown_micro_usd: u64,
    /// What the call may cost.
    pub needed_micro_usd: u64,
}

impl fmt::Display for OutOfMoney {
    /// `the next row may cost $0.0600, and $0.9800 of $1.00 is spent`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = self.unknown_micro_usd;
        write!(
            f,
            "the next row may cost {}, and {} of {} is spent",
            Usd(self.needed_micro_usd),
            Usd(self.spent_micro_usd),
            Usd(self.limit_micro_usd)
        )?;
        if unknown > 0 {
            write!(f, ", {} more perhaps on calls that broke off", Usd(unknown))?;
        }
        Ok(())
    }
}

/// An amount in US dollars, small ones with more places.
struct Usd(u64);

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usd = self.0 as f64 / 1e6;
        if self.0 < 1_000_000 {
            write!(f, "${usd:.6}")
        } else {
            write!(f, "${usd:.2}")
        }
    }
}

impl Purse {
    /// Makes one of which `spent` is gone already.
    #[must_use]
    pub fn new(limit_micro_usd: u64, spent_micro_usd: u64) -> Self {
        let used = PurseUse {
            spent_micro_usd,
            ..PurseUse::default()
        };
        Self {
            limit: limit_micro_usd,
            state: Mutex::new(State {
                used,
                others: 1.0,
                ..State::default()
            }),
            changed: Notify::new(),
            line: tokio::sync::Mutex::default(),
        }
    }

    /// Books what was spent before.
    pub fn spent_before(&self, micro_usd: u64) {
        let mut state = self.state();
        let used = &mut state.used;
        used.spent_micro_usd = used.spent_micro_usd.saturating_add(micro_usd);
    }

    /// Returns what may be spent.
    #[must_use]
    pub fn limit_micro_usd(&self) -> u64 {
        self.limit
    }

    /// Returns what became of it so far.
    #[must_use]
    pub fn used(&self) -> PurseUse {
        self.state().used
    }

    /// Returns whether a call waits until others have ended for less than was set aside for them.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.state().awaiting > 0
    }

    /// Sets money aside for a call that may cost `most`; where a model is named, more by as much as
    /// calls of that model were dearer than what they might cost. Where other calls must end first,
    /// it waits for them, in the order of coming.
    ///
    /// # Errors
    ///
    /// Where it would not fit even if calls under way cost nothing; from then on always, whatever
    /// is asked for, so that rows that are not begun are the last ones.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing is set aside.
    pub async fn reserve(
        self: &Arc<Self>,
        model: Option<&Arc<str>>,
        most: u64,
    ) -> Result<Reservation, OutOfMoney> {
        let _turn = self.line.lock().await;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(reservation) = self.try_reserve(model, most)? {
                return Ok(reservation);
            }
            let _awaiting = Awaiting::new(self);
            changed.await;
        }
    }

    /// `Ok(None)`: not now.
    fn try_reserve(
        self: &Arc<Self>,
        model: Option<&Arc<str>>,
        most: u64,
    ) -> Result<Option<Reservation>, OutOfMoney> {
        let mut state = self.state();
        if let Some(out) = state.out {
            return Err(out);
        }
        let factor = match model {
            Some(model) => state.factors.get(model).copied().unwrap_or(state.others),
            None => 1.0,
        };
        // The cast saturates.
        let amount = (most as f64 * factor).ceil() as u64;
        let gone = state.used.gone();
        if gone.saturating_add(amount) > self.limit && amount > 0 {
            let out = OutOfMoney {
                limit_micro_usd: self.limit,
                spent_micro_usd: state.used.spent_micro_usd,
                unknown_micro_usd: state.used.unknown_micro_usd,
                needed_micro_usd: amount,
            };
            state.out = Some(out);
            return Err(out);
        }
        let all = gone.saturating_add(state.used.reserved_micro_usd);
        if all.saturating_add(amount) > self.limit && amount > 0 {
            return Ok(None);
        }
        state.used.reserved_micro_usd += amount;
        Ok(Some(Reservation {
            purse: Arc::clone(self),
            model: model.cloned(),
            most,
            amount,
            is_open: true,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books the end of a call: what it cost, and how often it may be billed without a word.
    fn book(&self, of: &Reservation, spent: u64, unknown: u64) {
        let mut state = self.state();
        let used = &mut state.used;
        used.reserved_micro_usd = used.reserved_micro_usd.saturating_sub(of.amount);
        used.spent_micro_usd = used.spent_micro_usd.saturating_add(spent);
        let unknown = of.amount.saturating_mul(unknown);
        used.unknown_micro_usd = used.unknown_micro_usd.saturating_add(unknown);
        let all = spent.saturating_add(unknown);
        let short = all.saturating_sub(of.amount);
        used.shortfall_micro_usd = used.shortfall_micro_usd.saturating_add(short);
        if spent > of.amount && of.most > 0 {
            let factor = spent as f64 / of.most as f64 * MARGIN;
            let room = state.factors.len() < MODELS;
            match &of.model {
                Some(model) if room || state.factors.contains_key(model) => {
                    let known = state.factors.entry(Arc::clone(model)).or_insert(1.0);
                    *known = known.max(factor);
                }
                Some(_) => state.others = state.others.max(factor),
                None => {}
            }
        }
        drop(state);
        // Only the first in line waits for it; a permit is kept if nobody does yet.
        self.changed.notify_one();
    }
}

/// Counts one that waits until it is dropped.
struct Awaiting<'a>(&'a Purse);

impl<'a> Awaiting<'a> {
    fn new(purse: &'a Purse) -> Self {
        purse.state().awaiting += 1;
        Self(purse)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.state().awaiting -= 1;
    }
}

/// Money that is set aside for one call. Dropped without [`settle`](Self::settle), the call was
/// given up while it was under way, and all of it may be spent.
#[derive(Debug)]
#[must_use = "dropped, it counts as spent"]
pub struct Reservation {
    purse: Arc<Purse>,
    model: Option<Arc<str>>,
    /// The estimate, without what was learned.
    most: u64,
    amount: u64,
    is_open: bool,
}

impl Reservation {
    /// Returns how much it is, in millionths of a US dollar.
    #[must_use]
    pub fn micro_usd(&self) -> u64 {
        self.amount
    }

    /// Books what the call did cost. Attempts that may be billed without a word of it count as
    /// what was set aside, each.
    pub fn settle(mut self, spend: crate::Spend) {
        self.is_open = false;
        self.purse.book(&self, spend.micro_usd(), spend.unknown);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_open {
            self.purse.book(self, 0, 1);
        }
    }
}

#[cfg(test)]
mod tests;
