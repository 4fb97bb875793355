//! The configuration file.
//!
//! What a file says is checked once, here, and errors name the line and the column; they never
//! repeat a value, since any of them may be a key that stands in the wrong place.

mod file;
mod position;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairkey_core::{AccountId, ApiKey, Key};
use fairkey_openrouter::AppAttribution;
use fairkey_strategy::{BreakerConfig, CooldownConfig};
use fairkey_transport::Deadlines;

use self::file::{File, Secret};
use self::position::Position;

pub(crate) use self::file::{Retry, StrategyName};

/// What is read where no file is named.
const DEFAULT_FILE: &str = "fairkey.toml";

/// The configuration as it holds.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The keys, in the order of the file.
    pub(crate) keys: Vec<Key>,
    /// What reads the balance of an account.
    pub(crate) management_keys: HashMap<AccountId, ApiKey>,
    /// The variables that keys are taken from: they are not read a second time.
    pub(crate) variables: Vec<String>,
    pub(crate) base_url: Option<String>,
    pub(crate) app: Option<AppAttribution>,
    pub(crate) strategy: StrategyName,
    pub(crate) breaker: Option<BreakerConfig>,
    pub(crate) cooldown: Option<CooldownConfig>,
    pub(crate) deadlines: Deadlines,
    pub(crate) retry: Retry,
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
            Err(unreadable) => Err(error(unreadable.to_string())),
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
        Self::check(file, dir, sources).map_err(wrong)
    }

    fn check(file: File, dir: &Path, sources: &Sources<'_>) -> Result<Self, Wrong> {
        let mut config = Self {
            base_url: file.upstream.base_url,
            app: file.upstream.app.map(Into::into),
            strategy: file.strategy.r#use,
            deadlines: file.timeouts.into(),
            retry: file.retry,
            cooldown: file.cooldown.map(Into::into),
            ..Self::default()
        };
        if let Some(breaker) = file.breaker {
            let at = breaker.span().start;
            let breaker = BreakerConfig::from(breaker.into_inner());
            breaker.check().map_err(|error| Wrong {
                at,
                message: error.to_string(),
            })?;
            config.breaker = Some(breaker);
        }
        let mut accounts: Vec<String> = Vec::new();
        for account in file.accounts {
            let at = account.id.span().start;
            let id = account.id.into_inner();
            if accounts.contains(&id) {
                return Err(Wrong {
                    at,
                    message: format!("account \"{id}\" is declared twice"),
                });
            }
            if let Some(secret) = account.management_key {
                let what = format!("the management key of account \"{id}\"");
                let secret = config.secret(
                    secret.span().start,
                    secret.into_inner(),
                    &what,
                    dir,
                    sources,
                )?;
                config.management_keys.insert(id.as_str().into(), secret);
            }
            accounts.push(id);
        }
        for key in file.keys {
            let at = key.id.span().start;
            let id = key.id.into_inner();
            if id.is_empty() || id.chars().any(char::is_control) {
                let message = "a key's id is empty or has control characters".to_owned();
                return Err(Wrong { at, message });
            }
            if config.keys.iter().any(|other| other.id().as_str() == id) {
                let message = format!("key \"{id}\" is declared twice: give each its own id");
                return Err(Wrong { at, message });
            }
            let what = format!("the secret of key \"{id}\"");
            let secret = config.secret(
                key.secret.span().start,
                key.secret.into_inner(),
                &what,
                dir,
                sources,
            )?;
            let mut made = Key::new(id, secret);
            if let Some(account) = key.account {
                made = made.account(account);
            }
            if let Some(weight) = key.weight {
                let at = weight.span().start;
                let weight = weight.into_inner();
                if !(1..=65_535).contains(&weight) {
                    let message = "weight is not between 1 and 65,535".to_owned();
                    return Err(Wrong { at, message });
                }
                made = made.weight(weight);
            }
            config.keys.push(made);
        }
        Ok(config)
    }

    /// Fetches a secret from where the file says it is.
    fn secret(
        &mut self,
        at: usize,
        secret: Secret,
        what: &str,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<ApiKey, Wrong> {
        let wrong = |message| Wrong { at, message };
        let secret = match secret {
            Secret::Literal(secret) => {
                self.warnings.push(format!(
                    "{what} stands in the configuration itself: whoever can read the file has it; \
                     take {{ env = \"…\" }} or {{ file = \"…\" }}"
                ));
                secret
            }
            Secret::Env(name) => {
                let value = (sources.env)(&name).filter(|value| !value.trim().is_empty());
                self.variables.push(name.clone());
                match value {
                    Some(value) => ApiKey::new(value),
                    None => {
                        return Err(wrong(format!(
                            "{what} is in the variable {name}, which is not set"
                        )));
                    }
                }
            }
            // Relative to the configuration: it may be read from any folder.
            Secret::File(path) => match (sources.file)(&dir.join(&path)) {
                Ok(text) => ApiKey::new(text),
                Err(error) => {
                    let path = path.display();
                    return Err(wrong(format!(
                        "{what} is in {path}, which is unreadable: {error}"
                    )));
                }
            },
        };
        if secret.is_empty() {
            return Err(wrong(format!("{what} is empty")));
        }
        Ok(secret)
    }
}

