//! What a selection costs under limits, as a multiple of one atomic addition.
//!
//! `cargo bench -p fairkey-benches --bench limits` prints the table. "All limits" are five of each
//! account, each reserved before the call and corrected after it: requests and tokens a minute,
//! calls and money at a time, credit a day. "Learning" is a gate that learns more of them from
//! refusals. Every call is a selection and its settlement, with the tokens it used. Four keys share an
//! account.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fairkey_benches::measure::{Figures, interleaved};
use fairkey_core::{Ask, Clock, Cost, Gate, Key, ManualClock, MonotonicClock, Outcome, Pool};
use fairkey_strategy::{
    BreakerConfig, Ceilings, CeilingsConfig, Cooldown, CooldownConfig, Headroom, Limit, LimitSet,
    Limits, LimitsConfig, MaxInFlight, SlidingWindowBreaker, WeightedLeastInFlight,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Which limits there are.
#[derive(Clone, Copy, PartialEq)]
enum Under {
    Nothing,
    /// Requests a minute of each account.
    Requests,
    /// Five limits of each account.
    Account,
    /// These, and requests a minute of each key.
    All,
}

fn config(under: Under) -> LimitsConfig {
    // As many as calls of a bench do not reach, or few enough to be remembered one by one where
    // the clock stands still: what is taken in is the same work.
    let many = Some(Limit::per_minute(1 << 40));
    let requests = LimitSet {
        requests: many,
        ..LimitSet::NONE
    };
    let account = LimitSet {
        requests: many,
        tokens: many,
        in_flight: Some(64),
        in_flight_micro_usd: Some(5_000_000),
        credit: Some(Limit::per(1 << 40, DAY)),
        ..LimitSet::NONE
    };
    LimitsConfig {
        every_key: match under {
            Under::All => requests,
            _ => LimitSet::NONE,
        },
        every_account: match under {
            Under::Nothing => LimitSet::NONE,
            Under::Requests => requests,
            Under::Account | Under::All => account,
        },
        ..LimitsConfig::default()
    }
}

/// Keys of as many accounts, four to each.
fn keys(n: usize) -> impl Iterator<Item = Key> {
    let key = |n| Key::new(format!("key-{n}"), format!("sk-or-v1-{n}"));
    (0..n).map(move |n| key(n).account(format!("account-{}", n / 4)))
}

fn pool(keys_: usize, under: Under, gates: bool, clock: impl Clock + 'static) -> Pool {
    let limits = Arc::new(Limits::new(config(under)));
    let headroom = Headroom::guarded(limits);
    let builder = Pool::builder().keys(keys(keys_)).clock(clock).seed(1);
    let builder = if gates {
        builder.strategy(
            SlidingWindowBreaker::new(BreakerConfig::default())
                .guarding(headroom)
                .gate(Cooldown::per_key(CooldownConfig::default()))
                .gate(MaxInFlight::per_key(64)),
        )
    } else {
        builder.strategy(headroom)
    };
    builder.build().expect("the keys are all different")
}

/// The same where limits are learned, too.
fn learning(keys_: usize, under: Under) -> Pool {
    let limits = Arc::new(Limits::new(config(under)));
    let ceilings = Ceilings::new(CeilingsConfig::default(), Arc::clone(&limits));
    Pool::builder()
        .keys(keys(keys_))
        .clock(ManualClock::new())
        .seed(1)
        .strategy(Headroom::guarded(limits).gate(ceilings))
        .build()
        .expect("the keys are all different")
}

/// A call under way on every key: the first draw is not the best, and all are looked at.
fn occupy(pool: &Pool, keys: usize) -> Vec<impl Sized> {
    let mut ask = Ask::new();
    ask.cost = COST;
    (0..keys).map(|_| pool.select(&ask)).collect()
}

fn least_in_flight(keys_: usize) -> Pool {
    Pool::builder()
        .keys(keys(keys_))
        .clock(ManualClock::new())
        .seed(1)
        .strategy(WeightedLeastInFlight::new())
        .build()
        .expect("the keys are all different")
}

const COST: Cost = Cost {
    requests: 1,
    tokens: 900,
    micro_usd: 500,
};

fn select_and_settle(pool: &Pool, many: u64) {
    let mut ask = Ask::new().with_model("openai/gpt-4o-mini");
    ask.cost = COST;
    for n in 0..many {
        let mut lease = pool.select(black_box(&ask)).expect("a key is free");
        lease.note_actual(Cost {
            tokens: 600 + n % 400,
            ..COST
        });
        black_box(lease).finish(Outcome::Success);
    }
}

fn add(counter: &AtomicU64, many: u64) {
    for _ in 0..many {
        black_box(counter).fetch_add(black_box(1), Ordering::Relaxed);
    }
}

fn row(label: &str, figures: Figures, most: Option<f64>, most_nanos: Option<f64>) {
    let held = |is_held| if is_held { "held" } else { "MISSED" };
    let verdict = match (most, most_nanos) {
        (Some(most), _) => format!("at most {most} x: {}", held(figures.ratio() <= most)),
        (_, Some(most)) => format!("at most {most} ns: {}", held(figures.nanos <= most)),
        _ => String::new(),
    };
    println!(
        "{label:<62} {:>10.1} ns {:>9.1} x  {verdict}",
        figures.nanos,
        figures.ratio()
    );
}

fn measured(pool: &Pool) -> Figures {
    let counter = AtomicU64::new(0);
    interleaved(
        41,
        Duration::from_millis(2),
        |many| add(&counter, many),
        |many| select_and_settle(pool, many),
    )
}

fn table() {
    println!("\nselect + settle, as a multiple of one atomic fetch_add of the same run (1 thread)");
    for keys in [8, 10_000] {
        let label = format!("least_in_flight, bare, {keys} keys");
        row(&label, measured(&least_in_flight(keys)), None, None);
        for (under, label) in [
            (Under::Nothing, "no limits"),
            (Under::Requests, "requests of accounts"),
            (Under::Account, "all limits of accounts"),
            (Under::All, "these, and requests of keys"),
        ] {
            let floors = match (under, keys) {
                (Under::Account, 8) => (Some(60.0), None),
                (Under::Account | Under::All, 10_000) => (None, Some(25_000.0)),
                _ => (None, None),
            };
            let pool = pool(keys, under, false, ManualClock::new());
            let label = format!("headroom, {label}, {keys} keys");
            row(&label, measured(&pool), floors.0, floors.1);
        }
        let gated = pool(keys, Under::Account, true, ManualClock::new());
        let label = format!("headroom, all limits of accounts and 3 gates, {keys} keys");
        row(&label, measured(&gated), None, None);
        let floors = match keys {
            8 => (Some(60.0), None),
            _ => (None, Some(25_000.0)),
        };
        let busy = pool(keys, Under::Account, false, ManualClock::new());
        let held = occupy(&busy, keys);
        let label = format!("headroom, all limits of accounts, {keys} keys, all busy");
        row(&label, measured(&busy), floors.0, floors.1);
        drop(held);
        let nothing = learning(keys, Under::Nothing);
        let label = format!("headroom, no limits, learning, {keys} keys");
        row(&label, measured(&nothing), floors.0, floors.1);
        let all = learning(keys, Under::Account);
        let label = format!("headroom, all limits of accounts, learning, {keys} keys");
        row(&label, measured(&all), floors.0, floors.1);
        let held = occupy(&all, keys);
        let label = format!("headroom, all limits of accounts, learning, {keys} keys, all busy");
        row(&label, measured(&all), None, floors.1);
        drop(held);
    }
    let on_time = pool(8, Under::Account, false, MonotonicClock::new());
    row(
        "headroom, all limits of accounts, 8 keys, machine's clock",
        measured(&on_time),
        None,
        None,
    );
    println!("\nthe same with two threads, beside two threads on one fetch_add (20 rounds each)");
    for keys in [8, 10_000] {
        for (under, label) in [
            (Under::Nothing, "no limits"),
            (Under::Account, "all limits of accounts"),
        ] {
            let pool = pool(keys, under, false, ManualClock::new());
            let counter = AtomicU64::new(0);
            let figures = interleaved(
                20,
                Duration::from_millis(20),
                |many| two_threads(|| add(&counter, many)),
                |many| two_threads(|| select_and_settle(&pool, many)),
            );
            let label = format!("headroom, {label}, {keys} keys, 2 threads");
            row(&label, figures, None, None);
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
    // Not more than a smoke test in what `cargo test` makes of a bench.
    if std::env::args().any(|arg| arg == "--bench") {
        table();
    } else {
        select_and_settle(&pool(8, Under::All, true, ManualClock::new()), 100);
    }
}
