//! Jobs, files and generations: what belongs to the key that has made it.
//!
//! The name of a thing is remembered with its key, in memory. Of one that nobody remembers, since
//! the process began after it, one key of each account is asked in turn, until one knows it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fairkey_client::{AttemptFault, CallErrorKind, Refusal};
use fairkey_core::Candidate;
use fairkey_transport::{Body, TransportError};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use super::answered::{Answered, Call, broken_off};
use super::{Inbound, infer, read, respond};
use fairkey_openrouter::splice::peek;

use crate::gateway::Shared;
use crate::headers::X_FAIRKEY_KEY;
use crate::homes::Home;
use crate::relay::{Outbound, Plain};
use crate::{Failure, Reason};

/// The most of an answer in which a name is looked for.
const ANSWER_BYTES: usize = 4 << 20;
/// The most accounts that are asked for what nobody remembers.
const MOST_ASKED: usize = 16;

#[derive(Deserialize)]
struct Made {
    id: String,
}

/// Passes on what makes something, and remembers whose it is.
pub(super) async fn create(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Incoming,
) -> Result<Response<Outbound>, Failure> {
    let answered = if inbound.is_json() {
        let body = read(&inbound.settings, body).await?;
        // Videos and batches name models, too.
        let peek = peek(&body).ok();
        let model = peek.as_ref().and_then(|peek| peek.model.as_deref());
        inbound.tenant.check_model(model)?;
        let named = model.map(Arc::from);
        inbound
            .report
            .asks(named.as_ref(), false, body.len() as u64);
        let permit = inbound.permit(shared, &body, None)?;
        let request = inbound.upstream(shared, body.clone())?;
        let sent = (shared.client).send_for(request, inbound.options(), None);
        Answered::of(sent.await, Call::new(shared, inbound, permit))
    } else {
        infer::upload(shared, inbound, body).await?
    };
    let passing = match answered {
        Answered::Passes(passing) if passing.response.status().is_success() => passing,
        other => return Ok(other.into_response()),
    };
    let home = passing.home();
    let (parts, body) = passing.into_response().into_parts();
    let Ok(body) = Limited::new(body, ANSWER_BYTES).collect().await else {
        let message = "the answer broke off, or is larger than any such answer; what was asked for \
                       may have been made all the same";
        return Err(Failure::new(Reason::UpstreamFailed, message));
    };
    let body = body.to_bytes();
    if let Ok(Made { id }) = serde_json::from_slice(&body) {
        shared.homes.remember(&id, home);
    }
    Ok(Response::from_parts(parts, Outbound::full(body)))
}

/// Passes on what only the key can serve that has made the thing `name`.
pub(super) async fn owned(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Incoming,
    name: &str,
) -> Result<Response<Outbound>, Failure> {
    let permit = inbound.visit(shared)?;
    let body = read(&inbound.settings, body).await?;
    let home = shared.homes.of(name);
    let is_known = home.is_some();
    // What changes something is asked of one only.
    let is_harmless = matches!(
        inbound.parts.method,
        Method::GET | Method::HEAD | Method::DELETE
    );
    let candidates = candidates(shared, home);
    let mut last = None;
    for home in candidates.into_iter().take(MOST_ASKED) {
        let request = inbound.upstream(shared, Body::full(body.clone()))?;
        let Some(response) = ask(shared, &home, request).await? else {
            continue;
        };
        let is_found = response.status() != StatusCode::NOT_FOUND;
        last = Some(response);
        inbound.report.served_by(&home.key);
        if is_found && !is_known {
            shared.homes.remember(name, home);
        }
        if is_found || is_known || !is_harmless {
            break;
        }
    }
    let response = last.ok_or_else(|| {
        let message = "the key that has made this is gone, and so is its account";
        Failure::new(Reason::NoKey, message)
    })?;
    Ok(response.map(|body| match body {
        Told::Passes(body) => {
            let plain = Plain::new(body, permit, inbound.report.clone());
            Outbound::Plain(Box::new(plain))
        }
        Told::Whole(bytes) => Outbound::full(bytes),
    }))
}

/// Returns the keys that may know a thing: its own and its siblings, or one of each account.
fn candidates(shared: &Shared, home: Option<Home>) -> Vec<Home> {
    let of = |key: Candidate<'_>| Home {
        key: key.id().clone(),
        account: key.account_id().cloned(),
    };
    let pool = shared.client.pool();
    let mut all: Vec<Home> = pool.with_keys(|keys| keys.iter().map(of).collect());
    match home {
        Some(home) => {
            let is_sibling = |it: &Home| it.account.is_some() && it.account == home.account;
            all.retain(|it| it.key == home.key || is_sibling(it));
            all.sort_by_key(|it| it.key != home.key);
        }
        None => {
            let mut seen = Vec::new();
            all.retain(|it| {
                let is_new = it.account.is_none() || !seen.contains(&it.account);
                seen.push(it.account.clone());
                is_new
            });
        }
    }
    all
}

/// The body of an answer of one key.
enum Told {
    Whole(Bytes),
    Passes(Body),
}

/// A body of which something was read before.
struct Rest {
    read: Option<Bytes>,
    body: Body,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        match self.read.take() {
            Some(read) => Poll::Ready(Some(Ok(Frame::data(read)))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }
}

/// Asks one key. `None`: it is gone.
async fn ask(
    shared: &Shared,
    home: &Home,
    request: Request<Body>,
) -> Result<Option<Response<Told>>, Failure> {
    let sent = shared.client.send_by(home.key.as_str(), request).await;
    let (parts, body) = match sent {
        Ok(response) => response.into_parts(),
        Err(error) if error.kind() == CallErrorKind::Request => return Ok(None),
        Err(error) => return Err(Failure::of_call(&error)),
    };
    let body = if parts.status.is_client_error() || parts.status.is_server_error() {
        let (mut body, mut refusal) = (body, Refusal::default());
        refusal.read(&mut body).await;
        let fault = refusal.fault(parts.status, &parts.headers);
        if let Some(failure) = Failure::instead_of(&AttemptFault::from(&fault)) {
            return Err(failure);
        }
        if refusal.is_broken() {
            return Err(broken_off(parts.status));
        }
        if refusal.is_whole() {
            Told::Whole(refusal.into_bytes())
        } else {
            let read = Some(refusal.into_bytes());
            Told::Passes(Body::new(Rest { read, body }))
        }
    } else {
        Told::Passes(body)
    };
    let mut response = respond(parts.status, parts.headers, body);
    if let Ok(key) = home.key.as_str().parse() {
        response.headers_mut().insert(X_FAIRKEY_KEY, key);
    }
    Ok(Some(response))
}
