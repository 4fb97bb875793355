//! What the gateway counts: [`Metrics`], and its text for Prometheus.
//!
//! | module | has |
//! | --- | --- |
//! | `now` | what is so at this moment: calls under way, states of keys, use of limits |
//! | `names` | labels as small numbers, a bounded many of them |
//! | `series` | the counts of one tenant, key, model and operation |
//! | `sink` | where they are told to |
//! | `text` | the exposition format |
//!
//! Written here, and not taken from a crate: a recorder behind a facade looks up every metric of
//! every request by a hash of all its labels, a dozen times a request. Here the labels of a request
//! are looked up once, as three small numbers, and its counts lie side by side behind them; what
//! is told of them is summed up when somebody asks.

mod names;
mod now;
mod series;
mod sink;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fairkey_core::Scope;

use self::names::{ByNumber, Names};
pub(crate) use self::now::now;
#[cfg(feature = "otlp")]
pub(crate) use self::now::write as write_now;
#[cfg(feature = "otlp")]
pub(crate) use self::series::Buckets;
use self::series::{DURATIONS, Histogram, SECONDS_TO_FIRST, Series, TOKENS, Total};
pub(crate) use self::sink::Sink;
pub use self::text::MetricsText;
use crate::End;
use crate::record::{CallRecord, STATUS_CLASSES};

/// How many different labels there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Models; those that come later are counted as `other`. Default 100.
    pub max_models: u16,
    /// Combinations of tenant, key, model and operation; beyond it, all of the rest is `other`.
    /// Default 10,000, of 1 kB each.
    pub max_series: usize,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            max_models: 100,
            max_series: 10_000,
        }
    }
}

/// Tenants, keys and accounts come from the configuration, and operations from this program: bounds
/// for what reloads bring over time.
const MAX_CONFIGURED: u16 = 20_000;
const MAX_OPERATIONS: u16 = 255;

/// What an attempt came to: nothing wrong, or the scope of its fault.
const OUTCOMES: usize = Scope::ALL.len() + 1;

/// What the gateway counts.
///
/// Shared by all connections; a request that ends costs some atomic additions, and no lock that
/// anybody else holds for long.
#[derive(Debug)]
pub struct Metrics {
    config: MetricsConfig,
    models: Names,
    tenants: Names,
    keys: Names,
    accounts: Names,
    operations: Names,
    series: RwLock<HashMap<u64, Arc<Series>, ByNumber>>,
    attempts: RwLock<HashMap<u64, Arc<[AtomicU64; OUTCOMES]>, ByNumber>>,
    queue: Histogram,
    cut: [AtomicU64; 3],
    reasons: RwLock<BTreeMap<&'static str, AtomicU64>>,
}

impl Metrics {
    /// Starts at zero.
    #[must_use]
    pub fn new(config: MetricsConfig) -> Self {
        Self {
            config,
            models: Names::new(config.max_models),
            tenants: Names::new(MAX_CONFIGURED),
            keys: Names::new(MAX_CONFIGURED),
            accounts: Names::new(MAX_CONFIGURED),
            operations: Names::new(MAX_OPERATIONS),
            series: RwLock::default(),
            attempts: RwLock::default(),
            queue: Histogram::new(&DURATIONS),
            cut: Default::default(),
            reasons: RwLock::default(),
        }
    }

    /// Counts a request that is over.
    pub fn record(&self, call: &CallRecord<'_>) {
        let labels = place(
            self.operations.number(call.operation),
            self.tenants.number(call.tenant),
            self.keys.number(call.key_label().unwrap_or("")),
            self.models.number(call.model.unwrap_or("")),
        );
        self.with_series(labels, |series| series.record(call));
        for attempt in call.attempts {
            let account = attempt
                .account
                .as_ref()
                .map_or("", |account| account.as_str());
            let place = place(
                0,
                0,
                self.keys.number(attempt.key.as_str()),
                self.accounts.number(account),
            );
            let outcome = attempt.fault.map_or(0, |fault| 1 + fault.scope as usize);
            self.with_attempts(place, |counts| {
                counts[outcome].fetch_add(1, Ordering::Relaxed);
            });
        }
        self.queue.record(call.queued.as_secs_f64());
        match call.end {
            Some(End::Broken) => add(&self.cut[0]),
            Some(End::Left) => add(&self.cut[1]),
            Some(End::Drained) => add(&self.cut[2]),
            None | Some(End::Whole | End::Failed) => {}
        }
        if let Some(reason) = call.reason {
            self.count_reason(reason.as_str());
        }
    }

