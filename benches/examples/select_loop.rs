//! One strategy behind three gates at eight keys, selected and settled a million times: for
//! callgrind and other profilers. `select_loop [STRATEGY] [KEYS] [ROUNDS]`.

use fairkey_core::{Ask, Gate, Key, ManualClock, Outcome, Pool, Strategy};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, MaxInFlight, PowerOfTwo, RoundRobin,
    SlidingWindowBreaker, WeightedLeastInFlight,
};

fn main() {
    let mut args = std::env::args().skip(1);
    let strategy: Box<dyn Strategy> = match args.next().as_deref() {
        Some("power_of_two") => Box::new(PowerOfTwo::new()),
        Some("least_in_flight") => Box::new(WeightedLeastInFlight::new()),
        _ => Box::new(RoundRobin::new()),
    };
    let keys: usize = args.next().and_then(|n| n.parse().ok()).unwrap_or(8);
    let rounds: u64 = args.next().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let bare = args.next().as_deref() == Some("bare");
    let gated = SlidingWindowBreaker::new(BreakerConfig::default())
        .guarding(WeightedLeastInFlight::new());
    drop(gated);
    let strategy: Box<dyn Strategy> = if bare { strategy } else { Box::new(
        SlidingWindowBreaker::new(BreakerConfig::default())
            .guarding(strategy)
            .gate(Cooldown::per_key(CooldownConfig::default()))
            .gate(MaxInFlight::per_key(64)))
    };
    let pool = Pool::builder()
        .strategy(strategy)
        .keys((0..keys).map(|n| Key::new(format!("key-{n}"), format!("sk-or-v1-{n}"))))
        .clock(ManualClock::new())
        .seed(1)
        .build()
        .expect("the keys are all different");
    let ask = Ask::new().with_model("openai/gpt-4o-mini");
    for _ in 0..rounds {
        pool.select(std::hint::black_box(&ask)).expect("a key is free").finish(Outcome::Success);
    }
    println!("{} calls, {} in flight", rounds, pool.in_flight());
}
