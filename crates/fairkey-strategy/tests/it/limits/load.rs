//! Four accounts with three keys each, under load: how often the other side refuses.
//!
//! The other side counts as it really would: requests and tokens of an account in rolling windows
//! of a minute, by arrival, with a jitter of up to 80 ms; output tokens are known to it at the end
//! of a call. Refused calls are tried again elsewhere, and an account that refused is left
//! alone until its window has room.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    Ask, Cost, FaultKind, Key, Lease, ManualClock, Outcome, Pool, Random, Retry, Scope, Strategy,
    Timestamp,
};
use fairkey_strategy::{
    Cooldown, CooldownConfig, Headroom, Limit, LimitSet, Limits, LimitsConfig,
    WeightedLeastInFlight,
};

/// Requests and tokens a minute.
const ACCOUNTS: [(u64, u64); 4] = [
    (60, 60_000),
    (120, 200_000),
    (300, 400_000),
    (600, 1_000_000),
];
const WINDOW: Duration = Duration::from_secs(60);
const MINUTES: u64 = 8;
/// Input and output of a call, on average.
const MEAN_TOKENS: f64 = 1_150.0;

/// What the other side has counted of one account.
#[derive(Default)]
struct Account {
    requests: VecDeque<Timestamp>,
    tokens: VecDeque<(Timestamp, u64)>,
}

impl Account {
    /// Counts a call that arrives, or says when it may come again.
    fn arrive(
        &mut self,
        now: Timestamp,
        input: u64,
        (requests, tokens): (u64, u64),
    ) -> Result<(), Duration> {
        self.requests.retain(|at| *at + WINDOW > now);
        self.tokens.retain(|(at, _)| *at + WINDOW > now);
        let used: u64 = self.tokens.iter().map(|(_, tokens)| tokens).sum();
        let mut opens = Vec::new();
        if self.requests.len() as u64 >= requests {
            opens.extend(self.requests.front().copied());
        }
        if used + input > tokens {
            opens.extend(self.tokens.front().map(|(at, _)| *at));
        }
        if let Some(opens) = opens.into_iter().max() {
            return Err((opens + WINDOW).since(now) + Duration::from_millis(1));
        }
        self.requests.push_back(now);
        self.tokens.push_back((now, input));
        Ok(())
    }
}

enum Event {
    Begins(Size),
    Arrives(Lease, Size),
    Ends(Lease, Size),
}

#[derive(Clone, Copy)]
struct Size {
    input: u64,
    output: u64,
}

/// What comes when; the earliest first, and of those at one time the first planned.
struct Plan {
    order: BinaryHeap<std::cmp::Reverse<(Timestamp, usize)>>,
    events: Vec<Option<Event>>,
}

impl Plan {
    fn add(&mut self, at: Timestamp, event: Event) {
        self.order.push(std::cmp::Reverse((at, self.events.len())));
        self.events.push(Some(event));
    }
}

/// Refusals and successes after the first two minutes.
#[derive(Debug, Default)]
struct Came {
    refused: u32,
    answered: u32,
}

impl Came {
    fn per_hundred(&self) -> f64 {
        100.0 * f64::from(self.refused) / f64::from(self.answered)
    }
}

fn size(random: &mut Random) -> Size {
    // Log-normal enough: the product of three even numbers is as skewed.
    let skewed = |random: &mut Random| (0..3).map(|_| 0.25 + 1.5 * random.unit()).product::<f64>();
    Size {
        input: (750.0 * skewed(random)) as u64,
        output: (400.0 * skewed(random)) as u64,
    }
}

