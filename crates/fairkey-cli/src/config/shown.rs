//! The configuration as it holds, value by value, with where each comes from: [`Shown`].

use std::time::Duration;

use fairkey_client::{QueueConfig, RetryConfig};
use fairkey_core::AccountId;
use fairkey_openrouter::endpoint;
use fairkey_openrouter::profile::Profile;
use serde_json::{Map, Value, json};

use super::clients::{self, TokenFrom};
use super::queue::{shown as classes, wait};
use super::{
    Admin, Ca, Client, Config, Otlp, SecretFrom, duration, gateway, limits, service, size,
};

use crate::keyring::Keyring;

/// The configuration as it holds. It has no secret in it.
pub(crate) struct Shown {
    file: Option<String>,
    sections: Vec<Section>,
    accounts: Vec<Entry>,
    keys: Vec<Entry>,
    clients: Vec<Entry>,
    routes: Vec<(String, Entry)>,
}

/// A table of the file, such as `[retry]`.
struct Section {
    name: &'static str,
    settings: Vec<Setting>,
    /// What it means that it is not there, where that is not the same as an empty one.
    off: Option<&'static str>,
}

/// An entry of an array of tables, such as `[[keys]]`.
struct Entry(Vec<Setting>);

impl Entry {
    fn is_environment(&self) -> bool {
        self.0
            .iter()
            .any(|setting| matches!(setting.from, From::Environment))
    }
}

struct Setting {
    name: &'static str,
    value: Shape,
    from: From,
}

enum Shape {
    Plain(Value),
    /// Nothing, which means what the text says.
    Off(&'static str),
    Secret(SecretFrom),
    Tokens(Vec<Token>),
}

/// Where a token is, or its hash.
enum Token {
    Secret(SecretFrom),
    Sha256(String),
}

enum From {
    Default,
    /// The default of most commands, and that of `run`.
    DefaultButForRun(u32),
    Line(usize),
    Flag(&'static str),
    Environment,
}

impl From {
    fn text(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::DefaultButForRun(n) => format!("default; {n} for `fairkey run`"),
            Self::Line(line) => format!("line {line}"),
            Self::Flag(flag) => (*flag).to_owned(),
            Self::Environment => "environment".to_owned(),
        }
    }
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

impl Shown {
    /// Puts together what holds: the file's and the environment's, and a base URL of the command
    /// line. `attempts_of_run` is what `fairkey run` takes where the file says nothing.
    pub(crate) fn new(
        config: &Config,
        ring: &Keyring,
        base_url: Option<&str>,
        attempts_of_run: u32,
    ) -> Self {
        let accounts = config.accounts.iter().enumerate();
        let (mut configured, mut keys) = (0, Vec::new());
        for (key, from) in ring.keys.iter().zip(&ring.from) {
            let (secret, path) = match from {
                Some(variable) => (variable.clone(), None),
                None => {
                    let at = config.keys.iter().position(|other| other.id() == key.id());
                    let at = at.unwrap_or(configured);
                    configured += 1;
                    let Some(secret) = config.secrets.get(at) else {
                        continue;
                    };
                    (secret.clone(), Some(format!("keys.{at}")))
                }
            };
            let from = |name: &str| match &path {
                None => From::Environment,
                Some(path) => {
                    let line = config.places.line(&format!("{path}.{name}"));
                    line.map_or(From::Default, From::Line)
                }
            };
            let mut settings = vec![Setting {
                name: "id",
                value: Shape::Plain(key.id().as_str().into()),
                from: from("id"),
            }];
            if let Some(account) = key.account_id() {
                settings.push(Setting {
                    name: "account",
                    value: Shape::Plain(account.as_str().into()),
                    from: from("account"),
                });
            }
            settings.push(Setting {
                name: "weight",
                value: Shape::Plain(key.weight_value().get().into()),
                from: if path.is_none() {
                    From::Default
                } else {
                    from("weight")
                },
            });
            if let (Some(_), Some(set)) = (&path, config.limits.keys.get(key.id())) {
                settings.push(Setting {
                    name: "limits",
                    value: Shape::Plain(limits::shown(set)),
                    from: from("limits"),
                });
            }
            settings.push(Setting {
                name: "secret",
                value: Shape::Secret(secret),
                from: from("secret"),
            });
            keys.push(Entry(settings));
        }
        Self {
            file: config.path.as_ref().map(|path| path.display().to_string()),
            sections: sections(config, base_url, attempts_of_run),
            accounts: accounts
                .map(|(at, account)| declared(config, at, account))
                .collect(),
            keys,
            clients: (config.clients.iter().enumerate())
                .map(|(at, one)| client(config, at, one))
                .collect(),
            routes: config
                .profiles
                .iter()
                .map(|(name, profile)| (name.to_owned(), route(config, name, profile)))
                .collect(),
        }
    }

