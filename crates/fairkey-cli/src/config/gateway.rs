//! The gateway: the table `[gateway]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairkey_core::Class;
use fairkey_gateway::{Departure, ListenAddr, Operation, Origins, Settings};
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use toml::Spanned;

use super::bounds::{Time, TimeOrNone};
use super::service::{self, Limits, Tls};
use super::size::{self, Size};
use super::{Wrong, duration};

/// Where the gateway listens unless it is told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4210);

/// How long calls under way may take to end, where nothing is said.
const GRACE: Duration = Duration::from_secs(30);

/// What a table may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Table {
    listen: Option<Spanned<String>>,
    hosts: Vec<Spanned<String>>,
    origins: Vec<Spanned<String>>,
    max_body: Option<Size>,
    max_upload: Option<Size>,
    pass_unknown_paths: Option<bool>,
    departure: Option<Leaving>,
    departures: BTreeMap<String, Spanned<Leaving>>,
    comment_after: Option<Time>,
    head_timeout: Option<Time>,
    class: Option<ClassName>,
    spend: Option<Spanned<PathBuf>>,
    grace: Option<TimeOrNone>,
    watch: Option<TimeOrNone>,
    tls: Option<Tls>,
    limits: Option<Spanned<Limits>>,
    metrics: Option<bool>,
    access_log: Option<Spanned<String>>,
}

/// What the gateway is to be.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) listen: ListenAddr,
    /// Names that stand for this machine where no token is asked for.
    pub(crate) hosts: Vec<String>,
    /// The web pages that may read answers, and the same as it is written.
    pub(crate) origins: Origins,
    pub(super) origins_text: Vec<String>,
    pub(crate) settings: Settings,
    /// The class of calls of clients that say nothing else, and of those of everybody.
    pub(crate) class: Class,
    /// Where is kept what clients spend; `None`: in memory only.
    pub(crate) spend: Option<PathBuf>,
    /// How long calls under way may take to end.
    pub(crate) grace: Duration,
    /// How often files are looked at; zero: never.
    pub(crate) watch: Duration,
    /// A certificate and its key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) access_log: AccessLogTo,
}

/// Where a line for each request goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum AccessLogTo {
    #[default]
    Nowhere,
    Stderr,
    File(PathBuf),
}

impl Default for Gateway {
    fn default() -> Self {
        let mut settings = Settings::default();
        // There are no clients, then.
        settings.metrics = true;
        Self {
            listen: ListenAddr::Tcp(LISTEN),
            hosts: Vec::new(),
            origins: Origins::none(),
            origins_text: Vec::new(),
            settings,
            class: Class::Normal,
            spend: None,
            grace: GRACE,
            watch: service::watch(None),
            tls: None,
            access_log: AccessLogTo::Nowhere,
        }
    }
}

/// What happens to a call whose caller leaves, as it is written.
#[derive(Clone, Copy)]
struct Leaving(Departure);

impl<'de> Deserialize<'de> for Leaving {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Drain {
            within: Time,
            bytes: Size,
        }

        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = Departure;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`cancel`, `drain` or { within = …, bytes = … }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Departure, E> {
                match text {
                    "cancel" => Ok(Departure::Cancel),
                    "drain" => Ok(Departure::drain()),
                    _ => Err(E::custom(
                        "what happens to a call whose caller leaves is `cancel`, `drain` or \
                         { within = …, bytes = … }",
                    )),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Departure, A::Error> {
                let drain = Drain::deserialize(MapAccessDeserializer::new(map))?;
                let Time(within) = drain.within;
                Ok(Departure::drain_within(within, drain.bytes.0))
            }
        }

        from.deserialize_any(Words).map(Self)
    }
}

/// A class, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ClassName {
    Interactive,
    Normal,
    Batch,
}

impl From<ClassName> for Class {
    fn from(name: ClassName) -> Self {
        match name {
            ClassName::Interactive => Self::Interactive,
            ClassName::Normal => Self::Normal,
            ClassName::Batch => Self::Batch,
        }
    }
}

