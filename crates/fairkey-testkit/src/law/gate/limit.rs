//! What only limiters must obey.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    Ask, At, Cost, Denied, FaultKind, Gate, Key, Lease, ManualClock, Outcome, Pool, Scope,
    Timestamp,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::strategy::Strategy as Generator;

use super::door::Make;
use crate::Wanted;
use crate::law::{Verdict, ensure, for_all};

/// The limits of each group that a limiter is made with; each may be without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// Whether keys of one account share them; otherwise each key has its own.
    pub per_account: bool,
    /// Requests in any window of that length.
    pub requests: Option<(u64, Duration)>,
    /// Tokens in any window of that length.
    pub tokens: Option<(u64, Duration)>,
    /// Calls at a time.
    pub in_flight: Option<u64>,
    /// Money reserved by calls under way, in millionths of a US dollar.
    pub in_flight_micro_usd: Option<u64>,
    /// How much longer than a window a call may count: what the limiter gives away by rounding.
    pub slack: Duration,
}

/// Never more than the limits, whatever calls come, end, are given up, and however time passes:
///
/// - at no admission are there more requests in the window that ends then;
/// - nor more tokens: those known to be used, and those reserved by calls that have not told yet;
///   unless only one call in the window uses any;
/// - nor more calls at a time, nor more money reserved, unless by one call.
///
/// A call counts in the window from when it was admitted. One that ends in the moment it began,
/// given up and without a word about its cost, was never sent.
///
/// # Errors
///
/// How the law is broken.
pub fn keeps_its_limits(make: impl Fn() -> Arc<dyn Gate>, limited: Limited) -> Verdict {
    for_all("keeps_its_limits", &acts(limited), |acts| {
        let mut scene = Scene::new(&make, limited)?;
        acts.iter().try_for_each(|act| scene.play(act, Side::Over))
    })
}

/// Every call is admitted that fits: one that is refused would not fit even if what was admitted
/// counted for [`Limited::slack`] longer. Where the refusal names a time, the very same call is
/// refused just before that time, and admitted at it.
///
/// What a call used is known from its end on. Too much that was reserved goes back to when it was
/// reserved, too little counts from the end. A refusal by the other side ("slow down", "used up",
/// "not allowed") used no tokens; any other call that does not say what it used, used what was
/// reserved.
///
/// # Errors
///
/// How the law is broken.
pub fn admits_what_fits(make: impl Fn() -> Arc<dyn Gate>, limited: Limited) -> Verdict {
    for_all("admits_what_fits", &acts(limited), |acts| {
        let mut scene = Scene::new(&make, limited)?;
        acts.iter().try_for_each(|act| scene.play(act, Side::Under))
    })
}

/// Which of the two laws is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Over,
    Under,
}

#[derive(Clone, Debug)]
enum Act {
    /// Calls with the key of that number: tokens and money.
    Call(u8, u64, u64),
    /// Ends a call: how, and with what used.
    End(u8, How, Option<(u64, u64)>),
    Wait(Duration),
    Reload,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Success,
    Failed,
    Refused,
    GivenUp,
}

fn acts(limited: Limited) -> impl Generator<Value = Vec<Act>> {
    let (most, window) = limited.tokens.unwrap_or((1_000, Duration::from_secs(60)));
    let window = limited.requests.map_or(window, |(_, window)| window);
    let tokens = move || {
        prop_oneof![
            1 => Just(0),
            8 => 0..=most / 3 + 1,
            2 => Just(most),
            1 => most..=2 * most + 2,
        ]
    };
    let usd = limited.in_flight_micro_usd.unwrap_or(1_000);
    let usd = move || prop_oneof![8 => 0..=usd / 3 + 1, 1 => 0..=2 * usd + 2];
    let how = prop_oneof![
        4 => Just(How::Success),
        1 => Just(How::Failed),
        1 => Just(How::Refused),
        2 => Just(How::GivenUp),
    ];
    let wait = prop_oneof![
        1 => Just(Duration::ZERO),
        2 => Just(Duration::from_nanos(1)),
        8 => (1_u32..40).prop_map(move |part| window / part),
        3 => Just(window),
        2 => Just(window.saturating_sub(Duration::from_nanos(1))),
        1 => (1_u32..100).prop_map(move |times| window * times),
        1 => Just(Duration::from_secs(40 * 24 * 60 * 60)),
    ];
    let act = prop_oneof![
        12 => (any::<u8>(), tokens(), usd()).prop_map(|(key, t, u)| Act::Call(key, t, u)),
        6 => (any::<u8>(), how, option::of((tokens(), usd())))
            .prop_map(|(n, how, actual)| Act::End(n, how, actual)),
        4 => wait.prop_map(Act::Wait),
        1 => Just(Act::Reload),
    ];
    vec(act, 0..120)
}

