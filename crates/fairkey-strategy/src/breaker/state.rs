//! What a breaker knows of one group: [`State`].

use fairkey_core::sync::{AtomicU64, Ordering};

use crate::recovery::Track;
use crate::window::Window;

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
    /// Beside it: trips since it was last closed.
    pub(super) track: Track<u32>,
    pub(super) run: Run,
    pub(super) window: Window,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            track: Track::new(0),
            run: Run(AtomicU64::new(0)),
            window: Window::new(),
        }
    }
}
