//! Generators: key sets, asks, outcomes, and sequences of what callers do to a pool.
//!
//! They are proptest strategies, to be used in a `proptest!` of your own. Everything is small on
//! purpose: few keys, few accounts and few times collide often, and collisions are what breaks
//! things.

use std::time::Duration;

use fairkey_core::{Class, Cost, FaultKind, Key, Outcome, Retry, Scope, Scopes, Timestamp};
use proptest::collection::{SizeRange, vec};
use proptest::option;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Strategy as Generator};

/// A key to be made: small numbers in place of labels and secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The label is `k` and this number.
    pub name: u16,
    /// Which of the secrets that the key had in its life; another number, another secret.
    pub secret: u8,
    /// The account is `account-` and this number; `None` for a key that is alone.
    pub account: Option<u8>,
    /// The weight, 1 to 65,535.
    pub weight: u32,
}

impl KeySpec {
    /// Returns the key `k` and `name`: alone in its account, of weight 1.
    #[must_use]
    pub fn plain(name: u16) -> Self {
        Self {
            name,
            secret: 0,
            account: None,
            weight: 1,
        }
    }

    /// Returns the label.
    #[must_use]
    pub fn label(&self) -> String {
        format!("k{}", self.name)
    }

    /// Makes the key.
    #[must_use]
    pub fn key(&self) -> Key {
        let secret = format!("sk-test-{}-{}", self.name, self.secret);
        let key = Key::new(self.label(), secret).weight(self.weight);
        match self.account {
            Some(account) => key.account(format!("account-{account}")),
            None => key,
        }
    }
}

/// Makes the keys of `specs`.
#[must_use]
pub fn keys_of(specs: &[KeySpec]) -> Vec<Key> {
    specs.iter().map(KeySpec::key).collect()
}

/// Returns `n` keys `k0`, `k1` and so on, each alone in its account, of weight 1.
#[must_use]
pub fn plain_keys(n: u16) -> Vec<KeySpec> {
    (0..n).map(KeySpec::plain).collect()
}

/// Generates sets of keys with different labels: some alone, some in one of three accounts, of
/// weights 1 to 5.
pub fn key_specs(count: impl Into<SizeRange>) -> impl Generator<Value = Vec<KeySpec>> {
    vec((option::of(0_u8..3), 1_u32..=5), count).prop_map(|keys| {
        let named = keys.into_iter().zip(0..);
        let spec = |((account, weight), name)| KeySpec {
            account,
            weight,
            ..KeySpec::plain(name)
        };
        named.map(spec).collect()
    })
}

/// What a reload does to one key of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a key, or does nothing where one of the same label is there.
    Add(KeySpec),
    /// Removes the `n`th key, counted around. Does nothing to the last one.
    Remove(u8),
    /// Gives the `n`th key another secret under the same label.
    Replace(u8),
    /// Gives the `n`th key another weight.
    Weigh(u8, u32),
    /// Gives the `n`th key to another account.
    Move(u8, Option<u8>),
}

impl Change {
    /// Changes `specs`.
    pub fn apply(self, specs: &mut Vec<KeySpec>) {
        let nth = |n: u8| usize::from(n) % specs.len().max(1);
        match self {
            Self::Add(spec) => {
                if specs.iter().all(|known| known.name != spec.name) {
                    specs.push(spec);
                }
            }
            Self::Remove(n) => {
                if specs.len() > 1 {
                    specs.remove(nth(n));
                }
            }
            Self::Replace(n) => {
                let at = nth(n);
                specs[at].secret = specs[at].secret.wrapping_add(1);
            }
            Self::Weigh(n, weight) => {
                let at = nth(n);
                specs[at].weight = weight;
            }
            Self::Move(n, account) => {
                let at = nth(n);
                specs[at].account = account;
            }
        }
    }
}

