//! From a request to an answer: which endpoint it means, and what its script makes of it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use crate::ask::Ask;
use crate::body::{BrokenOff, MockBody};
use crate::cache::CacheWish;
use crate::call::Call;
use crate::connection::Link;
use crate::fault::{Fault, Place};
use crate::inference::{self, Dispatch};
use crate::log::EventKind;
use crate::reading;
use crate::reply::{Raw, ReplyKind};
use crate::route::Route;
use crate::script::{Break, Spoil};
use crate::server::Shared;
use crate::wire::messages;
use crate::world::Credential;

/// Answers one request. An error breaks the connection off (of HTTP/2, the stream).
pub(crate) async fn answer(
    shared: Arc<Shared>,
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Response<MockBody>, BrokenOff> {
    let (head, body) = request.into_parts();
    // One stream of an HTTP/2 connection breaks alone.
    let link = (head.version < Version::HTTP_2).then_some(link);
    let (route, path) = Route::of(&head.method, head.uri.path());
    let body = match Limited::new(body, shared.max_body).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Fault::payload_too_large())
        }
        // The client left in the middle of its request.
        Err(_) => return Err(BrokenOff),
    };
    let ask = match (&route, &body) {
        (Route::Inference(shape), Ok(body)) => Some(Ask::read(body, *shape)),
        _ => None,
    };
    let asked = ask.as_ref().and_then(|ask| ask.as_ref().ok());
    let model = asked.and_then(|ask| ask.models.first());
    let stream = asked.is_some_and(|ask| ask.stream);
    let credential = credential(&head);
    let begun = {
        let model = model.map(String::as_str);
        let inference = route.is_call_to_a_model();
        shared.world().begin(credential, model, &path, inference)
    };
    let received = EventKind::Received {
        method: method_name(&head.method),
        path,
        stream,
    };
    let model = model.map(|model| model.as_str().into());
    let mut call = Call::received(&shared, begun.who, model, received);
    if route.speaks_messages() {
        call.speak_messages();
    }
    let mut spoil = begun.spoil.unwrap_or_default();
    if !spoil.delay.is_zero() {
        tokio::time::sleep(spoil.delay).await;
    }
    if let Some(how) = spoil.before_head {
        return break_off(call, how, link.as_ref()).await;
    }
    let mut forced = None;
    match spoil.reply.take().map(|reply| reply.0) {
        // A failure inside a 200 is a provider's: the call must be let in first.
        Some(ReplyKind::Fault(fault)) if route.infers() && fault.is_in_200() => {
            forced = Some(*fault);
        }
        Some(ReplyKind::Fault(fault)) => {
            let user_id = begun.key.map(|key| shared.world().user_id(key));
            let status = if fault.is_in_200() {
                200
            } else {
                fault.status()
            };
            call.fault(status, fault.name());
            let mut response =
                fault_response(&shared, &fault, user_id.as_deref(), route.speaks_messages());
            *response.status_mut() = status_code(status);
            return Ok(response);
        }
        Some(ReplyKind::Raw(raw)) => {
            return Ok(raw_response(&shared, raw, &spoil, link.as_ref(), call));
        }
        None => {}
    }
    let body = match body {
        Ok(body) => body,
        Err(fault) => return Ok(refuse(&shared, call, &fault, None)),
    };
    let authenticated = {
        let world = shared.world();
        world
            .authenticate(credential, begun.key)
            .map(|key| (key, world.user_id(key)))
    };
    let key = match authenticated {
        Ok(key) => Some(key),
        Err(_) if route == Route::Unknown => {
            return Ok(refuse(&shared, call, &Fault::unknown_route(), None));
        }
        Err(_) if route.is_public() => None,
        Err(fault) => return Ok(refuse(&shared, call, &fault, None)),
    };
    let user_id = key.as_ref().map(|(_, user_id)| Arc::clone(user_id));
    let found = match (route, key) {
        (Route::Inference(shape), Some((key, user_id))) => {
            let ask = ask.expect("an inference body was read above");
            let dispatch = Dispatch {
                shared: &shared,
                link: link.as_ref(),
                key,
                user_id,
                shape,
                body: &body,
                body_hash: crate::random::hash(&body),
                spoil,
                forced,
                wants_metadata: wants_metadata(&head),
                cache: CacheWish::of(&head.headers),
            };
            return inference::answer(dispatch, ask, call).await;
        }
        (route, key) => reading::answer(&shared, &route, key.map(|(key, _)| key), &head, &body),
    };
    match found {
        Ok(mut found) => {
            let status = found.status;
            let body = match (found.pieces.pop(), found.pieces.is_empty()) {
                (Some(piece), true) => MockBody::whole(piece, status, call),
                (last, _) => MockBody::pieces(found.pieces.into_iter().chain(last), status, call),
            };
            let body = body.spoiled(&spoil, link.as_ref());
            let mut response = response(&shared, status, found.content_type, body);
            let id = found.generation.as_deref().map(HeaderValue::from_str);
            if let Some(Ok(id)) = id {
                let name = HeaderName::from_static("x-generation-id");
                response.headers_mut().insert(name, id);
            }
            Ok(response)
        }
        Err(fault) => Ok(refuse(&shared, call, &fault, user_id.as_deref())),
    }
}