fn run(strategy: impl Strategy + 'static, load: f64, seed: u64) -> Came {
    let clock = ManualClock::new();
    let key = |n: usize| {
        // A weight in proportion to what the account may do, for what knows of weights only.
        let weight = capacity(ACCOUNTS[n / 3]) * 10.0;
        Key::new(format!("k{n}"), format!("sk-{n}"))
            .account(format!("a{}", n / 3))
            .weight(weight as u32)
    };
    let pool = Pool::builder()
        .keys((0..12).map(key))
        .strategy(strategy)
        .clock(clock.clone())
        .seed(seed)
        .build()
        .unwrap();
    let (mut accounts, mut random) = ([(); 4].map(|()| Account::default()), Random::new(seed));
    let rate = load * ACCOUNTS.into_iter().map(capacity).sum::<f64>();
    let mut plan = Plan {
        order: BinaryHeap::new(),
        events: Vec::new(),
    };
    let seconds = Duration::from_secs_f64;
    let mut at = Timestamp::ZERO;
    while at < Timestamp::ZERO + WINDOW * MINUTES as u32 {
        at = at + seconds(-(1.0 - random.unit()).ln() / rate);
        let size = size(&mut random);
        plan.add(at, Event::Begins(size));
    }
    let mut came = Came::default();
    while let Some(std::cmp::Reverse((now, n))) = plan.order.pop() {
        clock.advance_to(now);
        let counts = now > Timestamp::ZERO + 2 * WINDOW;
        match plan.events[n].take().expect("each comes once") {
            Event::Begins(size) => {
                let mut ask = Ask::new();
                // What a caller knows before: the input, and a bound that most outputs keep to.
                ask.cost = Cost {
                    requests: 1,
                    tokens: size.input + 800,
                    micro_usd: 0,
                };
                match pool.select(&ask) {
                    Ok(lease) => {
                        let jitter = seconds(0.02 + 0.08 * random.unit());
                        plan.add(now + jitter, Event::Arrives(lease, size));
                    }
                    Err(refused) => {
                        let soon = now + seconds(0.05);
                        let again = refused.retry_at.unwrap_or(soon).max(soon);
                        plan.add(again, Event::Begins(size));
                    }
                }
            }
            Event::Arrives(lease, size) => {
                let account = lease.key().account().index();
                let arrived = accounts[account].arrive(now, size.input, ACCOUNTS[account]);
                if let Err(wait) = arrived {
                    came.refused += u32::from(counts);
                    let refusal = Outcome::fault(Scope::Account, FaultKind::Throttled);
                    lease.finish(refusal.with_retry(Retry::After(wait)));
                    plan.add(now, Event::Begins(size));
                    continue;
                }
                let takes = 0.4 + size.output as f64 / 60.0;
                plan.add(now + seconds(takes), Event::Ends(lease, size));
            }
            Event::Ends(mut lease, size) => {
                let account = lease.key().account().index();
                accounts[account].tokens.push_back((now, size.output));
                lease.note_actual(Cost {
                    requests: 1,
                    tokens: size.input + size.output,
                    micro_usd: 0,
                });
                lease.finish(Outcome::Success);
                came.answered += u32::from(counts);
            }
        }
    }
    came
}

/// Returns how many calls a second an account takes on average.
fn capacity((requests, tokens): (u64, u64)) -> f64 {
    (requests as f64).min(tokens as f64 / MEAN_TOKENS) / 60.0
}

fn headroom() -> impl Strategy {
    let limits = |(requests, tokens)| LimitSet {
        requests: Some(Limit::per_minute(requests)),
        tokens: Some(Limit::per_minute(tokens)),
        ..LimitSet::NONE
    };
    let config = (0..)
        .zip(ACCOUNTS)
        .fold(LimitsConfig::default(), |config, (n, account)| {
            config.account(format!("a{n}"), limits(account))
        });
    Headroom::guarded(Arc::new(Limits::new(config)))
        .gate(Cooldown::per_account(CooldownConfig::default()))
}

fn least_in_flight() -> impl Strategy {
    fairkey_core::Gated::new(WeightedLeastInFlight::new())
        .gate(Cooldown::per_account(CooldownConfig::default()))
}

#[test]
fn known_limits_are_hardly_ever_met() {
    for (load, most) in [(0.85, 1.0), (0.97, 5.0)] {
        let (ours, least) = (run(headroom(), load, 1), run(least_in_flight(), load, 1));
        println!(
            "load {load:.2}: refusals per 100 successes: headroom {:.2} ({} of {}), weighted \
             least in flight {:.2}",
            ours.per_hundred(),
            ours.refused,
            ours.answered,
            least.per_hundred(),
        );
        assert!(
            ours.answered > 4_000 && ours.per_hundred() <= most,
            "{ours:?}"
        );
        assert!(ours.per_hundred() <= least.per_hundred());
    }
}
