//! Route profiles: a short name in place of a model that stands for a chain of models, provider
//! preferences and defaults.
//!
//! A request that names the model `fast`, or `route:fast`, becomes one that names the first model
//! of the profile `fast`, with its preferences and defaults merged in. Everything else stays as it
//! is, byte for byte. The rules, field by field:
//!
//! | field | whose word counts |
//! | --- | --- |
//! | `model`, `models` | the name is replaced by the profile's models, where it stands; a model that comes twice counts once |
//! | `provider.only`, `quantizations` | what both allow |
//! | `provider.ignore` | what either excludes |
//! | `provider.zdr`, `enforce_distillable_text`, `require_parameters` | whoever says true |
//! | `provider.data_collection` | whoever says `deny` |
//! | `provider.allow_fallbacks` | whoever says false |
//! | `provider.max_price` | the lower of each price |
//! | `provider.order`, `sort`, `preferred_*`, and what is unknown | the request's, where it says something |
//! | `provider.options` | the request's, provider by provider |
//! | defaults | the request's, where it says something, `null` included |
//!
//! So what a profile demands, no request relaxes; what it prefers, every request may say
//! otherwise. `max_tokens` and `max_completion_tokens` are one field here, and so are `reasoning`
//! and `reasoning_effort`. Defaults are those of chat completions, and are set there only.
//!
//! ```
//! use fairkey_openrouter::profile::{Profile, Profiles};
//! use fairkey_openrouter::{ProviderPreferences, endpoint};
//!
//! let fast = Profile::new(["a/quick", "b/quick"])
//!     .provider(ProviderPreferences::new().zdr(true))
//!     .with_default("max_tokens", 500);
//! let profiles = Profiles::new([("fast", fast)])?;
//!
//! let body = br#"{ "model": "fast", "messages": [], "seed": 1.0 }"#;
//! let routed = profiles.apply(endpoint::CHAT_COMPLETIONS, body)?.unwrap();
//! assert_eq!(routed.models, ["a/quick", "b/quick"]);
//! assert_eq!(
//!     routed.body,
//!     r#"{ "model": "a/quick", "messages": [], "seed": 1.0,"provider":{"zdr":true},"max_tokens":500 }"#,
//! );
//! # Ok::<(), fairkey_openrouter::profile::ProfileError>(())
//! ```

mod error;
mod merge;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::endpoint;
use crate::request::ProviderPreferences;
use crate::splice::{self, Splice};

pub use error::ProfileError;

/// What may stand before the name of a profile, so that nobody takes it for a model.
pub const PREFIX: &str = "route:";

/// Fields that say the same: who says one of them, says all.
const SAME: [&[&str]; 2] = [
    &["max_tokens", "max_completion_tokens"],
    &["reasoning", "reasoning_effort"],
];

/// What a name stands for.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The models, in the order of preference: at least one, any number.
    pub models: Vec<String>,
    /// How OpenRouter may choose the provider.
    pub provider: ProviderPreferences,
    /// Fields of a chat request, for requests that do not set them.
    pub defaults: Map<String, Value>,
    /// The tenants that may use it; `None`: all.
    pub allow: Option<Vec<String>>,
}

impl Profile {
    /// Returns a profile of these models.
    #[must_use]
    pub fn new<M: Into<String>>(models: impl IntoIterator<Item = M>) -> Self {
        Self {
            models: models.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Sets how OpenRouter may choose the provider.
    #[must_use]
    pub fn provider(mut self, provider: ProviderPreferences) -> Self {
        self.provider = provider;
        self
    }

    /// Sets a field for requests that do not set it.
    #[must_use]
    pub fn with_default(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.defaults.insert(field.into(), value.into());
        self
    }

    /// Sets the tenants that may use it. Default: all.
    #[must_use]
    pub fn allow<T: Into<String>>(mut self, tenants: impl IntoIterator<Item = T>) -> Self {
        self.allow = Some(tenants.into_iter().map(Into::into).collect());
        self
    }

    /// Returns whether a tenant may use it. Who is no tenant may use what is for all.
    #[must_use]
    pub fn allows(&self, tenant: Option<&str>) -> bool {
        match &self.allow {
            None => true,
            Some(allow) => tenant.is_some_and(|tenant| allow.iter().any(|own| own == tenant)),
        }
    }
}

/// Profiles by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles {
    by_name: BTreeMap<String, Profile>,
}

/// A request of which a profile made another one.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Routed {
    /// The profile.
    pub name: String,
    /// The body to send. It names the first model, and no list of models.
    pub body: Bytes,
    /// All models, in the order of preference, the first included.
    pub models: Vec<String>,
    /// How many of them one request may name: [`MAX_MODELS`](crate::MAX_MODELS) for chat
    /// completions, else 1.
    pub at_once: usize,
}

impl std::fmt::Debug for Routed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The body holds prompts.
        f.debug_struct("Routed")
            .field("name", &self.name)
            .field("models", &self.models)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

impl Profiles {
    /// Returns profiles by these names.
    ///
    /// # Errors
    ///
    /// Where a name is none (letters, digits, `-`, `_` and `.`, so that it is no model), or a
    /// profile has no model, or another profile as one.
    pub fn new<N: Into<String>>(
        profiles: impl IntoIterator<Item = (N, Profile)>,
    ) -> Result<Self, ProfileError> {
        let by_name: BTreeMap<String, Profile> = profiles
            .into_iter()
            .map(|(name, profile)| (name.into(), profile))
            .collect();
        for (name, profile) in &by_name {
            if !is_name(name) {
                return Err(ProfileError::Name(name.clone()));
            }
            if profile.models.is_empty() {
                return Err(ProfileError::NoModel(name.clone()));
            }
            let bare = |model: &str| model.strip_prefix(PREFIX).unwrap_or(model).to_owned();
            let is_other =
                |model: &&String| by_name.contains_key(&bare(model)) || model.starts_with(PREFIX);
            if let Some(other) = profile.models.iter().find(is_other) {
                return Err(ProfileError::Nested(name.clone(), bare(other)));
            }
        }
        Ok(Self { by_name })
    }

