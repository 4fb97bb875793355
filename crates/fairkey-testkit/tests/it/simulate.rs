//! Laws of the simulator: what is known by theory, and what must hold for every scenario.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    At, Candidate, Cost, Denied, Gate, Outcome, Random, Retry, Scope, Strategy, Timestamp, Turn,
};
use fairkey_testkit::simulate::{
    Arrivals, AtOnce, Backend, Call, Distribution, Quota, Results, Retries, Simulation,
};
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

#[derive(Debug)]
struct Chance;

impl Strategy for Chance {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.random()
    }
}

#[derive(Debug)]
struct LeastLoaded;

impl Strategy for LeastLoaded {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.least_loaded()
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn constant(seconds: f64) -> Backend {
    Backend::new(Distribution::constant(seconds))
}

#[track_caller]
fn near(found: Duration, wanted: f64, within: f64) {
    let found = found.as_secs_f64();
    assert!(
        (found / wanted - 1.0).abs() < within,
        "{found}, and not {wanted}"
    );
}

/// The mean time in a queue of `n` workers of mean service time 1, with `load` of what they can
/// do offered (Erlang's C).
fn erlang_mean(n: u32, load: f64) -> f64 {
    let offered = f64::from(n) * load;
    let (mut sum, mut term) = (0.0, 1.0);
    for k in 0..n {
        sum += term;
        term *= offered / f64::from(k + 1);
    }
    let waits = term / (1.0 - load) / (sum + term / (1.0 - load));
    1.0 + waits / (f64::from(n) * (1.0 - load))
}

#[test]
fn queues_of_one_and_of_many_workers_take_as_long_as_theory_says() {
    for (workers, load) in [(1, 0.5), (1, 0.8), (4, 0.8), (32, 0.9)] {
        let per_second = f64::from(workers) * load;
        let results = Simulation::new()
            .backend(Backend::new(Distribution::exponential(1.0)).workers(workers as usize))
            .arrivals(Arrivals::poisson(per_second))
            .warm_up(secs(1_000))
            .lasting(Duration::from_secs_f64(120_000.0 / per_second))
            .run(Chance);
        near(results.mean(), erlang_mean(workers, load), 0.05);
        assert!(results.calls > 90_000);
    }
    assert!((erlang_mean(1, 0.8) - 5.0).abs() < 1e-9);
}

#[test]
fn the_time_in_a_queue_of_one_is_exponential() {
    let results = Simulation::new()
        .backend(Backend::new(Distribution::exponential(1.0)).workers(1))
        .arrivals(Arrivals::poisson(0.5))
        .lasting(secs(400_000))
        .run(Chance);
    // Mean 2, so the part q takes less than -2 ln(1 - q).
    for q in [0.5, 0.9, 0.99] {
        near(results.percentile(q), -2.0 * f64::ln(1.0 - q), 0.05);
    }
}

#[test]
fn a_fixed_service_time_waits_half_as_long_as_an_exponential_one() {
    // Pollaczek and Khinchine: 1 + 0.8 / (2 * 0.2).
    let results = Simulation::new()
        .backend(constant(1.0).workers(1))
        .arrivals(Arrivals::poisson(0.8))
        .lasting(secs(200_000))
        .run(Chance);
    near(results.mean(), 3.0, 0.05);
}

#[test]
fn a_closed_loop_never_has_more_calls_than_callers() {
    let results = Simulation::new()
        .backends(2, &constant(1.0))
        .arrivals(Arrivals::closed(6, Distribution::constant(1.0)))
        .lasting(secs(100))
        .run(LeastLoaded);
    // Each caller: one second of thought, one of waiting.
    assert_eq!(results.calls, 6 * 50);
    assert_eq!(results.percentile(1.0), secs(1));
    assert!(
        results
            .backends
            .iter()
            .all(|backend| backend.most_in_flight == 3)
    );
}

#[test]
fn a_trace_is_played_as_it_is() {
    let results = Simulation::new()
        .backend(constant(2.0).workers(1))
        .arrivals(Arrivals::at([0, 1, 1, 70].map(secs)))
        .run(Chance);
    // The last one comes after the end.
    let latencies: Vec<_> = results.latencies().collect();
    assert_eq!(latencies, [2, 3, 5].map(secs));
}

#[test]
fn a_backend_that_changes_is_slow_and_fails_for_as_long_as_it_should() {
    let results = Simulation::new()
        .backend(constant(0.001).during(secs(20)..secs(30), |backend| {
            backend.service(Distribution::constant(2.0)).failing(0.5)
        }))
        .arrivals(Arrivals::steady(100.0))
        .run(Chance);
    assert_eq!(results.calls, 5_999);
    assert!((400..600).contains(&results.failed), "{results}");
    let slow = results.latencies().filter(|took| *took == secs(2)).count() as u64;
    assert_eq!(slow + results.failed, 1_000);
}

#[test]
fn a_timeout_frees_the_key_and_not_the_worker() {
    // The second call gets the key when the first is given up, and its worker half a second later.
    let backend = constant(10.0)
        .workers(1)
        .during(secs(9)..secs(20), |backend| {
            backend.service(Distribution::constant(9.0))
        });
    let scenario = Simulation::new()
        .backend(backend)
        .arrivals(Arrivals::at([0.0, 1.0].map(Duration::from_secs_f64)))
        .timeout(Duration::from_secs_f64(9.5));
    let results = scenario.run(AtMost(1).guarding(Chance));
    assert_eq!(
        (results.attempts, results.timed_out, results.failed),
        (2, 2, 2)
    );
    let results = scenario
        .timeout(Duration::from_secs_f64(9.6))
        .run(AtMost(1).guarding(Chance));
    assert_eq!((results.timed_out, results.answered), (1, 1));
    let wanted = 8.6 + 0.4 + 9.0;
    assert_eq!(results.percentile(1.0), Duration::from_secs_f64(wanted));
}

#[test]
fn failures_are_tried_again_as_often_as_callers_say() {
    let simulation = Simulation::new().backend(constant(0.1).failing(1.0));
    let results = simulation.clone().retries(1, || AtOnce(3)).run(Chance);
    assert_eq!(results.attempts, 4 * results.calls);
    assert_eq!(results.failed, results.calls);
    assert_eq!(simulation.run(Chance).load(), 1.0);
}

/// Waits a second and forgets who called.
#[derive(Debug, Default)]
struct Counting {
    begun: u64,
}

impl Retries for Counting {
    fn begin(&mut self, _: Timestamp) {
        self.begun += 1;
    }

