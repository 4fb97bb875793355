//! The most room under all limits: [`Headroom`].

mod slow_start;

use std::sync::Arc;

use fairkey_core::{Ask, Candidate, Gated, KeySet, Registry, Report, Strategy, Timestamp, Turn};

use crate::limits::{Need, Plane, STEPS};
use crate::{Limits, sticky};
use slow_start::SlowStart;

/// Up to so many slots every key is looked at; above, as many as [`SAMPLES`].
const SCANNED: usize = 64;

/// How many keys are drawn where there are too many to look at all.
const SAMPLES: usize = 8;

/// A session stays with its key while no more steps of headroom are used there: while more than a
/// fifth is left.
const ENOUGH: u64 = STEPS / 5 * 4 - 1;

/// An ask that yields gets a key while no more steps are used there: while a third is left.
const YIELDED: u64 = STEPS * 2 / 3;

/// Picks the key whose limits have the most room left, in steps of 5 %; among those the one with
/// the least `(calls in flight + 1) / weight`, and among those one by chance.
///
/// The headroom of a key is what would be left after the call, as a part of the limit, of the
/// dimension and group of which least would be left; what has no limit has all of it. A call that
/// needs less than a 128th of every limit counts as one that needs next to nothing. Steps keep many
/// pickers from running after the same few calls of difference.
///
/// Of an allowance for a fixed period (credit, a daily quota) only the last fifth counts: what is
/// left for a month says nothing about the next minutes until it runs out.
///
/// An ask that [yields](fairkey_core::Ask::yields) gets no key of which less than a third would be
/// left.
///
/// Keys with limits and keys without do not compare well: what is not known to be limited looks
/// as if it had room always. Give limits to all accounts or to none.
///
/// - **Affinity** is a preference: asks of the same affinity get the same key, found as
///   [`Sticky`](crate::Sticky) finds it, while a fifth of every limit is left there.
/// - **Slow start**: a key that a reload adds, or whose account one adds, has all of its limits
///   left, and would get every call. For its first 30 s with the pool it gets at most its even
///   share, 1/n of the calls over n keys, unless no older key is on offer.
/// - Above 64 slots it draws eight keys and picks the best of them: that is as good as looking at
///   all, but for the best few of a hundred, and takes the same time for any number of keys.
///   (A session is looked up among all keys.)
///
/// Without any limit it picks as [`WeightedLeastInFlight`](crate::WeightedLeastInFlight) does.
///
/// It only looks at the limits: the gate is what reserves. [`Headroom::guarded`] puts both
/// together.
#[derive(Debug)]
pub struct Headroom {
    limits: Arc<Limits>,
    slow_start: SlowStart,
}

impl Headroom {
    /// Makes the strategy. `limits` must also stand before it, or before what contains it, as a
    /// gate of the same pool.
    #[must_use]
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            slow_start: SlowStart::new(),
        }
    }

    /// Makes the strategy with `limits` before it as a gate.
    #[must_use]
    pub fn guarded(limits: Arc<Limits>) -> Gated<Self> {
        Gated::new(Self::new(Arc::clone(&limits))).shared_gate(limits)
    }

    /// Returns the key of the ask's session, while it has enough headroom.
    fn of_session<'a>(
        &self,
        affinity: u64,
        turn: &mut Turn<'a>,
        view: &View<'_>,
    ) -> Option<Candidate<'a>> {
        let home = sticky::home(affinity, turn)?;
        (view.steps(home) <= ENOUGH).then_some(home)
    }

    /// Returns the best of the keys on offer.
    #[inline]
    fn best<'a>(&self, turn: &mut Turn<'a>, view: &View<'_>) -> Option<Candidate<'a>> {
        if turn.keys().slots() > SCANNED {
            return best_of_some(turn, |key| Some(view.rank(key)));
        }
        match view.accounts {
            Some(accounts) => {
                turn.least_loaded_by(|key| accounts.glance(key.account().index(), view.now))
            }
            None => turn.least_loaded_by(|key| view.steps(key)),
        }
    }

    /// The same while keys are in slow start.
    #[cold]
    fn best_at_start<'a>(&self, turn: &mut Turn<'a>, view: &View<'_>) -> Option<Candidate<'a>> {
        let start = self.slow_start.look(turn);
        let best = if turn.keys().slots() > SCANNED {
            best_of_some(turn, |key| start.admits(key).then(|| view.rank(key)))
        } else {
            let steps = |key| {
                if start.admits(key) {
                    view.steps(key)
                } else {
                    STEPS + 1
                }
            };
            turn.least_loaded_by(steps).filter(|key| start.admits(*key))
        };
        best.or_else(|| self.best(turn, view))
    }
}

