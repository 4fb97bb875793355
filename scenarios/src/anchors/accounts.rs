//! Four accounts with limits of their own, three keys each.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Cost, Gate as _, Random, Scope, Strategy};
use fairkey_strategy::{
    Cooldown, CooldownConfig, Headroom, Limit, LimitSet, Limits, LimitsConfig, RoundRobin,
    WeightedLeastInFlight,
};
use fairkey_testkit::simulate::{
    Arrivals, Backend, Call, Distribution, Quota, Results, Simulation,
};

use super::{Gate, Length, Row};

/// Requests and tokens that each account may use in any minute.
const ACCOUNTS: [(&str, u64, u64); 4] = [
    ("a", 60, 60_000),
    ("b", 120, 120_000),
    ("c", 300, 500_000),
    ("d", 600, 1_000_000),
];
const KEYS: usize = 3;
/// Tokens of a prompt and of its answer, on average.
const PROMPT: f64 = 800.0;
const ANSWER: f64 = 400.0;

/// Our own anchor: who learns of limits only by refusals, by key or by account; who knows them as
/// weights; who counts against them. "Published" are the numbers of the simulation that fairkey's
/// design began with: limits, sizes and loads of the same kind, idealized policies. Its code is not
/// at hand and its accounts are not these, so no number is to be met: [`Headroom`] is refused no more
/// than it was there, and no more than any of the others here; and below saturation each of the
/// others no more than the one before it. (At a load of 0.97 they were not in that order there.)
///
/// Of two accounts tokens are what is short, of the other two requests. An answer's length is not
/// known before: the limits reserve what nine answers in ten stay below. The other side counts all
/// of a call's tokens from when it comes in. A cooldown lasts as long as the refusal said, and opens
/// for all at once, as hand-written ones do.
pub(super) fn rows(length: Length) -> Vec<Row> {
    let mut rows = Vec::new();
    for (load, published) in [
        (0.60, [7.5, 3.6, 0.0, 0.0]),
        (0.85, [12.3, 5.4, 0.4, 0.02]),
        (0.97, [17.9, 8.3, 11.4, 4.1]),
    ] {
        let names = [
            "`RoundRobin`, cooldown of keys",
            "`RoundRobin`, cooldown of accounts",
            "`WeightedLeastInFlight`, cooldown of accounts",
            "`Headroom` under `Limits`",
        ];
        let ours: Vec<f64> = [turns_by_key, turns_by_account, weighted, headroom]
            .map(|play: fn(f64, u64, u64) -> Results| refusals(load, length, play))
            .to_vec();
        for (at, name) in names.into_iter().enumerate() {
            let what = format!("refusals for 100 answers at load {load:.2}: {name}");
            let least = ours[..at].iter().copied().fold(f64::INFINITY, f64::min);
            let gate = match at {
                0 => Gate::None,
                3 => Gate::AtMost(least.min(published[at])),
                _ if load > 0.9 => Gate::None,
                _ => Gate::AtMost(least),
            };
            rows.push(Row::new("4 accounts × 3 keys", what, published[at], ours[at]).gate(gate));
        }
    }
    rows
}

/// Returns refusals for a hundred answers, over several seeds.
fn refusals(load: f64, length: Length, play: fn(f64, u64, u64) -> Results) -> f64 {
    let (seeds, minutes) = length.choose((3, 20), (1, 5));
    let (mut throttled, mut answered) = (0, 0);
    for seed in 0..seeds {
        let results = play(load, minutes, seed);
        throttled += results.throttled;
        answered += results.answered;
    }
    100.0 * throttled as f64 / answered as f64
}

/// Calls in a minute that an account's limits have room for, on average.
fn capacity(requests: u64, tokens: u64) -> f64 {
    f64::min(requests as f64, tokens as f64 / (PROMPT + ANSWER))
}

fn scenario(load: f64, minutes: u64, seed: u64, charged_to: Scope) -> Simulation {
    let all: f64 = ACCOUNTS
        .map(|(_, requests, tokens)| capacity(requests, tokens))
        .iter()
        .sum();
    let (prompt, answer) = (
        Distribution::lognormal(PROMPT, 1.0),
        Distribution::lognormal(ANSWER, 1.0),
    );
    let most = answer.quantile(0.9);
    let call = move |random: &mut Random| {
        let (prompt, answer) = (prompt.draw(random), answer.draw(random));
        let cost = |tokens: f64| Cost {
            tokens: tokens as u64,
            ..Cost::ONE
        };
        Call {
            estimate: cost(prompt + most),
            actual: Some(cost(prompt + answer)),
            // Half a second, and ten milliseconds for each token.
            service: Some(Duration::from_secs_f64(0.5 + 0.01 * answer)),
            ..Call::default()
        }
    };
    let mut simulation = Simulation::new()
        .arrivals(Arrivals::poisson(load * all / 60.0))
        .lasting(Duration::from_secs(60 * minutes))
        .network(Distribution::even(0.02, 0.06))
        .calls(call)
        .seed(seed);
    for (account, requests, tokens) in ACCOUNTS {
        let weight = capacity(requests, tokens).round() as u32;
        let key = Backend::new(Distribution::constant(0.0))
            .account(account)
            .weight(weight);
        let quota = Quota::per_minute()
            .requests(requests)
            .tokens(tokens)
            .charged_to(charged_to);
        simulation = simulation.backends(KEYS, &key).quota(account, quota);
    }
    simulation
}

/// Closes for as long as a refusal says, and opens for all at once.
fn cooldown(cooldown: fn(CooldownConfig) -> Cooldown) -> Cooldown {
    let config = CooldownConfig {
        ramp: 0,
        ..CooldownConfig::DEFAULT
    };
    cooldown(config).seed(1)
}

fn by_account(load: f64, minutes: u64, seed: u64, strategy: impl Strategy + 'static) -> Results {
    let guarded = cooldown(Cooldown::per_account).guarding(strategy);
    scenario(load, minutes, seed, Scope::Account).run(guarded)
}

fn turns_by_key(load: f64, minutes: u64, seed: u64) -> Results {
    let guarded = cooldown(Cooldown::per_key).guarding(RoundRobin::new());
    scenario(load, minutes, seed, Scope::Key).run(guarded)
}

fn turns_by_account(load: f64, minutes: u64, seed: u64) -> Results {
    by_account(load, minutes, seed, RoundRobin::new())
}

fn weighted(load: f64, minutes: u64, seed: u64) -> Results {
    by_account(load, minutes, seed, WeightedLeastInFlight::new())
}

fn headroom(load: f64, minutes: u64, seed: u64) -> Results {
    let mut config = LimitsConfig::default();
    for (account, requests, tokens) in ACCOUNTS {
        let limits = LimitSet {
            requests: Some(Limit::per_minute(requests)),
            tokens: Some(Limit::per_minute(tokens)),
            ..LimitSet::NONE
        };
        config = config.account(account, limits);
    }
    by_account(
        load,
        minutes,
        seed,
        Headroom::guarded(Arc::new(Limits::new(config))),
    )
}
