//! Reading the configuration again while calls are made: [`Reloader`].
//!
//! The new one is read and checked whole before anything of it is taken. What it does not change
//! keeps its state, by label: keys, limits, what tenants have used. A call that is under way or
//! waits in line goes on as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fairkey_core::{ApiKey, Key, Reload};
use fairkey_gateway::{ANYBODY, Gateway, Settings, TenantConfig, TenantError, Tenants, Tls};
use serde_json::{Value, json};

use super::log_file::Reopen;
use crate::args::ServeArgs;
use crate::config::{Changes, Config};
use crate::upstream::{self, Upstream};
use crate::{redaction, terminal};

/// Reads the configuration again.
pub(super) struct Reloader {
    args: ServeArgs,
    gateway: Gateway,
    tls: Option<Tls>,
    /// Asked whenever it is read again: whoever rotates logs sends the same signal.
    access_log: Reopen,
    config: Config,
    keys: Vec<Key>,
    /// The files as they were when they were last taken, or refused.
    taken: Prints,
    /// The files as they were at the last look.
    seen: Prints,
}

/// How files were at one moment: when they were written, how long they are, and which they are.
#[derive(Clone, PartialEq, Eq)]
struct Prints(Vec<Option<(Option<SystemTime>, u64, u64)>>);

/// Why it is read again without being told to.
pub(super) const FILE: &str = "a file has changed";

/// What reading again came to.
pub(super) struct Reloaded {
    changes: Changes,
    keys: Reload,
    certificate: bool,
}

impl Reloader {
    pub(super) fn new(
        args: &ServeArgs,
        gateway: &Gateway,
        tls: Option<Tls>,
        upstream: &Upstream,
        access_log: Reopen,
    ) -> Self {
        let config = upstream.config.clone();
        Self {
            args: args.clone(),
            gateway: gateway.clone(),
            tls,
            access_log,
            keys: upstream.key_list.clone(),
            config,
            // What was written since the start was read is found by the first look.
            taken: Prints::NONE,
            seen: Prints::NONE,
        }
    }

    /// Returns how long calls under way may take to end.
    pub(super) fn grace(&self) -> Duration {
        grace(&self.args, &self.config)
    }

    /// Waits until a file has changed, and is no longer being written. Dropped, it goes on where it
    /// was.
    pub(super) async fn changed(&mut self) {
        loop {
            let every = self.config.gateway.watch;
            if every.is_zero() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(every).await;
            let files = self.files();
            let Ok(now) = tokio::task::spawn_blocking(move || Prints::of(&files)).await else {
                continue;
            };
            // What was different a moment ago may still be written to.
            let is_still = std::mem::replace(&mut self.seen, now) == self.seen;
            if is_still && self.seen != self.taken {
                return;
            }
        }
    }

    /// Reads everything again, and says what came of it. `why` it is done is said, too.
    pub(super) fn reload(&mut self, why: &str) -> Result<Value, String> {
        self.access_log.ask();
        let files = self.files();
        // Before they are read: what is written meanwhile is found by the next look.
        self.taken = Prints::of(&files);
        let read = self.read();
        match &read {
            // A look at files that were only touched is not worth a line.
            Ok(done) if why == FILE && done.is_nothing() => {}
            Ok(done) => done.words(why).iter().for_each(|line| terminal::say(line)),
            Err(message) => {
                let message = format!(
                    "the configuration ({why}) is not taken, and the old one stays: {message}"
                );
                terminal::warn(&message);
            }
        }
        if self.files() != files {
            self.taken = Prints::NONE;
        }
        read.map(|done| done.json())
    }

    fn read(&mut self) -> Result<Reloaded, String> {
        let args = &self.args.upstream;
        let mut config = Config::load(args.config.as_deref()).map_err(|error| error.to_string())?;
        let (keys, mut warnings) = if args.mock {
            upstream::suit_the_mock(&mut config);
            (self.keys.clone(), Vec::new())
        } else {
            upstream::keys(&config)?
        };
        warnings.extend(config.warnings.iter().cloned());
        redaction::hide(secrets(&config, &keys));
        upstream::check_tokens(&config, &keys)?;
        upstream::check(&config, keys.clone(), args.base_url.as_deref())?;
        let mut changes = config.outline.changes(&self.config.outline);
        let before = self.gateway.tenants();
        let clients = config.clients.iter().map(|client| client.tenant.clone());
        let tenants = if config.clients.is_empty() {
            open(&config)
        } else {
            before.reload(clients)
        };
        let tenants = tenants.map_err(|error| error.to_string())?;
        let certificate = match &self.tls {
            Some(tls) => tls.reload().map_err(|error| error.to_string())?,
            None => false,
        };
        // Everything is checked; from here on nothing is left out.
        warnings.iter().for_each(|text| terminal::warn(text));
        if tenants.is_open() == before.is_open() {
            self.gateway
                .set_tenants(tenants)
                .map_err(|error| error.to_string())?;
        } else {
            changes.opens = true;
        }
        let client = self.gateway.client();
        let limits = client.configure_limits(config.limits.clone());
        limits.map_err(|error| error.to_string())?;
        let reload = client.pool().reload(keys.clone());
        let reload = reload.map_err(|error| error.to_string())?;
        client.wake();
        self.gateway.set_profiles(config.profiles.clone());
        self.gateway.set_settings(settings(&self.args, &config));
        self.config = config;
        self.keys = keys;
        Ok(Reloaded {
            changes,
            keys: reload,
            certificate,
        })
    }