    #[cold]
    fn count_reason(&self, reason: &'static str) {
        let reasons = self.reasons.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = reasons.get(reason) {
            return add(count);
        }
        drop(reasons);
        let mut reasons = self.reasons.write().unwrap_or_else(PoisonError::into_inner);
        add(reasons.entry(reason).or_default());
    }

    fn with_series(&self, place: u64, f: impl FnOnce(&Series)) {
        let all = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = all.get(&place) {
            return f(series);
        }
        drop(all);
        let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let is_full = all.len() >= self.config.max_series;
        let place = if is_full && !all.contains_key(&place) {
            0
        } else {
            place
        };
        f(all.entry(place).or_default());
    }

    fn with_attempts(&self, place: u64, f: impl FnOnce(&[AtomicU64; OUTCOMES])) {
        let all = self.attempts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = all.get(&place) {
            return f(counts);
        }
        drop(all);
        let mut all = self
            .attempts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let is_full = all.len() >= self.config.max_series;
        let place = if is_full && !all.contains_key(&place) {
            0
        } else {
            place
        };
        f(all.entry(place).or_default());
    }

    /// Writes everything. What is true only now (calls under way, states of keys) the caller adds:
    /// see [`MetricsText`].
    pub fn write(&self, text: &mut MetricsText) {
        self.tell(text);
    }

    /// Tells a sink everything.
    pub(crate) fn tell(&self, text: &mut dyn Sink) {
        let all: Vec<_> = {
            let all = self.series.read().unwrap_or_else(PoisonError::into_inner);
            all.iter()
                .map(|(place, series)| (*place, Arc::clone(series)))
                .collect()
        };
        let mut requests = BTreeMap::<_, u64>::new();
        let mut spend = BTreeMap::<_, u64>::new();
        let mut by_model = BTreeMap::<_, Total>::new();
        for (place, series) in &all {
            let [operation, tenant, key, model] = parts(*place);
            let operation = self.operations.name(operation);
            let tenant = self.tenants.name(tenant);
            let model = self.models.name(model);
            for (class, count) in series.statuses().enumerate().filter(|(_, n)| *n > 0) {
                let labels = (operation.clone(), tenant.clone(), STATUS_CLASSES[class]);
                *requests.entry(labels).or_default() += count;
            }
            if series.micro_usd() > 0 {
                let labels = (tenant, self.keys.name(key), model.clone());
                *spend.entry(labels).or_default() += series.micro_usd();
            }
            let operation = gen_ai_operation(&operation);
            by_model.entry((operation, model)).or_default().add(series);
        }
        text.family("fairkey_requests_total", "counter", "Requests that ended.");
        for ((operation, tenant, status), n) in &requests {
            let labels = [
                ("operation", &**operation),
                ("tenant", tenant),
                ("status", status),
            ];
            text.sample("fairkey_requests_total", &labels, *n as f64);
        }
        text.family(
            "fairkey_spend_usd_total",
            "counter",
            "Money spent, in US dollars.",
        );
        for ((tenant, key, model), micro) in &spend {
            let labels = [("tenant", &**tenant), ("key", key), ("model", model)];
            text.sample("fairkey_spend_usd_total", &labels, *micro as f64 / 1e6);
        }
        self.write_attempts(text);
        self.write_ends(text);
        write_gen_ai(text, &by_model);
    }