/// Ends a call before its head.
pub(crate) async fn break_off(
    mut call: Call,
    how: Break,
    link: Option<&Arc<Link>>,
) -> Result<Response<MockBody>, BrokenOff> {
    if how == Break::Stall {
        call.stalled();
        // Until the client leaves, and this future is dropped with the call in it.
        return std::future::pending().await;
    }
    if let (Break::Reset, Some(link)) = (how, link) {
        link.reset_on_close();
    }
    call.broken(how);
    Err(BrokenOff)
}

/// Answers with a refusal by the mock's rules.
pub(crate) fn refuse(
    shared: &Shared,
    mut call: Call,
    fault: &Fault,
    user_id: Option<&str>,
) -> Response<MockBody> {
    call.refuse(fault);
    if shared.hints_in_headers {
        return fault_response(shared, fault, user_id, call.speaks_messages());
    }
    let fault = fault.clone().without_headers();
    fault_response(shared, &fault, user_id, call.speaks_messages())
}

/// A fault as an HTTP error.
pub(crate) fn fault_response(
    shared: &Shared,
    fault: &Fault,
    user_id: Option<&str>,
    speaks_messages: bool,
) -> Response<MockBody> {
    let (content_type, body) = match fault.place() {
        Place::Page { content_type, body } => (*content_type, Bytes::from(body.clone())),
        _ if speaks_messages => (
            "application/json",
            messages::error(fault, None).to_string().into(),
        ),
        _ => (
            "application/json",
            fault.envelope(user_id).to_string().into(),
        ),
    };
    let mut response = response(shared, fault.status(), content_type, MockBody::error(body));
    add_headers(&mut response, fault.headers());
    response
}

pub(crate) fn json_response(shared: &Shared, body: MockBody) -> Response<MockBody> {
    response(shared, 200, "application/json", body)
}

pub(crate) fn response(
    shared: &Shared,
    status: u16,
    content_type: &'static str,
    body: MockBody,
) -> Response<MockBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status_code(status);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::SERVER, HeaderValue::from_static("cloudflare"));
    if let Ok(date) = HeaderValue::from_str(&shared.clock.told(shared.clock.now()).http_date()) {
        headers.insert(header::DATE, date);
    }
    response
}

fn raw_response(
    shared: &Shared,
    raw: Raw,
    spoil: &Spoil,
    link: Option<&Arc<Link>>,
    mut call: Call,
) -> Response<MockBody> {
    call.scripted(raw.status);
    let bodyless = matches!(raw.status, 204 | 304) || raw.pieces.iter().all(Bytes::is_empty);
    if bodyless && spoil.after_chunks.is_none() {
        // Nobody will ask for a body that is not there.
        call.finish(raw.status);
    }
    let is_stream = raw
        .headers
        .iter()
        .any(|(_, value)| value.starts_with("text/event-stream"));
    let body = if is_stream || raw.pieces.len() > 1 {
        MockBody::pieces(raw.pieces, raw.status, call)
    } else {
        MockBody::whole(
            raw.pieces.into_iter().next().unwrap_or_default(),
            raw.status,
            call,
        )
    };
    let mut response = Response::new(body.spoiled(spoil, link));
    *response.status_mut() = status_code(raw.status);
    if let Ok(date) = HeaderValue::from_str(&shared.clock.told(shared.clock.now()).http_date()) {
        response.headers_mut().insert(header::DATE, date);
    }
    add_headers(&mut response, &raw.headers);
    response
}

/// Headers that are none are left out.
fn add_headers(response: &mut Response<MockBody>, headers: &[(String, String)]) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            response.headers_mut().append(name, value);
        }
    }
}

/// 1xx and what is no status become 500: hyper refuses to send them as answers.
fn status_code(status: u16) -> StatusCode {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if code.is_informational() {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        code
    }
}

fn credential(head: &Parts) -> Credential<'_> {
    let Some(value) = head.headers.get(header::AUTHORIZATION) else {
        return Credential::Missing;
    };
    let bearer = value.to_str().ok().and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        let secret = secret.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then_some(secret)
    });
    bearer.map_or(Credential::Malformed, Credential::Bearer)
}

fn wants_metadata(head: &Parts) -> bool {
    [
        "x-openrouter-metadata",
        "x-openrouter-experimental-metadata",
    ]
    .iter()
    .any(|name| {
        head.headers
            .get(*name)
            .is_some_and(|value| value == "enabled")
    })
}

fn method_name(method: &Method) -> Cow<'static, str> {
    match *method {
        Method::GET => "GET".into(),
        Method::POST => "POST".into(),
        _ => method.as_str().to_owned().into(),
    }
}