    /// Returns it as a file could say it, with where each value comes from behind it.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = match &self.file {
            Some(file) => format!("# {file}, the environment and defaults\n"),
            None => "# no configuration file: the environment and defaults\n".to_owned(),
        };
        for section in &self.sections {
            if let Some(off) = section.off {
                text.push_str(&format!("\n# [{}]: {off}\n", section.name));
                continue;
            }
            text.push_str(&format!("\n[{}]\n", section.name));
            lines(&section.settings, &mut text);
        }
        for (name, entries) in [
            ("accounts", &self.accounts),
            ("keys", &self.keys),
            ("clients", &self.clients),
        ] {
            for entry in entries {
                let mut block = format!("[[{name}]]\n");
                lines(&entry.0, &mut block);
                text.push('\n');
                for line in block.lines() {
                    // What the environment says need not be said by a file.
                    text.push_str(if entry.is_environment() { "# " } else { "" });
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        for (name, route) in &self.routes {
            text.push_str(&format!("\n[routes.{}]\n", key(name)));
            lines(&route.0, &mut text);
        }
        text
    }

    /// Returns it as JSON: each value with where it comes from.
    pub(crate) fn to_json(&self) -> Value {
        let object = |settings: &[Setting]| -> Value {
            let fields = settings.iter().map(|setting| {
                let value = match &setting.value {
                    Shape::Plain(value) => value.clone(),
                    Shape::Off(_) => Value::Null,
                    Shape::Secret(from) => secret(from),
                    Shape::Tokens(all) => all
                        .iter()
                        .map(|token| match token {
                            Token::Secret(from) => secret(from),
                            Token::Sha256(hash) => json!({ "sha256": hash }),
                        })
                        .collect(),
                };
                let field = json!({ "value": value, "from": setting.from.text() });
                (setting.name.to_owned(), field)
            });
            Value::Object(fields.collect())
        };
        let sections = self.sections.iter();
        let settings: Map<_, _> = sections
            .map(|section| (section.name.to_owned(), object(&section.settings)))
            .collect();
        let entries = |entries: &[Entry]| -> Vec<Value> {
            entries.iter().map(|entry| object(&entry.0)).collect()
        };
        let routes = self.routes.iter();
        let routes: Map<_, _> = routes
            .map(|(name, route)| (name.clone(), object(&route.0)))
            .collect();
        json!({
            "file": self.file,
            "routes": routes,
            "settings": settings,
            "accounts": entries(&self.accounts),
            "keys": entries(&self.keys),
            "clients": entries(&self.clients),
        })
    }
}

fn declared(config: &Config, at: usize, account: &(AccountId, Option<SecretFrom>)) -> Entry {
    let (id, management_key) = account;
    let from = |name: &str| {
        let line = config.places.line(&format!("accounts.{at}.{name}"));
        line.map_or(From::Default, From::Line)
    };
    let mut settings = vec![Setting {
        name: "id",
        value: Shape::Plain(id.as_str().into()),
        from: from("id"),
    }];
    settings.extend(management_key.clone().map(|secret| Setting {
        name: "management_key",
        value: Shape::Secret(secret),
        from: from("management_key"),
    }));
    let own = &config.limits;
    let mut add = |name: &'static str, value: Value| {
        settings.push(Setting {
            name,
            value: Shape::Plain(value),
            from: from(name),
        });
    };
    if let Some(set) = own.accounts.get(id) {
        add("limits", limits::shown(set));
    }
    if let Some(set) = own.free_models.get(id) {
        add("free_models", limits::shown(set));
    }
    if let Some(models) = own.models.get(id) {
        let mut models: Vec<_> = models.iter().collect();
        models.sort_unstable_by_key(|(model, _)| *model);
        let each = models.into_iter();
        let each = each.map(|(id, set)| json!({ "id": id, "limits": limits::shown(set) }));
        add("models", each.collect());
    }
    Entry(settings)
}

/// Where a secret is, as JSON.
fn secret(from: &SecretFrom) -> Value {
    match from {
        SecretFrom::Literal => json!("[hidden]"),
        SecretFrom::Env(name, entry) => json!({ "env": name, "entry": entry }),
        SecretFrom::File(path) => json!({ "file": path }),
    }
}

fn client(config: &Config, at: usize, client: &Client) -> Entry {
    let tenant = &client.tenant;
    let tokens = client.from.iter().map(|from| match from {
        TokenFrom::Secret(from) => Token::Secret(from.clone()),
        TokenFrom::Sha256(hash) => Token::Sha256(hash.to_string()),
    });
    let list = |names: &[String]| (!names.is_empty()).then(|| json!(names));
    let keys: Vec<_> = tenant.keys.iter().map(ToString::to_string).collect();
    let accounts: Vec<_> = tenant.accounts.iter().map(ToString::to_string).collect();
    let limits = Some(clients::shown(&tenant.limits)).filter(is_said);
    let values = [
        ("id", Some(json!(&*tenant.id))),
        ("models", tenant.models.patterns().map(|all| json!(all))),
        ("routes", tenant.routes.patterns().map(|all| json!(all))),
        ("class", Some(tenant.class.to_string().into())),
        ("weight", Some(tenant.weight.into())),
        ("keys", list(&keys)),
        ("accounts", list(&accounts)),
        ("limits", limits),
    ];
    let from = |field: &str| {
        let line = config.places.line(&format!("clients.{at}.{field}"));
        // The class that is said for all.
        let line = line.or_else(|| config.places.line(&format!("gateway.{field}")));
        line.map_or(From::Default, From::Line)
    };
    let values = values.into_iter().filter_map(|(field, value)| {
        Some(Setting {
            name: field,
            value: Shape::Plain(value?),
            from: from(field),
        })
    });
    let mut settings: Vec<_> = values.collect();
    settings.push(Setting {
        name: "token",
        value: Shape::Tokens(tokens.collect()),
        from: from("token"),
    });
    Entry(settings)
}

fn route(config: &Config, name: &str, profile: &Profile) -> Entry {
    let values = [
        ("models", Some(json!(profile.models))),
        ("provider", Some(json!(profile.provider)).filter(is_said)),
        ("defaults", Some(json!(profile.defaults)).filter(is_said)),
        ("allow", profile.allow.as_ref().map(|allow| json!(allow))),
    ];
    let settings = values.into_iter().filter_map(|(field, value)| {
        let line = config.places.line(&format!("routes.{name}.{field}"));
        Some(Setting {
            name: field,
            value: Shape::Plain(value?),
            from: line.map_or(From::Default, From::Line),
        })
    });
    Entry(settings.collect())
}

/// Whether an object has anything in it.
fn is_said(value: &Value) -> bool {
    value.as_object().is_some_and(|object| !object.is_empty())
}

/// A key as TOML writes it.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        json!(name).to_string()
    }
}