/// Generates changes: of one in five keys each.
pub fn changes() -> impl Generator<Value = Change> {
    let account = || option::of(0_u8..3);
    prop_oneof![
        (0_u16..8, account(), 1_u32..=5).prop_map(|(name, account, weight)| {
            Change::Add(KeySpec {
                account,
                weight,
                ..KeySpec::plain(name)
            })
        }),
        any::<u8>().prop_map(Change::Remove),
        any::<u8>().prop_map(Change::Replace),
        (any::<u8>(), 1_u32..=5).prop_map(|(n, weight)| Change::Weigh(n, weight)),
        (any::<u8>(), account()).prop_map(|(n, account)| Change::Move(n, account)),
    ]
}

/// Generates spans of time from a nanosecond to two days: mostly those at which policies act.
pub fn durations() -> impl Generator<Value = Duration> {
    prop_oneof![
        Just(Duration::from_nanos(1)),
        (1_u64..1_000).prop_map(Duration::from_millis),
        (1_u64..90).prop_map(Duration::from_secs),
        (1_u64..90).prop_map(|minutes| Duration::from_secs(minutes * 60)),
        (1_u64..48).prop_map(|hours| Duration::from_secs(hours * 3_600)),
    ]
}

/// Generates hints on when to try again: none, waits, stamps in the past and in the future, never.
pub fn retries() -> impl Generator<Value = Retry> {
    prop_oneof![
        Just(Retry::Unknown),
        durations().prop_map(Retry::After),
        Just(Retry::After(Duration::ZERO)),
        durations().prop_map(|at| Retry::At(Timestamp::ZERO + at)),
        Just(Retry::Never),
    ]
}

/// Generates hints that name a time.
pub fn timely_retries() -> impl Generator<Value = Retry> {
    prop_oneof![
        durations().prop_map(Retry::After),
        durations().prop_map(|at| Retry::At(Timestamp::ZERO + at)),
    ]
}

/// Generates every kind of fault.
pub fn kinds() -> impl Generator<Value = FaultKind> {
    select(vec![
        FaultKind::Throttled,
        FaultKind::Exhausted,
        FaultKind::Refused,
        FaultKind::Failed,
    ])
}

/// Generates the kinds of fault that waiting can cure: all but [`FaultKind::Refused`].
pub fn curable_kinds() -> impl Generator<Value = FaultKind> {
    select(vec![
        FaultKind::Throttled,
        FaultKind::Exhausted,
        FaultKind::Failed,
    ])
}

/// Generates faults of `scopes`, of any kind, with any hint. Of [`Scope::Request`] where `scopes`
/// is empty: the fault that is nobody's.
pub fn faults(scopes: Scopes) -> BoxedStrategy<Outcome> {
    let scopes: Vec<Scope> = (Scope::ALL.into_iter())
        .filter(|scope| scopes.contains(*scope))
        .collect();
    let scope = if scopes.is_empty() {
        Just(Scope::Request).boxed()
    } else {
        select(scopes).boxed()
    };
    (scope, kinds(), retries())
        .prop_map(|(scope, kind, retry)| Outcome::Fault { scope, kind, retry })
        .boxed()
}

/// Generates ends of calls: success, given up, and faults of any scope.
pub fn outcomes() -> BoxedStrategy<Outcome> {
    prop_oneof![
        3 => Just(Outcome::Success),
        1 => Just(Outcome::Neutral),
        4 => faults(Scopes::ALL),
    ]
    .boxed()
}

/// Returns the scopes that are not in `scopes`.
#[must_use]
pub fn others(scopes: Scopes) -> Scopes {
    (Scope::ALL.into_iter())
        .filter(|scope| !scopes.contains(*scope))
        .fold(Scopes::NONE, Scopes::and)
}

/// An ask to be made: owned, so that it can be generated and printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskSpec {
    /// The model.
    pub model: Option<&'static str>,
    /// The affinity.
    pub affinity: Option<u64>,
    /// The class.
    pub class: Class,
    /// Tokens and money it is expected to cost.
    pub cost: Cost,
    /// Keys that earlier attempts used: the `n`th of the pool each, counted around.
    pub tried_keys: Vec<u8>,
    /// Keys whose whole account is not to be used again, likewise.
    pub tried_accounts: Vec<u8>,
}

