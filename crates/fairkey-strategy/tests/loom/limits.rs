//! A limit is never passed, nothing is counted twice or lost, and what is shown as closed is
//! found again.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{At, Candidate, Denied, Gate, Outcome, Report, Scope, Ticket};
use fairkey_strategy::{Dimension, Limit, LimitGroup, LimitSet, Limits, LimitsConfig};

use crate::support::{Rig, Seen, ending, model};

fn limits(set: LimitSet) -> Limits {
    Limits::new(LimitsConfig {
        every_account: set,
        margin: Duration::ZERO,
        ..LimitsConfig::default()
    })
}

fn three_one_at_a_time() -> LimitSet {
    LimitSet {
        requests: Some(Limit::per(3, Duration::from_secs(10))),
        in_flight: Some(1),
        ..LimitSet::NONE
    }
}

/// Two calls begin while one is under way that ends. One at a time fits, and three in the window.
fn two_begin_while_one_ends<G: Gate + 'static>(
    make: impl Fn() -> G + Send + Sync + 'static,
) -> [Seen; 3] {
    let seen: [Seen; 3] = Default::default();
    let [none, first, second] = seen.clone();
    model(2, move || {
        let rig = Rig::new(make());
        let held = rig.select().unwrap();
        let (one, two) = (rig.selecting(), rig.selecting());
        let end = ending(held, Outcome::Success);
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        end.join().unwrap();
        none.note_if(one.is_none() && two.is_none());
        first.note_if(one.is_some());
        second.note_if(two.is_some());
        assert!(
            one.is_none() || two.is_none(),
            "two calls where there is room for one"
        );
        let mut requests = 1;
        for lease in [one, two].into_iter().flatten() {
            lease.finish(Outcome::Success);
            requests += 1;
        }
        while requests < 9 && rig.call(Outcome::Success) {
            requests += 1;
        }
        assert_eq!(requests, 3, "requests in the window, three are right");
        rig.advance(10);
        assert!(rig.call(Outcome::Success), "nobody gets what is free again");
    });
    seen
}

#[test]
fn the_last_request_goes_to_one_of_two() {
    let [none, first, second] = two_begin_while_one_ends(|| limits(three_one_at_a_time()));
    none.assert("both before the end");
    first.assert("the one after the end");
    second.assert("the other after the end");
}

/// Three requests in ten seconds and one at a time, in two cells that are not changed together.
#[derive(Debug, Default)]
struct InParts {
    requests: AtomicU64,
    in_flight: AtomicU64,
}

impl Gate for InParts {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let is_over = at.now.as_nanos() >= 10_000_000_000;
        let requests = self.requests.load(Ordering::SeqCst);
        if (requests < 3 || is_over) && self.in_flight.load(Ordering::SeqCst) == 0 {
            Ok(())
        } else {
            Err(Denied::for_good(Scope::Local))
        }
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        // The request is taken, whether or not there is room for the call.
        self.check(at)?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        if self.in_flight.fetch_add(1, Ordering::SeqCst) > 0 {
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            return Err(Denied::for_good(Scope::Local));
        }
        Ok(Ticket::default())
    }

    fn leave(&self, _: Candidate<'_>, _: Ticket, _: &Report) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
#[should_panic(expected = "requests in the window, three are right")]
fn reserving_in_parts_is_caught() {
    two_begin_while_one_ends(InParts::default);
}

#[test]
fn a_limit_set_while_calls_begin_and_end_miscounts_none() {
    let (before, after) = (Seen::default(), Seen::default());
    let (saw_before, saw_after) = (before.clone(), after.clone());
    model(2, move || {
        let rig = Rig::new(limits(LimitSet {
            requests: Some(Limit::per(9, Duration::from_secs(10))),
            ..LimitSet::NONE
        }));
        let call = rig.selecting();
        let setting = {
            let rig = Arc::clone(&rig);
            loom::thread::spawn(move || {
                rig.pool.with_keys(|keys| {
                    let key = keys.iter().next().unwrap();
                    let limit = Some(Limit::at_a_time(1));
                    let group = LimitGroup::Account;
                    rig.gate
                        .set(key, group, Dimension::InFlight, limit)
                        .unwrap();
                });
            })
        };
        let lease = call.join().unwrap().expect("there is room");
        setting.join().unwrap();
        // Counted if it began after the limit was set; not counted if before.
        let second = rig.select();
        saw_before.note_if(second.is_some());
        saw_after.note_if(second.is_none());
        drop((lease, second));
        let one = rig.select();
        assert!(one.is_some(), "a call left more than it had entered");
        assert!(
            rig.select().is_none(),
            "a call left less than it had entered"
        );
    });
    before.assert("the call before the limit");
    after.assert("the call after the limit");
}

#[test]
fn a_group_that_opens_while_another_fills_is_shown_rightly() {
    model(2, move || {
        let rig = Rig::new(limits(LimitSet {
            in_flight: Some(1),
            ..LimitSet::NONE
        }));
        let held = rig.select().unwrap();
        let end = ending(held, Outcome::Neutral);
        let begin = rig.selecting();
        end.join().unwrap();
        let second = begin.join().unwrap();
        let closed = rig.gate.closed().expect("it shows what it has closed");
        let full = second.is_some();
        assert_eq!(closed.is_empty(), !full, "what is shown is not what is");
        assert_eq!(rig.select().is_none(), full);
    });
}
