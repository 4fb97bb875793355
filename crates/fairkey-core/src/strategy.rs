//! What picks: the trait [`Strategy`].

use std::fmt;
use std::sync::Arc;

use crate::{Ask, Candidate, KeySet, Registry, Report, Turn};

/// Picks a key for a call.
///
/// Only [`pick`](Strategy::pick) is required. A strategy sees what is offered after gates have
/// narrowed it, and knows nothing of them: any strategy works behind any gates.
///
/// # Contract
///
/// - `pick` is called once or more per selection, from any thread, and answers with a key that
///   the turn offers, or declines with `None`. It does not block, allocate or read a clock.
/// - A key that was picked may still be refused by a gate; the strategy is then asked again
///   without it, and `settle` is not called for it.
/// - A wrapper forwards `attach`, `rekey`, `settle` and `score` to what it wraps.
///
/// # Examples
///
/// Always the key with the most weight that is free to be used:
///
/// ```
/// use fairkey_core::{Candidate, Strategy, Turn};
///
/// #[derive(Debug)]
/// struct Heaviest;
///
/// impl Strategy for Heaviest {
///     fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
///         turn.iter().max_by_key(Candidate::weight)
///     }
/// }
/// ```
pub trait Strategy: fmt::Debug + Send + Sync {
    /// Picks one of the keys that `turn` offers, or declines.
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>>;

    /// Registers the gates inside. Called once, before anything else; wrappers forward it.
    fn attach(&mut self, registry: &mut Registry) {
        let _ = registry;
    }

    /// Takes note of the keys there are: at the start, and before a reloaded set is published.
    /// What belongs to keys that stay, stays. Wrappers forward it.
    fn rekey(&self, keys: &KeySet) {
        let _ = keys;
    }

    /// Learns how a call with `key` ended. The outcome is not filtered. Wrappers forward it.
    fn settle(&self, key: Candidate<'_>, report: &Report) {
        let _ = (key, report);
    }

    /// Returns what an explanation shows for `key`: smaller is picked sooner. `None` where the
    /// strategy does not rank. Wrappers forward it.
    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        let _ = (key, ask);
        None
    }
}

macro_rules! forward {
    ($pointer:ident, $attach:expr) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: Strategy + ?Sized> Strategy for $pointer<S> {
            fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
                (**self).pick(turn)
            }

            fn attach(&mut self, registry: &mut Registry) {
                let attach: fn(&mut Self, &mut Registry) = $attach;
                attach(self, registry);
            }

            fn rekey(&self, keys: &KeySet) {
                (**self).rekey(keys);
            }

            fn settle(&self, key: Candidate<'_>, report: &Report) {
                (**self).settle(key, report);
            }

            fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
                (**self).score(key, ask)
            }
        }
    };
}

forward!(Box, |this, registry| (**this).attach(registry));
// A shared strategy cannot be attached: a second pool would give its gates other numbers. The pool
// is told, and is not built.
forward!(Arc, |this, registry| match Arc::get_mut(this) {
    Some(inner) => inner.attach(registry),
    None => registry.meet_shared(),
});

/// Stops compiling when the trait cannot be used as an object any more.
const _: fn(&dyn Strategy) = |_| {};