    fn write_attempts(&self, text: &mut dyn Sink) {
        let all: Vec<_> = {
            let all = self.attempts.read().unwrap_or_else(PoisonError::into_inner);
            all.iter()
                .map(|(place, counts)| (*place, Arc::clone(counts)))
                .collect()
        };
        let mut attempts = BTreeMap::<_, u64>::new();
        for (place, counts) in all {
            let [_, _, key, account] = parts(place);
            for (outcome, count) in counts.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                let outcome = match outcome.checked_sub(1) {
                    None => "ok",
                    Some(scope) => Scope::ALL[scope].as_str(),
                };
                if count > 0 {
                    let labels = (self.keys.name(key), self.accounts.name(account), outcome);
                    *attempts.entry(labels).or_default() += count;
                }
            }
        }
        let help = "Attempts, by key and by whom their faults are charged to.";
        text.family("fairkey_attempts_total", "counter", help);
        for ((key, account, outcome), n) in &attempts {
            let labels = [("key", &**key), ("account", account), ("outcome", outcome)];
            text.sample("fairkey_attempts_total", &labels, *n as f64);
        }
    }

    fn write_ends(&self, text: &mut dyn Sink) {
        let help = "Requests that the gateway refused or failed itself, by reason.";
        text.family("fairkey_failures_total", "counter", help);
        let reasons = self.reasons.read().unwrap_or_else(PoisonError::into_inner);
        for (reason, count) in reasons.iter() {
            let n = count.load(Ordering::Relaxed) as f64;
            text.sample("fairkey_failures_total", &[("reason", reason)], n);
        }
        drop(reasons);
        let help = "Answers that ended too soon: broken upstream, or the caller left.";
        text.family("fairkey_cut_answers_total", "counter", help);
        for (by, count) in ["broken", "left", "drained"].iter().zip(&self.cut) {
            let n = count.load(Ordering::Relaxed) as f64;
            text.sample("fairkey_cut_answers_total", &[("end", by)], n);
        }
        let mut queue = Total::default();
        queue.add_durations(&self.queue);
        let help = "How long requests waited for a key.";
        text.family("fairkey_queue_seconds", "histogram", help);
        text.histogram("fairkey_queue_seconds", &[], &DURATIONS, &queue.durations);
    }
}

/// The names of OpenTelemetry's conventions for generative AI, as Prometheus writes them.
fn write_gen_ai(text: &mut dyn Sink, by_model: &BTreeMap<(String, Arc<str>), Total>) {
    const DURATION: &str = "gen_ai_server_request_duration_seconds";
    const FIRST: &str = "gen_ai_server_time_to_first_token_seconds";
    const TOKENS_USED: &str = "fairkey_call_tokens";
    text.family(
        DURATION,
        "histogram",
        "From the head of a request to the end of its answer.",
    );
    for ((operation, model), total) in by_model {
        text.histogram(
            DURATION,
            &gen_ai(operation, model),
            &DURATIONS,
            &total.durations,
        );
    }
    text.family(
        FIRST,
        "histogram",
        "From the head of a request to the first content.",
    );
    for ((operation, model), total) in by_model.iter().filter(|(_, it)| it.first.count > 0) {
        text.histogram(
            FIRST,
            &gen_ai(operation, model),
            &SECONDS_TO_FIRST,
            &total.first,
        );
    }
    // The conventions want prompts and completions apart, which the client does not tell.
    text.family(
        TOKENS_USED,
        "histogram",
        "Tokens of a call, prompt and completion together.",
    );
    for ((operation, model), total) in by_model.iter().filter(|(_, it)| it.tokens.count > 0) {
        text.histogram(
            TOKENS_USED,
            &gen_ai(operation, model),
            &TOKENS,
            &total.tokens,
        );
    }
}

/// Returns the conventions' word for an operation, where they have one.
fn gen_ai_operation(operation: &str) -> String {
    let operation = match operation {
        "completions" => "text_completion",
        "messages" | "responses" => "chat",
        other => other,
    };
    operation.to_owned()
}

fn gen_ai<'a>(operation: &'a str, model: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("gen_ai_operation_name", operation),
        ("gen_ai_provider_name", "openrouter"),
        ("gen_ai_request_model", model),
    ]
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Four numbers as one. 0 stands for `other` in each.
fn place(operation: u16, tenant: u16, key: u16, model: u16) -> u64 {
    u64::from(operation) << 48 | u64::from(tenant) << 32 | u64::from(key) << 16 | u64::from(model)
}

fn parts(place: u64) -> [u16; 4] {
    [48, 32, 16, 0].map(|shift| (place >> shift) as u16)
}

/// Time as it is counted: whole microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
