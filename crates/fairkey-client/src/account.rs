//! Calls about keys and accounts, which need no lease.

use std::sync::Arc;

use bytes::Bytes;
use fairkey_core::{ApiKey, Scope};
use fairkey_openrouter::Fault;
use fairkey_transport::{Body, StreamedBody};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};

use crate::authorization::{authorize, bearer};
use crate::core::Core;
use crate::error::{CallError, CallErrorKind};
use crate::{backoff, network, request};

/// The most that such an answer has; real ones have a few kilobytes.
const ANSWER_BYTES: usize = 4 << 20;

/// Makes a `GET` with a certain key, once.
pub(crate) async fn ask_once(core: &Core, path: &str, secret: &ApiKey) -> Result<Bytes, Fault> {
    let uri = core.base.join(path).map_err(Fault::local)?;
    let header = bearer(secret).map_err(|_| Fault::local("the secret is no header"))?;
    answer(core, request(core, uri, header)).await
}

fn request(core: &Core, uri: Uri, header: HeaderValue) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri;
    *request.headers_mut() = request::headers(HeaderMap::new(), &core.headers);
    request.extensions_mut().insert(core.deadlines);
    authorize(request.headers_mut(), header);
    request
}

/// Makes a `GET` with a certain key. Tried again only where the network failed, as often as any
/// call would be.
pub(crate) async fn get(core: &Arc<Core>, path: &str, secret: &ApiKey) -> Result<Bytes, CallError> {
    let uri = (core.base.join(path))
        .map_err(|message| CallError::new(CallErrorKind::Request, message))?;
    let header = bearer(secret).map_err(|_| {
        let message = "the key holds characters that no header may have: is it a key?";
        CallError::new(CallErrorKind::Request, message)
    })?;
    let mut chance = core.seeds.draw();
    let mut retry = 0;
    loop {
        let fault = match answer(core, request(core, uri.clone(), header.clone())).await {
            Ok(body) => return Ok(body),
            Err(fault) => fault,
        };
        if fault.scope() != Scope::Network || retry + 1 >= core.retry.attempts {
            let error = CallError::new(CallErrorKind::Fault, fault.to_string());
            return Err(error.with_fault(Some(fault)));
        }
        tokio::time::sleep(backoff::wait(&core.retry, retry, None, chance.unit())).await;
        retry += 1;
    }
}

/// Passes a request on with a certain key, once.
pub(crate) async fn pass(
    core: &Core,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
    secret: &ApiKey,
) -> Result<Response<Body>, CallError> {
    let header = bearer(secret).map_err(|_| {
        let message = "the key holds characters that no header may have: is it a key?";
        CallError::new(CallErrorKind::Request, message)
    })?;
    let mut request = Request::new(StreamedBody::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request.extensions_mut().insert(core.deadlines);
    authorize(request.headers_mut(), header);
    core.transport
        .send_streamed(request)
        .await
        .map_err(|error| {
            let fault = network::fault(&error, &core.deadlines, &core.deadlines);
            CallError::new(CallErrorKind::Fault, fault.to_string())
                .with_fault(Some(fault))
                .running(network::may_run(&error))
        })
}

async fn answer(core: &Core, request: Request<Bytes>) -> Result<Bytes, Fault> {
    let fault = |error| network::fault(&error, &core.deadlines, &core.deadlines);
    let (parts, body) = core
        .transport
        .send(request)
        .await
        .map_err(fault)?
        .into_parts();
    let body = body.collect_bounded(ANSWER_BYTES).await.map_err(fault)?;
    if parts.status.is_success() {
        match Fault::in_body(&body) {
            None => Ok(body),
            Some(fault) => Err(fault),
        }
    } else {
        Err(Fault::from_response(parts.status, &parts.headers, &body))
    }
}
