//! What is shown of every table of the file that is there once.

use std::time::Duration;

use fairkey_client::{QueueConfig, RetryConfig};
use fairkey_openrouter::endpoint;
use serde_json::{Map, Value, json};

use super::{From, Section, Setting, Shape, is_said, secret};
use crate::config::queue::{shown as classes, wait};
use crate::config::{Admin, Ca, Config, Otlp, SecretFrom, duration, gateway, service, size};

pub(super) fn sections(
    config: &Config,
    base_url: Option<&str>,
    attempts_of_run: u32,
) -> Vec<Section> {
    let section = |name| Collect {
        config,
        name,
        settings: Vec::new(),
    };
    let own = config.base_url.as_deref().unwrap_or(endpoint::BASE_URL);
    let mut upstream = section("upstream").value("base_url", base_url.unwrap_or(own));
    if base_url.is_some() {
        upstream.settings[0].from = From::Flag("--base-url");
    }
    let upstream = upstream.maybe("ca", ca(config.ca.as_ref()), NO_CA);
    let app = config
        .app
        .as_ref()
        .map(|app| json!({ "url": app.url, "title": app.title, "categories": app.categories }));
    let upstream = upstream.maybe("app", app, "no attribution");
    let times = &config.deadlines;
    let retry = config.retry.over(RetryConfig::default());
    let breaker = config.breaker.clone().unwrap_or_default();
    let cooldown = config.cooldown.clone().unwrap_or_default();
    let hedge = config.hedge.clone().unwrap_or_default();
    let learning = config.learning.values();
    let queue = config.queue.over(QueueConfig::default());
    let state = config.state.as_ref().map(|path| path.display().to_string());
    let mut retries = section("retry")
        .value("attempts", retry.attempts)
        .value("failovers", retry.failovers)
        .value("budget", retry.budget.ratio)
        .time("base", retry.base)
        .time("cap", retry.cap)
        .time("hint_cap", retry.hint_cap)
        .value("resend_unknown", retry.resend_unknown);
    if let From::Default = retries.settings[0].from {
        retries.settings[0].from = From::DefaultButForRun(attempts_of_run);
    }
    vec![
        upstream.done(),
        section("limits")
            .time("margin", config.limits.margin)
            .done(),
        section("strategy")
            .value("use", json!(config.strategy))
            .done(),
        section("timeouts")
            .time("connect", times.connect)
            .time("head", times.head)
            .time("first_content", times.first_content)
            .time("idle", times.idle)
            .time("total", times.total)
            .done(),
        retries.done(),
        section("breaker")
            .time("window", breaker.window)
            .value("min_calls", breaker.min_calls)
            .maybe("ratio", breaker.ratio.map(Into::into), "off")
            .maybe("consecutive", breaker.consecutive.map(Into::into), "off")
            .maybe("count", breaker.count.map(Into::into), "off")
            .time("open_for", breaker.open_for)
            .time("open_cap", breaker.open_cap)
            .value("jitter", breaker.jitter)
            .value("ramp", breaker.ramp)
            .time("probe_timeout", breaker.probe_timeout)
            .done(),
        section("cooldown")
            .time("throttled", cooldown.throttled)
            .time("throttled_longest", cooldown.throttled_longest)
            .time("throttled_cap", cooldown.throttled_cap)
            .time("exhausted", cooldown.exhausted)
            .time("exhausted_longest", cooldown.exhausted_longest)
            .time("exhausted_cap", cooldown.exhausted_cap)
            .maybe(
                "refused",
                cooldown.refused.map(|time| duration::text(time).into()),
                "for good",
            )
            .time("failed_cap", cooldown.failed_cap)
            .value("jitter", cooldown.jitter)
            .value("ramp", cooldown.ramp)
            .time("probe_timeout", cooldown.probe_timeout)
            .time("check_wait", cooldown.check_wait)
            .done(),
        section("hedge")
            .value("enabled", config.hedge.is_some())
            .value("quantile", hedge.quantile)
            .time("at_least", hedge.at_least)
            .value("min_streams", hedge.min_streams)
            .value("max_share", hedge.max_share)
            .value("max_usd", hedge.max_micro_usd as f64 / 1e6)
            .value("min_headroom", hedge.min_headroom)
            .value("any_provider", hedge.any_provider)
            .done(),
        section("learning")
            .value("enabled", config.learning.is_enabled())
            .time("window", learning.window)
            .value("patience", learning.patience)
            .value("least_requests", learning.least_requests)
            .time("forget", learning.forget)
            .time("hint_cap", learning.hint_cap)
            .done(),
        section("queue")
            .value("length", queue.length)
            .value(
                "length_per_class",
                classes(&queue.length_per_class, |length| length.map(Into::into)),
            )
            .maybe(
                "length_per_tenant",
                queue.length_per_tenant.map(Into::into),
                "as long as the queue",
            )
            .value(
                "max_wait",
                classes(&queue.max_wait, |time| Some(wait(*time))),
            )
            .value("weights", classes(&queue.weights, |n| Some((*n).into())))
            .value("ageing", wait(queue.ageing))
            .value("bypass", queue.bypass)
            .time("hold", queue.hold)
            .value("refuse_early", queue.refuse_early)
            .value("tenants", queue.tenants)
            .done(),
        section("state")
            .maybe("path", state.map(Into::into), "none: nothing is remembered")
            .done(),
        gateway(section("gateway"), &config.gateway),
        admin(section("admin"), config.admin.as_ref()),
        otlp(section("otlp"), config.otlp.as_ref()),
    ]
}

