//! Which accounts can be administered, and with which management key: [`Office`].

use std::sync::Arc;

use fairkey_client::Management;
use fairkey_core::{ApiKey, Key};
use fairkey_mock::{MockOpenRouter, Scenario};

use super::Stop;
use crate::args::AdminArgs;
use crate::config::{Config, Oddity, base_url, tidy};
use crate::keyring::{self, Keyring};
use crate::{redaction, terminal, upstream};

/// An account and its management key.
pub(super) struct Desk {
    /// As the configuration calls it; none for the key of the environment.
    pub(super) account: Option<String>,
    pub(super) management: Management,
}

impl Desk {
    /// ` of account "acme"`, or nothing.
    pub(super) fn of_account(&self) -> String {
        let account = self.account.as_ref();
        account.map_or(String::new(), |account| {
            format!(" of account \"{account}\"")
        })
    }
}

/// All accounts that can be administered.
pub(super) struct Office {
    desks: Vec<Desk>,
    /// Where a key made here can be tried; none: OpenRouter.
    pub(super) base_url: Option<String>,
    /// Serves as long as it is held.
    mock: Option<MockOpenRouter>,
}

impl Office {
    /// Finds management keys, and starts the mock where that is asked for.
    ///
    /// # Errors
    ///
    /// Says what to set, or what to choose from.
    pub(super) async fn open(args: &AdminArgs) -> Result<Self, Stop> {
        let mut config =
            Config::load(args.config.as_deref()).map_err(|error| Stop::usage(error.to_string()))?;
        let mut found;
        let mut mock = None;
        if args.mock {
            let scenario = Scenario::demo(0).with(|mock| mock.now(upstream::now()));
            let keys = scenario.management_keys().iter();
            found = keys
                .map(|(account, key)| (Some(account.clone()), ApiKey::new(key.as_str())))
                .collect();
            let started = scenario
                .start()
                .await
                .map_err(|error| Stop::failed(error.to_string()))?;
            config.base_url = Some(started.base_url());
            mock = Some(started);
        } else {
            found = configured(&config)?;
        }
        redaction::hide(found.iter().map(|(_, key)| key.clone()));
        if let Some(wanted) = &args.account {
            let names = names(&found);
            found.retain(|(account, _)| account.as_ref() == Some(wanted));
            if found.is_empty() {
                let what = match names.as_str() {
                    "" => keyring::NO_MANAGEMENT_KEY.to_owned(),
                    names => format!("the configuration has those of {names}"),
                };
                return Err(Stop::usage(format!(
                    "account \"{wanted}\" has no management key: {what}"
                )));
            }
        } else if mock.is_some() {
            // It makes no difference there.
            found.truncate(1);
        }
        if let Some(url) = &args.base_url {
            let hint = base_url::check(url).map_err(Stop::usage)?;
            if let Some(hint) = hint {
                terminal::warn(&hint);
            }
            config.base_url = Some(url.clone());
        }
        let transport = upstream::transport(&config).build();
        let transport = Arc::new(transport.map_err(|error| Stop::usage(error.to_string()))?);
        let desks = found.into_iter().map(|(account, key)| {
            let mut builder = Management::builder(key)
                .transport(Arc::clone(&transport) as _)
                .deadlines(config.deadlines)
                .retry(config.retry.over(fairkey_client::RetryConfig::default()));
            if let Some(url) = &config.base_url {
                builder = builder.base_url(url.as_str());
            }
            let management = builder.build();
            let management = management.map_err(|error| Stop::usage(error.to_string()))?;
            Ok(Desk {
                account,
                management,
            })
        });
        Ok(Self {
            desks: desks.collect::<Result<_, Stop>>()?,
            base_url: config.base_url,
            mock,
        })
    }

    /// Returns all accounts.
    pub(super) fn desks(&self) -> &[Desk] {
        &self.desks
    }

    /// Returns the account, where it is clear which.
    pub(super) fn desk(&self) -> Result<&Desk, Stop> {
        match self.desks.as_slice() {
            [desk] => Ok(desk),
            desks => {
                let names = desks.iter().filter_map(|desk| desk.account.as_deref());
                let names: Vec<_> = names.map(|name| format!("--account {name}")).collect();
                Err(Stop::usage(format!(
                    "several accounts have a management key: say which, with {}",
                    names.join(" or ")
                )))
            }
        }
    }

    /// Ends the mock, if there is one.
    pub(super) fn close(self) {
        drop(self.mock);
    }
}

fn names(found: &[(Option<String>, ApiKey)]) -> String {
    let names: Vec<String> = found
        .iter()
        .filter_map(|(account, _)| account.as_ref().map(|account| format!("\"{account}\"")))
        .collect();
    names.join(", ")
}

/// Returns the management keys of the configuration, or that of the environment.
fn configured(config: &Config) -> Result<Vec<(Option<String>, ApiKey)>, Stop> {
    let of_account = |(id, _): &(fairkey_core::AccountId, _)| {
        let key = config.management_keys.get(id)?;
        Some((Some(id.to_string()), key.clone()))
    };
    let mut found: Vec<_> = config.accounts.iter().filter_map(of_account).collect();
    let mut warnings = config.warnings.clone();
    if let Some(text) = std::env::var_os(keyring::MANAGEMENT_VARIABLE) {
        let text = text
            .into_string()
            .map_err(|_| Stop::usage(format!("{} is not text", keyring::MANAGEMENT_VARIABLE)))?;
        let (key, oddities) = tidy(&text);
        warnings.extend(Oddity::warning(keyring::MANAGEMENT_VARIABLE, &oddities));
        let key = ApiKey::new(key);
        if found.is_empty() && !key.is_empty() {
            found.push((None, key));
        } else if !key.is_empty() && !found.iter().any(|(_, other)| other.is_same(&key)) {
            redaction::hide([key]);
            return Err(Stop::usage(format!(
                "both {} and the configuration (account {}) have a management key: take one away",
                keyring::MANAGEMENT_VARIABLE,
                names(&found)
            )));
        }
    }
    if found.is_empty() {
        return Err(Stop::usage(keyring::NO_MANAGEMENT_KEY));
    }
    let ring = Keyring::collect(config.keys.clone(), std::env::vars_os(), &config.variables);
    redaction::hide(ring.keys.iter().map(|key: &Key| key.secret().clone()));
    keyring::keep_apart(&ring.keys, found.iter().map(|(_, key)| key)).map_err(Stop::usage)?;
    // What is odd about inference keys is no matter here.
    warnings.iter().for_each(|text| terminal::warn(text));
    Ok(found)
}
