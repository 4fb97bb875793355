//! What operators may ask, and say.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::gateway::Shared;
use crate::relay::Outbound;

pub(crate) async fn answer(_: &Arc<Shared>, _: Request<Incoming>, _: String) -> Response<Outbound> {
    Response::new(Outbound::full(bytes::Bytes::new()))
}