fn sections(config: &Config, base_url: Option<&str>, attempts_of_run: u32) -> Vec<Section> {
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

/// Adds settings, one in a line, with where they come from in one column.
fn lines(settings: &[Setting], text: &mut String) {
    /// Longer lines push their own comment aside, and nobody else's.
    const WIDEST: usize = 60;
    let shown: Vec<String> = settings.iter().map(line).collect();
    let lengths = shown.iter().map(|line| line.chars().count());
    let width = lengths
        .filter(|length| *length <= WIDEST)
        .max()
        .unwrap_or(0);
    for (line, setting) in shown.iter().zip(settings) {
        text.push_str(&format!("{line:<width$}  # {}\n", setting.from.text()));
    }
}

fn line(Setting { name, value, .. }: &Setting) -> String {
    match value {
        Shape::Plain(value) => format!("{name} = {}", toml(value)),
        Shape::Off(what) => format!("# {name}: {what}"),
        Shape::Secret(from @ SecretFrom::Env(_, Some(_))) => format!("{name}: {from}"),
        Shape::Secret(from) => format!("{name} = {}", place(from)),
        Shape::Tokens(all) => {
            let each = all.iter().map(|token| match token {
                Token::Secret(from) => place(from),
                Token::Sha256(hash) => format!("{{ sha256 = \"{hash}\" }}"),
            });
            match &each.collect::<Vec<_>>()[..] {
                [one] => format!("{name} = {one}"),
                all => format!("{name} = [{}]", all.join(", ")),
            }
        }
    }
}

/// Where a secret is, as TOML says it.
fn place(from: &SecretFrom) -> String {
    match from {
        SecretFrom::Literal => "\"[hidden]\"".to_owned(),
        SecretFrom::Env(variable, _) => format!("{{ env = {} }}", json!(variable)),
        SecretFrom::File(path) => format!("{{ file = {} }}", json!(path)),
    }
}

/// Strings, numbers and arrays are the same in TOML as in JSON.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let each: Vec<String> = fields
                .map(|(name, value)| format!("{} = {}", key(name), toml(value)))
                .collect();
            format!("{{ {} }}", each.join(", "))
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let each: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", each.join(", "))
        }
        other => other.to_string(),
    }
}