impl AskSpec {
    /// Returns the ask for the `n`th key of a [`Stage`](crate::Stage).
    #[must_use]
    pub fn for_key(n: usize) -> Self {
        Self {
            affinity: Some(n as u64),
            cost: Cost::ONE,
            ..Self::default()
        }
    }
}

/// Generates asks; one in three has tried something.
pub fn asks() -> impl Generator<Value = AskSpec> {
    let classes = select(vec![Class::Interactive, Class::Normal, Class::Batch]);
    let models = option::of(select(vec!["maker/large", "maker/small"]));
    let tried = || {
        prop_oneof![
            2 => Just(Vec::new()),
            1 => vec(any::<u8>(), 1..4),
        ]
    };
    let costs = (0_u64..2_000, 0_u64..20_000).prop_map(|(tokens, micro_usd)| Cost {
        requests: 1,
        tokens,
        micro_usd,
    });
    (
        models,
        option::of(0_u64..8),
        classes,
        costs,
        tried(),
        prop_oneof![4 => Just(Vec::new()), 1 => vec(any::<u8>(), 1..3)],
    )
        .prop_map(
            |(model, affinity, class, cost, tried_keys, tried_accounts)| AskSpec {
                model,
                affinity,
                class,
                cost,
                tried_keys,
                tried_accounts,
            },
        )
}

/// One thing that callers do to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Asks for a key, and keeps the lease.
    Select(AskSpec),
    /// Ends the `n`th live lease, counted around.
    End(u8, Outcome),
    /// Drops the `n`th live lease without a word.
    Drop(u8),
    /// Ends the `n`th live lease on a thread of its own.
    EndElsewhere(u8, Outcome),
    /// Lets time pass.
    Advance(Duration),
    /// Reloads the keys with changes; with none, the same keys.
    Reload(Vec<Change>),
}

/// What a sequence of [`Op`]s is made of.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Ends of calls.
    pub outcomes: BoxedStrategy<Outcome>,
    /// Whether keys are reloaded.
    pub reloads: bool,
    /// Whether leases end on other threads, too.
    pub threads: bool,
}

impl Mix {
    /// Everything, with any outcome.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            outcomes: outcomes(),
            reloads: true,
            threads: true,
        }
    }

    /// Calls that end with `outcomes`, and time; no reload, no thread.
    #[must_use]
    pub fn of(outcomes: BoxedStrategy<Outcome>) -> Self {
        Self {
            outcomes,
            reloads: false,
            threads: false,
        }
    }
}

/// Generates sequences of `count` operations.
pub fn ops<C: Into<SizeRange>>(mix: &Mix, count: C) -> impl Generator<Value = Vec<Op>> + use<C> {
    let some = |yes: bool, weight| if yes { weight } else { 0 };
    let op = proptest::strategy::Union::new_weighted(
        [
            (8, asks().prop_map(Op::Select).boxed()),
            (
                6,
                (any::<u8>(), mix.outcomes.clone())
                    .prop_map(|(n, outcome)| Op::End(n, outcome))
                    .boxed(),
            ),
            (2, any::<u8>().prop_map(Op::Drop).boxed()),
            (2, durations().prop_map(Op::Advance).boxed()),
            (
                some(mix.threads, 1),
                (any::<u8>(), mix.outcomes.clone())
                    .prop_map(|(n, outcome)| Op::EndElsewhere(n, outcome))
                    .boxed(),
            ),
            (
                some(mix.reloads, 2),
                vec(changes(), 0..3).prop_map(Op::Reload).boxed(),
            ),
        ]
        .into_iter()
        .filter(|(weight, _)| *weight > 0)
        .collect::<Vec<_>>(),
    );
    vec(op, count)
}
