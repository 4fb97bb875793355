//! What all accounts share: the capacity of models, and of providers at models.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::catalog::Entry;
use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::limit::Measure;
use crate::model::Model;
use crate::world::meter::{Limits, Load, Refusal};
use crate::world::{Admission, World};

/// What a call takes up at its model and provider until it ends.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    model: Arc<str>,
    provider: Arc<str>,
}

#[derive(Debug, Default)]
pub(crate) struct Capacity {
    models: HashMap<Arc<str>, Limits>,
    /// By model and provider.
    providers: HashMap<(Arc<str>, Arc<str>), Limits>,
    /// Providers that are full, everywhere or at one model.
    full: Vec<(String, Option<String>)>,
}

impl Capacity {
    pub(crate) fn new(models: &[Model]) -> Self {
        let mut capacity = Self::default();
        for model in models {
            let id: Arc<str> = model.id.as_str().into();
            let limits = Limits::new(&format!("model {id}"), model.limits.clone());
            if !limits.is_empty() {
                capacity.models.insert(Arc::clone(&id), limits);
            }
            for provider in &model.providers {
                let owner = format!("provider {} at {id}", provider.name);
                let limits = Limits::new(&owner, provider.limits.clone());
                if !limits.is_empty() {
                    let at = (Arc::clone(&id), provider.name.as_str().into());
                    capacity.providers.insert(at, limits);
                }
            }
        }
        capacity
    }

    /// Makes a provider full or not.
    pub(crate) fn set_full(&mut self, provider: String, model: Option<String>, full: bool) {
        let at = (provider, model);
        self.full.retain(|known| *known != at);
        if full {
            self.full.push(at);
        }
    }

    fn is_full(&self, provider: &str, model: &str) -> bool {
        self.full
            .iter()
            .any(|(name, at)| name == provider && at.as_deref().is_none_or(|at| at == model))
    }
}

impl World {
    /// Whether an account may use a model at all, and if so, whether its policy wants providers
    /// that keep no data.
    pub(crate) fn is_open_to(&self, account: usize, entry: &Entry) -> Result<bool, Fault> {
        let account = &self.accounts[account];
        let model = &entry.model;
        if let Some(instead) = &model.replaced_by {
            return Err(Fault::model_deprecated(&entry.id, instead));
        }
        if model.unserved {
            return Err(Fault::no_endpoints(&entry.id));
        }
        if model.gated {
            return Err(Fault::free_endpoint_gated_403());
        }
        let closed = account
            .region
            .as_ref()
            .is_some_and(|at| model.closed_to.contains(at));
        if closed {
            return Err(Fault::region_restricted_403(&entry.id));
        }
        Ok(account.zdr)
    }

    /// Whether the guard of a model lets a call pass.
    pub(crate) fn model_has_room(&mut self, entry: &Entry, tokens: u64) -> Result<(), Fault> {
        let now = self.clock.now();
        let Some(limits) = self.capacity.models.get_mut(&entry.id) else {
            return Ok(());
        };
        let load = load(&entry.id, tokens, now);
        limits.check(load).map_err(|refusal| {
            limits.count_refused(load);
            let reset = refusal.reset.map(|at| self.clock.told(at));
            shared_capacity(&entry.id, &refusal, reset).by(refusal.by)
        })
    }

    /// Whether a provider has room for a call of a model.
    pub(crate) fn provider_has_room(
        &mut self,
        entry: &Entry,
        provider: &Arc<str>,
        tokens: u64,
    ) -> Result<(), Fault> {
        let full = || Fault::provider_rate_limited(provider);
        if self.capacity.is_full(provider, &entry.id) {
            return Err(full().by(format!("provider {provider} at {}: full", entry.id)));
        }
        let now = self.clock.now();
        let at = (Arc::clone(&entry.id), Arc::clone(provider));
        let Some(limits) = self.capacity.providers.get_mut(&at) else {
            return Ok(());
        };
        let load = load(&entry.id, tokens, now);
        limits.check(load).map_err(|refusal| {
            limits.count_refused(load);
            full().by(refusal.by)
        })
    }

    /// Takes the room that was found.
    pub(crate) fn take_place(
        &mut self,
        admission: &mut Admission,
        entry: &Entry,
        provider: &Arc<str>,
        tokens: u64,
    ) {
        let now = self.clock.now();
        let at = (Arc::clone(&entry.id), Arc::clone(provider));
        let capacity = &mut self.capacity;
        let of_model = capacity.models.get_mut(&at.0).into_iter();
        let mut taken = false;
        for limits in of_model.chain(capacity.providers.get_mut(&at)) {
            limits.take(load(&entry.id, tokens, now));
            taken = true;
        }
        admission.place = taken.then_some(Place {
            model: at.0,
            provider: at.1,
        });
    }

    /// Gives a place back.
    pub(super) fn leave_place(&mut self, place: &Place, completion_tokens: u64, now: Timestamp) {
        let at = (Arc::clone(&place.model), Arc::clone(&place.provider));
        let capacity = &mut self.capacity;
        let of_model = capacity.models.get_mut(&at.0).into_iter();
        for limits in of_model.chain(capacity.providers.get_mut(&at)) {
            limits.end(&at.0, completion_tokens, now);
        }
    }

    /// What the caller hears when every provider of a model was full.
    pub(crate) fn all_full(&self, entry: &Entry, tried: &[Arc<str>]) -> Fault {
        let hint = self.clock.told_wait(self.rules.capacity_retry_after);
        let tried: Vec<&str> = tried.iter().map(|name| &**name).collect();
        Fault::capacity_exhausted(hint)
            .requested_model(&entry.id)
            .affecting(&tried)
    }
}

fn load(model: &Arc<str>, prompt_tokens: u64, now: Timestamp) -> Load<'_> {
    Load {
        model,
        prompt_tokens,
        now,
    }
}

fn shared_capacity(model: &str, refusal: &Refusal, reset: Option<Timestamp>) -> Fault {
    const DAY: Duration = Duration::from_secs(86_400);
    let name = match refusal.measure {
        Measure::Requests(per) if per >= DAY => "limit_rpd",
        Measure::Requests(_) | Measure::InFlight => "limit_rpm",
        Measure::Tokens(_) => "limit_tpm",
    };
    let id = crate::random::hash(model.as_bytes());
    let slug = model.split(':').next().unwrap_or(model);
    let message = format!(
        "Rate limit exceeded: {name}/{slug}/{:08x}-0000-4000-8000-{:012x}. High demand for \
         {model} on OpenRouter.",
        id >> 32,
        id & 0xffff_ffff_ffff,
    );
    let fault = Fault::shared_capacity().message(message);
    let (false, Some(reset)) = (refusal.hidden, reset) else {
        return fault;
    };
    let stamp = reset.unix_millis().to_string();
    let limit = refusal.limit.to_string();
    let headers = json!({
        "X-RateLimit-Limit": limit,
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": stamp,
    });
    fault
        .metadata("headers", headers)
        .header("x-ratelimit-limit", limit)
        .header("x-ratelimit-remaining", "0")
        .header("x-ratelimit-reset", stamp)
}
