//! One group: its state behind a small lock, and what every selection reads of it: [`Cell`].

use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Mutex, Ordering, lock};

use super::config::{DIMENSIONS, Dimension, Limit};
use super::state::{Amounts, Bar, ENTERED, LEAST, MOST, Settlement, State};

/// All of a limit, in the unit that headroom is counted in.
pub(crate) const WHOLE: u64 = 1 << 16;

/// One group.
///
/// A call changes up to five counts, and all of them or none: under a lock that is a fact, and
/// costs two atomic operations where five cells without a lock cost five, and their rollback. It
/// is held for some tens of nanoseconds, in which nothing foreign runs. What strategies look at
/// for every key on offer lies beside it, to be read without it: advisory, since `enter` decides.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cell {
    used: [AtomicU64; DIMENSIONS],
    /// 2^64 / limit, and 0 where there is none: a multiplication instead of a division.
    inverse: [AtomicU64; DIMENSIONS],
    /// Until when `used` is right, if nothing happens.
    fresh_until: AtomicU64,
    /// Until when not even the least call is admitted, if nothing happens; 0 for not closed.
    closed_until: AtomicU64,
    state: Mutex<State>,
}

/// Whose set of the tight a cell is in, at which index.
pub(super) trait Marks {
    fn mark(&self, tight: bool);
}

impl<F: Fn(bool)> Marks for F {
    fn mark(&self, tight: bool) {
        self(tight);
    }
}

impl Cell {
    pub(super) fn new() -> Self {
        Self {
            used: std::array::from_fn(|_| AtomicU64::new(0)),
            inverse: std::array::from_fn(|_| AtomicU64::new(0)),
            fresh_until: AtomicU64::new(u64::MAX),
            closed_until: AtomicU64::new(0),
            state: Mutex::new(State::new()),
        }
    }

    /// Makes it that of somebody new.
    pub(super) fn reset(&self, marks: &impl Marks) {
        let mut state = lock(&self.state);
        let tight = state.tight;
        *state = State::new();
        state.tight = tight;
        self.show(&mut state, marks);
        self.show_limits(&state);
    }

    /// Sets or lifts a limit. Returns whether any is left.
    pub(super) fn set(
        &self,
        dimension: Dimension,
        limit: Option<Limit>,
        margin: Duration,
        marks: &impl Marks,
    ) -> bool {
        let mut state = lock(&self.state);
        state.set(dimension, limit, margin);
        self.show(&mut state, marks);
        self.show_limits(&state);
        state.is_limited()
    }

    /// See [`State::told`].
    pub(super) fn told(
        &self,
        dimension: Dimension,
        left: u64,
        now: u64,
        resets: Option<u64>,
        marks: &impl Marks,
    ) {
        let mut state = lock(&self.state);
        state.told(dimension, left, now, resets);
        self.show(&mut state, marks);
    }

    /// Reserves in all dimensions or in none. Returns the ticket's bits.
    #[inline]
    pub(super) fn enter(&self, now: u64, need: &Amounts, marks: &impl Marks) -> Result<u8, Bar> {
        let mut state = lock(&self.state);
        state.roll(now);
        let Some(bits) = state.reserve(now, need) else {
            return Err(self.refuse(&mut state, now, need, marks));
        };
        self.show(&mut state, marks);
        Ok(bits)
    }

    #[cold]
    fn refuse(&self, state: &mut State, now: u64, need: &Amounts, marks: &impl Marks) -> Bar {
        self.show(state, marks);
        state.bar(now, need).unwrap_or(Bar {
            until: u64::MAX,
            dimension: Dimension::InFlight,
            or_sooner: true,
        })
    }

    /// Takes back what a turn reserved that came to nothing.
    #[cold]
    pub(super) fn undo(&self, bits: u8, now: u64, need: &Amounts, marks: &impl Marks) {
        let call = Settlement {
            begun: now,
            ended: now,
            reserved: *need,
            charged: *need,
            undone: true,
        };
        self.leave(bits, &call, marks);
    }

    /// Ends a call.
    #[inline]
    pub(super) fn leave(&self, bits: u8, call: &Settlement, marks: &impl Marks) {
        debug_assert!(bits & ENTERED != 0, "a ticket of nobody");
        let mut state = lock(&self.state);
        state.roll(call.ended);
        state.settle(bits, call);
        self.show(&mut state, marks);
    }

    /// Returns what bars `need`, for any time and without an effect.
    pub(super) fn bar(&self, now: u64, need: &Amounts) -> Option<Bar> {
        lock(&self.state).bar(now, need)
    }

    /// Returns whether `need` is admitted now, for selections: it remembers until when nothing
    /// is, and takes itself out of the set of the tight.
    pub(super) fn admits(&self, now: u64, need: &Amounts, marks: &impl Marks) -> bool {
        // Relaxed: compared with the time, and publishes nothing.
        if now < self.closed_until.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = lock(&self.state);
        state.roll(now);
        self.show(&mut state, marks);
        if state.bar(now, need).is_none() {
            return true;
        }
        if let Some(bar) = state.bar(now, &LEAST) {
            self.closed_until.store(bar.until, Ordering::Relaxed);
        }
        false
    }

    /// Returns the limit and what is used of it at `now`.
    pub(super) fn usage(&self, dimension: Dimension, now: u64) -> Option<(u64, u64)> {
        let (state, at) = (lock(&self.state), dimension as usize);
        let limit = state.limits[at];
        (limit != u64::MAX).then(|| (limit, state.used_at(at, now)))
    }

    /// Returns the least room that the group has in every dimension while it is not tight.
    pub(super) fn room(&self) -> Amounts {
        let state = lock(&self.state);
        std::array::from_fn(|at| state.room(at))
    }

    /// Returns what would be left, of [`WHOLE`], of the dimension of which least would be left.
    #[inline]
    pub(super) fn headroom(&self, now: u64, need: &Amounts, marks: &impl Marks) -> u64 {
        if now >= self.fresh_until.load(Ordering::Relaxed) {
            self.refresh(now, marks);
        }
        let mut most = 0;
        for ((used, inverse), need) in self.used.iter().zip(&self.inverse).zip(need) {
            let used = used.load(Ordering::Relaxed).saturating_add(*need);
            let inverse = inverse.load(Ordering::Relaxed);
            let part = u128::from(used.min(MOST) * WHOLE) * u128::from(inverse);
            most = most.max((part >> 64) as u64);
        }
        WHOLE.saturating_sub(most)
    }

    #[cold]
    fn refresh(&self, now: u64, marks: &impl Marks) {
        let mut state = lock(&self.state);
        state.roll(now);
        self.show(&mut state, marks);
    }

    /// Shows what changed.
    #[inline]
    fn show(&self, state: &mut State, marks: &impl Marks) {
        for (shown, used) in self.used.iter().zip(&state.used) {
            shown.store(*used, Ordering::Relaxed);
        }
        self.fresh_until
            .store(state.next_change(), Ordering::Relaxed);
        self.closed_until.store(0, Ordering::Relaxed);
        let tight = state.is_tight();
        if tight != state.tight {
            state.tight = tight;
            marks.mark(tight);
        }
    }

    fn show_limits(&self, state: &State) {
        for (shown, limit) in self.inverse.iter().zip(state.limits) {
            let inverse = match limit {
                u64::MAX => 0,
                limit => u64::MAX.checked_div(limit).unwrap_or(u64::MAX),
            };
            shown.store(inverse, Ordering::Relaxed);
        }
    }
}
