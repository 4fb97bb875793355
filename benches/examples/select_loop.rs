//! One strategy behind three gates at eight keys, selected and settled a million times: for
//! callgrind and other profilers. `limits` and `learning` stand behind none. `wake` is no selection:
//! whoever waits and is next is found, served and charged, and another one comes; KEYS are those who
//! wait. `select_loop [STRATEGY] [KEYS] [ROUNDS]`.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Ask, Class, Cost, Gate, Key, ManualClock, Outcome, Pool, Strategy, Timestamp};
use fairkey_strategy::queue::{Entry, Next, Queue, QueueConfig, Tenant};
use fairkey_strategy::{
    BreakerConfig, Ceilings, CeilingsConfig, Cooldown, CooldownConfig, Headroom, Limit, LimitSet,
    Limits, LimitsConfig, MaxInFlight, PowerOfTwo, RoundRobin, SlidingWindowBreaker,
    WeightedLeastInFlight,
};

fn main() {
    let mut args = std::env::args().skip(1);
    let strategy = args.next().unwrap_or_default();
    let mut number = |default| args.next().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (keys, rounds) = (number(8), number(1_000_000));
    match strategy.as_str() {
        "power_of_two" => run(PowerOfTwo::new(), keys, rounds),
        "least_in_flight" => run(WeightedLeastInFlight::new(), keys, rounds),
        "headroom" => run(headroom(), keys, rounds),
        "learning" => limits(learning(), keys, rounds, false),
        "limits" => limits(headroom(), keys, rounds, false),
        "limits_busy" => limits(headroom(), keys, rounds, true),
        "limits_learning" => limits(limits_learning(), keys, rounds, false),
        "limits_learning_busy" => limits(limits_learning(), keys, rounds, true),
        "wake" => wake(keys, rounds),
        _ => run(RoundRobin::new(), keys, rounds),
    }
}

/// So many wait, of a hundred models and ten tenants.
fn wake(waiting: u64, rounds: u64) {
    let now = Timestamp::ZERO;
    let tenants: Vec<_> = (0..10)
        .map(|n| Tenant::new(format!("tenant {n}")))
        .collect();
    let mut queue = Queue::new(QueueConfig {
        length: usize::MAX,
        length_per_tenant: None,
        ..QueueConfig::default()
    });
    let come = |queue: &mut Queue<u64, u64>, n: u64| {
        let entry = Entry {
            line: n % 100,
            class: Class::Normal,
            tenant: tenants.get(n as usize % tenants.len()).cloned(),
            cost: COST,
            limit: None,
        };
        let ticket = queue.ticket(now, None);
        queue.push(entry, ticket, n, now).expect("there is room");
    };
    for n in 0..waiting {
        come(&mut queue, n);
    }
    for n in 0..rounds {
        let mut pass = queue.begin(now);
        if let Some(Next::Ask(number, _)) = queue.next(&mut pass)
            && let Some(charge) = queue.serve(&mut pass, number)
        {
            queue.settle(charge, Some(COST));
        }
        come(&mut queue, waiting + n);
    }
    println!("{rounds} served, {} wait", queue.len());
}

/// Under five limits of each account, that are not reached.
fn headroom() -> impl Strategy {
    Headroom::guarded(Arc::new(Limits::new(all_limits())))
}

/// The same, where more limits are learned: nobody was refused yet.
fn limits_learning() -> impl Strategy {
    learning_beside(all_limits())
}

fn all_limits() -> LimitsConfig {
    let many = Some(Limit::per_minute(1 << 40));
    let every_account = LimitSet {
        requests: many,
        tokens: many,
        in_flight: Some(64),
        in_flight_micro_usd: Some(5_000_000),
        credit: Some(Limit::per(1 << 40, Duration::from_secs(86_400))),
        ..LimitSet::NONE
    };
    LimitsConfig {
        every_account,
        ..LimitsConfig::default()
    }
}

/// Under no limit, where limits are learned: nobody was refused yet.
fn learning() -> impl Strategy {
    learning_beside(LimitsConfig::default())
}

fn learning_beside(limits: LimitsConfig) -> impl Strategy {
    let limits = Arc::new(Limits::new(limits));
    let ceilings = Ceilings::new(CeilingsConfig::default(), Arc::clone(&limits));
    Headroom::guarded(limits).gate(ceilings)
}

/// Four keys to an account, and costs that are known at the end; where `busy`, with a call under way on every key, so that none is the best at first
/// sight.
fn limits(strategy: impl Strategy + 'static, keys: u64, rounds: u64, busy: bool) {
    let key = |n| Key::new(format!("key-{n}"), format!("sk-or-v1-{n}"));
    let pool = Pool::builder()
        .strategy(strategy)
        .keys((0..keys).map(|n| key(n).account(format!("account-{}", n / 4))))
        .clock(ManualClock::new())
        .seed(1)
        .build()
        .expect("the keys are all different");
    let mut ask = Ask::new().with_model("openai/gpt-4o-mini");
    ask.cost = COST;
    let held = if busy { keys } else { 0 };
    let _held: Vec<_> = (0..held).map(|_| pool.select(&ask)).collect();
    for n in 0..rounds {
        let mut lease = pool
            .select(std::hint::black_box(&ask))
            .expect("a key is free");
        lease.note_actual(Cost {
            tokens: 600 + n % 400,
            ..COST
        });
        std::hint::black_box(lease).finish(Outcome::Success);
    }
    println!("{rounds} calls, {} in flight", pool.in_flight());
}

const COST: Cost = Cost {
    requests: 1,
    tokens: 900,
    micro_usd: 500,
};

fn run(strategy: impl Strategy + 'static, keys: u64, rounds: u64) {
    let pool = Pool::builder()
        .strategy(
            SlidingWindowBreaker::new(BreakerConfig::default())
                .guarding(strategy)
                .gate(Cooldown::per_key(CooldownConfig::default()))
                .gate(MaxInFlight::per_key(64)),
        )
        .keys((0..keys).map(|n| Key::new(format!("key-{n}"), format!("sk-or-v1-{n}"))))
        .clock(ManualClock::new())
        .seed(1)
        .build()
        .expect("the keys are all different");
    let ask = Ask::new().with_model("openai/gpt-4o-mini");
    for _ in 0..rounds {
        pool.select(std::hint::black_box(&ask))
            .expect("a key is free")
            .finish(Outcome::Success);
    }
    println!("{rounds} calls, {} in flight", pool.in_flight());
}