/// The longest duration: a year, and then some.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads a duration: a number and its unit, such as `250ms`, `6s`, `5m`, `2h`; up to a year.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is a number with its unit: 250ms, 6s, 5m, 2h".to_owned();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return Err(wrong()),
    };
    if seconds < 0.0 {
        return Err("a duration is not negative".to_owned());
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ if seconds.is_nan() => Err(wrong()),
        _ => Err("a duration is at most 366d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use fairkey_client::RetryConfig;

    use super::*;

    const CANARY: &str = "sk-or-v1-canary0000000000";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let sources = Sources {
            env: &|name| (name == "SET").then(|| CANARY.to_owned()),
            file: &|path| fs::read_to_string(path),
        };
        Config::parse(text, Path::new("fairkey.toml"), &sources)
    }

    #[track_caller]
    fn refused(text: &str, position: &str, what: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("fairkey.toml, {position}")),
            "{error}"
        );
        assert!(error.contains(what), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn the_smallest_useful_file_is_read() {
        let config = parse("[[keys]]\nid = \"a\"\nsecret = { env = \"SET\" }\n").unwrap();
        assert_eq!(config.keys[0].id().as_str(), "a");
        assert_eq!(config.keys[0].secret().expose(), CANARY);
        assert_eq!(config.variables, ["SET"]);
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn everything_that_can_be_said_is_read() {
        let config = parse(
            r#"
[upstream]
base_url = "http://127.0.0.1:1/api/v1"
app = { url = "https://a.example", title = "A", categories = ["x"] }
[[accounts]]
id = "acme"
management_key = { env = "SET" }
[[keys]]
id = "a"
account = "acme"
weight = 2
secret = "sk-or-v1-literal"
[strategy]
use = "round-robin"
[timeouts]
connect = "3s"
first_content = "1.5m"
[retry]
attempts = 2
failovers = 3
budget = 0.5
base = "10ms"
cap = "1s"
[breaker]
open_for = "1s"
consecutive = 3
[cooldown]
throttled = "2s"
"#,
        )
        .unwrap();
        assert_eq!(config.management_keys["acme"].expose(), CANARY);
        assert_eq!(config.keys[0].weight_value().get(), 2);
        assert_eq!(config.strategy, StrategyName::RoundRobin);
        assert_eq!(config.deadlines.first_content, Duration::from_secs(90));
        assert_eq!(config.deadlines.idle, Deadlines::default().idle);
        let retry = config.retry.over(RetryConfig::default());
        assert_eq!(retry.budget.ratio, 0.5);
        assert_eq!(config.breaker.unwrap().consecutive, Some(3));
        assert_eq!(config.cooldown.unwrap().throttled, Duration::from_secs(2));
        assert_eq!(config.warnings.len(), 1, "the literal secret");
        assert!(
            !config.warnings[0].contains("literal"),
            "{:?}",
            config.warnings
        );
    }

    #[test]
    fn an_unknown_field_is_named_with_its_place() {
        refused(
            "[[keys]]\nid = \"a\"\nsecert = \"x\"\n",
            "line 3 column 1",
            "`secert`",
        );
        refused("[retry]\nattempt = 5\n", "line 2 column 1", "`attempt`");
        refused("[upstraem]\n", "line 1 column 2", "`upstraem`");
        refused(
            "[strategy]\nuse = \"fastest\"\n",
            "line 2 column 7",
            "unknown variant",
        );
    }

    #[test]
    fn no_error_repeats_a_value() {
        let text = format!("[[keys]]\nid = \"a\"\nweight = \"{CANARY}\"\nsecret = \"x\"\n");
        refused(&text, "line 3 column 10", "invalid type");
        let text = format!("[[keys]]\nid = \"a\"\nsecret = \"{CANARY}\" x\n");
        refused(&text, "line 3", "");
        let text = format!("[[keys]]\nid = \"a\"\nsecret = {{ evn = \"{CANARY}\" }}\n");
        refused(&text, "line 3", "env");
        let text = format!("[[keys]]\nid = \"a\"\nsecret = [\"{CANARY}\"]\n");
        refused(&text, "line 3", "");
        let text = format!("[retry]\nbase = \"{CANARY}\"\n");
        refused(&text, "line 2 column 8", "duration");
        let text = format!("[strategy]\nuse = \"{CANARY}\"\n");
        refused(&text, "line 2 column 7", "");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let key = "[[keys]]\nid = \"a\"\nsecret = { env = \"SET\" }\n";
        refused(&format!("{key}{key}"), "line 5 column 6", "declared twice");
        refused(&format!("{key}weight = 0\n"), "line 4 column 10", "weight");
        refused(
            "[[keys]]\nid = \"\"\nsecret = { env = \"SET\" }\n",
            "line 2",
            "empty",
        );
        refused(
            "[[keys]]\nid = \"a\"\nsecret = { env = \"UNSET\" }\n",
            "line 3",
            "UNSET",
        );
        refused("[[keys]]\nid = \"a\"\nsecret = \" \"\n", "line 3", "empty");
        refused(
            "[[keys]]\nid = \"a\"\nsecret = { file = \"/no/such\" }\n",
            "line 3",
            "/no/such",
        );
        refused("[breaker]\nratio = 2.0\n", "line 1", "ratio");
    }

    #[test]
    fn the_configuration_of_the_readme_holds() {
        let readme = include_str!("../README.md");
        let (_, rest) = readme.split_once("```toml\n").unwrap();
        let (toml, _) = rest.split_once("```").unwrap();
        let file: File = toml::from_str(toml).unwrap();
        assert_eq!((file.keys.len(), file.accounts.len()), (2, 1));
        let retry = file.retry.over(RetryConfig::default());
        assert_eq!(retry.attempts, 6);
        assert_eq!(retry.failovers, RetryConfig::default().failovers);
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("366d"), Ok(LONGEST));
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1e30h",
            "367d",
            "5 parsecs",
            "nans",
            "infs",
            "-5",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
