//! The models that can be asked, and which of them a request means.

mod query;
mod shape;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::model::{Model, Provider, Task};
use crate::money::Money;
use crate::route::Query;
use query::Page;

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
    /// Seconds since the epoch; models that were declared earlier are newer.
    created: u64,
    /// The list that nobody narrowed.
    list: Bytes,
}

/// How much older each model is than the one before it, in seconds.
const APART: u64 = 86_400;

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
        let mut catalog = Self {
            entries,
            by_id,
            any,
            created,
            list: Bytes::new(),
        };
        let all = catalog.page(&Query::default(), "/models", |_| true);
        catalog.list = all.unwrap_or_default();
        catalog
    }

    /// The body of `GET /models`.
    pub(crate) fn list(&self, query: &Query) -> Result<Bytes, Fault> {
        if query.is_empty() {
            return Ok(self.list.clone());
        }
        self.page(query, "/models", |_| true)
    }

    /// The body of `GET /models/user`: what an account with this policy may use.
    pub(crate) fn list_for(
        &self,
        query: &Query,
        zdr: bool,
        region: Option<&str>,
    ) -> Result<Bytes, Fault> {
        self.page(query, "/models/user", |model| {
            let closed = region.is_some_and(|at| model.closed_to.iter().any(|known| known == at));
            !closed && (!zdr || model.providers.iter().any(|provider| provider.zdr))
        })
    }

    /// The body of `GET /embeddings/models`.
    pub(crate) fn embedders(&self) -> Bytes {
        let shown: Vec<Value> = self.shown(|model| model.task == Task::Embed).collect();
        Bytes::from(json!({ "data": shown }).to_string())
    }

    /// The body of `GET /models/count`.
    pub(crate) fn count(&self, query: &Query) -> Result<Value, Fault> {
        let count = query::select(&self.entries, query)?.len();
        Ok(json!({"data": {"count": count}}))
    }

    /// The body of `GET /model/{author}/{slug}`.
    pub(crate) fn model(&self, name: &str) -> Result<Value, Fault> {
        let (entry, created) = self.named(name)?;
        Ok(json!({"data": shape::model(&entry.model, created)}))
    }

    /// The body of `GET /models/{author}/{slug}/endpoints`.
    pub(crate) fn endpoints(&self, name: &str, has_key: bool) -> Result<Value, Fault> {
        let (entry, created) = self.named(name)?;
        Ok(json!({"data": shape::with_endpoints(&entry, created, has_key)}))
    }

    /// The body of `GET /endpoints/zdr`.
    pub(crate) fn zdr(&self, has_key: bool) -> Value {
        let models = self.entries.iter().map(|entry| &entry.model);
        let all = models.flat_map(|model| model.providers.iter().map(move |at| (model, at)));
        let shown: Vec<Value> = all
            .filter(|(_, provider)| provider.zdr)
            .map(|(model, provider)| shape::endpoint(model, provider, has_key))
            .collect();
        json!({ "data": shown })
    }

    /// The body of `GET /providers`, by slug.
    pub(crate) fn providers(&self) -> Value {
        let all = self.entries.iter().flat_map(|entry| &entry.model.providers);
        let by_slug: BTreeMap<&str, &Provider> = all
            .map(|provider| (provider.base_slug(), provider))
            .collect();
        let shown: Vec<Value> = by_slug.into_values().map(shape::provider).collect();
        json!({ "data": shown })
    }

    /// A model of the catalog by its name, and when it was created.
    fn named(&self, name: &str) -> Result<(Arc<Entry>, u64), Fault> {
        if let Some(at) = self.by_id.get(base(name)) {
            return Ok((Arc::clone(&self.entries[*at]), self.created_at(*at)));
        }
        if self.any && is_slug(base(name)) {
            return Ok((Arc::new(Entry::new(Model::new(base(name)))), self.created));
        }
        Err(Fault::not_found(format!("Model {name} not found")))
    }

    fn page(
        &self,
        query: &Query,
        path: &str,
        allowed: impl Fn(&Model) -> bool,
    ) -> Result<Bytes, Fault> {
        let Page { offset, limit } = Page::of(query)?;
        let mut found = query::select(&self.entries, query)?;
        found.retain(|at| allowed(&self.entries[*at].model));
        let total = found.len();
        let shown: Vec<Value> = found
            .into_iter()
            .skip(offset)
            .take(limit.unwrap_or(usize::MAX))
            .map(|at| shape::model(&self.entries[at].model, self.created_at(at)))
            .collect();
        let end = offset.saturating_add(shown.len());
        let more = limit.filter(|_| end < total && !shown.is_empty());
        let next = more.map(|limit| {
            let rest = query.without(&["offset", "limit"]);
            format!("/api/v1{path}?offset={end}&limit={limit}{rest}")
        });
        let body = json!({"data": shown, "total_count": total, "links": {"next": next}});
        Ok(Bytes::from(body.to_string()))
    }

    fn shown(&self, wanted: impl Fn(&Model) -> bool) -> impl Iterator<Item = Value> {
        let all = self.entries.iter().enumerate();
        all.filter(move |(_, entry)| wanted(&entry.model))
            .map(|(at, entry)| shape::model(&entry.model, self.created_at(at)))
    }

    fn created_at(&self, at: usize) -> u64 {
        self.created.saturating_sub(at as u64 * APART)
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

pub(crate) fn is_slug(name: &str) -> bool {
    matches!(name.split_once('/'), Some((author, slug)) if !author.is_empty() && !slug.is_empty())
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
