//! What a breaker knows of one group: [`State`].

use fairkey_core::Timestamp;
use fairkey_core::sync::{AtomicU64, Mutex, Ordering};

use crate::window::Window;

/// What the end of a call means to a breaker.
#[derive(Clone, Copy)]
pub(super) enum Heard {
    Success,
    Failure,
    Neutral,
}

/// Generation and "is it closed" in one word, which the fast path reads: two facts that must be
/// read together. (A draft with two atomics lost its probe permit under one interleaving.)
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) fn new(generation: u32, closed: bool) -> Self {
        Self(u64::from(generation) << 1 | u64::from(!closed))
    }

    pub(super) fn is_closed(self) -> bool {
        self.0 & 1 == 0
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 1) as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    Open {
        until: Timestamp,
    },
    /// One probe is out.
    Probe,
    Ramp {
        limit: u32,
        in_flight: u32,
        succeeded: u32,
    },
}

/// Failures in a row while closed: generation and length in one word, so that a call of an older
/// generation adds nothing to a newer run.
#[derive(Debug)]
pub(super) struct Run(AtomicU64);

impl Run {
    /// Counts one more failure of `generation`, and returns the length of the run: 0 where a newer
    /// generation has one.
    pub(super) fn lengthen(&self, generation: u32) -> u32 {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let age = generation.wrapping_sub((word >> 32) as u32);
            let length = match age {
                0 => (word as u32).saturating_add(1),
                // Half of all numbers are "newer", as with any counter that wraps.
                1..=0x7fff_ffff => 1,
                _ => return 0,
            };
            let longer = u64::from(generation) << 32 | u64::from(length);
            // Relaxed: the word is all there is.
            match self
                .0
                .compare_exchange_weak(word, longer, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return length,
                Err(now) => word = now,
            }
        }
    }

    /// Ends the run of `generation`. The usual call finds none, and writes nothing.
    pub(super) fn end(&self, generation: u32) {
        let word = self.0.load(Ordering::Relaxed);
        if word as u32 != 0 && (word >> 32) as u32 == generation {
            let ended = u64::from(generation) << 32;
            // If it changed meanwhile, a failure came after this success.
            let _ = self
                .0
                .compare_exchange(word, ended, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// The breaker of one group.
#[derive(Debug)]
pub(super) struct State {
    /// A [`Word`]: written under the lock, read without.
    pub(super) word: AtomicU64,
    /// While open, until when; otherwise zero. A hint that saves the lock.
    pub(super) until: AtomicU64,
    pub(super) run: Run,
    pub(super) window: Window,
    pub(super) inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) phase: Phase,
    pub(super) generation: u32,
    /// Trips since it was last closed.
    pub(super) trips: u32,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(Word::new(1, true).0),
            until: AtomicU64::new(0),
            run: Run(AtomicU64::new(0)),
            window: Window::new(),
            inner: Mutex::new(Inner {
                phase: Phase::Closed,
                generation: 1,
                trips: 0,
            }),
        }
    }

    pub(super) fn word(&self) -> Word {
        // Acquire, with the Release of `advance`: who sees a generation sees the hint that was set
        // before it.
        Word(self.word.load(Ordering::Acquire))
    }

    /// Makes what the lock protects public as a new generation.
    pub(super) fn advance(&self, inner: &mut Inner) {
        inner.generation = inner.generation.wrapping_add(1);
        let word = Word::new(inner.generation, matches!(inner.phase, Phase::Closed));
        self.word.store(word.0, Ordering::Release);
    }
}
