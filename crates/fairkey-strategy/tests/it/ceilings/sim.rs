//! One or more accounts with hidden limits, under load, on a clock of its own: the real pool,
//! limits, strategy and gates, and an upstream that counts as it likes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    Ask, Candidate, Cost, FaultKind, Key, Lease, ManualClock, Outcome, Pool, Random, Retry, Scope,
    Timestamp,
};
use fairkey_strategy::{
    Ceilings, CeilingsConfig, Cooldown, CooldownConfig, Excess, Headroom, Limit, LimitGroup,
    LimitSet, Limits, LimitsConfig, Refusal,
};

/// How the other side counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// In any window.
    Rolling,
    /// In windows that begin every full minute.
    Fixed,
    /// A bucket of this size, which fills at a constant rate.
    Bucket,
    /// Calls at a time.
    InFlight,
    /// Tokens in any window, a thousand times as many as the number says.
    Tokens,
    /// In any window, and refused calls count.
    CountsRefused,
}

/// One hidden limit.
#[derive(Clone, Copy, Debug)]
pub struct Hidden {
    pub kind: Kind,
    pub limit: u64,
    /// Whether its refusals say when to come back.
    pub hints: bool,
}

/// What stands against it.
#[derive(Clone, Debug)]
pub enum Policy {
    /// Nothing but a cooldown of accounts.
    Cooldown,
    /// The limits are known.
    Known,
    /// Learned ceilings.
    Learned(CeilingsConfig),
    /// A rate for each account, moved by a rule.
    Rate(Rule),
}

/// How a rate moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Plus a fortieth of what was accepted per second, times 0.7 at most once a second.
    Aimd,
    /// That of AWS's clients: beta 0.7, C 0.4.
    Cubic,
}

/// A scene.
#[derive(Clone, Debug)]
pub struct Scene {
    pub accounts: Vec<Hidden>,
    /// What is offered, of what the accounts can do.
    pub load: f64,
    pub window: Duration,
    /// How many windows it lasts.
    pub windows: u32,
    /// How long a call takes on average.
    pub latency: Duration,
    pub seed: u64,
}

impl Scene {
    /// One account with a hidden limit of that kind, offered somewhat more for eight minutes; the
    /// rest is chance.
    pub fn by_chance(kind: Kind, number: u64, chance: &mut Random) -> Self {
        let (at_a_time, limit) = (kind == Kind::InFlight, 20 + chance.below(380) as u64);
        Self {
            accounts: vec![Hidden {
                kind,
                limit: if at_a_time { 2 + limit / 10 } else { limit },
                hints: number.is_multiple_of(2) && !at_a_time,
            }],
            load: 1.2 + 0.8 * chance.unit(),
            window: Duration::from_secs(60),
            windows: 8,
            latency: Duration::from_secs(1),
            seed: number,
        }
    }
}

/// What came of one half.
#[derive(Clone, Copy, Debug, Default)]
pub struct Half {
    pub answered: u32,
    pub refused: u32,
    /// What the best scheduler could have had.
    pub ideal: f64,
}

impl Half {
    /// Answered calls, in per cent of the ideal.
    pub fn goodput(&self) -> f64 {
        100.0 * f64::from(self.answered) / self.ideal
    }

