//! When a second attempt may run beside the first: [`HedgeConfig`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{Class, Cost, Timestamp};
use fairkey_openrouter::splice;
use fairkey_strategy::is_free_model;

use crate::attempts::Mode;
use crate::job::Job;
use crate::{BudgetConfig, RetryBudget};

/// When a stream whose first content is late is asked for a second time, at another key: *hedging*,
/// as Dean and Barroso have it ("The Tail at Scale", CACM 56(2), 2013). Whichever attempt has
/// content first is the answer; the other one is given up at once.
///
/// A client hedges only where this is given to
/// [`ClientBuilder::hedge`](crate::ClientBuilder::hedge), and then only calls
///
/// - of class [`Interactive`](Class::Interactive) whose body asks for a stream: how long a whole
///   answer takes is a matter of its length, and a second attempt is as long;
/// - before their first content, and once: the second attempt counts as one of
///   [`RetryConfig::attempts`](crate::RetryConfig::attempts);
/// - that cost little ([`max_micro_usd`](Self::max_micro_usd)), of models that are not free, whose
///   calls are counted;
/// - of providers that stop billing when a stream is closed
///   ([`any_provider`](Self::any_provider));
/// - while a key is free that has [`min_headroom`](Self::min_headroom) left, and nobody waits in
///   line;
/// - within [`max_share`](Self::max_share) of such calls.
///
/// The attempt that is given up blames nobody, and costs its estimate: whether it was billed is not
/// known before OpenRouter tells.
#[derive(Clone, Debug, PartialEq)]
pub struct HedgeConfig {
    /// The second attempt begins when so large a part of a model's last 128 streams had their first
    /// content. From 0.5 to 0.999, and in effect at least 1 - [`max_share`](Self::max_share): what
    /// may be hedged goes to those that are latest. Default 0.95: one in twenty is that late.
    pub quantile: f64,
    /// And not before so much time, whatever is usual. Default 250 ms.
    pub at_least: Duration,
    /// A model is not hedged before so many of its streams were seen; 1 to 128. Default 20.
    pub min_streams: u32,
    /// The most second attempts, as a part of the calls that may be hedged, over a minute. Default
    /// 0.02. Below 0 counts as 0.
    pub max_share: f64,
    /// The most that a call may be expected to cost, in millionths of a US dollar, for a second
    /// attempt to be made. A call of unknown cost is not hedged, unless this is [`u64::MAX`].
    /// Default 10,000: one cent.
    pub max_micro_usd: u64,
    /// The least that must be left of every limit of the second key, after the call: 0 to 1.
    /// Default 0.2.
    pub min_headroom: f64,
    /// Whether to hedge calls that any provider may serve. Where this is false, a call must name
    /// its providers (`provider.only`, or `order` without fallbacks), and all of them must be among
    /// those of which OpenRouter says that closing a stream ends its billing. Default false.
    pub any_provider: bool,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self {
            quantile: 0.95,
            at_least: Duration::from_millis(250),
            min_streams: 20,
            max_share: 0.02,
            max_micro_usd: 10_000,
            min_headroom: 0.2,
            any_provider: false,
        }
    }
}

impl HedgeConfig {
    /// Says what is wrong with these numbers.
    ///
    /// # Errors
    ///
    /// Where one is out of its range.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(0.5..=0.999).contains(&self.quantile) {
            return Err("quantile must lie between 0.5 and 0.999");
        }
        if !(1..=STREAMS as u32).contains(&self.min_streams) {
            return Err("min_streams must lie between 1 and 128");
        }
        if !(0.0..=1.0).contains(&self.max_share) {
            return Err("max_share must lie between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.min_headroom) {
            return Err("min_headroom must lie between 0 and 1");
        }
        Ok(())
    }
}

/// The providers of which OpenRouter's documentation says (August 2026) that they stop work and
/// billing when a stream is closed, as slugs.
const STOP_BILLING: [&str; 24] = [
    "openai",
    "azure",
    "anthropic",
    "fireworks",
    "mancer",
    "recursal",
    "anyscale",
    "lepton",
    "octoai",
    "novita",
    "deepinfra",
    "together",
    "cohere",
    "hyperbolic",
    "infermatic",
    "avian",
    "xai",
    "cloudflare",
    "sfcompute",
    "nineteen",
    "liquid",
    "friendli",
    "chutes",
    "deepseek",
];

/// Streams of a model that are remembered.
const STREAMS: usize = 128;
/// Models that are remembered; others are not hedged.
const MODELS: usize = 1_024;
/// The time is found anew after so many streams.
const EVERY: usize = 8;

/// What a client that hedges knows.
#[derive(Debug)]
pub(crate) struct Hedging {
    pub(crate) config: HedgeConfig,
    quantile: f64,
    budget: RetryBudget,
    models: Mutex<HashMap<Arc<str>, Streams>>,
}

/// The last streams of a model.
#[derive(Debug, Default)]
struct Streams {
    /// Until the first content, in microseconds; a ring.
    took: Vec<u32>,
    next: usize,
    late: Duration,
}

impl Hedging {
    pub(crate) fn new(config: HedgeConfig) -> Self {
        let budget = RetryBudget::new(&BudgetConfig {
            ratio: config.max_share,
            min_per_second: 0.0,
            ttl: Duration::from_secs(60),
        });
        Self {
            quantile: config.quantile.max(1.0 - config.max_share),
            config,
            budget,
            models: Mutex::default(),
        }
    }

