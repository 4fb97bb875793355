//! How the gateway is run: its certificate, its bounds, how long it takes to end, and the table
//! `[admin]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fairkey_core::ApiKey;
use fairkey_gateway::{ListenAddr, ServerLimits, Settings};
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;

use super::bounds::{Time, TimeOrNone};
use super::secret::Secret;
use super::{Config, SecretFrom, Sources, Wrong, duration};

/// How often files are looked at, where nothing is said.
const WATCH: Duration = Duration::from_secs(2);

/// A certificate and its key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    cert: PathBuf,
    key: PathBuf,
}

impl Tls {
    pub(super) fn files(self, dir: &Path) -> (PathBuf, PathBuf) {
        (dir.join(self.cert), dir.join(self.key))
    }
}

/// Bounds against abuse.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    connections: Option<usize>,
    head_bytes: Option<usize>,
    headers: Option<usize>,
    body_time: Option<Time>,
    idle_time: Option<Time>,
    streams: Option<u32>,
    resets: Option<usize>,
    cancels: Option<u32>,
}

impl Limits {
    pub(super) fn over(self, settings: &mut Settings) -> Result<(), String> {
        let limits = &mut settings.limits;
        let sizes = [
            (self.connections, &mut limits.connections),
            (self.head_bytes, &mut limits.head_bytes),
            (self.headers, &mut limits.headers),
            (self.resets, &mut limits.resets),
        ];
        for (said, place) in sizes {
            *place = said.unwrap_or(*place);
        }
        if let Some(Time(time)) = self.body_time {
            limits.body_time = time;
        }
        if let Some(Time(time)) = self.idle_time {
            limits.idle_time = time;
        }
        limits.streams = self.streams.unwrap_or(limits.streams);
        limits.cancels = self.cancels.unwrap_or(limits.cancels);
        let checked = limits.check();
        checked.map_err(|(name, what)| format!("{name} {what}"))
    }

    /// Returns the bounds that hold, as a file could say them.
    pub(super) fn shown(limits: &ServerLimits) -> Value {
        json!({
            "connections": limits.connections,
            "head_bytes": limits.head_bytes,
            "headers": limits.headers,
            "body_time": duration::text(limits.body_time),
            "idle_time": duration::text(limits.idle_time),
            "streams": limits.streams,
            "resets": limits.resets,
            "cancels": limits.cancels,
        })
    }
}

/// Returns how often files are looked at; zero: never.
pub(super) fn watch(said: Option<TimeOrNone>) -> Duration {
    said.map_or(WATCH, |TimeOrNone(time)| time)
}

/// What the table `[admin]` may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Table {
    listen: Option<Spanned<String>>,
    token: Option<Spanned<Secret>>,
}

/// Where operators are served.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) listen: ListenAddr,
    /// What they need to show.
    pub(crate) token: Option<ApiKey>,
    /// Where that is.
    pub(crate) from: Option<SecretFrom>,
}

impl Config {
    pub(super) fn add_admin(
        &mut self,
        table: Table,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<(), Wrong> {
        let Some(listen) = table.listen else {
            return Ok(());
        };
        let at = listen.span().start;
        let wrong = |message| Wrong { at, message };
        let listen = listen.get_ref().parse::<ListenAddr>();
        let listen = listen.map_err(|error| wrong(error.to_string()))?;
        if table.token.is_none() && super::gateway::is_reachable(&listen) {
            return Err(wrong(format!(
                "{listen} can be reached by other machines, so that anybody there could administer \
                 the gateway; listen on 127.0.0.1, or set a token"
            )));
        }
        let from = table.token.as_ref().map(|token| token.get_ref().from());
        let token = match table.token {
            None => None,
            Some(token) => {
                let token = self.secret(token, "the token of [admin]", dir, sources)?;
                self.tokens.push(token.clone());
                Some(token)
            }
        };
        self.admin = Some(Admin {
            listen,
            token,
            from,
        });
        Ok(())
    }
}
