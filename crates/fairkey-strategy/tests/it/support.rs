//! What several tests use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    Ask, Candidate, FaultKind, Gate, Key, ManualClock, Outcome, Pool, PoolBuilder, Scope, Strategy,
    Timestamp, Unavailable,
};
use fairkey_testkit::Wanted;

/// The moment so many seconds after the start.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A failure of the key itself.
pub(crate) fn failed() -> Outcome {
    Outcome::fault(Scope::Key, FaultKind::Failed)
}

/// "Slow down", said to the key itself.
pub(crate) fn throttled() -> Outcome {
    Outcome::fault(Scope::Key, FaultKind::Throttled)
}

/// Makes the keys `k0`, `k1` and so on.
pub(crate) fn keys(n: u32) -> Vec<Key> {
    (0..n)
        .map(|n| Key::new(format!("k{n}"), format!("sk-test-{n}")))
        .collect()
}

/// Makes keys of these weights.
pub(crate) fn weighted(weights: &[u32]) -> Vec<Key> {
    let weigh = |(key, weight): (Key, &u32)| key.weight(*weight);
    keys(weights.len() as u32)
        .into_iter()
        .zip(weights)
        .map(weigh)
        .collect()
}

/// Builds a pool of `keys` with a fixed seed.
pub(crate) fn pool(keys: Vec<Key>, strategy: impl Strategy + 'static) -> Pool {
    Pool::builder()
        .keys(keys)
        .strategy(strategy)
        .seed(5)
        .build()
        .unwrap()
}

/// Makes `n` calls one after the other, and returns how many each key got.
pub(crate) fn shares(pool: &Pool, n: u64) -> HashMap<String, u64> {
    let mut shares = HashMap::new();
    for _ in 0..n {
        *shares.entry(pick(pool, &Ask::new())).or_default() += 1;
    }
    shares
}

/// Makes a call that succeeds, and returns the label of its key.
pub(crate) fn pick(pool: &Pool, ask: &Ask<'_>) -> String {
    let lease = pool.select(ask).unwrap();
    let label = lease.key().id().to_string();
    lease.finish(Outcome::Success);
    label
}

/// One gate before a pool whose keys are asked for by number, under a manual clock.
pub(crate) struct Rig<G> {
    pub(crate) pool: Pool,
    pub(crate) gate: Arc<G>,
    pub(crate) clock: ManualClock,
}

impl<G: Gate + 'static> Rig<G> {
    /// Puts `gate` before one key.
    pub(crate) fn new(gate: G) -> Self {
        Self::with(gate, keys(1), |builder| builder)
    }

    pub(crate) fn with(
        gate: G,
        keys: Vec<Key>,
        more: impl FnOnce(PoolBuilder) -> PoolBuilder,
    ) -> Self {
        let (gate, clock) = (Arc::new(gate), ManualClock::new());
        let builder = Pool::builder()
            .keys(keys)
            .strategy(Wanted)
            .clock(clock.clone())
            .shared_gate(Arc::clone(&gate) as _);
        let pool = more(builder).build().unwrap();
        Self { pool, gate, clock }
    }

    /// Selects the `n`th key.
    pub(crate) fn select(&self, n: u64) -> Result<fairkey_core::Lease, Unavailable> {
        self.pool.select(&Ask::new().with_affinity(n))
    }

    /// Makes a call with the first key; says whether it got through.
    pub(crate) fn call(&self, outcome: Outcome) -> bool {
        self.call_of(0, outcome)
    }

    /// Makes a call with the `n`th key; says whether it got through.
    pub(crate) fn call_of(&self, n: u64, outcome: Outcome) -> bool {
        self.select(n).map(|lease| lease.finish(outcome)).is_ok()
    }

    /// Makes `n` calls that must get through.
    #[track_caller]
    pub(crate) fn calls(&self, n: u32, outcome: Outcome) {
        for at in 0..n {
            assert!(self.call(outcome), "call {at} of {n} was refused");
        }
    }

    /// Returns which of all keys could be picked now.
    pub(crate) fn admitted(&self) -> Vec<String> {
        let explanation = self.pool.explain(&Ask::new());
        let admitted = explanation.keys.iter().filter(|key| key.is_admitted());
        admitted.map(|key| key.id.to_string()).collect()
    }

    /// Returns until when the `n`th key is denied: `None` where it is admitted.
    pub(crate) fn until(&self, n: usize) -> Option<Option<Timestamp>> {
        let explanation = self.pool.explain(&Ask::new());
        explanation.keys[n]
            .denied
            .first()
            .map(|denial| denial.denied.until)
    }

    /// Calls `f` with the `n`th key.
    pub(crate) fn key<R>(&self, n: usize, f: impl FnOnce(Candidate<'_>) -> R) -> R {
        self.pool
            .with_keys(|keys| f(keys.iter().nth(n).expect("the key is there")))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(crate) fn advance_to(&self, to: Timestamp) {
        self.clock.advance_to(to);
    }
}
