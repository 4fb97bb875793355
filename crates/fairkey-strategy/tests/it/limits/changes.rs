//! Limits that change while calls are under way, against a log that forgets nothing.

use std::time::Duration;

use fairkey_core::{Ask, At, Cost, FaultKind, Gate, Key, Lease, Outcome, Scope, Timestamp};
use fairkey_strategy::{Dimension, Limit, LimitGroup, LimitSet, Limits, LimitsConfig};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::{prop_assert, prop_assert_eq, proptest, test_runner::TestCaseError};

use crate::support::Rig;

const MODEL: &str = "maker/small:free";
const GROUPS: [LimitGroup<'static>; 4] = [
    LimitGroup::Key,
    LimitGroup::Account,
    LimitGroup::FreeModels,
    LimitGroup::Model(MODEL),
];
const DIMENSIONS: [Dimension; 4] = [
    Dimension::Requests,
    Dimension::Tokens,
    Dimension::InFlight,
    Dimension::InFlightUsd,
];

#[derive(Clone, Debug)]
enum Act {
    /// A call with `a` or `b` that is to cost so many tokens and so much money.
    Call(bool, u64, u64),
    /// Ends one of the calls under way: how, and with what used.
    End(u8, How, Option<(u64, u64)>),
    Wait(Duration),
    /// Sets or lifts a limit.
    Set(usize, Option<Limit>),
    /// The other side tells a limit, or nothing any more.
    Take(usize, Option<Limit>),
    /// The other side says so much is left.
    Told(usize, u64),
    /// The configuration of one dimension changes.
    Configure(usize, Option<Limit>),
    /// Takes `b` out of the pool, or puts it back.
    Reload,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Success,
    Failed,
    Refused,
    GivenUp,
}

fn limit(of: usize) -> impl Strategy<Value = Limit> {
    let amounts = match DIMENSIONS[of] {
        Dimension::Requests => vec![0, 1, 2, 3, 5, 8, 127, 400],
        Dimension::Tokens => vec![0, 500, 1_000, 3_000, 20_000],
        Dimension::InFlight => vec![0, 1, 2, 4],
        _ => vec![0, 100, 1_000, 4_000],
    };
    let windows: &[u64] = match DIMENSIONS[of] {
        Dimension::Requests | Dimension::Tokens => &[7, 10, 60],
        _ => &[0],
    };
    let windows = select(windows).prop_map(Duration::from_secs);
    (select(amounts), windows).prop_map(|(amount, per)| Limit::per(amount, per))
}

fn dimension_and_limit(alone: Option<usize>) -> impl Strategy<Value = (usize, Option<Limit>)> {
    let of = alone.map_or(0..DIMENSIONS.len(), |of| of..of + 1);
    of.prop_flat_map(|of| (Just(of), option::weighted(0.8, limit(of))))
}

fn acts(alone: Option<usize>) -> impl Strategy<Value = Vec<Act>> {
    let tokens = || prop_oneof![1 => Just(0), 8 => 0..900_u64, 1 => 900..5_000_u64];
    let usd = || prop_oneof![1 => Just(0), 8 => 0..900_u64];
    let how = select(vec![How::Success, How::Failed, How::Refused, How::GivenUp]);
    let wait = prop_oneof![
        2 => Just(Duration::ZERO),
        2 => Just(Duration::from_nanos(1)),
        8 => (1..3_000_u64).prop_map(Duration::from_millis),
        4 => select(vec![7, 10, 60]).prop_map(Duration::from_secs),
        2 => select(vec![7, 10, 60]).prop_map(|s| Duration::from_secs(s) - Duration::from_nanos(1)),
        1 => Just(Duration::from_secs(40 * 24 * 60 * 60)),
    ];
    let act = prop_oneof![
        20 => (any::<bool>(), tokens(), usd()).prop_map(|(b, t, u)| Act::Call(b, t, u)),
        10 => (any::<u8>(), how, option::of((tokens(), usd())))
            .prop_map(|(n, how, actual)| Act::End(n, how, actual)),
        8 => wait.prop_map(Act::Wait),
        4 => dimension_and_limit(alone).prop_map(|(of, limit)| Act::Set(of, limit)),
        2 => dimension_and_limit(alone).prop_map(|(of, limit)| Act::Take(of, limit)),
        2 => (0..2_usize, 0..1_000_u64).prop_map(|(of, left)| Act::Told(of, left)),
        1 => dimension_and_limit(alone).prop_map(|(of, limit)| Act::Configure(of, limit)),
        1 => Just(Act::Reload),
    ];
    vec(act, 1..150)
}

