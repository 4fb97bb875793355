//! The models that can be asked, and which of them a request means.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::ask::Preferences;
use crate::fault::Fault;
use crate::model::{Model, Provider};

/// Suffixes that change routing and not the model.
const ROUTING_SUFFIXES: [&str; 4] = [":nitro", ":floor", ":exacto", ":online"];

/// A model with its names ready to be shared.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Arc<str>,
    pub(crate) model: Model,
    pub(crate) providers: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct Catalog {
    entries: Vec<Arc<Entry>>,
    by_id: HashMap<String, usize>,
    /// Any `author/slug` is served, with default prices.
    any: bool,
    list: Bytes,
}

impl Entry {
    fn new(mut model: Model) -> Self {
        if model.providers.is_empty() {
            model.providers.push(Provider::new("Mock"));
        }
        let providers = model
            .providers
            .iter()
            .map(|provider| provider.name.as_str().into());
        Self {
            id: model.id.as_str().into(),
            providers: providers.collect(),
            model,
        }
    }
}

impl Catalog {
    pub(crate) fn new(models: Vec<Model>, any: bool, created: u64) -> Self {
        let entries: Vec<_> = models
            .into_iter()
            .map(|m| Arc::new(Entry::new(m)))
            .collect();
        let by_id = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| (entry.id.to_string(), at))
            .collect();
        let list = list(&entries, created);
        Self {
            entries,
            by_id,
            any,
            list,
        }
    }

    /// The body of `GET /models`.
    pub(crate) fn list(&self) -> Bytes {
        self.list.clone()
    }

    /// The number of models that the list has.
    pub(crate) fn count(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| !entry.model.embeds)
            .count()
    }

    /// The model that a name means; none for the account's default.
    pub(crate) fn find(&self, name: Option<&str>, embeds: bool) -> Result<Arc<Entry>, Fault> {
        let fits = |entry: &&Arc<Entry>| entry.model.embeds == embeds;
        let wanted = match name {
            None | Some("openrouter/auto" | "openrouter/auto-beta") => self
                .entries
                .iter()
                .filter(fits)
                .find(|entry| !entry.model.is_free()),
            Some("openrouter/free") => self
                .entries
                .iter()
                .filter(fits)
                .find(|entry| entry.model.is_free()),
            Some(name) => self
                .by_id
                .get(base(name))
                .map(|at| &self.entries[*at])
                .filter(fits),
        };
        if let Some(entry) = wanted {
            return Ok(Arc::clone(entry));
        }
        let name = name.unwrap_or_default();
        let known = self.by_id.contains_key(base(name));
        if self.any && !known && is_slug(base(name)) {
            return Ok(Arc::new(Entry::new(Model::new(base(name)))));
        }
        Err(Fault::model_not_found(name))
    }
}

/// Without the preset and the routing suffix.
fn base(name: &str) -> &str {
    let name = name.split("@preset/").next().unwrap_or(name);
    ROUTING_SUFFIXES
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}

fn is_slug(name: &str) -> bool {
    matches!(name.split_once('/'), Some((author, slug)) if !author.is_empty() && !slug.is_empty())
}

/// The providers of `entry` that the preferences allow, in the order they are tried.
pub(crate) fn route(entry: &Entry, wanted: &Preferences) -> Result<Vec<usize>, Fault> {
    let providers = &entry.model.providers;
    let named = |names: &Option<Vec<String>>, at: &usize| {
        names
            .iter()
            .flatten()
            .any(|name| providers[*at].answers_to(name))
    };
    let mut allowed: Vec<usize> = (0..providers.len())
        .filter(|at| wanted.only.is_none() || named(&wanted.only, at))
        .filter(|at| !named(&wanted.ignore, at))
        .collect();
    let fallbacks = wanted.allow_fallbacks.unwrap_or(true);
    if let Some(order) = &wanted.order {
        let rank = |at: &usize| {
            order
                .iter()
                .position(|name| providers[*at].answers_to(name))
                .unwrap_or(usize::MAX)
        };
        if !fallbacks {
            allowed.retain(|at| rank(at) != usize::MAX);
        }
        allowed.sort_by_key(rank);
    } else if !fallbacks {
        allowed.truncate(1);
    }
    if allowed.is_empty() {
        let available: Vec<&str> = providers.iter().map(|provider| &*provider.slug).collect();
        let asked = wanted.only.as_ref().or(wanted.order.as_ref());
        let requested: Vec<&str> = asked.into_iter().flatten().map(String::as_str).collect();
        return Err(Fault::no_allowed_providers(
            &entry.id, &available, &requested,
        ));
    }
    Ok(allowed)
}

