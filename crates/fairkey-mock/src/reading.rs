//! Endpoints that run no model: a key about itself, administration, the catalog.

use crate::batch;
use crate::fault::Fault;
use crate::management;
use crate::route::{Query, Route};
use crate::server::Shared;
use bytes::Bytes;

/// The status and the JSON that such a call is answered with. `key` is there unless the endpoint
/// is public.
pub(crate) fn answer(
    shared: &Shared,
    route: &Route,
    key: Option<usize>,
    query: &Query,
    body: &[u8],
) -> Result<(u16, Bytes), Fault> {
    let catalog = &shared.catalog;
    let json = match (route, key) {
        (Route::Models, _) => return Ok((200, catalog.list(query)?)),
        (Route::ModelsOfUser, Some(key)) => {
            let (zdr, region) = shared.world().policy(key);
            return Ok((200, catalog.list_for(query, zdr, region.as_deref())?));
        }
        (Route::EmbeddingModels, _) => return Ok((200, catalog.embedders())),
        (Route::ModelCount, _) => catalog.count(query)?,
        (Route::Model(name), _) => catalog.model(name)?,
        (Route::Endpoints(name), key) => catalog.endpoints(name, key.is_some())?,
        (Route::Providers, _) => catalog.providers(),
        (Route::ZdrEndpoints, key) => catalog.zdr(key.is_some()),
        (Route::Key, Some(key)) => shared.world().key_info(key),
        (Route::Credits, Some(key)) => shared.world().credits(key)?,
        (Route::Keys(call), Some(key)) => {
            let (status, json) = management::answer(&mut shared.world(), key, call, query, body)?;
            return Ok((status, json.to_string().into()));
        }
        (Route::CreateBatch, Some(key)) => {
            let (id, zdr) = {
                let mut world = shared.world();
                world.may_batch(key)?;
                (world.next_batch_id(), world.policy(key).0)
            };
            let work = batch::work(shared, body, &id, zdr)?;
            let json = shared.world().add_batch(key, id, work);
            return Ok((202, json.to_string().into()));
        }
        (Route::Batch(id), Some(key)) => shared.world().batch(key, id)?,
        (Route::Generation, Some(key)) => match query.get("id") {
            Some(id) => shared.world().generation(key, id)?,
            None => return Err(Fault::bad_request("Input required: specify \"id\"")),
        },
        (Route::Inference(_) | Route::Unknown, _) | (_, None) => {
            return Err(Fault::unknown_route());
        }
    };
    Ok((200, json.to_string().into()))
}
