//! From arguments to a catalogue, and the mock it comes from, if it does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{CallError, Catalog, CatalogConfig, Fetched, Freshness};
use fairkey_core::ApiKey;
use fairkey_mock::{MockOpenRouter, Scenario};
use fairkey_openrouter::profile::Profiles;
use fairkey_openrouter::{ModelEndpoints, ModelList};

use crate::args::CatalogArgs;
use crate::config::{Config, base_url};
use crate::keyring::Keyring;
use crate::{redaction, terminal, upstream};

/// The catalogue, and what belongs to it.
pub(crate) struct Source {
    pub(crate) catalog: Catalog,
    pub(crate) profiles: Profiles,
    /// Serves as long as it is held.
    _mock: Option<MockOpenRouter>,
}

impl Source {
    /// Opens the catalogue. No key is needed, and any there is will do.
    ///
    /// # Errors
    ///
    /// Says what to set, or what to change.
    pub(crate) async fn open(args: &CatalogArgs) -> Result<Self, String> {
        let mut config = Config::load(args.config.as_deref()).map_err(|error| error.to_string())?;
        redaction::hide(config.management_keys.values().cloned());
        let mut builder = Catalog::builder().deadlines(config.deadlines);
        let mut mock = None;
        if args.mock {
            // What it does not have is unknown, as it is at OpenRouter.
            let scenario =
                Scenario::demo(0).with(|mock| mock.now(upstream::now()).any_model(false));
            let keys = scenario.keys().iter().take(1);
            let keys: Vec<ApiKey> = keys.map(|(_, _, key)| ApiKey::new(key.as_str())).collect();
            let started = scenario.start().await.map_err(|error| error.to_string())?;
            builder = builder.keys(keys).base_url(started.base_url());
            mock = Some(started);
        } else {
            let ring = Keyring::collect(
                std::mem::take(&mut config.keys),
                std::env::vars_os(),
                &config.variables,
            );
            let keys: Vec<ApiKey> = ring.keys.iter().map(|key| key.secret().clone()).collect();
            redaction::hide(keys.iter().cloned());
            builder = builder.keys(keys);
            if let Some(url) = &args.base_url {
                if let Some(hint) = base_url::check(url)? {
                    terminal::warn(&hint);
                }
                config.base_url = Some(url.clone());
            }
            if let Some(url) = &config.base_url {
                builder = builder.base_url(url.as_str());
            }
            if let Some(folder) = folder() {
                builder = builder.folder(folder);
            }
        }
        config.warnings.iter().for_each(|text| terminal::warn(text));
        let transport = upstream::transport(&config)
            .build()
            .map_err(|error| error.to_string())?;
        let freshness = match (args.offline, args.refresh) {
            (true, _) => Freshness::Offline,
            (_, true) => Freshness::Refresh,
            _ => Freshness::ByAge,
        };
        let catalog = builder
            .transport(Arc::new(transport))
            .config(CatalogConfig {
                freshness,
                ..CatalogConfig::default()
            })
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            catalog,
            profiles: config.profiles,
            _mock: mock,
        })
    }

    /// Tells what was wrong with the files of the cache.
    pub(crate) fn tell_warnings(&self) {
        for warning in self.catalog.take_warnings() {
            terminal::warn(&warning);
        }
    }

    /// Says in words why a list is not there.
    pub(crate) fn explain(&self, error: &CallError) -> String {
        let text = match error.fault() {
            Some(fault) => fault.to_string(),
            None => error.to_string(),
        };
        format!("the catalogue cannot be had: {text}")
    }

    /// Fetches the endpoints of a model; where it is unknown, says what may be meant.
    ///
    /// # Errors
    ///
    /// Says what is wrong.
    pub(crate) async fn endpoints(&self, model: &str) -> Result<Fetched<ModelEndpoints>, String> {
        let error = match self.catalog.endpoints(model).await {
            Ok(list) => {
                tell_age(&list, &format!("the endpoints of {model}"));
                return Ok(list);
            }
            Err(error) => error,
        };
        let is_unknown = error
            .fault()
            .is_some_and(|fault| fault.status() == Some(404));
        if !is_unknown && model.contains('/') {
            return Err(self.explain(&error));
        }
        let models = self.catalog.models().await.ok();
        let near = models
            .map(|models| near(model, &models))
            .unwrap_or_default();
        let hint = match near.as_slice() {
            [] => "fairkey models lists those there are".to_owned(),
            [one] => format!("did you mean {one}?"),
            [most @ .., last] => format!("did you mean {} or {last}?", most.join(", ")),
        };
        Err(format!("there is no model {model}: {hint}"))
    }
}

