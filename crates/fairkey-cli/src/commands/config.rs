//! `fairkey config`.

use fairkey_core::Key;
use serde_json::{Value, json};

use crate::args::{ConfigArgs, ConfigCommand, ConfigFileArgs};
use crate::config::{Config, ConfigError, SCHEMA, Shown, base_url};
use crate::exit::Exit;
use crate::keyring::{self, Keyring};
use crate::table::count;
use crate::{redaction, terminal, upstream};

/// Checks the configuration, or shows what holds.
pub(crate) fn config(args: &ConfigArgs) -> Exit {
    let text = match &args.command {
        ConfigCommand::Check(args) => return check(args),
        ConfigCommand::Show(args) => match show(args) {
            Ok(text) => text,
            Err(message) => {
                terminal::error(&message);
                return Exit::Usage;
            }
        },
        ConfigCommand::Schema => SCHEMA.to_owned(),
    };
    // Whoever reads it may have seen enough.
    let _ = terminal::print(&text);
    Exit::Done
}

/// The configuration, the keys, and what the user should know about both.
struct Loaded {
    config: Config,
    ring: Keyring,
    warnings: Vec<String>,
}

/// Why a configuration cannot be used: as it is read, or as a whole.
enum Unusable {
    File(ConfigError),
    Whole(String),
}

impl Unusable {
    fn text(&self) -> String {
        match self {
            Self::File(error) => error.to_string(),
            Self::Whole(message) => message.clone(),
        }
    }

    fn json(&self) -> Value {
        let (message, at) = match self {
            Self::File(error) => error.parts(),
            Self::Whole(message) => (message.as_str(), None),
        };
        let (line, column) = at.unzip();
        json!({ "message": message, "line": line, "column": column })
    }
}

fn load(args: &ConfigFileArgs) -> Result<Loaded, Unusable> {
    let config = Config::load(args.config.as_deref()).map_err(Unusable::File)?;
    redaction::hide(config.management_keys.values().cloned());
    redaction::hide(config.tokens.iter().cloned());
    let mut warnings = config.warnings.clone();
    if let Some(url) = &args.base_url {
        warnings.extend(base_url::check(url).map_err(Unusable::Whole)?);
    }
    let ring = Keyring::collect(config.keys.clone(), std::env::vars_os(), &config.variables);
    redaction::hide(ring.keys.iter().map(|key| key.secret().clone()));
    warnings.extend(ring.warnings.iter().cloned());
    let mut keys = ring.keys.clone();
    if keys.is_empty() {
        warnings.push(keyring::NO_KEY.to_owned());
        // What else is wrong shows without one.
        keys.push(Key::new("none", "none"));
    }
    upstream::check(&config, keys, args.base_url.as_deref()).map_err(Unusable::Whole)?;
    Ok(Loaded {
        config,
        ring,
        warnings,
    })
}

fn check(args: &ConfigFileArgs) -> Exit {
    let loaded = load(args);
    if args.json {
        let found = match &loaded {
            Ok(loaded) => json!({
                "ok": true,
                "file": loaded.config.path,
                "keys": loaded.ring.keys.len(),
                "accounts": loaded.config.accounts.len(),
                "routes": loaded.config.profiles.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "clients": (loaded.config.clients.iter())
                    .map(|client| &*client.tenant.id)
                    .collect::<Vec<_>>(),
                "warnings": loaded.warnings,
                "error": null,
            }),
            Err(error) => json!({ "ok": false, "error": error.json() }),
        };
        let _ = terminal::print(&redaction::clean(&format!("{found:#}\n")));
    } else {
        match &loaded {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|text| terminal::warn(text));
                let file = loaded.config.path.as_ref().map_or_else(
                    || "there is no configuration file: the environment".to_owned(),
                    |path| path.display().to_string(),
                );
                let keys = count(loaded.ring.keys.len() as u64, "key");
                let accounts = count(loaded.config.accounts.len() as u64, "declared account");
                let routes = match loaded.config.profiles.len() as u64 {
                    0 => String::new(),
                    routes => format!(", {}", count(routes, "route")),
                };
                let clients = match loaded.config.clients.len() as u64 {
                    0 => String::new(),
                    clients => format!(", {}", count(clients, "client")),
                };
                let found = format!("{file} can be used: {keys}, {accounts}{routes}{clients}\n");
                let _ = terminal::print(&found);
            }
            Err(error) => terminal::error(&error.text()),
        }
    }
    if loaded.is_ok() {
        Exit::Done
    } else {
        Exit::Usage
    }
}

fn show(args: &ConfigFileArgs) -> Result<String, String> {
    let loaded = load(args).map_err(|error| error.text())?;
    let shown = Shown::new(
        &loaded.config,
        &loaded.ring,
        args.base_url.as_deref(),
        upstream::BATCH_ATTEMPTS,
    );
    let text = if args.json {
        format!("{:#}\n", shown.to_json())
    } else {
        loaded.warnings.iter().for_each(|text| terminal::warn(text));
        shown.to_toml()
    };
    Ok(redaction::clean(&text))
}
