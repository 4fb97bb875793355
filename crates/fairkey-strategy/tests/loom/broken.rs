//! A cap and a breaker, small and with a flaw to choose.

use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{
    At, Candidate, Denied, Gate, Outcome, Report, Scope, Scopes, Ticket, Timestamp,
};

/// Admits one call at a time; looks first and takes the permit later.
#[derive(Debug, Default)]
pub(crate) struct LooksThenTakes(AtomicU64);

impl Gate for LooksThenTakes {
    fn check(&self, _: &At<'_>) -> Result<(), Denied> {
        if self.0.load(Ordering::SeqCst) == 0 {
            Ok(())
        } else {
            Err(Denied::for_good(Scope::Local))
        }
    }
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at)?;
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Ticket::default())
    }
    fn leave(&self, _: Candidate<'_>, _: Ticket, _: &Report) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What is wrong with a [`Breaker`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Flaw {
    /// Looks at the state, and changes it a moment later.
    LooksThenChanges,
    /// Keeps waiting for a probe that was given up.
    LosesTheProbe,
    /// Any success closes it.
    StragglersClose,
    /// Trips by a failure of any generation, and doubles the time.
    StragglersTrip,
}

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const PROBING: u64 = 2;

/// Opens for 10 s per trip at a failure, then one probe. Without a flaw it is sound where the
/// models use it: under a clock that stands still while threads race.
#[derive(Debug)]
pub(crate) struct Breaker {
    flaw: Option<Flaw>,
    /// Generation, trips (8 bits) and state (2 bits): what must be read together.
    word: AtomicU64,
    tripped_at: AtomicU64,
}

impl Breaker {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            word: AtomicU64::new(CLOSED),
            tripped_at: AtomicU64::new(0),
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn admits(&self, word: u64, now: Timestamp) -> Result<(), Denied> {
        let tripped_at = Timestamp::from_nanos(self.tripped_at.load(Ordering::SeqCst));
        let until = tripped_at + Duration::from_secs(10 * trips(word));
        match word & 3 {
            OPEN if now < until => Err(Denied::until(Scope::Account, until)),
            PROBING => Err(Denied::for_good(Scope::Account)),
            _ => Ok(()),
        }
    }

    /// Goes from `from` to `state` in the next generation, if nobody was faster.
    fn advance(&self, from: u64, trips: u64, state: u64) -> bool {
        let next = (generation(from) + 1) << 10 | trips << 2 | state;
        if self.has(Flaw::LooksThenChanges) {
            let same = self.word.load(Ordering::SeqCst) == from;
            if same {
                self.word.store(next, Ordering::SeqCst);
            }
            return same;
        }
        let (order, missed) = (Ordering::SeqCst, Ordering::SeqCst);
        (self.word)
            .compare_exchange(from, next, order, missed)
            .is_ok()
    }
}

fn generation(word: u64) -> u64 {
    word >> 10
}

fn trips(word: u64) -> u64 {
    word >> 2 & 0xff
}

impl Gate for Breaker {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        self.admits(self.word.load(Ordering::SeqCst), at.now)
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        let word = self.word.load(Ordering::SeqCst);
        self.admits(word, at.now)?;
        if word & 3 != OPEN {
            return Ok(Ticket(generation(word)));
        }
        if self.advance(word, trips(word), PROBING) {
            Ok(Ticket(generation(word) + 1))
        } else {
            Err(Denied::for_good(Scope::Account))
        }
    }

    fn leave(&self, _: Candidate<'_>, ticket: Ticket, report: &Report) {
        let word = self.word.load(Ordering::SeqCst);
        let late = generation(word) != ticket.0;
        match report.outcome {
            Outcome::Success
                if word & 3 != CLOSED && (!late || self.has(Flaw::StragglersClose)) =>
            {
                self.advance(word, 0, CLOSED);
            }
            Outcome::Fault { .. } if !late || self.has(Flaw::StragglersTrip) => {
                // The time is there before the state that needs it.
                let now = report.ended.as_nanos();
                self.tripped_at.store(now, Ordering::SeqCst);
                self.advance(word, trips(word) + 1, OPEN);
            }
            Outcome::Neutral if !late && word & 3 == PROBING && !self.has(Flaw::LosesTheProbe) => {
                self.tripped_at.store(0, Ordering::SeqCst);
                self.advance(word, trips(word), OPEN);
            }
            _ => {}
        }
    }

    fn hears(&self) -> Scopes {
        Scopes::of(Scope::Account)
    }
}
