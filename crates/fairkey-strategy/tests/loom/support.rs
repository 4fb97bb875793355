//! What the models use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairkey_core::{
    Ask, At, Candidate, FaultKind, Gate, Key, Lease, ManualClock, Outcome, Pool, Scope, Strategy,
    Turn,
};
use loom::thread::{self, JoinHandle};

/// Explores every interleaving of `body` with at most `preemptions` switches that nobody asked
/// for. `LOOM_MAX_PREEMPTIONS` overrides it.
pub(crate) fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(body);
}

/// Counts over all executions of a model how often something was seen. Not loom's: it is no part
/// of what is modeled.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<AtomicUsize>);

impl Seen {
    pub(crate) fn note_if(&self, seen: bool) {
        self.0.fetch_add(usize::from(seen), Ordering::Relaxed);
    }

    #[track_caller]
    pub(crate) fn assert(&self, what: &str) {
        assert!(self.0.load(Ordering::Relaxed) > 0, "never seen: {what}");
    }
}

/// Picks the first key on offer.
#[derive(Debug)]
struct First;

impl Strategy for First {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.nth(0)
    }
}

/// One key behind one gate, under a manual clock.
pub(crate) struct Rig<G> {
    pub(crate) pool: Pool,
    pub(crate) gate: Arc<G>,
    pub(crate) clock: ManualClock,
}

impl<G: Gate + 'static> Rig<G> {
    pub(crate) fn new(gate: G) -> Arc<Self> {
        let (gate, clock) = (Arc::new(gate), ManualClock::new());
        let pool = Pool::builder()
            .key(Key::new("a", "sk-a").account("acme"))
            .strategy(First)
            .clock(clock.clone())
            .seed(1)
            .shared_gate(Arc::clone(&gate) as _)
            .build()
            .unwrap();
        Arc::new(Self { pool, gate, clock })
    }

    pub(crate) fn select(&self) -> Option<Lease> {
        self.pool.select(&Ask::new()).ok()
    }

    /// Makes a call; says whether it got through.
    pub(crate) fn call(&self, outcome: Outcome) -> bool {
        self.select().map(|lease| lease.finish(outcome)).is_some()
    }

    /// Selects on a thread of its own, and hands the lease over.
    pub(crate) fn selecting(self: &Arc<Self>) -> JoinHandle<Option<Lease>> {
        let rig = Arc::clone(self);
        thread::spawn(move || rig.select())
    }

    /// Returns whether the gate admits the key, and until when it does not.
    pub(crate) fn until(&self) -> Result<(), Option<u64>> {
        let now = self.pool.now();
        let ask = Ask::new();
        self.pool.with_keys(|keys| {
            let key = keys.iter().next().unwrap();
            let checked = self.gate.check(&At {
                key,
                ask: &ask,
                now,
            });
            checked.map_err(|denied| denied.until.map(|until| until.since(now).as_secs()))
        })
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// Ends a call on a thread of its own.
pub(crate) fn ending(lease: Lease, outcome: Outcome) -> JoinHandle<()> {
    thread::spawn(move || lease.finish(outcome))
}

/// A failure of the account that owns the key.
pub(crate) fn failed() -> Outcome {
    Outcome::fault(Scope::Account, FaultKind::Failed)
}
