//! The configuration as it holds, value by value, with where each comes from: [`Shown`].
//!
//! | module | has |
//! | --- | --- |
//! | `sections` | tables that are there once, such as `[retry]` |
//! | `entries` | accounts, keys, clients and routes |
//! | `text` | how it is written as a file |

mod entries;
mod sections;
mod text;

use serde_json::{Map, Value, json};

use super::{Config, SecretFrom};
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

impl Shown {
    /// Puts together what holds: the file's and the environment's, and a base URL of the command
    /// line. `attempts_of_run` is what `fairkey run` takes where the file says nothing.
    pub(crate) fn new(
        config: &Config,
        ring: &Keyring,
        base_url: Option<&str>,
        attempts_of_run: u32,
    ) -> Self {
        Self {
            file: config.path.as_ref().map(|path| path.display().to_string()),
            sections: sections::sections(config, base_url, attempts_of_run),
            accounts: (config.accounts.iter().enumerate())
                .map(|(at, account)| entries::account(config, at, account))
                .collect(),
            keys: entries::keys(config, ring),
            clients: (config.clients.iter().enumerate())
                .map(|(at, one)| entries::client(config, at, one))
                .collect(),
            routes: config
                .profiles
                .iter()
                .map(|(name, profile)| (name.to_owned(), entries::route(config, name, profile)))
                .collect(),
        }
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

/// Where a secret is, as JSON.
fn secret(from: &SecretFrom) -> Value {
    match from {
        SecretFrom::Literal => json!("[hidden]"),
        SecretFrom::Env(name, entry) => json!({ "env": name, "entry": entry }),
        SecretFrom::File(path) => json!({ "file": path }),
    }
}

/// Whether an object has anything in it.
fn is_said(value: &Value) -> bool {
    value.as_object().is_some_and(|object| !object.is_empty())
}
