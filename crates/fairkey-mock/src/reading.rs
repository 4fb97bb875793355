//! Endpoints that run no model: a key about itself, administration, the catalog.

use bytes::Bytes;
use serde_json::json;

use crate::fault::Fault;
use crate::management;
use crate::route::{Query, Route};
use crate::server::Shared;

/// The status and the JSON that such a call is answered with. `key` is there unless the endpoint
/// is public.
pub(crate) fn answer(
    shared: &Shared,
    route: &Route,
    key: Option<usize>,
    query: &Query,
    body: &[u8],
) -> Result<(u16, Bytes), Fault> {
    let json = match (route, key) {
        (Route::Models, _) => return Ok((200, shared.catalog.list())),
        (Route::ModelCount, _) => json!({"data": {"count": shared.catalog.count()}}),
        (Route::Key, Some(key)) => shared.world().key_info(key),
        (Route::Credits, Some(key)) => shared.world().credits(key)?,
        (Route::Keys(call), Some(key)) => {
            let (status, json) = management::answer(&mut shared.world(), key, call, query, body)?;
            return Ok((status, json.to_string().into()));
        }
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