/// Warns where a list is older than it should be.
pub(crate) fn tell_age<T>(list: &Fetched<T>, what: &str) {
    if let Some(error) = &list.stale {
        let age = crate::table::count(list.age.as_secs(), "second");
        terminal::warn(&format!(
            "{what} are {age} old, since the upstream cannot be asked: {error}"
        ));
    }
}

/// Returns the folder of the cache; `None`: nobody said where caches are.
pub(crate) fn folder() -> Option<PathBuf> {
    folder_of(&|name| std::env::var_os(name))
}

/// Returns the folder of the cache, as the environment says; `None`: nobody said where caches are.
fn folder_of(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let path = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        // A relative one is to be ignored, says the convention that XDG_CACHE_HOME is of.
        path.is_absolute().then_some(path)
    };
    path("XDG_CACHE_HOME")
        .or_else(|| path("LOCALAPPDATA"))
        .or_else(|| Some(path("HOME")?.join(".cache")))
        .map(|caches| caches.join("fairkey"))
}

/// Returns up to three models that may be meant by a name, the nearest first.
pub(crate) fn near(name: &str, models: &ModelList) -> Vec<String> {
    let wanted = name.to_lowercase();
    let slug = |id: &str| id.split_once('/').map_or(id, |(_, slug)| slug).to_owned();
    let wanted_slug = slug(&wanted);
    let mut found: Vec<(usize, &str)> = models
        .data
        .iter()
        .filter_map(|model| {
            let id = model.id.to_lowercase();
            let distance = if slug(&id) == wanted_slug {
                0
            } else {
                strsim::damerau_levenshtein(&id, &wanted)
                    .min(1 + strsim::damerau_levenshtein(&slug(&id), &wanted_slug))
            };
            let part = wanted_slug.chars().count() > 3 && id.contains(&wanted_slug);
            // A third of the letters may be wrong.
            let most = (wanted_slug.chars().count() / 3).max(2);
            let distance = if part { distance.min(most) } else { distance };
            (distance <= most).then_some((distance, model.id.as_str()))
        })
        .collect();
    found.sort_unstable();
    let ids = found.into_iter().map(|(_, id)| id.to_owned());
    ids.take(3).collect()
}

/// Returns an age in words: seconds below two minutes, then minutes.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_where_the_environment_says() {
        let folder = |set: &[(&str, &str)]| {
            folder_of(&|name| {
                let found = set.iter().find(|(own, _)| *own == name);
                found.map(|(_, value)| (*value).into())
            })
        };
        assert_eq!(folder(&[]), None);
        assert_eq!(
            folder(&[("HOME", "/home/a")]),
            Some(PathBuf::from("/home/a/.cache/fairkey"))
        );
        let both = [("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")];
        assert_eq!(folder(&both), Some(PathBuf::from("/c/fairkey")));
        let relative = [("HOME", "/home/a"), ("XDG_CACHE_HOME", "c")];
        assert_eq!(
            folder(&relative),
            Some(PathBuf::from("/home/a/.cache/fairkey"))
        );
    }

    #[test]
    fn a_name_that_is_nearly_right_finds_what_is_meant() {
        let json = br#"{"data":[{"id":"openai/gpt-4o"},{"id":"openai/gpt-4o-mini"},
            {"id":"anthropic/claude-sonnet-4.5"},{"id":"meta-llama/llama-3.3-70b-instruct"}]}"#;
        let models = ModelList::from_slice(json).unwrap();
        for (name, first) in [
            ("gpt-4o-mini", Some("openai/gpt-4o-mini")),
            ("openai/gpt-4o-mnii", Some("openai/gpt-4o-mini")),
            ("OpenAI/GPT-4o", Some("openai/gpt-4o")),
            ("azure/gpt-4o", Some("openai/gpt-4o")),
            (
                "anthropic/claude-sonnet-4-5",
                Some("anthropic/claude-sonnet-4.5"),
            ),
            ("llama-3.3", Some("meta-llama/llama-3.3-70b-instruct")),
            ("acme/nothing-like-it", None),
            ("x", None),
        ] {
            let found = near(name, &models);
            assert_eq!(found.first().map(String::as_str), first, "{name}");
        }
    }
}
