//! The configuration file.
//!
//! What a file says is checked once, here, and errors name the line and the column; they never
//! repeat a value, since any of them may be a key that stands in the wrong place.

pub(crate) mod base_url;
mod bounds;
mod ca;
mod clients;
mod duration;
mod file;
pub(crate) mod gateway;
mod hedge;
mod learning;
mod limits;
mod otlp;
mod outline;
mod places;
mod position;
mod profiles;
mod queue;
mod secret;
mod service;
mod shown;
mod size;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fairkey_client::HedgeConfig;
use fairkey_core::{AccountId, ApiKey, Key};
use fairkey_openrouter::AppAttribution;
use fairkey_openrouter::profile::Profiles;
use fairkey_strategy::{BreakerConfig, CooldownConfig, LimitSet, LimitsConfig};
use fairkey_transport::Deadlines;

use self::clients::TokenSecrets;
use self::file::File;
use self::gateway::Gateway;
use self::learning::Learning;
use self::places::Places;
use self::position::Position;
use self::secret::Secret;

pub(crate) use self::ca::Ca;
pub(crate) use self::clients::Client;
pub(crate) use self::duration::{duration, text as duration_text};
pub(crate) use self::file::{Retry, StrategyName};
pub(crate) use self::otlp::Otlp;
pub(crate) use self::outline::{Changes, Outline};
pub(crate) use self::queue::Queue;
pub(crate) use self::secret::{Oddity, SecretFrom, tidy};
pub(crate) use self::service::Admin;
pub(crate) use self::shown::Shown;

/// What a file may say, for editors: a JSON Schema.
pub(crate) const SCHEMA: &str = include_str!("config/schema.json");

/// What is read where no file is named.
const DEFAULT_FILE: &str = "fairkey.toml";