    /// Refused calls for each hundred that were answered.
    pub fn refusals(&self) -> f64 {
        100.0 * f64::from(self.refused) / f64::from(self.answered.max(1))
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Came {
    pub halves: [Half; 2],
}

impl Came {
    pub fn all(&self) -> Half {
        let [a, b] = self.halves;
        Half {
            answered: a.answered + b.answered,
            refused: a.refused + b.refused,
            ideal: a.ideal + b.ideal,
        }
    }
}

/// The other side's count of one account.
struct Upstream {
    hidden: Hidden,
    window: Duration,
    log: VecDeque<(Timestamp, u64)>,
    running: u64,
    bucket: f64,
    filled: Timestamp,
}

impl Upstream {
    fn new(hidden: Hidden, window: Duration) -> Self {
        Self {
            hidden,
            window,
            log: VecDeque::new(),
            running: 0,
            bucket: hidden.limit as f64,
            filled: Timestamp::ZERO,
        }
    }

    /// Counts a call that arrives, or refuses it, and says when it reopens.
    fn arrive(&mut self, now: Timestamp, tokens: u64) -> Result<(), Option<Duration>> {
        let (limit, window) = (self.hidden.limit, self.window);
        let hint = |at: Option<Timestamp>| at.map(|at| at.since(now) + Duration::from_millis(1));
        match self.hidden.kind {
            Kind::Rolling | Kind::Tokens | Kind::CountsRefused => {
                self.log.retain(|(at, _)| *at + window > now);
                let tokens = (self.hidden.kind == Kind::Tokens).then_some(tokens);
                let (limit, need) = tokens.map_or((limit, 1), |tokens| (limit * 1_000, tokens));
                let used: u64 = self.log.iter().map(|(_, amount)| amount).sum();
                let fits = used + need <= limit;
                if fits || self.hidden.kind == Kind::CountsRefused {
                    self.log.push_back((now, need));
                }
                if !fits {
                    let (mut left, mut reopens) = (used + need, None);
                    for (at, amount) in &self.log {
                        if left <= limit {
                            break;
                        }
                        left -= amount;
                        reopens = Some(*at + window);
                    }
                    return Err(hint(reopens));
                }
            }
            Kind::Fixed => {
                let begun = now.as_nanos() / window.as_nanos() as u64;
                let ends = Timestamp::from_nanos((begun + 1) * window.as_nanos() as u64);
                self.log.retain(|(at, _)| *at + window >= ends);
                if self.log.len() as u64 >= limit {
                    return Err(hint(Some(ends)));
                }
                self.log.push_back((now, 1));
            }
            Kind::Bucket => {
                let rate = limit as f64 / window.as_secs_f64();
                let filled = now.since(self.filled).as_secs_f64() * rate;
                self.bucket = (self.bucket + filled).min(limit as f64);
                self.filled = now;
                if self.bucket < 1.0 {
                    let wait = (1.0 - self.bucket) / rate;
                    return Err(hint(Some(now + Duration::from_secs_f64(wait))));
                }
                self.bucket -= 1.0;
            }
            Kind::InFlight => {
                if self.running >= limit {
                    return Err(None);
                }
            }
        }
        self.running += 1;
        Ok(())
    }
}

/// A rate for each account, moved by a rule: what ceilings are compared with.
struct Rate {
    rule: Rule,
    /// Calls per second; none until the first refusal.
    rate: Option<f64>,
    most: f64,
    tokens: f64,
    filled: Timestamp,
    refused: Timestamp,
    /// Accepted calls per second, over the last seconds.
    measured: f64,
    bin: (u64, u32),
}

impl Rate {
    fn new(rule: Rule) -> Self {
        Self {
            rule,
            rate: None,
            most: 0.0,
            tokens: 0.0,
            filled: Timestamp::ZERO,
            refused: Timestamp::ZERO,
            measured: 0.0,
            bin: (0, 0),
        }
    }

    fn fill(&mut self, now: Timestamp) {
        let Some(mut rate) = self.rate else { return };
        let since = now.since(self.refused).as_secs_f64();
        let passed = now.since(self.filled).as_secs_f64();
        rate = match self.rule {
            Rule::Cubic => {
                let k = (self.most * 0.3 / 0.4).cbrt();
                let cubic = 0.4 * (since - k).powi(3) + self.most;
                cubic.clamp(0.05, (2.0 * self.measured).max(0.5))
            }
            Rule::Aimd => rate + self.measured / 40.0 * passed,
        };
        self.rate = Some(rate);
        self.tokens = (self.tokens + rate * passed).min(1.0_f64.max(rate));
        self.filled = now;
    }

    /// Returns how long to wait.
    fn wait(&mut self, now: Timestamp) -> Option<Duration> {
        self.fill(now);
        let rate = self.rate?;
        (self.tokens < 1.0).then(|| {
            let wait = (1.0 - self.tokens) / rate;
            Duration::from_secs_f64(wait.clamp(0.001, 60.0))
        })
    }

    fn sent(&mut self) {
        self.tokens -= 1.0;
    }

    fn answered(&mut self, now: Timestamp) {
        let bin = now.as_nanos() / 500_000_000;
        if bin != self.bin.0 {
            let rate = f64::from(self.bin.1) / (0.5 * (bin - self.bin.0) as f64);
            self.measured = 0.8 * rate + 0.2 * self.measured;
            self.bin = (bin, 0);
        }
        self.bin.1 += 1;
    }

    fn refused(&mut self, now: Timestamp) {
        if self.rate.is_some() && now.since(self.refused) < Duration::from_secs(1) {
            return;
        }
        let rate = self.rate.unwrap_or(self.measured.max(1.0));
        self.most = rate.min(self.measured.max(0.5));
        self.rate = Some(match self.rule {
            Rule::Cubic => 0.7 * self.most,
            Rule::Aimd => 0.7 * rate,
        });
        (self.refused, self.filled) = (now, now);
        self.tokens = self.tokens.min(1.0);
    }
}

enum Event {
    Comes(u64),
    Wakes,
    Arrives(Lease, u64),
    Refused(Lease, u64, Option<Duration>),
    Ends(Lease, u64),
}

struct Plan {
    order: BinaryHeap<Reverse<(Timestamp, usize)>>,
    events: Vec<Option<Event>>,
}

impl Plan {
    fn add(&mut self, at: Timestamp, event: Event) {
        self.order.push(Reverse((at, self.events.len())));
        self.events.push(Some(event));
    }
}

/// Of so many that wait, the oldest gives up.
const WAITING: usize = 200;

fn skewed(random: &mut Random) -> f64 {
    // Log-normal enough: the product of three even numbers is as skewed.
    (0..3).map(|_| 0.25 + 1.5 * random.unit()).product()
}

/// Plays a scene.
pub fn play(scene: &Scene, policy: &Policy) -> Came {
    Play::new(scene, policy).run()
}

struct Play<'a> {
    scene: &'a Scene,
    policy: &'a Policy,
    clock: ManualClock,
    pool: Pool,
    ceilings: Option<Arc<Ceilings>>,
    rates: Vec<Rate>,
    upstreams: Vec<Upstream>,
    plan: Plan,
    waiting: VecDeque<u64>,
    random: Random,
    came: Came,
    woken_at: Timestamp,
}

impl<'a> Play<'a> {
    fn new(scene: &'a Scene, policy: &'a Policy) -> Self {
        let clock = ManualClock::new();
        let mut config = LimitsConfig {
            margin: scene.window / 600,
            ..LimitsConfig::default()
        };
        if matches!(policy, Policy::Known) {
            for (n, hidden) in scene.accounts.iter().enumerate() {
                config = config.account(format!("a{n}"), known(*hidden, scene.window));
            }
        }
        let limits = Arc::new(Limits::new(config));
        let mut builder = Pool::builder().shared_gate(Arc::clone(&limits) as _);
        let mut ceilings = None;
        match policy {
            Policy::Learned(config) => {
                let gate = Arc::new(Ceilings::new(config.clone(), Arc::clone(&limits)));
                builder = builder.shared_gate(Arc::clone(&gate) as _);
                ceilings = Some(gate);
            }
            _ => {
                let cooldown = CooldownConfig {
                    throttled: scene.window,
                    ..CooldownConfig::default()
                };
                builder = builder.gate(Cooldown::per_account(cooldown));
            }
        }
        let keys = scene.accounts.len() * 3;
        let pool = builder
            .keys((0..keys).map(|n| {
                Key::new(format!("k{n}"), format!("sk-{n}")).account(format!("a{}", n / 3))
            }))
            .strategy(Headroom::new(limits))
            .clock(clock.clone())
            .seed(scene.seed)
            .build()
            .unwrap();
        let upstreams = scene.accounts.iter();
        let rate = |rule| scene.accounts.iter().map(|_| Rate::new(rule)).collect();
        Self {
            upstreams: upstreams
                .map(|it| Upstream::new(*it, scene.window))
                .collect(),
            rates: match policy {
                Policy::Rate(rule) => rate(*rule),
                _ => Vec::new(),
            },
            scene,
            policy,
            clock,
            pool,
            ceilings,
            plan: Plan {
                order: BinaryHeap::new(),
                events: Vec::new(),
            },
            waiting: VecDeque::new(),
            random: Random::new(scene.seed),
            came: Came::default(),
            woken_at: Timestamp::ZERO,
        }
    }

