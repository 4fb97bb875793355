//! One probe for a model, and nobody is lost between what is told of it and what asks for it.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Ask, FaultKind, Key, Lease, ManualClock, Outcome, Pool, Retry, Timestamp};
use fairkey_strategy::{BreakerConfig, Health, ModelBreaker, ModelBreakerConfig};
use loom::thread::{self, JoinHandle};

use crate::support::{Seen, model};

/// A pool of one key behind a breaker of models, under a manual clock.
struct Rig {
    pool: Pool,
    gate: Arc<ModelBreaker>,
    clock: ManualClock,
}

/// Closes at once after a probe, and trips at the first failure, for 10 s.
fn rig() -> Arc<Rig> {
    let config = ModelBreakerConfig {
        rules: BreakerConfig {
            consecutive: Some(1),
            ratio: None,
            open_for: Duration::from_secs(10),
            jitter: 0.0,
            ramp: 0,
            ..BreakerConfig::default()
        },
        entries: 2,
        ..ModelBreakerConfig::default()
    };
    let (gate, clock) = (Arc::new(ModelBreaker::new(config)), ManualClock::new());
    let pool = Pool::builder()
        .key(Key::new("a", "sk-a"))
        .clock(clock.clone())
        .seed(1)
        .shared_gate(Arc::clone(&gate) as _)
        .build()
        .unwrap();
    Arc::new(Rig { pool, gate, clock })
}

impl Rig {
    fn select(&self) -> Option<Lease> {
        self.pool.select(&Ask::new().with_model("m")).ok()
    }

    fn selecting(self: &Arc<Self>) -> JoinHandle<Option<Lease>> {
        let rig = Arc::clone(self);
        thread::spawn(move || rig.select())
    }

    fn fault(&self, begun: Timestamp) {
        let now = self.pool.now();
        let (kind, retry) = (FaultKind::Failed, Retry::Unknown);
        self.gate.fault("m", None, kind, retry, begun, now);
    }

    fn health(&self) -> Health {
        self.gate.status("m", None, self.pool.now()).health
    }
}

#[test]
fn one_of_two_is_the_probe_of_a_model() {
    let (first, second) = (Seen::default(), Seen::default());
    let (saw_first, saw_second) = (first.clone(), second.clone());
    model(2, move || {
        let rig = rig();
        rig.fault(Timestamp::ZERO);
        assert!(rig.select().is_none());
        rig.clock.advance(Duration::from_secs(10));
        let (one, two) = (rig.selecting(), rig.selecting());
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        saw_first.note_if(one.is_some());
        saw_second.note_if(two.is_some());
        assert!(one.is_some() ^ two.is_some(), "there is one probe");
        one.or(two).unwrap().finish(Outcome::Success);
        assert_eq!(rig.health(), Health::Well);
        assert!(rig.select().is_some());
    });
    first.assert("the one call as the probe");
    second.assert("the other call as the probe");
}

#[test]
fn a_fault_that_is_told_while_a_call_begins_meets_it_or_not() {
    let (passed, met) = (Seen::default(), Seen::default());
    let (saw_passed, saw_met) = (passed.clone(), met.clone());
    model(3, move || {
        let rig = rig();
        let telling = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.fault(Timestamp::ZERO))
        };
        let lease = rig.select();
        telling.join().unwrap();
        saw_passed.note_if(lease.is_some());
        saw_met.note_if(lease.is_none());
        // Whoever passed passed before: its success opens nothing.
        if let Some(lease) = lease {
            lease.finish(Outcome::Success);
        }
        assert_eq!(rig.health(), Health::Out);
        assert!(rig.select().is_none());
    });
    passed.assert("a call before the fault");
    met.assert("a call that met the fault");
}

#[test]
fn a_probe_that_fails_is_not_undone_by_its_own_end() {
    model(3, || {
        let rig = rig();
        rig.fault(Timestamp::ZERO);
        rig.clock.advance(Duration::from_secs(10));
        let probe = rig.select().unwrap();
        rig.fault(probe.begun());
        let ending = thread::spawn(move || drop(probe));
        let next = rig.selecting();
        ending.join().unwrap();
        assert!(next.join().unwrap().is_none(), "it is out again");
        assert_eq!(rig.health(), Health::Out);
    });
}