    /// Returns whether a call is one that may be hedged.
    pub(crate) fn may_hedge(&self, job: &Job, model: Option<&str>) -> bool {
        let of_class = job.class == Class::Interactive;
        if !of_class || matches!(job.mode, Mode::Whole { .. }) || model.is_none_or(is_free_model) {
            return false;
        }
        splice::peek(job.body.bytes()).is_ok_and(|peek| {
            let pinned = || peek.pinned_providers();
            peek.stream && (self.config.any_provider || all_stop_billing(&pinned()))
        })
    }

    /// Returns whether a call is cheap enough.
    pub(crate) fn is_cheap(&self, cost: Cost) -> bool {
        let most = self.config.max_micro_usd;
        most == u64::MAX || (1..=most).contains(&cost.micro_usd)
    }

    /// Hears of a call that may be hedged.
    pub(crate) fn deposit(&self, now: Timestamp) {
        self.budget.deposit(now);
    }

    /// Takes one second attempt out of what is allowed.
    pub(crate) fn withdraw(&self, now: Timestamp) -> bool {
        self.budget.withdraw(now)
    }

    /// Returns after how long the first content of a model is late.
    pub(crate) fn late_after(&self, model: &str) -> Option<Duration> {
        let models = self.models();
        let streams = models.get(model)?;
        (streams.took.len() >= self.config.min_streams as usize)
            .then(|| streams.late.max(self.config.at_least))
    }

    /// Hears how long the first content took, or had been waited for when another attempt had it.
    pub(crate) fn note(&self, model: &Arc<str>, took: Duration) {
        let mut models = self.models();
        if !models.contains_key(model) {
            if models.len() >= MODELS {
                return;
            }
            models.insert(Arc::clone(model), Streams::default());
        }
        if let Some(streams) = models.get_mut(model) {
            streams.note(took, self.quantile);
        }
    }

    fn models(&self) -> MutexGuard<'_, HashMap<Arc<str>, Streams>> {
        // Poisoned or not: what is remembered is an estimate.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn note(&mut self, took: Duration, quantile: f64) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if self.took.len() < STREAMS {
            self.took.push(micros);
        } else {
            self.took[self.next % STREAMS] = micros;
        }
        self.next += 1;
        if self.next.is_multiple_of(EVERY) || self.took.len() < STREAMS {
            let mut sorted = self.took.clone();
            let at = ((sorted.len() as f64 * quantile) as usize).min(sorted.len() - 1);
            let (_, late, _) = sorted.select_nth_unstable(at);
            self.late = Duration::from_micros(u64::from(*late));
        }
    }
}

fn all_stop_billing(providers: &[String]) -> bool {
    // A slug may name a variant: `deepinfra/turbo`.
    let stops = |slug: &String| {
        let name = slug.split('/').next().unwrap_or_default();
        STOP_BILLING.iter().any(|it| name.eq_ignore_ascii_case(it))
    };
    !providers.is_empty() && providers.iter().all(stops)
}

#[cfg(test)]
mod tests {
    use fairkey_core::Random;

    use super::*;

    #[test]
    fn late_is_what_so_many_of_the_last_streams_were_not() {
        let hedging = Hedging::new(HedgeConfig {
            at_least: Duration::ZERO,
            max_share: 0.05,
            ..HedgeConfig::default()
        });
        let model: Arc<str> = "m".into();
        let (mut chance, mut later) = (Random::new(7), 0);
        for n in 0..20_000 {
            let took = Duration::from_secs_f64(0.1 * 100_f64.powf(chance.unit()));
            let late = hedging.late_after("m");
            assert_eq!(late.is_none(), n < 20);
            later += u32::from(late.is_some_and(|late| took > late));
            hedging.note(&model, took);
        }
        assert!((800..1_200).contains(&later), "{later} of 20,000");
        // It follows: nothing of what was before is left.
        (0..STREAMS).for_each(|_| hedging.note(&model, Duration::from_millis(3)));
        assert_eq!(hedging.late_after("m"), Some(Duration::from_millis(3)));
    }

    #[test]
    fn so_many_models_are_remembered_and_no_more() {
        let hedging = Hedging::new(HedgeConfig {
            min_streams: 1,
            ..HedgeConfig::default()
        });
        for n in 0..=MODELS {
            hedging.note(&n.to_string().into(), Duration::from_secs(1));
        }
        assert!(hedging.late_after("1023").is_some());
        assert_eq!(hedging.late_after("1024"), None);
    }

    #[test]
    fn providers_must_all_be_known_to_stop() {
        let all = |slugs: &[&str]| {
            let slugs: Vec<_> = slugs.iter().map(|slug| (*slug).to_owned()).collect();
            all_stop_billing(&slugs)
        };
        assert!(all(&["openai", "DeepInfra/turbo"]));
        assert!(!all(&["openai", "groq"]));
        assert!(!all(&[]));
    }

    #[test]
    fn a_cost_that_is_not_known_is_too_dear_unless_anything_goes() {
        let cost = |micro_usd| Cost {
            micro_usd,
            ..Cost::ONE
        };
        let hedging = Hedging::new(HedgeConfig::default());
        let cheap = [0, 1, 10_000, 10_001].map(|of| hedging.is_cheap(cost(of)));
        assert_eq!(cheap, [false, true, true, false]);
        let any = Hedging::new(HedgeConfig {
            max_micro_usd: u64::MAX,
            ..HedgeConfig::default()
        });
        assert!(any.is_cheap(Cost::ONE));
    }
}