    /// Returns how many calls a second an account can answer.
    fn capacity(&self, hidden: &Hidden) -> f64 {
        match hidden.kind {
            Kind::InFlight => {
                // A call holds its place while it is on its way back, too.
                hidden.limit as f64 / self.scene.latency.as_secs_f64()
            }
            _ => hidden.limit as f64 / self.scene.window.as_secs_f64(),
        }
    }

    fn run(mut self) -> Came {
        let capacity: f64 = self.scene.accounts.iter().map(|it| self.capacity(it)).sum();
        let end = Timestamp::ZERO + self.scene.window * self.scene.windows;
        let mut at = Timestamp::ZERO;
        let rate = capacity * self.scene.load;
        while at < end {
            at = at + Duration::from_secs_f64(-(1.0 - self.random.unit()).ln() / rate);
            let tokens = (1_000.0 * skewed(&mut self.random)) as u64 + 1;
            self.plan.add(at, Event::Comes(tokens));
        }
        let length = end.since(Timestamp::ZERO).as_secs_f64();
        for half in &mut self.came.halves {
            half.ideal = capacity * self.scene.load.min(1.0) * length / 2.0;
        }
        while let Some(Reverse((now, n))) = self.plan.order.pop() {
            if now >= end {
                break;
            }
            self.clock.advance_to(now);
            let half = usize::from(now.since(Timestamp::ZERO) * 2 >= end.since(Timestamp::ZERO));
            let event = self.plan.events[n].take().expect("each comes once");
            self.step(now, half, event);
            self.dispatch(now);
        }
        self.came
    }