/// Returns the best of a few keys by chance; those without a rank are left out.
fn best_of_some<'a>(
    turn: &mut Turn<'a>,
    rank: impl Fn(Candidate<'a>) -> Option<u64>,
) -> Option<Candidate<'a>> {
    let mut best: Option<(u64, Candidate<'a>)> = None;
    for _ in 0..SAMPLES {
        let key = turn.random()?;
        // Of equals the first drawn: that is chance already.
        if let Some(rank) = rank(key)
            && best.is_none_or(|(least, _)| rank < least)
        {
            best = Some((rank, key));
        }
    }
    best.map(|(_, key)| key)
}

/// What is known before any key is looked at.
struct View<'a> {
    limits: &'a Limits,
    need: Need,
    tiny: bool,
    /// Where only accounts have limits and the call is tiny: all there is to look at.
    accounts: Option<&'a Plane>,
    now: u64,
}

impl<'a> View<'a> {
    #[inline]
    fn of(limits: &'a Limits, ask: &Ask<'_>, now: Timestamp) -> Self {
        let need = limits.need(ask);
        let tiny = limits.is_tiny(&need);
        Self {
            limits,
            tiny,
            accounts: limits.accounts_only(&need).filter(|_| tiny),
            need,
            now: now.as_nanos(),
        }
    }

    #[inline]
    fn steps(&self, key: Candidate<'_>) -> u64 {
        (self.limits).steps_of(key, &self.need, self.now, self.tiny)
    }

    /// Returns what is compared: steps of headroom that are used, then the load; smaller is
    /// better.
    #[inline]
    fn rank(&self, key: Candidate<'_>) -> u64 {
        let used = self.steps(key);
        // Loads are in units of 2^-40: half a million calls for each unit of weight fit.
        used << 59 | key.load_with_one_more().min((1 << 59) - 1)
    }
}

impl Strategy for Headroom {
    #[inline]
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let affinity = turn.ask().affinity;
        if !self.limits.is_limiting() && affinity.is_none() && self.slow_start.is_over() {
            return turn.least_loaded();
        }
        let view = View::of(&self.limits, turn.ask(), turn.now());
        if let Some(affinity) = affinity
            && let Some(home) = self.of_session(affinity, turn, &view)
        {
            return Some(home);
        }
        let best = if !self.slow_start.is_over() {
            self.best_at_start(turn, &view)
        } else if view.need.is_unlimited() {
            turn.least_loaded()
        } else {
            self.best(turn, &view)
        };
        let is_yielded = |best: &Candidate<'a>| view.steps(*best) <= YIELDED;
        best.filter(|best| !turn.ask().yields || is_yielded(best))
    }

    fn attach(&mut self, registry: &mut Registry) {
        // The gate is registered by whoever puts it before this.
        let _ = registry;
    }

    fn rekey(&self, keys: &KeySet) {
        self.slow_start.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        let _ = (key, report);
    }

    /// Returns steps of headroom that are used, 0 to 20, and below the point the load: the whole
    /// is ordered as picks are. As of the last look that an explanation took at the limits.
    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        let view = View::of(&self.limits, ask, self.limits.looked_at());
        let rank = view.rank(key);
        let load = (f64::from(key.in_flight()) + 1.0) / f64::from(key.weight());
        Some((rank >> 59) as f64 + load / (1.0 + load))
    }
}