    /// Returns a profile by its name, with or without [`PREFIX`].
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.by_name.get(name.strip_prefix(PREFIX).unwrap_or(name))
    }

    /// Returns all profiles, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.by_name
            .iter()
            .map(|(name, profile)| (name.as_str(), profile))
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Applies the profile that a request names, for anybody: see
    /// [`apply_for`](Self::apply_for).
    ///
    /// # Errors
    ///
    /// As [`apply_for`](Self::apply_for).
    pub fn apply(&self, path: &str, body: &[u8]) -> Result<Option<Routed>, ProfileError> {
        self.route(path, body, |_| true)
    }

    /// Applies the profile that a request names, for a tenant. `path` is that of the endpoint, such
    /// as [`endpoint::CHAT_COMPLETIONS`]. `None`: it names no profile, and is to be sent as it is;
    /// so is what is no JSON object.
    ///
    /// # Errors
    ///
    /// Where it names a profile that there is not, that the tenant may not use, or two of them; where
    /// profile and request leave no provider; where `provider` cannot be read.
    pub fn apply_for(
        &self,
        tenant: Option<&str>,
        path: &str,
        body: &[u8],
    ) -> Result<Option<Routed>, ProfileError> {
        self.route(path, body, |profile| profile.allows(tenant))
    }

    /// Returns whether a body that names these models is certainly none of theirs: there are no
    /// profiles, and no name asks for one.
    #[must_use]
    pub fn passes<'a>(&self, mut models: impl Iterator<Item = &'a str>) -> bool {
        self.by_name.is_empty() && !models.any(|name| name.starts_with(PREFIX))
    }

    fn route(
        &self,
        path: &str,
        body: &[u8],
        allows: impl Fn(&Profile) -> bool,
    ) -> Result<Option<Routed>, ProfileError> {
        let Ok([model, models, provider]) = splice::find(body, ["model", "models", "provider"])
        else {
            return Ok(None);
        };
        let named = named(model, models);
        let mut found: Option<(&str, &Profile)> = None;
        for name in &named {
            let bare = name.strip_prefix(PREFIX);
            match self.by_name.get_key_value(bare.unwrap_or(name)) {
                Some((name, _)) if found.is_some_and(|(other, _)| other != name) => {
                    return Err(ProfileError::Two);
                }
                Some((name, profile)) => found = Some((name, profile)),
                None if bare.is_some() => return Err(self.unknown(name)),
                None => {}
            }
        }
        let Some((name, profile)) = found else {
            return Ok(None);
        };
        if !allows(profile) {
            return Err(ProfileError::NotAllowed(name.to_owned()));
        }
        let chain = expanded(&named, name, profile);
        let is_chat = path.ends_with(endpoint::CHAT_COMPLETIONS);
        let mut edit = Splice::new(body.to_vec())
            .set("model", &chain[0])
            .remove("models");
        if let Some(provider) = merge::provider(&profile.provider, provider, name)? {
            edit = edit.set_raw("provider", &provider);
        }
        if is_chat {
            edit = with_defaults(edit, body, &profile.defaults);
        }
        let body = edit.finish().map_err(|_| ProfileError::Body)?;
        Ok(Some(Routed {
            name: name.to_owned(),
            body,
            models: chain,
            at_once: if is_chat { crate::MAX_MODELS } else { 1 },
        }))
    }

    /// Returns the error of a name that nobody has.
    #[must_use]
    pub fn unknown(&self, name: &str) -> ProfileError {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        ProfileError::Unknown {
            name: crate::check::short(name),
            known: self.by_name.keys().cloned().collect(),
        }
    }
}

/// Returns whether a text can be a profile's name. No model's identifier can: those have a slash, or
/// an at sign.
fn is_name(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 64 && text.chars().all(is_fine)
}

/// Returns the models that a request names, in order. What is no text is left to OpenRouter.
fn named(model: Option<&[u8]>, models: Option<&[u8]>) -> Vec<String> {
    let one = model.and_then(|json| serde_json::from_slice::<String>(json).ok());
    let many = models.and_then(|json| serde_json::from_slice::<Vec<Value>>(json).ok());
    let many = many.into_iter().flatten().filter_map(|value| match value {
        Value::String(name) => Some(name),
        _ => None,
    });
    one.into_iter().chain(many).collect()
}

/// Puts the models of a profile where its name stands.
fn expanded(named: &[String], profile: &str, to: &Profile) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for name in named {
        let own = std::slice::from_ref(name);
        let is_it = name.strip_prefix(PREFIX).unwrap_or(name) == profile;
        for model in if is_it { &to.models } else { own } {
            if !chain.contains(model) {
                chain.push(model.clone());
            }
        }
    }
    chain
}

fn with_defaults(mut edit: Splice, body: &[u8], defaults: &Map<String, Value>) -> Splice {
    for (field, value) in defaults {
        let same = SAME.iter().find(|all| all.contains(&field.as_str()));
        let said = same.is_some_and(|all| {
            let is_said = |name: &&str| splice::find(body, [*name]).is_ok_and(|[it]| it.is_some());
            all.iter().any(is_said)
        });
        if !said {
            edit = edit.set_default(field.as_str(), value);
        }
    }
    edit
}