    fn again(&mut self, _: Timestamp, retry: u32, _: &Outcome, _: &mut Random) -> Option<Duration> {
        assert!(
            self.begun > 0,
            "a caller hears of its calls before they fail"
        );
        (retry == 0).then_some(secs(1))
    }
}

#[test]
fn a_wait_before_a_retry_is_part_of_the_time_a_call_takes() {
    let results = Simulation::new()
        .backend(constant(0.0).during(secs(0)..secs(10), |backend| backend.failing(1.0)))
        .arrivals(Arrivals::at([0, 9].map(secs)))
        .retries(3, Counting::default)
        .run(Chance);
    assert_eq!(
        (results.answered, results.failed, results.attempts),
        (1, 1, 4)
    );
    assert_eq!(results.percentile(1.0), secs(1));
}

/// Of two accounts the first may have one call a minute.
fn two_accounts() -> Simulation {
    Simulation::new()
        .backends(2, &constant(0.0).account("small"))
        .backend(constant(0.0).account("large"))
        .quota("small", Quota::per_minute().requests(1))
}

/// The first key that is open.
#[derive(Debug)]
struct First;

impl Strategy for First {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.nth(0)
    }
}

#[test]
fn what_a_quota_refuses_goes_on_to_another_key() {
    let scenario = two_accounts().arrivals(Arrivals::at([0, 10].map(secs)));
    let results = scenario.run(First);
    assert_eq!(
        (results.answered, results.throttled, results.attempts),
        (2, 2, 4)
    );
    assert_eq!(results.throttled_per_100(), 100.0);
    let once = scenario.failovers(1).run(First);
    assert_eq!((once.answered, once.failed, once.throttled), (1, 1, 2));
}

#[test]
fn where_no_other_key_is_left_a_call_waits_for_what_it_was_told() {
    let results = Simulation::new()
        .backend(constant(0.0).account("small"))
        .quota("small", Quota::per_minute().requests(1))
        .arrivals(Arrivals::at([0, 10].map(secs)))
        .run(First);
    assert_eq!((results.answered, results.throttled), (2, 1));
    assert_eq!(results.percentile(1.0), secs(50));
}

/// So many calls at a time with each key, without a time at which that ends.
#[derive(Debug)]
struct AtMost(u32);

impl Gate for AtMost {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if at.key.in_flight() < self.0 {
            Ok(())
        } else {
            Err(Denied::for_good(Scope::Local))
        }
    }
}

#[test]
fn who_waits_is_served_first_come_first_served_until_patience_ends() {
    let scenario = Simulation::new()
        .backend(constant(2.0))
        .arrivals(Arrivals::at([0, 1, 1, 1].map(secs)));
    let all = scenario.run(AtMost(1).guarding(Chance));
    let latencies: Vec<_> = all.latencies().collect();
    assert_eq!(latencies, [2, 3, 5, 7].map(secs));
    let some = scenario
        .clone()
        .patience(secs(4))
        .run(AtMost(1).guarding(Chance));
    assert_eq!((some.answered, some.refused), (3, 1));
    let none = scenario
        .patience(Duration::ZERO)
        .run(AtMost(1).guarding(Chance));
    assert_eq!((none.answered, none.refused), (1, 3));
}

/// Closed until the tenth second.
#[derive(Debug)]
struct ClosedAtFirst;