/// What was counted at one time.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Timestamp,
    amount: u64,
    /// Whether it had left a window before that grew: it may be forgotten.
    maybe: bool,
}

/// One dimension as it should be.
#[derive(Debug, Default)]
struct Model {
    configured: Option<Limit>,
    limit: Option<Limit>,
    told: bool,
    /// Whether it was ever limited: what begins from then on is counted.
    counted: bool,
    window: Duration,
    /// How much longer than its window an amount may count.
    slack: Duration,
    entries: Vec<Entry>,
    /// Of calls under way, for what counts those.
    level: u64,
}

impl Model {
    fn set(&mut self, limit: Option<Limit>, now: Timestamp) {
        (self.limit, self.told) = (limit, false);
        let is_exact = limit.is_some_and(|limit| limit.amount <= 126);
        if let Some(limit) = limit {
            for entry in &mut self.entries {
                entry.maybe |= self.counted && entry.at + self.window <= now;
            }
            (self.window, self.counted) = (limit.per, true);
        }
        if self.counted && !is_exact || self.slack > Duration::ZERO {
            let rounded = self.window / 126 + Duration::from_nanos(1);
            self.slack = self.slack.max(rounded);
        }
    }

    fn take(&mut self, told: Option<Limit>, now: Timestamp) {
        let own = if self.told {
            self.configured
        } else {
            self.limit
        };
        let rate = |limit: Limit, per: Duration| u128::from(limit.amount) * per.as_nanos().max(1);
        let is_lower =
            |told: &Limit| own.is_none_or(|own| rate(*told, own.per) < rate(own, told.per));
        let told = told.filter(is_lower);
        let new = told.or(own);
        if new != self.limit {
            self.set(new, now);
        }
        self.told |= told.is_some();
    }

    /// Returns the least and the most that may be counted as used at `now`.
    fn used(&self, now: Timestamp) -> (u64, u64) {
        let sum = |window: Duration, maybe: bool| -> u64 {
            let within = |entry: &&Entry| entry.at + window > now && (maybe || !entry.maybe);
            self.entries
                .iter()
                .filter(within)
                .map(|entry| entry.amount)
                .sum()
        };
        let level = self.level;
        (
            level + sum(self.window, false),
            level + sum(self.window + self.slack, true),
        )
    }

    fn add(&mut self, at: Timestamp, amount: u64) -> usize {
        self.entries.push(Entry {
            at,
            amount,
            maybe: false,
        });
        self.entries.len() - 1
    }
}

struct Call {
    lease: Lease,
    cost: Cost,
    /// Whether the group counts it; and by dimension, where it is counted.
    of_group: bool,
    counted: [Option<usize>; 4],
}

struct Scene {
    rig: Rig<Limits>,
    group: LimitGroup<'static>,
    models: [Model; 4],
    live: Vec<Call>,
    has_b: bool,
}

fn key(label: &str) -> Key {
    Key::new(label, format!("sk-{label}")).account("acme")
}

/// Returns what a call of this cost needs of each dimension.
fn need(cost: &Cost) -> [u64; 4] {
    [1, cost.tokens, 1, cost.micro_usd]
}

impl Scene {
    fn new(group: LimitGroup<'static>) -> Self {
        let config = LimitsConfig {
            margin: Duration::ZERO,
            ..LimitsConfig::default()
        };
        Self {
            rig: Rig::with(Limits::new(config), vec![key("a"), key("b")], |builder| {
                builder
            }),
            group,
            models: Default::default(),
            live: Vec::new(),
            has_b: true,
        }
    }