/// A call that was admitted.
#[derive(Clone, Copy, Debug)]
struct Call {
    group: usize,
    begun: Timestamp,
    ended: Option<Timestamp>,
    reserved: Cost,
    /// What it used, as far as that is known.
    tokens: u64,
    /// Whether it was sent at all.
    sent: bool,
}

/// Keys, a clock, and everything that was ever admitted: a sliding log without a bound.
struct Scene {
    limited: Limited,
    pool: Pool,
    gate: Arc<dyn Gate>,
    clock: ManualClock,
    calls: Vec<Call>,
    live: Vec<(Lease, usize)>,
}

/// Two keys of one account, and one that is alone.
const GROUPS_OF_ACCOUNTS: [usize; 3] = [0, 0, 1];

fn keys() -> Vec<Key> {
    vec![
        Key::new("a", "sk-a").account("acme"),
        Key::new("b", "sk-b").account("acme"),
        Key::new("c", "sk-c"),
    ]
}

impl Scene {
    fn new(make: Make<'_>, limited: Limited) -> Result<Self, String> {
        let (gate, clock) = (make(), ManualClock::new());
        let pool = Pool::builder()
            .keys(keys())
            .strategy(Wanted)
            .clock(clock.clone())
            .shared_gate(Arc::clone(&gate))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            limited,
            pool,
            gate,
            clock,
            calls: Vec::new(),
            live: Vec::new(),
        })
    }

    fn now(&self) -> Timestamp {
        self.pool.now()
    }

    fn play(&mut self, act: &Act, side: Side) -> Result<(), String> {
        match *act {
            Act::Call(key, tokens, micro_usd) => {
                let cost = Cost {
                    requests: 1,
                    tokens,
                    micro_usd,
                };
                self.call(usize::from(key) % 3, cost, side)
            }
            Act::End(n, how, actual) => {
                self.end(usize::from(n), how, actual);
                Ok(())
            }
            Act::Wait(time) => {
                self.clock.advance(time);
                Ok(())
            }
            Act::Reload => {
                let reload = self.pool.reload(keys());
                reload.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    fn call(&mut self, key: usize, cost: Cost, side: Side) -> Result<(), String> {
        let mut ask = Ask::new().with_affinity(key as u64);
        ask.cost = cost;
        let group = if self.limited.per_account {
            GROUPS_OF_ACCOUNTS[key]
        } else {
            key
        };
        let fits = self.fits(group, &cost, self.limited.slack);
        if let Ok(lease) = self.pool.select(&ask) {
            self.calls.push(Call {
                group,
                begun: self.now(),
                ended: None,
                reserved: cost,
                tokens: cost.tokens,
                sent: true,
            });
            self.live.push((lease, self.calls.len() - 1));
            if side == Side::Over {
                self.is_within(group)?;
            }
            return Ok(());
        }
        if side == Side::Over {
            return Ok(());
        }
        ensure(!fits, || {
            format!(
                "at {:?} a call of {cost:?} is refused, and it fits: {:?}",
                self.now(),
                self.recent(group)
            )
        })?;
        self.is_refused_at_the_door(key, &ask)?;
        match self.check(key, &ask, self.now()) {
            Ok(()) => Err(format!("{cost:?} is refused, and `check` admits it")),
            Err(Denied { until: None, .. }) => Ok(()),
            Err(Denied {
                until: Some(until), ..
            }) => {
                let just_before = until - Duration::from_nanos(1);
                let (before, at) = (
                    self.check(key, &ask, just_before),
                    self.check(key, &ask, until),
                );
                ensure(before.is_err() && at.is_ok() && until > self.now(), || {
                    format!(
                        "{cost:?} is refused until {until:?}; just before it is {before:?}, at it \
                         {at:?}"
                    )
                })
            }
        }
    }

    /// Enters past the pool, which does not enter where `check` denies: a refusal, and nothing of
    /// it may stay.
    fn is_refused_at_the_door(&self, key: usize, ask: &Ask<'_>) -> Result<(), String> {
        let now = self.now();
        let entered = self.pool.with_keys(|keys| {
            let key = keys.iter().nth(key).expect("there are three keys");
            self.gate.enter(&At { key, ask, now })
        });
        ensure(entered.is_err(), || {
            format!("{:?} is refused, and `enter` admits it", ask.cost)
        })
    }

    fn check(&self, key: usize, ask: &Ask<'_>, now: Timestamp) -> Result<(), Denied> {
        self.pool.with_keys(|keys| {
            let key = keys.iter().nth(key).expect("there are three keys");
            self.gate.check(&At { key, ask, now })
        })
    }

    fn end(&mut self, n: usize, how: How, actual: Option<(u64, u64)>) {
        if self.live.is_empty() {
            return;
        }
        let (mut lease, at) = self.live.remove(n % self.live.len());
        let now = self.now();
        let call = &mut self.calls[at];
        call.ended = Some(now);
        let outcome = match how {
            How::Success => Outcome::Success,
            How::Failed => Outcome::fault(Scope::Provider, FaultKind::Failed),
            How::Refused => Outcome::fault(Scope::Account, FaultKind::Throttled),
            How::GivenUp => Outcome::Neutral,
        };
        if let Some((tokens, micro_usd)) = actual {
            lease.note_actual(Cost {
                requests: 1,
                tokens,
                micro_usd,
            });
            call.tokens = tokens;
        } else if matches!(how, How::Refused) {
            call.tokens = 0;
        } else if matches!(how, How::GivenUp) && call.begun == now {
            call.sent = false;
        }
        lease.finish(outcome);
    }

    fn recent(&self, group: usize) -> Vec<&Call> {
        let of_group = |call: &&Call| call.group == group && call.sent;
        let recent = self.calls.iter().rev().filter(of_group).take(40);
        recent.collect()
    }

    fn of_group(&self, group: usize) -> impl Iterator<Item = &Call> {
        let of_group = move |call: &&Call| call.group == group && call.sent;
        self.calls.iter().filter(of_group)
    }

    /// Returns whether no limit of `group` is passed, now that a call was admitted.
    fn is_within(&self, group: usize) -> Result<(), String> {
        let now = self.now();
        let within = |begun: Timestamp, window| begun + window > now;
        if let Some((most, window)) = self.limited.requests {
            let calls = self.of_group(group);
            let requests = calls.filter(|call| within(call.begun, window)).count();
            ensure(requests as u64 <= most, || {
                format!("{requests} requests in {window:?} up to {now:?}, {most} are right")
            })?;
        }
        if let Some((most, window)) = self.limited.tokens {
            let calls = self.of_group(group);
            let recent = calls.filter(|call| within(call.begun, window) && call.tokens > 0);
            let (users, tokens) = sum(recent.map(|call| call.tokens));
            ensure(tokens <= most || users == 1, || {
                format!("{tokens} tokens in {window:?} up to {now:?}, {most} are right")
            })?;
        }
        let live = || self.of_group(group).filter(|call| call.ended.is_none());
        if let Some(most) = self.limited.in_flight {
            ensure(live().count() as u64 <= most, || {
                format!("{} calls at a time, {most} are right", live().count())
            })?;
        }
        if let Some(most) = self.limited.in_flight_micro_usd {
            let money = live().map(|call| call.reserved.micro_usd);
            let (users, money) = sum(money.filter(|money| *money > 0));
            ensure(money <= most || users == 1, || {
                format!("{money} micro-dollars at a time, {most} are right")
            })?;
        }
        Ok(())
    }

    /// Returns whether one more call fits, even if what was admitted counts a little longer.
    fn fits(&self, group: usize, cost: &Cost, slack: Duration) -> bool {
        let now = self.now();
        let within = |since: Timestamp, window: Duration| since + window + slack > now;
        let on_top = |used: u64, need: u64, most| used == 0 || used + need <= most;
        let requests = self.limited.requests.is_none_or(|(most, window)| {
            let calls = self.of_group(group);
            let used = calls.filter(|call| within(call.begun, window)).count();
            on_top(used as u64, 1, most)
        });
        let tokens = self.limited.tokens.is_none_or(|(most, window)| {
            let used = self.of_group(group).map(|call| {
                let early = call.tokens.min(call.reserved.tokens);
                let late = call.tokens - early;
                let early = if within(call.begun, window) { early } else { 0 };
                let ended = call.ended.filter(|ended| within(*ended, window));
                early + ended.map_or(0, |_| late)
            });
            on_top(used.sum(), cost.tokens, most)
        });
        let live = || self.of_group(group).filter(|call| call.ended.is_none());
        let in_flight = |most| on_top(live().count() as u64, 1, most);
        let money = |most| {
            let used = live().map(|call| call.reserved.micro_usd).sum();
            on_top(used, cost.micro_usd, most)
        };
        requests
            && tokens
            && self.limited.in_flight.is_none_or(in_flight)
            && self.limited.in_flight_micro_usd.is_none_or(money)
    }
}

fn sum(amounts: impl Iterator<Item = u64>) -> (u64, u64) {
    amounts.fold((0, 0), |(n, sum), amount| (n + 1, sum + amount))
}
