//! Endpoints that run no model by the rules of inference: a key about itself, administration, the
//! catalog, batches, media.

use bytes::Bytes;
use http::request::Parts;
use serde_json::Value;

use crate::batch;
use crate::fault::Fault;
use crate::route::{Query, Route};
use crate::server::Shared;
use crate::{management, media};

/// What such a call is answered with.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// One, or the events of a stream.
    pub(crate) pieces: Vec<Bytes>,
    /// The ID of the generation, where something was generated.
    pub(crate) generation: Option<String>,
}

impl Found {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", vec![body.to_string().into()])
    }

    pub(crate) fn bytes(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self::new(200, content_type, vec![bytes.into()])
    }

    pub(crate) fn events(events: Vec<Bytes>) -> Self {
        Self::new(200, "text/event-stream", events)
    }

    /// With the ID of the generation in its head.
    pub(crate) fn generated(mut self, id: String) -> Self {
        self.generation = Some(id);
        self
    }

    fn new(status: u16, content_type: &'static str, pieces: Vec<Bytes>) -> Self {
        Self {
            status,
            content_type,
            pieces,
            generation: None,
        }
    }
}

/// Answers such a call. `key` is there unless the endpoint is public.
pub(crate) fn answer(
    shared: &Shared,
    route: &Route,
    key: Option<usize>,
    head: &Parts,
    body: &Bytes,
) -> Result<Found, Fault> {
    let query = &Query::of(head);
    let listed = |bytes: Bytes| Found::bytes("application/json", bytes);
    let catalog = &shared.catalog;
    let json = match (route, key) {
        (Route::Models, _) => return Ok(listed(catalog.list(query)?)),
        (Route::ModelsOfUser, Some(key)) => {
            let (zdr, region) = shared.world().policy(key);
            return Ok(listed(catalog.list_for(query, zdr, region.as_deref())?));
        }
        (Route::EmbeddingModels, _) => return Ok(listed(catalog.embedders())),
        (Route::ModelCount, _) => catalog.count(query)?,
        (Route::Model(name), _) => catalog.model(name)?,
        (Route::Endpoints(name), key) => catalog.endpoints(name, key.is_some())?,
        (Route::Providers, _) => catalog.providers(),
        (Route::ZdrEndpoints, key) => catalog.zdr(key.is_some()),
        (Route::Key, Some(key)) => shared.world().key_info(key),
        (Route::Credits, Some(key)) => shared.world().credits(key)?,
        (Route::Keys(call), Some(key)) => {
            let (status, json) = management::answer(&mut shared.world(), key, call, query, body)?;
            return Ok(Found::json(status, &json));
        }
        (Route::CreateBatch, Some(key)) => {
            let (id, zdr) = {
                let mut world = shared.world();
                world.may_spend(key)?;
                (world.next_batch_id(), world.policy(key).0)
            };
            let plan = || shared.world().next_plan();
            let (work, plan) = batch::work(shared, body, &id, zdr, plan)?;
            let json = shared.world().add_batch(key, id, work, plan);
            return Ok(Found::json(202, &json));
        }
        (Route::Batch(id), Some(key)) => shared.world().batch(key, id)?,
        (Route::Generation, Some(key)) => match query.get("id") {
            Some(id) => shared.world().generation(key, id)?,
            None => return Err(Fault::bad_request("Input required: specify \"id\"")),
        },
        (Route::Media(call), Some(key)) => return media::answer(shared, call, key, head, body),
        (Route::Inference(_) | Route::Unknown, _) | (_, None) => {
            return Err(Fault::unknown_route());
        }
    };
    Ok(Found::json(200, &json))
}
