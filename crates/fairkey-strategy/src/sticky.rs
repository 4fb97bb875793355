//! The same key for the same session: [`Sticky`].

use fairkey_core::{Ask, Candidate, KeySet, Registry, Report, Strategy, Turn, mix};

/// Gives asks of the same affinity the same key, and all other asks to the strategy inside.
///
/// A preference, not a bond: of the keys that gates let through, the one that ranks highest for
/// the affinity (rendezvous hashing; Thaler and Ravishankar 1996). When it is out, its sessions
/// spread over all others in proportion to their weights, those of other keys stay where they
/// are, and when it is back, so are they. The ranking hangs on labels alone: it is the same after
/// a restart and in every process.
///
/// Gates stand before it, `gate.guarding(Sticky::new(inner))`, and not inside: an ask with an
/// affinity does not reach the strategy inside, nor what guards that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sticky<S> {
    inner: S,
}

impl<S: Strategy> Sticky<S> {
    /// Puts affinity before `inner`.
    #[must_use]
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

/// Returns the rank of `key` for a session: the smallest wins.
fn rank(affinity: u64, key: Candidate<'_>) -> u64 {
    mix(affinity ^ key.id_hash())
}

/// Returns the same rank weighed: `-ln(u) / weight` for `u` even in (0, 1], which is smallest
/// with a probability in proportion to the weight. Positive floats order as their bits do.
fn weighed_rank(affinity: u64, key: Candidate<'_>) -> f64 {
    let unit = ((rank(affinity, key) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    -unit.ln() / f64::from(key.weight())
}

/// Returns the key that a session prefers, of those on offer.
pub(crate) fn home<'a>(affinity: u64, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
    if turn.keys().is_uniform() {
        // The smallest rank without weights is the smallest `-ln(u)` turned around.
        return turn.least(|key| !rank(affinity, key));
    }
    turn.least(|key| weighed_rank(affinity, key).to_bits())
}

impl<S: Strategy> Strategy for Sticky<S> {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        match turn.ask().affinity {
            None => self.inner.pick(turn),
            Some(affinity) => home(affinity, turn),
        }
    }

    fn attach(&mut self, registry: &mut Registry) {
        self.inner.attach(registry);
    }

    fn rekey(&self, keys: &KeySet) {
        self.inner.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        self.inner.settle(key, report);
    }

    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        match ask.affinity {
            None => self.inner.score(key, ask),
            Some(affinity) => Some(weighed_rank(affinity, key)),
        }
    }
}