fn list(entries: &[Arc<Entry>], created: u64) -> Bytes {
    let shown: Vec<Value> = entries
        .iter()
        .map(|entry| &entry.model)
        .filter(|model| !model.embeds)
        .map(|model| {
            json!({
                "id": model.id,
                "canonical_slug": model.id.split(':').next(),
                "name": model.name.as_deref().unwrap_or(&model.id),
                "created": created,
                "description": "A model of the mock.",
                "context_length": model.context_length,
                "architecture": {
                    "modality": "text->text",
                    "input_modalities": ["text"],
                    "output_modalities": ["text"],
                    "tokenizer": "Other",
                    "instruct_type": null,
                },
                "pricing": {
                    "prompt": model.prompt_price.decimal(),
                    "completion": model.completion_price.decimal(),
                    "request": "0",
                    "image": "0",
                },
                "top_provider": {
                    "context_length": model.context_length,
                    "max_completion_tokens": model.max_completion_tokens,
                    "is_moderated": false,
                },
                "per_request_limits": null,
                "supported_parameters": ["max_tokens", "response_format", "tool_choice", "tools"],
                "default_parameters": {},
                "expiration_date": null,
            })
        })
        .collect();
    let total = shown.len();
    let body = json!({"data": shown, "total_count": total, "links": {"next": null}});
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::default_catalog;

    fn catalog(any: bool) -> Catalog {
        Catalog::new(default_catalog(), any, 0)
    }

    #[test]
    fn routing_suffixes_and_aliases_find_their_model() {
        let catalog = catalog(false);
        let id = |name| {
            catalog
                .find(Some(name), false)
                .map(|entry| entry.id.to_string())
        };
        assert_eq!(
            id("openai/gpt-4o-mini:nitro").unwrap(),
            "openai/gpt-4o-mini"
        );
        assert_eq!(id("openrouter/auto").unwrap(), "openai/gpt-4o-mini");
        assert!(id("openrouter/free").unwrap().ends_with(":free"));
        assert_eq!(
            catalog.find(None, false).unwrap().id.as_ref(),
            "openai/gpt-4o-mini"
        );
        assert_eq!(id("acme/fake").unwrap_err().name(), "model_not_found");
        assert!(id("openai/text-embedding-3-small").is_err());
    }

    #[test]
    fn an_open_catalog_serves_any_slug_but_no_bare_word() {
        let catalog = catalog(true);
        assert_eq!(
            catalog.find(Some("acme/fake"), false).unwrap().id.as_ref(),
            "acme/fake"
        );
        assert!(catalog.find(Some("gpt-4o"), false).is_err());
        assert!(
            catalog
                .find(Some("openai/text-embedding-3-small"), false)
                .is_err()
        );
    }

    #[test]
    fn preferences_narrow_and_order_the_providers() {
        let entry = catalog(false)
            .find(Some("openai/gpt-4o-mini"), false)
            .unwrap();
        let names = |wanted: Preferences| {
            route(&entry, &wanted).map(|at| {
                at.into_iter()
                    .map(|i| &*entry.providers[i])
                    .collect::<Vec<_>>()
            })
        };
        let list = |name: &str| Some(vec![name.to_owned()]);
        let none = Preferences::default;
        assert_eq!(names(none()).unwrap(), ["OpenAI", "Azure"]);
        assert_eq!(
            names(Preferences {
                order: list("azure"),
                ..none()
            })
            .unwrap(),
            ["Azure", "OpenAI"]
        );
        assert_eq!(
            names(Preferences {
                ignore: list("OpenAI"),
                ..none()
            })
            .unwrap(),
            ["Azure"]
        );
        let pinned = Preferences {
            order: list("azure"),
            allow_fallbacks: Some(false),
            ..none()
        };
        assert_eq!(names(pinned).unwrap(), ["Azure"]);
        let fault = names(Preferences {
            only: list("groq"),
            ..none()
        })
        .unwrap_err();
        assert_eq!(fault.status(), 404);
    }
}
