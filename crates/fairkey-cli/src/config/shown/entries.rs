//! What is shown of accounts, keys, clients and routes: entries of the file, and of the environment.

use fairkey_core::AccountId;
use fairkey_openrouter::profile::Profile;
use serde_json::{Value, json};

use super::{Entry, From, Setting, Shape, Token, is_said};
use crate::config::clients::{self, TokenFrom};
use crate::config::{Client, Config, SecretFrom, limits};
use crate::keyring::Keyring;

pub(super) fn keys(config: &Config, ring: &Keyring) -> Vec<Entry> {
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
    keys
}

pub(super) fn account(
    config: &Config,
    at: usize,
    account: &(AccountId, Option<SecretFrom>),
) -> Entry {
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

pub(super) fn client(config: &Config, at: usize, client: &Client) -> Entry {
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

pub(super) fn route(config: &Config, name: &str, profile: &Profile) -> Entry {
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
