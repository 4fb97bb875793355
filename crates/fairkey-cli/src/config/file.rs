//! What a configuration file may say, field by field.

use std::path::PathBuf;

use fairkey_client::{BudgetConfig, RetryConfig};
use fairkey_openrouter::AppAttribution;
use fairkey_strategy::{BreakerConfig, CooldownConfig};
use fairkey_transport::Deadlines;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::bounds::{self, Time, TimeOrNone};
use super::hedge::Hedge;
use super::learning::Learning;
use super::limits;
use super::otlp;
use super::profiles::Routes;
use super::queue::Queue;
use super::secret::Secret;
use super::service;
use super::{clients, gateway};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) upstream: Upstream,
    pub(super) accounts: Vec<Account>,
    pub(super) keys: Vec<Key>,
    pub(super) limits: limits::Keeping,
    pub(super) strategy: Strategy,
    pub(super) timeouts: Timeouts,
    pub(super) retry: Option<Spanned<Retry>>,
    pub(super) breaker: Option<Spanned<Breaker>>,
    pub(super) cooldown: Option<Cooldown>,
    pub(super) hedge: Option<Spanned<Hedge>>,
    pub(super) learning: Learning,
    pub(super) queue: Queue,
    pub(super) routes: Routes,
    pub(super) state: State,
    pub(super) gateway: gateway::Table,
    pub(super) clients: Vec<clients::Table>,
    pub(super) admin: service::Table,
    pub(super) otlp: Option<Spanned<otlp::Table>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub(super) path: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    pub(super) base_url: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) app: Option<App>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct App {
    url: String,
    title: Option<String>,
    #[serde(default)]
    categories: Vec<String>,
}

impl From<App> for AppAttribution {
    fn from(app: App) -> Self {
        let mut attribution = Self::new(app.url);
        attribution.title = app.title;
        attribution.categories = app.categories;
        attribution
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub(super) id: Spanned<String>,
    pub(super) management_key: Option<Spanned<Secret>>,
    pub(super) limits: Option<Spanned<limits::Table>>,
    pub(super) free_models: Option<Spanned<limits::Table>>,
    #[serde(default)]
    pub(super) models: Vec<limits::Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) id: Spanned<String>,
    pub(super) account: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "bounds::weight")]
    pub(super) weight: Option<u32>,
    pub(super) limits: Option<Spanned<limits::Table>>,
    pub(super) secret: Spanned<Secret>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Strategy {
    pub(super) r#use: StrategyName,
}

/// What picks keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StrategyName {
    #[default]
    Headroom,
    LeastInFlight,
    RoundRobin,
    SmoothWeighted,
    PowerOfTwo,
    Sticky,
}

/// Puts what is said over what holds otherwise.
macro_rules! set {
    ($target:ident, $from:ident, times: $($time:ident),*; values: $($value:ident),*) => {
        $(if let Some(Time(time)) = $from.$time { $target.$time = time; })*
        $(if let Some(value) = $from.$value { $target.$value = value; })*
    };
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    connect: Option<Time>,
    head: Option<Time>,
    first_content: Option<Time>,
    idle: Option<Time>,
    total: Option<Time>,
}

impl From<Timeouts> for Deadlines {
    fn from(from: Timeouts) -> Self {
        let mut deadlines = Self::default();
        set!(deadlines, from, times: connect, head, first_content, idle, total; values:);
        deadlines
    }
}

/// How calls are tried again, as far as it is said.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retry {
    #[serde(deserialize_with = "bounds::attempts")]
    attempts: Option<u32>,
    #[serde(deserialize_with = "bounds::failovers")]
    failovers: Option<u32>,
    #[serde(deserialize_with = "bounds::budget")]
    budget: Option<f64>,
    base: Option<Time>,
    cap: Option<Time>,
    hint_cap: Option<Time>,
    resend_unknown: Option<bool>,
}

impl Retry {
    /// Says what two values together cannot be.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let retry = self.over(RetryConfig::default());
        if retry.base > retry.cap {
            return Err("retry base is longer than cap");
        }
        Ok(())
    }

    /// Puts what is said over `retry`.
    pub(crate) fn over(&self, mut retry: RetryConfig) -> RetryConfig {
        set!(retry, self, times: base, cap, hint_cap; values: attempts, failovers, resend_unknown);
        if let Some(ratio) = self.budget {
            retry.budget = BudgetConfig {
                ratio,
                ..BudgetConfig::default()
            };
        }
        retry
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Breaker {
    window: Option<Time>,
    #[serde(deserialize_with = "bounds::calls")]
    min_calls: Option<u32>,
    #[serde(deserialize_with = "bounds::share")]
    ratio: Option<f64>,
    #[serde(deserialize_with = "bounds::calls")]
    consecutive: Option<u32>,
    #[serde(deserialize_with = "bounds::calls")]
    count: Option<u32>,
    open_for: Option<Time>,
    open_cap: Option<Time>,
    #[serde(deserialize_with = "bounds::share")]
    jitter: Option<f64>,
    #[serde(deserialize_with = "bounds::calls_or_none")]
    ramp: Option<u32>,
    probe_timeout: Option<Time>,
}

impl From<Breaker> for BreakerConfig {
    fn from(from: Breaker) -> Self {
        let mut breaker = Self::default();
        set!(breaker, from, times: window, open_for, open_cap, probe_timeout;
            values: min_calls, jitter, ramp);
        breaker.ratio = from.ratio.or(breaker.ratio);
        breaker.consecutive = from.consecutive.or(breaker.consecutive);
        breaker.count = from.count.or(breaker.count);
        breaker
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cooldown {
    throttled: Option<Time>,
    throttled_longest: Option<Time>,
    throttled_cap: Option<Time>,
    exhausted: Option<Time>,
    exhausted_longest: Option<Time>,
    exhausted_cap: Option<Time>,
    refused: Option<Time>,
    failed_cap: Option<Time>,
    #[serde(deserialize_with = "bounds::share")]
    jitter: Option<f64>,
    #[serde(deserialize_with = "bounds::calls_or_none")]
    ramp: Option<u32>,
    probe_timeout: Option<Time>,
    check_wait: Option<TimeOrNone>,
}

impl From<Cooldown> for CooldownConfig {
    fn from(from: Cooldown) -> Self {
        let mut cooldown = Self::default();
        set!(cooldown, from, times: throttled, throttled_longest, throttled_cap, exhausted,
            exhausted_longest, exhausted_cap, failed_cap, probe_timeout;
            values: jitter, ramp);
        if let Some(TimeOrNone(wait)) = from.check_wait {
            cooldown.check_wait = wait;
        }
        cooldown.refused = from.refused.map(|Time(time)| time).or(cooldown.refused);
        cooldown
    }
}
