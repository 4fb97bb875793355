//! One group: its state behind a small lock, and what every selection reads of it: [`Cell`].

use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Mutex, Ordering, lock};

use super::config::{DIMENSIONS, Dimension, Limit};
use super::plane::Place;
use super::state::{Amounts, Bar, CREDIT, ENTERED, FIXED, LEAST, MOST, Settlement, State};

/// All of a limit, in the unit that headroom is counted in.
pub(super) const WHOLE: u64 = 1 << 16;

/// How many steps headroom is compared in.
pub(crate) const STEPS: u64 = 20;

/// One group.
///
/// A call changes up to five counts, and all of them or none: under a lock that is a fact, and
/// costs two atomic operations where five cells without a lock cost five, and their rollback. It
/// is held for some tens of nanoseconds, in which nothing foreign runs. What strategies look at
/// for every key on offer lies beside it, to be read without it: advisory, since `enter` decides.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cell {
    /// Until when `used` is right, if nothing happens.
    fresh_until: AtomicU64,
    /// Until when not even the least call is admitted, if nothing happens; 0 for not closed.
    closed_until: AtomicU64,
    used: [AtomicU64; DIMENSIONS],
    /// 2^64 / limit, and 0 where there is none: a multiplication instead of a division.
    inverse: [AtomicU64; DIMENSIONS],
    state: Mutex<State>,
}

impl Cell {
    pub(super) fn new() -> Self {
        Self {
            fresh_until: AtomicU64::new(u64::MAX),
            closed_until: AtomicU64::new(0),
            used: std::array::from_fn(|_| AtomicU64::new(0)),
            inverse: std::array::from_fn(|_| AtomicU64::new(0)),
            state: Mutex::new(State::new()),
        }
    }

    /// Makes it that of somebody new.
    pub(super) fn reset(&self, place: &Place<'_>) {
        let mut state = lock(&self.state);
        let tight = state.tight;
        *state = State::new();
        state.tight = tight;
        self.show_limits(&state);
        self.show(&mut state, place);
    }

    /// Sets or lifts a limit. Returns whether any is left.
    pub(super) fn set(
        &self,
        dimension: Dimension,
        limit: Option<Limit>,
        margin: Duration,
        anchor: u64,
        place: &Place<'_>,
    ) -> bool {
        let mut state = lock(&self.state);
        state.set(dimension, limit, margin, anchor);
        self.show_limits(&state);
        self.show(&mut state, place);
        state.is_limited()
    }

    /// Returns the limit of a dimension, and whether the other side has told it.
    pub(super) fn limit(&self, dimension: Dimension) -> (Option<Limit>, bool) {
        let (state, at) = (lock(&self.state), dimension as usize);
        (state.limit(at), state.is_told(at))
    }

    /// Notes that the other side has told the limit of a dimension.
    pub(super) fn note_told(&self, dimension: Dimension) {
        lock(&self.state).note_told(dimension as usize);
    }

    /// See [`State::told`].
    pub(super) fn told(
        &self,
        dimension: Dimension,
        left: u64,
        now: u64,
        resets: Option<u64>,
        place: &Place<'_>,
    ) {
        let mut state = lock(&self.state);
        state.told(dimension, left, now, resets);
        self.show(&mut state, place);
    }

    /// Reserves in all dimensions or in none. Returns the ticket's bits.
    #[inline]
    pub(super) fn enter(&self, now: u64, need: &Amounts, place: &Place<'_>) -> Result<u8, Bar> {
        let mut state = lock(&self.state);
        state.roll(now);
        let Some(bits) = state.reserve(now, need) else {
            return Err(self.refuse(&mut state, now, need, place));
        };
        self.show_here(&mut state, place);
        Ok(bits)
    }

    #[cold]
    fn refuse(&self, state: &mut State, now: u64, need: &Amounts, place: &Place<'_>) -> Bar {
        self.show(state, place);
        state.bar(now, need).unwrap_or(Bar {
            until: u64::MAX,
            dimension: Dimension::InFlight,
            or_sooner: true,
        })
    }

    /// Takes back what a turn reserved that came to nothing.
    #[cold]
    pub(super) fn undo(&self, bits: u8, now: u64, need: &Amounts, place: &Place<'_>) {
        let call = Settlement {
            begun: now,
            ended: now,
            reserved: *need,
            charged: *need,
            undone: true,
        };
        self.leave(bits, &call, place);
    }

    /// Ends a call.
    #[inline]
    pub(super) fn leave(&self, bits: u8, call: &Settlement, place: &Place<'_>) {
        debug_assert!(bits & ENTERED != 0, "a ticket of nobody");
        let mut state = lock(&self.state);
        state.roll(call.ended);
        state.settle(bits, call);
        self.show_here(&mut state, place);
    }

    /// Returns what bars `need`, for any time and without an effect.
    pub(super) fn bar(&self, now: u64, need: &Amounts) -> Option<Bar> {
        lock(&self.state).bar(now, need)
    }