    fn step(&mut self, now: Timestamp, half: usize, event: Event) {
        let mut millis = |from: f64, to: f64| {
            Duration::from_secs_f64((from + (to - from) * self.random.unit()) / 1_000.0)
        };
        match event {
            Event::Comes(tokens) => {
                if self.waiting.len() >= WAITING {
                    self.waiting.pop_front();
                }
                self.waiting.push_back(tokens);
            }
            Event::Wakes => {}
            Event::Arrives(lease, tokens) => {
                let account = account_of(lease.key());
                let hints = self.scene.accounts[account].hints;
                match self.upstreams[account].arrive(now, tokens) {
                    Err(hint) => {
                        let hint = hint.filter(|_| hints);
                        let at = now + millis(20.0, 60.0);
                        self.plan.add(at, Event::Refused(lease, tokens, hint));
                    }
                    Ok(()) => {
                        let takes = self.scene.latency.mul_f64(skewed(&mut self.random));
                        self.plan.add(now + takes, Event::Ends(lease, tokens));
                    }
                }
            }
            Event::Refused(lease, tokens, hint) => {
                self.came.halves[half].refused += 1;
                let account = account_of(lease.key());
                let mut retry = hint.map_or(Retry::Unknown, Retry::After);
                if let Some(rate) = self.rates.get_mut(account) {
                    rate.refused(now);
                    // The rate is what holds back.
                    retry = Retry::At(now);
                }
                if let Some(ceilings) = &self.ceilings {
                    let refusal = Refusal {
                        group: LimitGroup::Account,
                        excess: Excess::Unsaid,
                        told: None,
                        wait: hint,
                        begun: lease.begun(),
                        cost: lease.reserved(),
                        token_ratio: 1.0,
                    };
                    ceilings.refused(lease.key(), &refusal, now);
                }
                let fault = Outcome::fault(Scope::Account, FaultKind::Throttled);
                lease.finish(fault.with_retry(retry));
                self.waiting.push_front(tokens);
            }
            Event::Ends(lease, _) => {
                self.came.halves[half].answered += 1;
                let account = account_of(lease.key());
                self.upstreams[account].running -= 1;
                if let Some(rate) = self.rates.get_mut(account) {
                    rate.answered(now);
                }
                lease.finish(Outcome::Success);
            }
        }
    }

    fn dispatch(&mut self, now: Timestamp) {
        while let Some(tokens) = self.waiting.front().copied() {
            let mut ask = Ask::new();
            ask.cost = Cost {
                tokens,
                ..Cost::ONE
            };
            let mut tried = fairkey_core::Tried::new();
            let mut soonest = None;
            if !self.rates.is_empty() {
                let (pool, rates) = (&self.pool, &mut self.rates);
                pool.with_keys(|keys| {
                    for key in keys.iter() {
                        if let Some(wait) = rates[account_of(key)].wait(now) {
                            tried.add_account(key);
                            let at = now + wait;
                            soonest = Some(soonest.map_or(at, |known: Timestamp| known.min(at)));
                        }
                    }
                });
                ask.tried = Some(&tried);
            }
            match self.pool.select(&ask) {
                Ok(lease) => {
                    self.waiting.pop_front();
                    if let Some(rate) = self.rates.get_mut(account_of(lease.key())) {
                        rate.sent();
                    }
                    let way = Duration::from_secs_f64(0.02 + 0.06 * self.random.unit());
                    self.plan.add(now + way, Event::Arrives(lease, tokens));
                }
                Err(unavailable) => {
                    let at = [soonest, unavailable.retry_at].into_iter().flatten().min();
                    let at = at.map(|at| at.max(now + Duration::from_millis(1)));
                    if let Some(at) = at
                        && (self.woken_at <= now || at < self.woken_at)
                    {
                        self.woken_at = at;
                        self.plan.add(at, Event::Wakes);
                    }
                    return;
                }
            }
        }
    }
}

fn account_of(key: Candidate<'_>) -> usize {
    key.account().index()
}

fn known(hidden: Hidden, window: Duration) -> LimitSet {
    match hidden.kind {
        Kind::InFlight => LimitSet {
            in_flight: Some(hidden.limit),
            ..LimitSet::NONE
        },
        Kind::Tokens => LimitSet {
            tokens: Some(Limit::per(hidden.limit * 1_000, window)),
            ..LimitSet::NONE
        },
        _ => LimitSet {
            requests: Some(Limit::per(hidden.limit, window)),
            ..LimitSet::NONE
        },
    }
}

/// How a policy is called in tables.
pub fn name(policy: &Policy) -> &'static str {
    match policy {
        Policy::Cooldown => "cooldown alone",
        Policy::Known => "limits known",
        Policy::Learned(_) => "learned ceilings",
        Policy::Rate(Rule::Aimd) => "rate, AIMD",
        Policy::Rate(Rule::Cubic) => "rate, cubic (AWS)",
    }
}
