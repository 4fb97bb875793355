//! What it costs to select a key and to settle the call, as a multiple of one atomic addition.
//!
//! `cargo bench -p fairkey-benches --bench selection` prints, after criterion's own report, a
//! table of ratios with the floors that the project promises. A selection takes a snapshot of the
//! keys, asks strategy and gates, counts the call in, and hands out a lease; settling drops the
//! lease: gates and strategy are told, the call is counted out.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use fairkey_benches::measure::{Figures, interleaved};
use fairkey_core::{Ask, Clock, Gate, Key, ManualClock, MonotonicClock, Outcome, Pool, Strategy};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, MaxInFlight, PowerOfTwo, RoundRobin,
    SlidingWindowBreaker, SmoothWeighted, Sticky, WeightedLeastInFlight,
};
use futures_util::FutureExt as _;
use tower::{Service as _, ServiceExt as _};

const KEYS: [usize; 5] = [3, 8, 64, 1_000, 10_000];
const STRATEGIES: [&str; 5] = [
    "round_robin",
    "power_of_two",
    "least_in_flight",
    "smooth_weighted",
    "sticky",
];

#[derive(Clone, Copy, PartialEq)]
enum Gates {
    None,
    Three,
}

fn pool(name: &str, keys: usize, gates: Gates, clock: impl Clock + 'static) -> Pool {
    match name {
        "round_robin" => pool_of(RoundRobin::new(), keys, gates, clock),
        "power_of_two" => pool_of(PowerOfTwo::new(), keys, gates, clock),
        "least_in_flight" => pool_of(WeightedLeastInFlight::new(), keys, gates, clock),
        "smooth_weighted" => pool_of(SmoothWeighted::new(), keys, gates, clock),
        _ => pool_of(
            Sticky::new(WeightedLeastInFlight::new()),
            keys,
            gates,
            clock,
        ),
    }
}

fn pool_of(
    strategy: impl Strategy + 'static,
    keys: usize,
    gates: Gates,
    clock: impl Clock + 'static,
) -> Pool {
    let builder = Pool::builder()
        .keys((0..keys).map(|n| Key::new(format!("key-{n}"), format!("sk-or-v1-{n}"))))
        .clock(clock)
        .seed(1);
    let builder = match gates {
        Gates::None => builder.strategy(strategy),
        Gates::Three => builder.strategy(
            SlidingWindowBreaker::new(BreakerConfig::default())
                .guarding(strategy)
                .gate(Cooldown::per_key(CooldownConfig::default()))
                .gate(MaxInFlight::per_key(64)),
        ),
    };
    builder.build().expect("the keys are all different")
}

fn ask(name: &str, n: u64) -> Ask<'static> {
    let ask = Ask::new().with_model("openai/gpt-4o-mini");
    if name == "sticky" {
        ask.with_affinity(n)
    } else {
        ask
    }
}

fn select_and_settle(pool: &Pool, name: &str, many: u64) {
    for n in 0..many {
        let lease = pool
            .select(black_box(&ask(name, n)))
            .expect("a key is free");
        black_box(lease).finish(Outcome::Success);
    }
}

fn add(counter: &AtomicU64, many: u64) {
    for _ in 0..many {
        black_box(counter).fetch_add(black_box(1), Ordering::Relaxed);
    }
}

/// tower's balancer over as many services that answer at once: ready and call.
fn tower_p2c(keys: usize) -> impl FnMut(u64) {
    use tower::balance::p2c::Balance;
    use tower::discover::ServiceList;
    use tower::load::{CompleteOnResponse, PendingRequests};
    let service = || {
        let echo = tower::service_fn(|n: u64| std::future::ready(Ok::<_, std::io::Error>(n)));
        PendingRequests::new(echo, CompleteOnResponse::default())
    };
    let services: Vec<_> = (0..keys).map(|_| service()).collect();
    let mut balance = Balance::new(ServiceList::new::<u64>(services));
    move |many| {
        for n in 0..many {
            let ready = balance
                .ready()
                .now_or_never()
                .expect("ready at once")
                .expect("no error");
            let call = ready.call(black_box(n));
            black_box(call.now_or_never());
        }
    }
}

fn with_criterion(c: &mut Criterion) {
    let mut group = c.benchmark_group("baseline");
    let counter = AtomicU64::new(0);
    group.bench_function("fetch_add", |b| b.iter(|| add(&counter, 1)));
    for keys in [8, 1_000] {
        let mut call = tower_p2c(keys);
        group.bench_function(BenchmarkId::new("tower_p2c", keys), |b| b.iter(|| call(1)));
    }
    group.finish();
    for (gates, label) in [
        (Gates::None, "bare"),
        (Gates::Three, "breaker_cooldown_cap"),
    ] {
        let mut group = c.benchmark_group(format!("select_and_settle/{label}"));
        group.throughput(Throughput::Elements(1));
        for name in STRATEGIES {
            for keys in KEYS {
                let pool = pool(name, keys, gates, ManualClock::new());
                group.bench_function(BenchmarkId::new(name, keys), |b| {
                    b.iter(|| select_and_settle(&pool, name, 1));
                });
            }
        }
        group.finish();
    }
}