impl Gate for ClosedAtFirst {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let opens = Timestamp::ZERO + secs(10);
        if at.now >= opens {
            Ok(())
        } else {
            Err(Denied::until(Scope::Key, opens))
        }
    }
}

#[test]
fn who_waits_for_a_time_is_woken_then() {
    let results = Simulation::new()
        .backend(constant(0.0))
        .arrivals(Arrivals::at([1, 2].map(secs)))
        .run(ClosedAtFirst.guarding(Chance));
    let latencies: Vec<_> = results.latencies().collect();
    assert_eq!(latencies, [8, 9].map(secs));
}

/// A scenario in which everything happens.
fn busy(seed: u64) -> Simulation {
    let of = |account: &str| {
        Backend::new(Distribution::lognormal(0.4, 1.0))
            .account(account)
            .workers(5)
            .failing(0.05)
            .during(secs(5)..secs(8), |backend| {
                backend.service(Distribution::exponential(3.0))
            })
    };
    let tokens = Distribution::lognormal(700.0, 1.0);
    Simulation::new()
        .backends(2, &of("a"))
        .backends(3, &of("b"))
        .quota("a", Quota::per(secs(6)).requests(60).tokens(40_000))
        .quota("b", Quota::per(secs(3)).requests(50))
        .arrivals(Arrivals::poisson(40.0))
        .network(Distribution::even(0.01, 0.05))
        .calls(move |random| {
            let tokens = tokens.draw(random) as u64;
            let cost = |tokens| Cost {
                tokens,
                ..Cost::ONE
            };
            Call {
                estimate: cost(700),
                actual: Some(cost(tokens)),
                ..Call::default()
            }
        })
        .timeout(secs(4))
        .patience(secs(3))
        .failovers(3)
        .retries(4, || AtOnce(2))
        .warm_up(secs(2))
        .lasting(secs(20))
        .seed(seed)
}

fn every_call_ended_once(results: &Results) -> bool {
    results.calls == results.answered + results.failed + results.refused
        && results.latencies().count() as u64 == results.answered
        && results
            .backends
            .iter()
            .map(|backend| backend.attempts)
            .sum::<u64>()
            == results.attempts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_call_ends_once_and_the_same_seed_gives_the_same_results(seed in 0_u64..1_000_000) {
        let run = |seed| busy(seed).run(AtMost(3).guarding(LeastLoaded));
        let results = run(seed);
        assert!(every_call_ended_once(&results), "{results:?}");
        prop_assert_eq!(&results, &run(seed));
        assert_ne!(results, run(seed + 1));
    }
}

#[test]
fn every_thing_happens_in_the_busy_scenario() {
    let results = busy(1).run(AtMost(3).guarding(LeastLoaded));
    for some in [
        results.answered,
        results.failed,
        results.refused,
        results.throttled,
        results.timed_out,
    ] {
        assert!(some > 0, "{results:?}");
    }
}

#[test]
fn two_strategies_meet_the_same_calls() {
    let sizes = |strategy: Box<dyn Strategy>| {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let simulation = Simulation::new()
            .backends(3, &Backend::new(Distribution::exponential(1.0)))
            .calls(move |random| {
                let tokens = random.next_u64() >> 40;
                noted.lock().unwrap().push(tokens);
                let estimate = Cost {
                    tokens,
                    ..Cost::ONE
                };
                Call {
                    estimate,
                    ..Call::default()
                }
            });
        let results = simulation.run(strategy);
        let seen = seen.lock().unwrap().clone();
        // The times, too: with any number of workers they are those of the calls.
        (seen, results.latencies().collect::<Vec<_>>())
    };
    assert_eq!(sizes(Box::new(Chance)), sizes(Box::new(LeastLoaded)));
}

#[test]
#[should_panic(expected = "no backend is of the account \"acme\"")]
fn a_quota_of_nobody_is_a_mistake() {
    let scenario = Simulation::new().backend(constant(1.0));
    let _ = scenario.quota("acme", Quota::per_minute()).run(Chance);
}

#[test]
fn a_refusal_says_when_it_fits_and_whom_it_is_charged_to() {
    /// Notes what the strategy is told.
    #[derive(Debug)]
    struct Told(Arc<std::sync::Mutex<Vec<Outcome>>>);

    impl Strategy for Told {
        fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
            turn.nth(0)
        }

        fn settle(&self, _: Candidate<'_>, report: &fairkey_core::Report) {
            self.0.lock().unwrap().push(report.outcome);
        }
    }

    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let quota = Quota::per_minute().requests(1).charged_to(Scope::Key);
    let results = Simulation::new()
        .backend(constant(0.0).account("a"))
        .quota("a", quota)
        .failovers(0)
        .arrivals(Arrivals::at([0, 20].map(secs)))
        .run(Told(Arc::clone(&told)));
    assert_eq!(results.failed, 1);
    let refused = Outcome::fault(Scope::Key, fairkey_core::FaultKind::Throttled)
        .with_retry(Retry::After(secs(40)));
    assert_eq!(*told.lock().unwrap(), [Outcome::Success, refused]);
}