    /// Returns every file that says something.
    fn files(&self) -> Vec<PathBuf> {
        let config = self.args.upstream.config.as_deref();
        let mut files = vec![config.unwrap_or(Path::new("fairkey.toml")).to_owned()];
        files.extend(self.config.files.iter().cloned());
        if let Some(tls) = &self.tls {
            files.extend(tls.files().map(Path::to_owned));
        }
        files
    }
}

/// Returns what is set, by the command line and by the file.
pub(super) fn settings(args: &ServeArgs, config: &Config) -> Settings {
    let mut settings = config.gateway.settings.clone();
    settings.pass_unknown_paths |= args.pass_unknown_paths;
    if args.drain {
        settings.departure = fairkey_gateway::Departure::drain();
    }
    settings
}

/// Everybody, as one client.
pub(super) fn open(config: &Config) -> Result<Tenants, TenantError> {
    let mut anybody = TenantConfig::new(ANYBODY);
    anybody.class = config.gateway.class;
    Tenants::open(anybody)
}

/// Returns how long calls under way may take to end.
pub(super) fn grace(args: &ServeArgs, config: &Config) -> Duration {
    args.grace.unwrap_or(config.gateway.grace)
}

fn secrets(config: &Config, keys: &[Key]) -> Vec<ApiKey> {
    let keys = keys.iter().map(|key| key.secret().clone());
    let more = config.management_keys.values().chain(&config.tokens);
    keys.chain(more.cloned()).collect()
}

impl Prints {
    /// Of no look.
    const NONE: Self = Self(Vec::new());

    fn of(files: &[PathBuf]) -> Self {
        let print = |path: &PathBuf| {
            let file = fs::metadata(path).ok()?;
            #[cfg(unix)]
            let which = std::os::unix::fs::MetadataExt::ino(&file);
            #[cfg(not(unix))]
            let which = 0;
            Some((file.modified().ok(), file.len(), which))
        };
        Self(files.iter().map(print).collect())
    }
}

impl Reloaded {
    fn is_nothing(&self) -> bool {
        self.changes == Changes::default() && self.keys.replaced.is_empty() && !self.certificate
    }

    fn words(&self, why: &str) -> Vec<String> {
        let replaced: Vec<String> = self.keys.replaced.iter().map(ToString::to_string).collect();
        let parts = [
            ("added", &self.changes.added),
            ("changed", &self.changes.changed),
            ("removed", &self.changes.removed),
            ("another secret for", &replaced),
        ];
        let parts = parts.into_iter().filter(|(_, paths)| !paths.is_empty());
        let mut parts: Vec<String> = parts
            .map(|(what, paths)| format!("{what} {}", paths.join(", ")))
            .collect();
        if self.certificate {
            parts.push("another certificate".to_owned());
        }
        if parts.is_empty() {
            parts.push("nothing has changed".to_owned());
        }
        let mut lines = vec![format!(
            "configuration reloaded ({why}): {}",
            parts.join("; ")
        )];
        let waiting = self.changes.waiting();
        if !waiting.is_empty() {
            lines.push(format!(
                "holds only after a restart: {}",
                waiting.join(", ")
            ));
        }
        lines
    }

    fn json(&self) -> Value {
        let names = |keys: &[fairkey_core::KeyId]| -> Vec<String> {
            keys.iter().map(ToString::to_string).collect()
        };
        json!({
            "added": self.changes.added,
            "changed": self.changes.changed,
            "removed": self.changes.removed,
            "keys_added": names(&self.keys.added),
            "keys_removed": names(&self.keys.removed),
            "keys_with_another_secret": names(&self.keys.replaced),
            "another_certificate": self.certificate,
            "after_restart": self.changes.waiting(),
        })
    }
}
