//! The models that can be asked, and which of them a request means.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::model::{Model, Provider, Task};
use crate::money::Money;

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
    pub(crate) fn new(mut model: Model) -> Self {
        if model.providers.is_empty() && !model.unserved {
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

    /// What a call costs where this one of its providers serves it.
    pub(crate) fn cost(&self, provider: usize, prompt: u64, completion: u64) -> Money {
        match self.model.providers.get(provider) {
            Some(provider) => self.model.cost_at(provider, prompt, completion),
            None => self.model.cost(prompt, completion),
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
            .filter(|entry| entry.model.task == Task::Chat)
            .count()
    }

    /// The model that a name means; none for the account's default.
    pub(crate) fn find(&self, name: Option<&str>, task: Task) -> Result<Arc<Entry>, Fault> {
        let fits = |entry: &&Arc<Entry>| entry.model.task == task;
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

fn list(entries: &[Arc<Entry>], created: u64) -> Bytes {
    let shown: Vec<Value> = entries
        .iter()
        .map(|entry| &entry.model)
        .filter(|model| model.task == Task::Chat)
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
                .find(Some(name), Task::Chat)
                .map(|entry| entry.id.to_string())
        };
        assert_eq!(
            id("openai/gpt-4o-mini:nitro").unwrap(),
            "openai/gpt-4o-mini"
        );
        assert_eq!(id("openrouter/auto").unwrap(), "openai/gpt-4o-mini");
        assert!(id("openrouter/free").unwrap().ends_with(":free"));
        assert_eq!(
            catalog.find(None, Task::Chat).unwrap().id.as_ref(),
            "openai/gpt-4o-mini"
        );
        assert_eq!(id("acme/fake").unwrap_err().name(), "model_not_found");
        assert!(id("openai/text-embedding-3-small").is_err());
    }

    #[test]
    fn an_open_catalog_serves_any_slug_but_no_bare_word() {
        let catalog = catalog(true);
        assert_eq!(
            catalog
                .find(Some("acme/fake"), Task::Chat)
                .unwrap()
                .id
                .as_ref(),
            "acme/fake"
        );
        assert!(catalog.find(Some("gpt-4o"), Task::Chat).is_err());
        assert!(
            catalog
                .find(Some("openai/text-embedding-3-small"), Task::Chat)
                .is_err()
        );
    }
}