/// The configuration as it holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The file, where there is one.
    pub(crate) path: Option<PathBuf>,
    /// Where in it each setting stands.
    pub(crate) places: Places,
    /// What it says, to be compared with what it says later.
    pub(crate) outline: Outline,
    /// The files that secrets are in.
    pub(crate) files: Vec<PathBuf>,
    /// The keys, in the order of the file.
    pub(crate) keys: Vec<Key>,
    /// Where the secret of each is.
    pub(crate) secrets: Vec<SecretFrom>,
    /// The accounts that are declared, with where the management key is, if there is one.
    pub(crate) accounts: Vec<(AccountId, Option<SecretFrom>)>,
    /// What reads the balance of an account.
    pub(crate) management_keys: HashMap<AccountId, ApiKey>,
    /// The variables that keys are taken from: they are not read a second time.
    pub(crate) variables: Vec<String>,
    pub(crate) base_url: Option<String>,
    /// Whose certificates the upstream may have besides those of well-known authorities.
    pub(crate) ca: Option<Ca>,
    pub(crate) app: Option<AppAttribution>,
    /// What keys, accounts, free models and models are limited to.
    pub(crate) limits: LimitsConfig,
    pub(crate) strategy: StrategyName,
    pub(crate) breaker: Option<BreakerConfig>,
    pub(crate) cooldown: Option<CooldownConfig>,
    /// How calls wait, as far as it is said.
    pub(crate) queue: Queue,
    pub(crate) deadlines: Deadlines,
    pub(crate) retry: Retry,
    /// `None`: nothing is hedged.
    pub(crate) hedge: Option<HedgeConfig>,
    /// How limits are learned that nobody configured.
    pub(crate) learning: Learning,
    /// What stands for models.
    pub(crate) profiles: Profiles,
    /// What is remembered of keys between two runs.
    pub(crate) state: Option<PathBuf>,
    /// What the gateway is to be.
    pub(crate) gateway: Gateway,
    /// Who may use it; where nobody is named, everybody on this machine.
    pub(crate) clients: Vec<Client>,
    /// Their tokens, as far as they are known: nothing that is printed shows them.
    pub(crate) tokens: TokenSecrets,
    /// Where operators are served, if anywhere.
    pub(crate) admin: Option<Admin>,
    /// Who is told what the gateway does, if anybody.
    pub(crate) otlp: Option<Otlp>,
    /// What the user should know about the file.
    pub(crate) warnings: Vec<String>,
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) struct ConfigError {
    path: PathBuf,
    at: Option<Position>,
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(Position { line, column }) = self.at {
            write!(f, ", line {line} column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// Returns what is wrong, and in which line and column, both from 1.
    pub(crate) fn parts(&self) -> (&str, Option<(usize, usize)>) {
        let at = self.at.map(|at| (at.line, at.column));
        (&self.message, at)
    }
}

/// Where secrets that are not in the file itself come from.
struct Sources<'a> {
    /// The value of a variable of the environment.
    env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    file: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Sources<'static> {
    /// The process's environment and the machine's files.
    const REAL: Self = Self {
        env: &|name| std::env::var(name).ok(),
        file: &|path| fs::read_to_string(path),
    };
}

/// Reads bytes as a configuration would be: what the fuzz target runs. Variables and files all
/// hold the same secret; nothing outside is touched.
#[doc(hidden)]
pub fn fuzz(input: &[u8]) {
    const SECRET: &str = "sk-or-v1-fuzzed-secret";
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let sources = Sources {
        env: &|_| Some(SECRET.to_owned()),
        file: &|_| Ok(SECRET.to_owned()),
    };
    let shown = match Config::parse(text, Path::new("fairkey.toml"), &sources) {
        Ok(config) => {
            if let Some(breaker) = &config.breaker {
                assert!(
                    breaker.check().is_ok(),
                    "a breaker that cannot work was accepted"
                );
            }
            let retry = config.retry.over(fairkey_client::RetryConfig::default());
            assert!(retry.attempts > 0 && !retry.base.is_zero() && retry.base <= retry.cap);
            assert!((0.0..=10.0).contains(&retry.budget.ratio));
            assert!(!config.deadlines.total.is_zero());
            format!("{config:?}")
        }
        Err(error) => {
            let at = error.at.expect("an error in the text has a place");
            assert!(
                at.line <= text.matches('\n').count() + 1,
                "{at:?} is behind the end"
            );
            error.to_string()
        }
    };
    assert!(!shown.contains(SECRET), "a secret is shown");
}

/// What is wrong, and at which byte.
#[derive(Debug)]
struct Wrong {
    at: usize,
    message: String,
}

impl Config {
    /// Reads the file that is named, or the one that is read by default, if it is there.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let (path, named) = path.map_or((Path::new(DEFAULT_FILE), false), |path| (path, true));
        let error = |message| ConfigError {
            path: path.to_owned(),
            at: None,
            message,
        };
        match fs::read(path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Self::parse(&text, path, &Sources::REAL),
                Err(_) => Err(error("the file is not UTF-8".to_owned())),
            },
            Err(missing) if !named && missing.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(unreadable) => Err(error(format!(
                "the configuration cannot be read: {unreadable}; name a file that is there and may be \
                 read, or leave --config out"
            ))),
        }
    }

    /// Reads `text`, which is in the file `path`, with the environment at hand.
    fn parse(text: &str, path: &Path, sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let wrong = |Wrong { at, message }: Wrong| ConfigError {
            path: path.to_owned(),
            at: Some(Position::of(text, at)),
            message,
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(Wrong {
                at,
                message: position::without_values(error.message()),
            })
        })?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let mut file = file;
        let routes = std::mem::take(&mut file.routes);
        let mut config = Self::check(file, dir, sources).map_err(wrong)?;
        config.profiles = profiles::read(routes, text, &mut config.warnings).map_err(wrong)?;
        config.path = Some(path.to_owned());
        config.places = Places::of(text);
        config.outline = Outline::of(text);
        Ok(config)
    }

    fn check(file: File, dir: &Path, sources: &Sources<'_>) -> Result<Self, Wrong> {
        let mut config = Self {
            app: file.upstream.app.map(Into::into),
            strategy: file.strategy.r#use,
            deadlines: file.timeouts.into(),
            cooldown: file.cooldown.map(Into::into),
            queue: file.queue,
            learning: file.learning,
            ..Self::default()
        };
        if let Some(path) = file.state.path {
            if path.get_ref().file_name().is_none() {
                return Err(Wrong {
                    at: path.span().start,
                    message: "this names no file: give the path of a file, or leave it out to \
                              remember nothing"
                        .to_owned(),
                });
            }
            // Relative to the configuration: it may be read from any folder.
            config.state = Some(dir.join(path.into_inner()));
        }
        if let Some(url) = file.upstream.base_url {
            let at = url.span().start;
            let url = url.into_inner();
            let hint = base_url::check(&url).map_err(|message| Wrong { at, message })?;
            config.warnings.extend(hint);
            config.base_url = Some(url);
        }
        if let Some(path) = file.upstream.ca {
            config.ca = Some(Ca::read(path, dir, sources)?);
        }
        if let Some(retry) = file.retry {
            let at = retry.span().start;
            config.retry = retry.into_inner();
            config.retry.check().map_err(|message| Wrong {
                at,
                message: message.to_owned(),
            })?;
        }
        if let Some(hedge) = file.hedge {
            let (at, hedge) = (hedge.span().start, hedge.into_inner());
            let enabled = hedge.enabled;
            let hedge = HedgeConfig::from(hedge);
            hedge.check().map_err(|message| Wrong {
                at,
                message: message.to_owned(),
            })?;
            if enabled {
                config.hedge = Some(hedge);
            } else {
                let what = "[hedge] changes nothing without `enabled = true`";
                config.warnings.push(what.to_owned());
            }
        }
        if let Some(breaker) = file.breaker {
            let at = breaker.span().start;
            let breaker = BreakerConfig::from(breaker.into_inner());
            breaker.check().map_err(|error| Wrong {
                at,
                message: error.to_string(),
            })?;
            config.breaker = Some(breaker);
        }
        if let Some(bounds::TimeOrNone(margin)) = file.limits.margin {
            config.limits.margin = margin;
        }
        let mut limited = HashSet::new();
        for account in file.accounts {
            config.declare(account, &mut limited, dir, sources)?;
        }
        for key in file.keys {
            config.add(key, dir, sources)?;
        }
        config.gateway = gateway::read(file.gateway, dir, !file.clients.is_empty())?;
        config.add_clients(file.clients, dir, sources)?;
        config.add_admin(file.admin, dir, sources)?;
        if let Some(table) = file.otlp {
            config.add_otlp(table, dir, sources)?;
        }
        Ok(config)
    }

    fn declare(
        &mut self,
        account: file::Account,
        limited: &mut HashSet<String>,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<(), Wrong> {
        let id = label(account.id, "an account's id")?;
        if self
            .accounts
            .iter()
            .any(|(other, _)| other.as_str() == *id.get_ref())
        {
            return Err(Wrong {
                at: id.span().start,
                message: format!("account \"{}\" is declared twice", id.get_ref()),
            });
        }
        let id = id.into_inner();
        let limits = &mut self.limits;
        let set = limits::read(account.limits)?;
        let free = limits::read(account.free_models)?;
        let models = limits::models(account.models, limited)?;
        if set != LimitSet::NONE {
            limits.accounts.insert(id.as_str().into(), set);
        }
        if free != LimitSet::NONE {
            limits.free_models.insert(id.as_str().into(), free);
        }
        if !models.is_empty() {
            limits.models.insert(id.as_str().into(), models);
        }
        let mut from = None;
        if let Some(secret) = account.management_key {
            from = Some(secret.get_ref().from());
            let what = format!("the management key of account \"{id}\"");
            let secret = self.secret(secret, &what, dir, sources)?;
            self.management_keys.insert(id.as_str().into(), secret);
        }
        self.accounts.push((id.as_str().into(), from));
        Ok(())
    }

    fn add(&mut self, key: file::Key, dir: &Path, sources: &Sources<'_>) -> Result<(), Wrong> {
        let id = label(key.id, "a key's id")?;
        if self
            .keys
            .iter()
            .any(|other| other.id().as_str() == *id.get_ref())
        {
            let message = format!(
                "key \"{}\" is declared twice: give each its own id",
                id.get_ref()
            );
            return Err(Wrong {
                at: id.span().start,
                message,
            });
        }
        let id = id.into_inner();
        let what = format!("the secret of key \"{id}\"");
        let limits = limits::read(key.limits)?;
        if limits != LimitSet::NONE {
            self.limits.keys.insert(id.as_str().into(), limits);
        }
        let from = key.secret.get_ref().from();
        let secret = self.secret(key.secret, &what, dir, sources)?;
        let mut made = Key::new(id.as_str(), secret);
        if let Some(account) = key.account {
            let account = label(account, "an account's id")?.into_inner();
            self.warn_of_undeclared(&id, &account);
            made = made.account(account);
        }
        if let Some(weight) = key.weight {
            made = made.weight(weight);
        }
        self.keys.push(made);
        self.secrets.push(from);
        Ok(())
    }

    /// Warns where accounts are declared, but not the one of this key: most likely one is mistyped.
    fn warn_of_undeclared(&mut self, key: &str, account: &str) {
        let mut names = self.accounts.iter().map(|(id, _)| id.as_str());
        if self.accounts.is_empty() || names.clone().any(|name| name == account) {
            return;
        }
        let distance = |name: &str| strsim::damerau_levenshtein(name, account);
        // A third of the letters may be wrong.
        let nearest = names
            .by_ref()
            .map(|name| (distance(name), name))
            .min()
            .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(2));
        let hint = match nearest {
            Some((_, name)) => format!("did you mean \"{name}\"?"),
            None => "declare it with [[accounts]]".to_owned(),
        };
        self.warnings.push(format!(
            "key \"{key}\" names account \"{account}\", which no [[accounts]] declares: {hint}"
        ));
    }

    /// Fetches a secret from where the file says it is.
    fn secret(
        &mut self,
        secret: toml::Spanned<Secret>,
        what: &str,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<ApiKey, Wrong> {
        let at = secret.span().start;
        let secret = secret.into_inner();
        match secret.from() {
            SecretFrom::Env(name, _) => self.variables.push(name),
            SecretFrom::File(path) => self.files.push(dir.join(path)),
            SecretFrom::Literal => {}
        }
        secret
            .fetch(what, dir, sources, &mut self.warnings)
            .map_err(|message| Wrong { at, message })
    }
}

/// Checks a name that is shown everywhere.
fn label(id: toml::Spanned<String>, what: &str) -> Result<toml::Spanned<String>, Wrong> {
    if id.get_ref().trim().is_empty() || id.get_ref().chars().any(char::is_control) {
        let message = format!("{what} is empty or has control characters");
        return Err(Wrong {
            at: id.span().start,
            message,
        });
    }
    Ok(id)
}

#[cfg(test)]
mod tests;
