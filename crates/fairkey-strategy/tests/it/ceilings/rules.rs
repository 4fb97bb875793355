//! Each documented rule.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Ask, Candidate, Cost, Key, Lease, ManualClock, Outcome, Pool, Timestamp};
use fairkey_strategy::{
    Ceilings, CeilingsConfig, Dimension, Excess, Headroom, Learned, LearnedGroup, Limit,
    LimitGroup, LimitSet, Limits, LimitsConfig, Refusal,
};

use crate::support::secs;

struct Rig {
    clock: ManualClock,
    pool: Pool,
    limits: Arc<Limits>,
    ceilings: Arc<Ceilings>,
}

impl Rig {
    fn new(config: LimitsConfig) -> Self {
        let clock = ManualClock::new();
        let limits = Arc::new(Limits::new(LimitsConfig {
            margin: Duration::ZERO,
            ..config
        }));
        let ceilings = Ceilings::new(CeilingsConfig::default(), Arc::clone(&limits));
        let ceilings = Arc::new(ceilings);
        let key = |name: &str, account: &str| {
            Key::new(name.to_owned(), format!("sk-{name}")).account(account.to_owned())
        };
        let pool = Pool::builder()
            .keys([key("a1", "a"), key("a2", "a"), key("b1", "b")])
            .strategy(Headroom::new(Arc::clone(&limits)))
            .shared_gate(Arc::clone(&limits) as _)
            .shared_gate(Arc::clone(&ceilings) as _)
            .clock(clock.clone())
            .seed(1)
            .build()
            .unwrap();
        clock.advance(secs(100));
        Self {
            clock,
            pool,
            limits,
            ceilings,
        }
    }