/// The most that a selection may cost, in atomic additions, behind the three gates.
fn floor(name: &str, keys: usize) -> Option<f64> {
    match (name, keys) {
        ("round_robin" | "power_of_two" | "least_in_flight", 8) => Some(35.0),
        ("round_robin" | "power_of_two", 10_000) => Some(300.0),
        (_, 10_000) => Some(10_000.0),
        _ => None,
    }
}

fn row(label: &str, figures: Figures, floor: Option<f64>) {
    let verdict = match floor {
        Some(most) if figures.ratio() <= most => format!("at most {most}: held"),
        Some(most) => format!("at most {most}: MISSED"),
        None => String::new(),
    };
    println!(
        "{label:<52} {:>10.1} ns {:>9.1} x  {verdict}",
        figures.nanos,
        figures.ratio()
    );
}

fn ratios() {
    let rounds = 41;
    let round = Duration::from_millis(2);
    println!("\nselect + settle, as a multiple of one atomic fetch_add of the same run (1 thread)");
    let counter = AtomicU64::new(0);
    for keys in [8, 1_000] {
        let mut call = tower_p2c(keys);
        let figures = interleaved(rounds, round, |many| add(&counter, many), &mut call);
        row(
            &format!("tower p2c, ready + call, {keys} services"),
            figures,
            None,
        );
    }
    let clock = MonotonicClock::new();
    let read = |many| {
        for _ in 0..many {
            black_box(clock.now());
        }
    };
    row(
        "one reading of the clock",
        interleaved(rounds, round, |many| add(&counter, many), read),
        None,
    );
    for (gates, label) in [(Gates::None, "bare"), (Gates::Three, "3 gates")] {
        for name in STRATEGIES {
            for keys in KEYS {
                let pool = pool(name, keys, gates, ManualClock::new());
                let figures = interleaved(
                    rounds,
                    round,
                    |many| add(&counter, many),
                    |many| select_and_settle(&pool, name, many),
                );
                let floor = (gates == Gates::Three).then(|| floor(name, keys)).flatten();
                row(&format!("{name}, {label}, {keys} keys"), figures, floor);
            }
        }
    }
    for name in STRATEGIES {
        let pool = pool(name, 8, Gates::Three, MonotonicClock::new());
        let figures = interleaved(
            rounds,
            round,
            |many| add(&counter, many),
            |many| select_and_settle(&pool, name, many),
        );
        row(
            &format!("{name}, 3 gates, 8 keys, machine's clock"),
            figures,
            None,
        );
    }
    for keys in [8, 1_000, 10_000] {
        // A lease on every key: no draw meets an idle one, so all are looked at.
        let pool = pool("least_in_flight", keys, Gates::Three, ManualClock::new());
        let busy: Vec<_> = (0..keys).map(|_| pool.select(&Ask::new())).collect();
        let figures = interleaved(
            rounds,
            round,
            |many| add(&counter, many),
            |many| select_and_settle(&pool, "least_in_flight", many),
        );
        row(
            &format!("least_in_flight, 3 gates, {keys} keys, all busy"),
            figures,
            (keys == 10_000).then_some(10_000.0),
        );
        drop(busy);
    }
    println!("\nthe same with two threads, beside two threads on one fetch_add (20 rounds each)");
    for name in STRATEGIES {
        for keys in [8, 1_000] {
            let pool = pool(name, keys, Gates::Three, ManualClock::new());
            let figures = interleaved(
                20,
                Duration::from_millis(20),
                |many| two_threads(|| add(&counter, many)),
                |many| two_threads(|| select_and_settle(&pool, name, many)),
            );
            row(
                &format!("{name}, 3 gates, {keys} keys, 2 threads"),
                figures,
                None,
            );
        }
    }
}

fn two_threads(work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        let other = scope.spawn(&work);
        work();
        other.join().expect("the other thread does not panic");
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_millis(500))
        .warm_up_time(Duration::from_millis(100))
        .sample_size(20)
        .configure_from_args();
    let only_ratios = std::env::args().any(|arg| arg == "ratios");
    if !only_ratios {
        with_criterion(&mut criterion);
        criterion.final_summary();
    }
    // Not in the smoke test that `cargo test` makes of a bench.
    if std::env::args().any(|arg| arg == "--bench" || arg == "ratios") {
        ratios();
    }
}