    /// Returns whether `need` is admitted now, for selections: it remembers until when nothing
    /// is, and takes itself out of the set of the tight.
    pub(super) fn admits(&self, now: u64, need: &Amounts, place: &Place<'_>) -> bool {
        // Relaxed: compared with the time, and publishes nothing.
        if now < self.closed_until.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = lock(&self.state);
        state.roll(now);
        self.show(&mut state, place);
        if state.bar(now, need).is_none() {
            return true;
        }
        if let Some(bar) = state.bar(now, &LEAST) {
            self.closed_until.store(bar.until, Ordering::Relaxed);
        }
        false
    }

    /// Returns the limit and what is used of it at `now`.
    pub(super) fn usage(&self, dimension: Dimension, now: u64) -> Option<(Limit, u64)> {
        let (state, at) = (lock(&self.state), dimension as usize);
        let limit = state.limit(at)?;
        Some((limit, state.used_at(at, now)))
    }

    /// Returns what was used of the first dimensions when a call began or ended last.
    #[inline]
    pub(super) fn levels<const N: usize>(&self) -> [u64; N] {
        const { assert!(N <= DIMENSIONS) };
        std::array::from_fn(|at| self.used[at].load(Ordering::Relaxed))
    }

    /// Returns the least room that the group has in every dimension while it is not tight.
    pub(super) fn room(&self) -> Amounts {
        let state = lock(&self.state);
        std::array::from_fn(|at| state.room(at))
    }

    /// Returns what would be used, of [`WHOLE`] and more, of the dimension of which most would be.
    pub(super) fn part_used(&self, now: u64, need: &Amounts, place: &Place<'_>) -> u64 {
        if now >= self.fresh_until.load(Ordering::Relaxed) {
            self.refresh(now, place);
        }
        let mut most = 0;
        let passing = self.used[..CREDIT].iter().zip(&self.inverse).zip(need);
        for ((used, inverse), need) in passing {
            let used = used.load(Ordering::Relaxed).min(MOST) + need;
            most = most.max(part(used, inverse.load(Ordering::Relaxed)));
        }
        for at in FIXED {
            let used = self.used[at].load(Ordering::Relaxed);
            let inverse = self.inverse[at].load(Ordering::Relaxed);
            most = most.max(late(part(used.min(MOST) + need[at], inverse)));
        }
        most
    }

    /// Brings what is shown up to `now`.
    #[cold]
    pub(super) fn refresh(&self, now: u64, place: &Place<'_>) {
        let mut state = lock(&self.state);
        state.roll(now);
        self.show(&mut state, place);
    }

    /// Shows what changed.
    fn show(&self, state: &mut State, place: &Place<'_>) {
        self.show_here(state, place);
    }

    /// The same in place, for the begin and the end of every call.
    #[inline(always)]
    fn show_here(&self, state: &mut State, place: &Place<'_>) {
        let (mut most, mut tight) = (0, state.shut);
        for (at, least) in LEAST.into_iter().enumerate() {
            let used = state.used[at];
            self.used[at].store(used, Ordering::Relaxed);
            let part = part(used.min(MOST) + least, state.inverse[at]);
            most = most.max(if at < CREDIT { part } else { late(part) });
            tight |= used > state.lines[at];
        }
        let next = state.next_change();
        self.fresh_until.store(next, Ordering::Relaxed);
        place.show(Glance::new(next, steps_used(most)));
        self.closed_until.store(0, Ordering::Relaxed);
        if tight != state.tight {
            state.tight = tight;
            place.mark(tight);
        }
    }

    fn show_limits(&self, state: &State) {
        for (shown, inverse) in self.inverse.iter().zip(state.inverse) {
            shown.store(inverse, Ordering::Relaxed);
        }
    }
}

/// What a selection reads of every group: the steps of its headroom that the least call would
/// leave used, of the dimension of which least is left, and until when that is right if nothing
/// happens. One word, so that looking at a key is one load: 5 bits, and time in steps of 32 ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance(pub(super) u64);

const USED: u64 = 31;
const _: () = assert!(STEPS <= USED);

impl Glance {
    /// Of a group without limits: all is left, for good.
    pub(super) const NOTHING: Self = Self(!USED);

    fn new(until: u64, steps: u64) -> Self {
        Self(until & !USED | steps)
    }

    #[inline]
    pub(super) fn is_stale(self, now: u64) -> bool {
        self.0 <= now | USED
    }

    /// Returns how many of [`STEPS`] are used.
    #[inline]
    pub(super) fn steps(self) -> u64 {
        self.0 & USED
    }
}

/// Returns how many of [`STEPS`] are used, where so much of [`WHOLE`] is; all where it is more.
#[inline]
pub(super) fn steps_used(part: u64) -> u64 {
    part.min(WHOLE) * STEPS / WHOLE
}

/// Returns what counts of `part` of an allowance for a fixed period: only the last fifth of it.
///
/// What is left for a day or a month says nothing about the next minutes until it runs out. That
/// it lasts for its period is a matter of weights; here it would send every call to whoever has
/// no allowance at all.
#[inline]
fn late(part: u64) -> u64 {
    part.saturating_sub(WHOLE / 5 * 4).saturating_mul(5)
}

/// Returns how much of a limit `used` is, of [`WHOLE`]. `used` is 2^47 at the most.
#[inline]
fn part(used: u64, inverse: u64) -> u64 {
    ((u128::from(used * WHOLE) * u128::from(inverse)) >> 64) as u64
}