/// Reads the table. `has_clients`: somebody has to show a token.
pub(super) fn read(table: Table, dir: &Path, has_clients: bool) -> Result<Gateway, Wrong> {
    let mut gateway = Gateway::default();
    if let Some(listen) = table.listen {
        let at = listen.span().start;
        let wrong = |message| Wrong { at, message };
        let parsed = listen.get_ref().parse::<ListenAddr>();
        let parsed = parsed.map_err(|error| wrong(error.to_string()))?;
        if !has_clients && is_reachable(&parsed) {
            return Err(wrong(open_to_all(&parsed)));
        }
        gateway.listen = parsed;
    }
    for host in table.hosts {
        let at = host.span().start;
        let host = host.into_inner();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if host.is_empty() || !host.chars().all(is_plain) {
            return Err(Wrong {
                at,
                message: "a host here is a name with no scheme, port or path: \
                          host.docker.internal"
                    .to_owned(),
            });
        }
        gateway.hosts.push(host);
    }
    for origin in &table.origins {
        let at = origin.span().start;
        let message = |_| Wrong {
            at,
            message: "an origin is written as a browser does: https://app.example or \
                      http://localhost:3000, with no path; or *"
                .to_owned(),
        };
        Origins::list([origin.get_ref()]).map_err(message)?;
        if origin.get_ref() == "*" && !has_clients {
            let message = "every web page could spend your money: name the origins, or add \
                           [[clients]] with a token"
                .to_owned();
            return Err(Wrong { at, message });
        }
        gateway.origins_text.push(origin.get_ref().clone());
    }
    // Each was one: all are.
    gateway.origins = Origins::list(&gateway.origins_text).unwrap_or_default();
    let settings = &mut gateway.settings;
    if let Some(Size(bytes)) = table.max_body {
        settings.max_body_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    if let Some(Size(bytes)) = table.max_upload {
        settings.max_upload_bytes = bytes;
    }
    if let Some(pass) = table.pass_unknown_paths {
        settings.pass_unknown_paths = pass;
    }
    if let Some(Leaving(departure)) = table.departure {
        settings.departure = departure;
    }
    for (name, leaving) in table.departures {
        let Some(operation) = Operation::from_name(&name) else {
            return Err(Wrong {
                at: leaving.span().start,
                message: format!("there is no such operation; there are {}", operations()),
            });
        };
        settings
            .departures
            .insert(operation, leaving.into_inner().0);
    }
    if let Some(Time(time)) = table.comment_after {
        settings.comment_after = time;
    }
    if let Some(Time(time)) = table.head_timeout {
        settings.limits.head_time = time;
    }
    if let Some(limits) = table.limits {
        let at = limits.span().start;
        let checked = limits.into_inner().over(settings);
        checked.map_err(|message| Wrong { at, message })?;
    }
    gateway.grace = table.grace.map_or(GRACE, |TimeOrNone(time)| time);
    gateway.watch = service::watch(table.watch);
    gateway.tls = table.tls.map(|tls| tls.files(dir));
    if let Some(class) = table.class {
        gateway.class = class.into();
    }
    // Whoever reaches a gateway without tokens may do more than read them.
    settings.metrics = table.metrics.unwrap_or(!has_clients);
    if let Some(to) = table.access_log {
        let at = to.span().start;
        gateway.access_log = match to.get_ref().as_str() {
            "off" => AccessLogTo::Nowhere,
            "stderr" => AccessLogTo::Stderr,
            path if Path::new(path).file_name().is_some() => AccessLogTo::File(dir.join(path)),
            _ => {
                let message = "the access log goes to \"stderr\", to a file, or is \"off\"";
                return Err(Wrong {
                    at,
                    message: message.to_owned(),
                });
            }
        };
    }
    if let Some(path) = table.spend {
        if path.get_ref().file_name().is_none() {
            return Err(Wrong {
                at: path.span().start,
                message: "this names no file: give the path of a file, or leave it out to keep \
                          what is spent in memory"
                    .to_owned(),
            });
        }
        // Relative to the configuration: it may be read from any folder.
        gateway.spend = Some(dir.join(path.into_inner()));
    }
    Ok(gateway)
}

/// Returns whether other machines reach it.
pub(crate) fn is_reachable(listen: &ListenAddr) -> bool {
    match listen {
        ListenAddr::Tcp(addr) => !addr.ip().to_canonical().is_loopback(),
        ListenAddr::Unix(_) => false,
    }
}

/// Says why nobody listens there without asking for tokens.
pub(crate) fn open_to_all(listen: &ListenAddr) -> String {
    format!(
        "{listen} can be reached by other machines, and there are no client tokens, so that \
         anybody there could spend your money; listen on 127.0.0.1, or add [[clients]] with a token"
    )
}

/// The operations, as messages list them.
pub(super) fn operations() -> String {
    let all: Vec<_> = Operation::ALL.iter().map(|it| it.as_str()).collect();
    all.join(", ")
}

/// What happens to a call whose caller leaves, as it is shown.
pub(super) fn leaving(departure: Departure) -> Value {
    match departure {
        Departure::Cancel => "cancel".into(),
        departure if departure == Departure::drain() => "drain".into(),
        Departure::Drain { within, bytes } => {
            json!({ "within": duration::text(within), "bytes": size::text(bytes) })
        }
        _ => Value::Null,
    }
}