    fn key<R>(&self, id: &str, f: impl FnOnce(Candidate<'_>) -> R) -> R {
        self.pool.with_keys(|keys| f(keys.find(id).unwrap()))
    }

    /// Begins a call with any key of account `a`, if one may be had.
    fn call(&self, tokens: u64) -> Option<Lease> {
        let mut tried = fairkey_core::Tried::new();
        self.key("b1", |key| tried.add_account(key));
        let mut ask = Ask::new().with_tried(&tried);
        ask.cost.tokens = tokens;
        self.pool.select(&ask).ok()
    }

    /// Makes calls that succeed a second later; says how many there were.
    fn calls(&self, n: usize) -> usize {
        let calls: Vec<_> = (0..n).map_while(|_| self.call(0)).collect();
        self.clock.advance(secs(1));
        let made = calls.len();
        for call in calls {
            call.finish(Outcome::Success);
        }
        made
    }

    fn refuse(&self, call: Lease, change: impl FnOnce(&mut Refusal<'_>)) -> Option<Timestamp> {
        let mut refusal = Refusal {
            group: LimitGroup::Account,
            excess: Excess::Unsaid,
            told: None,
            wait: None,
            begun: call.begun(),
            cost: call.reserved(),
            token_ratio: 1.0,
        };
        change(&mut refusal);
        let held = self.ceilings.refused(call.key(), &refusal, self.pool.now());
        call.finish(Outcome::Neutral);
        held
    }

    fn amount(&self, dimension: Dimension) -> Option<u64> {
        let learned = self.key("a1", |key| self.ceilings.learned(key, self.pool.now()));
        let mut of = learned.iter().filter(|it| it.dimension == dimension);
        of.next().map(|it| it.amount)
    }
}

/// Calls that leave no doubt that it is not their number at a time: more of them succeeded.
fn warmed_up(config: LimitsConfig) -> Rig {
    let rig = Rig::new(config);
    assert_eq!(rig.calls(40), 40);
    rig.clock.advance(secs(61));
    rig
}

#[test]
fn what_is_only_counted_limits_nobody_until_something_is_learned() {
    let rig = Rig::new(LimitsConfig::default());
    rig.calls(40);
    assert!(!rig.limits.is_empty() && !rig.limits.is_limiting());
    let call = rig.call(0).unwrap();
    rig.refuse(call, |_| ());
    assert!(rig.limits.is_limiting());
    let other = Rig::new(LimitsConfig::default());
    (other.key("a1", |key| {
        let limit = Some(Limit::per_minute(1));
        let group = LimitGroup::Account;
        other.limits.set(key, group, Dimension::Requests, limit)
    }))
    .unwrap();
    assert!(other.limits.is_limiting());
    let first = other.call(0);
    assert!(first.is_some());
    assert!(other.call(0).is_none(), "it bars from the first call on");
}

#[test]
fn without_a_refusal_nothing_is_limited() {
    let rig = Rig::new(LimitsConfig::default());
    assert_eq!(rig.calls(5_000), 5_000);
    assert_eq!(rig.amount(Dimension::Requests), None);
    let uses = rig
        .pool
        .with_keys(|keys| rig.limits.uses(keys, rig.pool.now()));
    assert!(
        uses.is_empty(),
        "what is only counted is no limit: {uses:?}"
    );
}

#[test]
fn what_was_accepted_before_a_refusal_is_the_ceiling() {
    let rig = warmed_up(LimitsConfig::default());
    for _ in 0..6 {
        assert_eq!(rig.calls(10), 10);
    }
    let call = rig.call(0).unwrap();
    rig.clock.advance(Duration::from_millis(50));
    rig.refuse(call, |_| {});
    assert_eq!(rig.amount(Dimension::Requests), Some(60));
    assert_eq!(rig.amount(Dimension::InFlight), None);
    rig.clock.advance(secs(2));
    assert!(rig.call(0).is_none(), "60 in the last minute, and no more");
}

#[test]
fn one_wave_of_refusals_counts_once() {
    let rig = warmed_up(LimitsConfig::default());
    for _ in 0..6 {
        assert_eq!(rig.calls(10), 10);
    }
    let wave: Vec<_> = (0..20)
        .map(|_| {
            rig.clock.advance(Duration::from_millis(1));
            rig.call(0).unwrap()
        })
        .collect();
    for call in wave {
        rig.clock.advance(Duration::from_millis(1));
        rig.refuse(call, |_| {});
    }
    let ceiling = rig.amount(Dimension::Requests).unwrap();
    assert!((58..=60).contains(&ceiling), "{ceiling}");
}

#[test]
fn a_refusal_with_fewer_calls_at_a_time_than_ever_is_not_blamed_on_them() {
    let rig = Rig::new(LimitsConfig::default());
    let running: Vec<_> = (0..9).map(|_| rig.call(0).unwrap()).collect();
    rig.refuse(running.into_iter().next_back().unwrap(), |_| {});
    assert_eq!(
        rig.amount(Dimension::InFlight),
        Some(8),
        "never were there more"
    );
    assert_eq!(rig.amount(Dimension::Requests), None);
}

#[test]
fn a_limit_that_is_told_is_taken_at_once() {
    let rig = Rig::new(LimitsConfig::default());
    assert_eq!(rig.calls(18), 18);
    let call = rig.call(0).unwrap();
    let until = rig.refuse(call, |it| {
        it.told = Some(20);
        it.wait = Some(secs(30));
    });
    assert_eq!(until, Some(rig.pool.now() + secs(30)));
    assert_eq!(rig.amount(Dimension::Requests), Some(20));
    rig.clock.advance(secs(29));
    assert!(rig.call(0).is_none(), "it said 30 s");
    rig.clock.advance(secs(90));
    assert_eq!(rig.calls(50), 20);
}

#[test]
fn a_told_limit_of_tokens_is_known_by_its_size() {
    let rig = Rig::new(LimitsConfig::default());
    let call = rig.call(39_000).unwrap();
    let other = rig.call(3_000).unwrap();
    rig.refuse(other, |it| it.told = Some(40_000));
    assert_eq!(rig.amount(Dimension::Tokens), Some(40_000));
    assert_eq!(rig.amount(Dimension::Requests), None);
    drop(call);
}

#[test]
fn a_configured_limit_is_an_upper_bound() {
    let set = LimitSet {
        requests: Some(Limit::per_minute(30)),
        ..LimitSet::NONE
    };
    let rig = Rig::new(LimitsConfig::default().account("a", set));
    let call = rig.call(0).unwrap();
    rig.refuse(call, |it| it.told = Some(500));
    rig.clock.advance(secs(120));
    assert_eq!(rig.calls(100), 30);
    let rig = Rig::new(LimitsConfig::default().account("a", set));
    let call = rig.call(0).unwrap();
    rig.refuse(call, |it| it.told = Some(10));
    rig.clock.advance(secs(120));
    assert_eq!(rig.calls(100), 10, "it was configured too high");
}

#[test]
fn money_at_a_time_is_learned_in_money() {
    let rig = Rig::new(LimitsConfig::default());
    let ask = |micro_usd| {
        let mut ask = Ask::new();
        ask.cost = Cost {
            micro_usd,
            ..Cost::ONE
        };
        rig.pool.select(&ask).unwrap()
    };
    let calls: Vec<_> = (0..40).map(|_| ask(50_000)).collect();
    let (mut ours, theirs): (Vec<_>, Vec<_>) = calls
        .into_iter()
        .partition(|call| call.key().id().as_str().starts_with('a'));
    let n = ours.len() as u64;
    let last = ours.pop().unwrap();
    let until = rig.refuse(last, |it| {
        it.excess = Excess::Money;
        it.wait = Some(secs(120));
    });
    assert_eq!(rig.amount(Dimension::InFlightUsd), Some((n - 1) * 50_000));
    let until = until.unwrap().since(rig.pool.now());
    assert!(
        until < secs(2),
        "it ends when calls end, not after {until:?}"
    );
    drop((ours, theirs));
}

#[test]
fn nobody_is_locked_out() {
    let rig = warmed_up(LimitsConfig::default());
    for _ in 0..50 {
        while let Some(call) = rig.call(0) {
            rig.clock.advance(Duration::from_millis(20));
            rig.refuse(call, |_| {});
        }
        rig.clock.advance(secs(20));
    }
    rig.clock.advance(secs(60));
    assert!(rig.call(0).is_some());
}

#[test]
fn a_limit_that_rises_is_found_again() {
    let rig = warmed_up(LimitsConfig::default());
    for _ in 0..6 {
        assert_eq!(rig.calls(10), 10);
    }
    let call = rig.call(0).unwrap();
    rig.refuse(call, |_| {});
    let mut made = 0;
    for _ in 0..60 * 20 {
        made += rig.calls(100);
    }
    let learned = rig.key("a1", |key| rig.ceilings.learned(key, rig.pool.now()));
    assert!(made > 60 * 20 * 3 / 2, "{made} in 20 minutes, {learned:?}");
}

#[test]
fn a_ceiling_that_nobody_refused_for_long_is_forgotten_when_it_is_met() {
    let rig = Rig::new(LimitsConfig::default());
    rig.refuse(rig.call(0).unwrap(), |it| it.told = Some(20));
    rig.clock.advance(secs(2 * 3_600));
    assert_eq!(rig.amount(Dimension::Requests), Some(20), "nobody met it");
    assert_eq!(rig.calls(30), 20);
    rig.clock.advance(secs(61));
    assert_eq!(rig.calls(30), 30);
}

#[test]
fn what_was_learned_can_be_kept_and_taken_over() {
    let rig = Rig::new(LimitsConfig::default());
    rig.refuse(rig.call(0).unwrap(), |it| it.told = Some(20));
    rig.clock.advance(secs(5));
    let learned = rig.key("a2", |key| rig.ceilings.learned(key, rig.pool.now()));
    let expected = Learned {
        group: LearnedGroup::Account,
        dimension: Dimension::Requests,
        amount: 20,
        per: secs(60),
        is_told: true,
        age: secs(5),
    };
    assert_eq!(learned, std::slice::from_ref(&expected));
    let other = Rig::new(LimitsConfig::default());
    let now = other.pool.now();
    assert!(other.key("a1", |key| other.ceilings.restore(key, &expected, now)));
    assert_eq!(other.calls(100), 20);
    let old = Learned {
        age: secs(4_000),
        ..expected
    };
    assert!(!other.key("b1", |key| other.ceilings.restore(key, &old, now)));
}

#[test]
fn a_ceiling_of_a_model_or_of_free_models_leaves_others_alone() {
    let rig = Rig::new(LimitsConfig::default());
    let ask = Ask::new().with_model("m/x");
    for _ in 0..4 {
        let call = rig.pool.select(&ask).unwrap();
        rig.refuse(call, |it| {
            it.group = LimitGroup::Model("m/x");
            it.told = Some(1);
        });
    }
    rig.clock.advance(secs(70));
    let mut calls = Vec::new();
    while let Ok(call) = rig.pool.select(&ask) {
        calls.push(call);
    }
    assert_eq!(calls.len(), 2, "one of each account");
    assert!(rig.pool.select(&Ask::new().with_model("m/y")).is_ok());
    let free = Ask::new().with_model("m/z:free");
    let call = rig.call(0).unwrap();
    rig.refuse(call, |it| {
        it.group = LimitGroup::FreeModels;
        it.wait = Some(secs(30));
    });
    let call = rig.pool.select(&free).unwrap();
    assert_eq!(call.key().id().as_str(), "b1", "the other's are held back");
    assert!(rig.call(0).is_some());
}

#[test]
fn clearing_forgets_and_reloading_keeps() {
    let rig = Rig::new(LimitsConfig::default());
    rig.refuse(rig.call(0).unwrap(), |it| {
        it.told = Some(20);
        it.wait = Some(secs(300));
    });
    rig.pool.revise(Key::clone).unwrap();
    assert_eq!(rig.amount(Dimension::Requests), Some(20));
    assert!(rig.call(0).is_none());
    rig.key("a2", |key| rig.ceilings.clear(key));
    assert_eq!(rig.amount(Dimension::Requests), None);
    assert_eq!(rig.calls(100), 100);
}