/// What is said where no certificates are configured.
const NO_CA: &str = "well-known authorities only";

fn ca(own: Option<&Ca>) -> Option<Value> {
    own.map(|ca| ca.path.display().to_string().into())
}

fn otlp(section: Collect<'_>, own: Option<&Otlp>) -> Section {
    const OFF: &str = "no collector is told";
    let Some(own) = own else {
        let names = [
            "endpoint", "ca", "headers", "service", "traces", "metrics", "sample", "interval",
        ];
        let section = names
            .into_iter()
            .fold(section, |section, name| section.maybe(name, None, OFF));
        return Section {
            off: Some(OFF),
            ..section.done()
        };
    };
    let headers = own.from.iter();
    let headers: Map<_, _> = headers
        .map(|(name, from)| (name.clone(), secret(from)))
        .collect();
    section
        .value("endpoint", own.endpoint.to_string())
        .maybe("ca", ca(own.ca.as_ref()), NO_CA)
        .value("headers", headers)
        .value("service", own.service.clone())
        .value("traces", own.traces)
        .value("metrics", own.metrics)
        .value("sample", own.sample)
        .time("interval", own.interval)
        .done()
}

fn admin(section: Collect<'_>, own: Option<&Admin>) -> Section {
    let listen = own.map(|own| own.listen.to_string());
    let section = section.maybe("listen", listen.map(Into::into), "nobody is served");
    let token = own.and_then(|own| own.from.clone());
    match token {
        Some(from) => section.secret("token", from),
        None => section.maybe("token", None, "none is asked for"),
    }
    .done()
}

fn gateway(section: Collect<'_>, own: &gateway::Gateway) -> Section {
    let settings = &own.settings;
    let departures = settings.departures.iter();
    let departures: Map<_, _> = departures
        .map(|(operation, it)| (operation.as_str().to_owned(), gateway::leaving(*it)))
        .collect();
    let departures = Some(Value::Object(departures)).filter(is_said);
    let access_log = match &own.access_log {
        gateway::AccessLogTo::Nowhere => "off".to_owned(),
        gateway::AccessLogTo::Stderr => "stderr".to_owned(),
        gateway::AccessLogTo::File(path) => path.display().to_string(),
    };
    let spend = own.spend.as_ref().map(|path| path.display().to_string());
    let tls = own.tls.as_ref();
    let tls = tls.map(|(cert, key)| json!({ "cert": cert, "key": key }));
    section
        .value("listen", own.listen.to_string())
        .value("hosts", own.hosts.clone())
        .value("origins", own.origins_text.clone())
        .value("max_body", size::text(settings.max_body_bytes as u64))
        .value("max_upload", size::text(settings.max_upload_bytes))
        .value("pass_unknown_paths", settings.pass_unknown_paths)
        .value("departure", gateway::leaving(settings.departure))
        .maybe("departures", departures, "none differs")
        .time("comment_after", settings.comment_after)
        .time("head_timeout", settings.limits.head_time)
        .value("class", own.class.to_string())
        .maybe("spend", spend.map(Into::into), "in memory only")
        .value("metrics", settings.metrics)
        .value("access_log", access_log)
        .time("grace", own.grace)
        .time("watch", own.watch)
        .maybe("tls", tls, "none: HTTP without TLS")
        .value("limits", service::Limits::shown(&settings.limits))
        .done()
}

/// Collects the settings of one section.
struct Collect<'a> {
    config: &'a Config,
    name: &'static str,
    settings: Vec<Setting>,
}

impl Collect<'_> {
    fn from(&self, name: &str) -> From {
        let line = self.config.places.line(&format!("{}.{name}", self.name));
        line.map_or(From::Default, From::Line)
    }

    fn value(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let from = self.from(name);
        let value = Shape::Plain(value.into());
        self.settings.push(Setting { name, value, from });
        self
    }

    fn time(self, name: &'static str, time: Duration) -> Self {
        self.value(name, duration::text(time))
    }

    fn secret(mut self, name: &'static str, secret: SecretFrom) -> Self {
        let from = self.from(name);
        let value = Shape::Secret(secret);
        self.settings.push(Setting { name, value, from });
        self
    }

    /// A value that can be turned off.
    fn maybe(mut self, name: &'static str, value: Option<Value>, off: &'static str) -> Self {
        let from = self.from(name);
        let value = value.map_or(Shape::Off(off), Shape::Plain);
        self.settings.push(Setting { name, value, from });
        self
    }

    fn done(self) -> Section {
        Section {
            name: self.name,
            settings: self.settings,
            off: None,
        }
    }
}