    fn now(&self) -> Timestamp {
        self.rig.pool.now()
    }

    fn play(&mut self, act: &Act) -> Result<(), TestCaseError> {
        let now = self.now();
        let group = self.group;
        match *act {
            Act::Call(of_b, tokens, micro_usd) => {
                let cost = Cost {
                    requests: 1,
                    tokens,
                    micro_usd,
                };
                self.call(of_b && self.has_b, cost)?;
            }
            Act::End(n, how, actual) => self.end(usize::from(n), how, actual),
            Act::Wait(time) => self.rig.advance(time),
            Act::Set(of, limit) => {
                let set = |key: fairkey_core::Candidate<'_>| {
                    self.rig.gate.set(key, group, DIMENSIONS[of], limit)
                };
                self.rig.key(0, set).expect("there is place");
                self.models[of].set(limit, now);
            }
            Act::Take(of, limit) => {
                let take = |key: fairkey_core::Candidate<'_>| {
                    self.rig.gate.take(key, group, DIMENSIONS[of], limit)
                };
                self.rig.key(0, take).expect("there is place");
                self.models[of].take(limit, now);
            }
            Act::Told(of, left) => {
                if let Some(limit) = self.models[of].limit {
                    let more = limit
                        .amount
                        .saturating_sub(left)
                        .saturating_sub(self.usage(of).unwrap_or(0));
                    self.models[of].add(now, more);
                }
                self.rig.key(0, |key| {
                    self.rig
                        .gate
                        .told(key, group, DIMENSIONS[of], left, now, None);
                });
            }
            Act::Configure(of, limit) => self.configure(of, limit),
            Act::Reload => {
                self.has_b = !self.has_b;
                let keys = ["a", "b"]
                    .map(key)
                    .into_iter()
                    .take(1 + usize::from(self.has_b));
                self.rig.pool.reload(keys).expect("the keys differ");
            }
        }
        self.is_within()
    }

    fn configure(&mut self, of: usize, limit: Option<Limit>) {
        if self.models[of].configured == limit {
            return;
        }
        self.models[of].configured = limit;
        let now = self.now();
        self.models[of].set(limit, now);
        let amount = |of: usize| self.models[of].configured.map(|limit| limit.amount);
        let set = LimitSet {
            requests: self.models[0].configured,
            tokens: self.models[1].configured,
            in_flight: amount(2),
            in_flight_micro_usd: amount(3),
            ..LimitSet::NONE
        };
        let config = LimitsConfig {
            margin: Duration::ZERO,
            ..LimitsConfig::default()
        };
        let config = match self.group {
            LimitGroup::Key => config.key("a", set),
            LimitGroup::Account => config.account("acme", set),
            LimitGroup::FreeModels => config.free_models("acme", set),
            LimitGroup::Model(model) => config.model("acme", model, set),
        };
        let configure = |keys: &fairkey_core::KeySet| self.rig.gate.configure(config, keys);
        self.rig.pool.with_keys(configure).expect("there is place");
    }

    fn usage(&self, of: usize) -> Option<u64> {
        let (now, group) = (self.now(), self.group);
        let usage = self.rig.key(0, |key| {
            self.rig.gate.usage(key, group, DIMENSIONS[of], now)
        });
        usage.map(|usage| usage.used)
    }

    /// What is counted is what should be.
    fn is_within(&self) -> Result<(), TestCaseError> {
        for (of, model) in self.models.iter().enumerate() {
            let usage = self.usage(of);
            prop_assert_eq!(
                usage.is_some(),
                model.limit.is_some(),
                "{:?}",
                DIMENSIONS[of]
            );
            if let Some(used) = usage {
                let (least, most) = model.used(self.now());
                prop_assert!(
                    (least..=most).contains(&used),
                    "{:?}: {} used, {}..={} are right: {:?}",
                    DIMENSIONS[of],
                    used,
                    least,
                    most,
                    model
                );
            }
        }
        Ok(())
    }

    fn call(&mut self, of_b: bool, cost: Cost) -> Result<(), TestCaseError> {
        let of_group = !(of_b && self.group == LimitGroup::Key);
        let fits = |of: usize| {
            let (used, need) = (self.usage(of).unwrap_or(0), need(&cost)[of]);
            let limit = self.models[of].limit;
            limit.is_none_or(|limit| limit.amount > 0 && (used == 0 || used + need <= limit.amount))
        };
        let fits = !of_group || (0..4).all(fits);
        let mut ask = Ask::new().with_affinity(u64::from(of_b)).with_model(MODEL);
        ask.cost = cost;
        let Ok(lease) = self.rig.pool.select(&ask) else {
            prop_assert!(
                !fits,
                "a call of {:?} is refused, and fits {:?}",
                cost,
                self.models
            );
            return self.opens_when_it_says(&ask);
        };
        prop_assert!(
            fits,
            "a call of {:?} is admitted above {:?}",
            cost,
            self.models
        );
        let (now, mut counted) = (self.now(), [None; 4]);
        if of_group {
            for (of, model) in self
                .models
                .iter_mut()
                .enumerate()
                .filter(|(_, m)| m.counted)
            {
                let need = need(&cost)[of];
                counted[of] = Some(match of {
                    0 | 1 => model.add(now, need),
                    _ => {
                        model.level += need;
                        0
                    }
                });
            }
        }
        self.live.push(Call {
            lease,
            cost,
            of_group,
            counted,
        });
        Ok(())
    }

    fn opens_when_it_says(&self, ask: &Ask<'_>) -> Result<(), TestCaseError> {
        let which = ask.affinity.unwrap_or(0) as usize;
        let check = |now| {
            self.rig
                .key(which, |key| self.rig.gate.check(&At { key, ask, now }))
        };
        let denied = check(self.now()).expect_err("the pool says so");
        if let Some(until) = denied.until {
            let before = check(until - Duration::from_nanos(1));
            prop_assert!(until > self.now() && before.is_err() && check(until).is_ok());
        }
        Ok(())
    }

    fn end(&mut self, n: usize, how: How, actual: Option<(u64, u64)>) {
        if self.live.is_empty() {
            return;
        }
        let Call {
            mut lease,
            cost,
            of_group,
            counted,
        } = self.live.remove(n % self.live.len());
        let now = self.now();
        let undone = matches!(how, How::GivenUp) && actual.is_none() && lease.begun() == now;
        let tokens = match (how, actual) {
            _ if undone => 0,
            (_, Some((tokens, _))) => tokens,
            (How::Refused, None) => 0,
            _ => cost.tokens,
        };
        if let Some((tokens, micro_usd)) = actual {
            lease.note_actual(Cost {
                requests: 1,
                tokens,
                micro_usd,
            });
        }
        lease.finish(match how {
            How::Success => Outcome::Success,
            How::Failed => Outcome::fault(Scope::Provider, FaultKind::Failed),
            How::Refused => Outcome::fault(Scope::Account, FaultKind::Throttled),
            How::GivenUp => Outcome::Neutral,
        });
        if !of_group {
            return;
        }
        let charged = [u64::from(!undone), tokens];
        for (of, at) in (0..).zip(counted) {
            let (Some(at), model) = (at, &mut self.models[of]) else {
                continue;
            };
            let need = need(&cost)[of];
            if of > 1 {
                model.level -= need;
                continue;
            }
            model.entries[at].amount = need.min(charged[of]);
            model.add(now, charged[of].saturating_sub(need));
        }
    }
}

proptest! {
    /// Limits of all dimensions, or of one that changes often.
    #[test]
    fn limits_that_change_lose_no_count_and_invent_none(
        group in select(&GROUPS[..]),
        acts in prop_oneof![acts(None), acts(Some(0)), acts(Some(1)), acts(Some(2)), acts(Some(3))],
    ) {
        let mut scene = Scene::new(group);
        for act in &acts {
            scene.play(act)?;
        }
    }
}
