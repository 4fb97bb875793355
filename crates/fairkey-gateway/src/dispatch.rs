//! One request, from its head to its answer.
//!
//! Every path goes through here, so that nothing is looked at for some of them and forgotten for
//! others: what the path is, then who asks, then how it is treated.

mod answered;
mod ask;
mod infer;
mod manage;
mod owned;
mod upload;

use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{CallOptions, MeasuredBody};
use fairkey_core::{Class, Cost};
use fairkey_openrouter::media;
use fairkey_transport::collect_bounded;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::endpoint::{Endpoint, Treatment};
use crate::gateway::Shared;
use crate::guard::Cors;
use crate::headers::{self, X_FAIRKEY_REQUEST_ID};
use crate::relay::Outbound;
use crate::report::Report;
use crate::server::Peer;
use crate::{
    Admitted, Failure, Format, MetricsText, Operation, Permit, Reason, ServerLimits, Settings,
    Tenant,
};

/// One request, as far as it is known by its head.
#[derive(Debug)]
struct Inbound {
    /// Its name, here and in logs.
    id: Arc<str>,
    endpoint: Endpoint,
    parts: Parts,
    /// Who asks.
    tenant: Arc<Tenant>,
    /// How urgent it is.
    class: Class,
    /// Those of when it came, to its end.
    settings: Arc<Settings>,
    report: Report,
}

impl Inbound {
    fn operation(&self) -> Operation {
        self.endpoint.operation
    }

    fn format(&self) -> Format {
        self.endpoint.format()
    }

    /// Returns what every call of this caller asks of the pool.
    fn options(&self) -> CallOptions {
        CallOptions {
            tenant: Some(self.tenant.queue().clone()),
            class: self.class,
            only: self.tenant.only().cloned(),
            ..CallOptions::default()
        }
    }

    /// Takes what the call is expected to cost out of its tenant's limits; looks into `body` only
    /// where there are such limits, and nobody has `measured` it.
    fn permit(
        &self,
        shared: &Shared,
        body: &[u8],
        measured: Option<&MeasuredBody>,
    ) -> Result<Permit, Failure> {
        let limits = &self.tenant.config().limits;
        let cost = if limits.tokens.is_some() || !limits.money.is_empty() {
            let client = &shared.client;
            let estimate = match measured {
                Some(measured) => client.estimate_measured(measured),
                None => client.estimate(self.endpoint.target.below(), body),
            };
            estimate.cost()
        } else {
            Cost::ONE
        };
        let now = shared.client.pool().now();
        let permit = self.tenant.admit(cost, now, shared.wall.since_epoch())?;
        Ok(match &shared.spend {
            Some(store) => permit.recorded_by(store),
            None => permit,
        })
    }

    /// Takes a place, and a request, out of its tenant's limits, for a call that costs nothing.
    fn visit(&self, shared: &Shared) -> Result<Permit, Failure> {
        let now = shared.client.pool().now();
        self.tenant.admit_free(now, shared.wall.since_epoch())
    }

    /// Returns whether the body is one that is read before it is sent.
    fn is_json(&self) -> bool {
        media::is_json(&self.parts.headers)
    }

    /// Returns whether the body can be looked into.
    fn is_plain(&self) -> bool {
        media::is_plain(&self.parts.headers)
    }

    /// Makes the request of a body for the client: headers that travel, and where it goes.
    fn upstream<B>(&self, shared: &Shared, body: B) -> Result<Request<B>, Failure> {
        let uri = self
            .endpoint
            .target
            .uri(&shared.base_url, self.parts.uri.query())
            .and_then(|uri| uri.parse().ok())
            .ok_or_else(|| no_such_path(&self.parts))?;
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = uri;
        let is_read = self.endpoint.operation.is_inference();
        *request.headers_mut() = headers::upstream(&self.parts.headers, is_read);
        Ok(request)
    }
}

/// An answer on its way: in a box, so that a connection needs no room for it between requests.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<Outbound>> + Send>>;

/// Answers a request. Whatever happens, there is an answer.
///
/// What needs no waiting is done at once, so that nothing of it is kept while the call is served.
pub(crate) fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    _peer: Peer,
    id: &Arc<str>,
) -> Answering {
    let (parts, body) = request.into_parts();
    match begin(&shared, parts, id) {
        Ok((inbound, cors)) => Box::pin(serve(shared, inbound, body, cors)),
        Err(response) => Box::pin(ready(named(*response, id))),
    }
}

/// A request that is to be served, or else its answer.
type Begun = Result<(Box<Inbound>, Option<Cors>), Box<Response<Outbound>>>;

/// Looks at a request as far as its head says it all: it is to be served, or this is the answer.
fn begin(shared: &Shared, parts: Parts, id: &Arc<str>) -> Begun {
    let path = parts.uri.path();
    let endpoint = Endpoint::of(&parts.method, path, parts.uri.query());
    if endpoint.is_none() {
        match path {
            "/healthz" => return Err(Box::new(health())),
            "/readyz" => return Err(Box::new(readiness(shared))),
            "/metrics" if shared.settings().metrics => {
                return Err(Box::new(metrics(shared, &parts, id)));
            }
            _ => {}
        }
    }
    let report = shared.reports.open(Arc::clone(id), &parts);
    if !shared.lifecycle.is_open() {
        let response = refuse(endpoint, &parts, id);
        return Err(Box::new(told(response, &report, None)));
    }
    let settings = shared.settings();
    let format = endpoint.as_ref().map_or(Format::Chat, |it| it.format());
    match admit(shared, &settings.limits, &parts) {
        Err((failure, closes)) => {
            let mut response = failed(&failure, format, id);
            if closes && parts.version < Version::HTTP_2 {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Err(Box::new(told(response, &report, None)))
        }
        Ok(Admitted::Preflight(response)) => {
            let response = response.map(Outbound::full);
            Err(Box::new(told(response, &report, None)))
        }
        Ok(Admitted::Request(cors)) => {
            match enter(shared, settings, endpoint, parts, id, &report) {
                Ok(inbound) => Ok((Box::new(inbound), cors)),
                Err(failure) => {
                    let response = failed(&failure, format, id);
                    Err(Box::new(told(response, &report, cors)))
                }
            }
        }
    }
}

/// Serves a call that may be made.
async fn serve(
    shared: Arc<Shared>,
    inbound: Box<Inbound>,
    body: Incoming,
    cors: Option<Cors>,
) -> Response<Outbound> {
    let response = match treat(&shared, &inbound, body).await {
        Ok(response) => response,
        Err(failure) => failed(&failure, inbound.format(), &inbound.id),
    };
    named(told(response, &inbound.report, cors), &inbound.id)
}

/// Books what a caller is told.
fn told(
    mut response: Response<Outbound>,
    report: &Report,
    cors: Option<Cors>,
) -> Response<Outbound> {
    let reason = response.extensions_mut().remove::<Reason>();
    let bytes = response.body().size_hint().exact();
    report.answered(response.status().as_u16(), reason, bytes);
    if let Some(cors) = cors {
        cors.apply(response.headers_mut());
    }
    response
}

/// Tells the caller the name of the request.
fn named(mut response: Response<Outbound>, id: &str) -> Response<Outbound> {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(X_FAIRKEY_REQUEST_ID, id);
    }
    response
}

/// Says what is counted, to whoever may reach the listener at all.
fn metrics(shared: &Shared, parts: &Parts, id: &str) -> Response<Outbound> {
    match shared.guard.admit(parts) {
        Err(failure) => failed(&failure, Format::Chat, id),
        // Prometheus is no web page: none may read it, whatever its origin.
        Ok(Admitted::Preflight(_) | Admitted::Request(Some(_))) => {
            let message = "metrics are not for web pages";
            failed(
                &Failure::new(Reason::ForeignOrigin, message),
                Format::Chat,
                id,
            )
        }
        Ok(Admitted::Request(None)) => {
            let text = crate::metrics::now(shared);
            let mut response = health().map(|_| Outbound::full(text.into()));
            let media = HeaderValue::from_static(MetricsText::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, media);
            response
        }
    }
}

/// Looks at a head before anything is made of it. The flag says whether where its body ends is in
/// doubt, so that nothing may follow it.
fn admit(
    shared: &Shared,
    limits: &ServerLimits,
    parts: &Parts,
) -> Result<Admitted, (Failure, bool)> {
    limits
        .check_head(parts)
        .map_err(|failure| (failure, true))?;
    shared
        .guard
        .admit(parts)
        .map_err(|failure| (failure, false))
}

/// Looks at who asks, and for what: whether the path is one, and its caller may use it. Apart from
/// what follows, so that nothing of it is kept while the call is served.
fn enter(
    shared: &Shared,
    settings: Arc<Settings>,
    endpoint: Option<Endpoint>,
    parts: Parts,
    id: &Arc<str>,
    report: &Report,
) -> Result<Inbound, Failure> {
    // Who is unknown does not hear which paths there are.
    let tenant = Arc::clone(shared.tenants().authenticate(&parts.headers)?);
    let operation = endpoint
        .as_ref()
        .map_or(Operation::Other, |it| it.operation);
    report.of(operation, &tenant);
    let Some(endpoint) = endpoint else {
        return Err(no_such_path(&parts));
    };
    tenant.check_route(endpoint.operation.as_str())?;
    let class = headers::class(&parts.headers, tenant.class())?;
    Ok(Inbound {
        id: Arc::clone(id),
        endpoint,
        parts,
        tenant,
        class,
        settings,
        report: report.clone(),
    })
}

/// Passes a request on. What few requests need is in boxes, so that the others need no room for it.
async fn treat(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Incoming,
) -> Result<Response<Outbound>, Failure> {
    if let Some(allow) = inbound.endpoint.allow {
        return Ok(bad_method(inbound, allow));
    }
    match &inbound.endpoint.treatment {
        Treatment::Pool => {}
        Treatment::Create => return Box::pin(owned::create(shared, inbound, body)).await,
        Treatment::Owned(name) => {
            return Box::pin(owned::owned(shared, inbound, body, name)).await;
        }
        Treatment::Cached => {
            let catalogue = &shared.catalogue;
            let answer = catalogue.answer(shared, &inbound.parts, &inbound.endpoint);
            return Box::pin(answer).await;
        }
        Treatment::Manage => return Box::pin(manage::manage(shared, inbound, body)).await,
        Treatment::Unknown => {
            let passes = inbound.settings.pass_unknown_paths;
            if !passes || !inbound.endpoint.target.is_plain() {
                return Err(no_such_path(&inbound.parts));
            }
        }
    }
    infer::infer(shared, inbound, body).await
}

fn bad_method(inbound: &Inbound, allow: &'static str) -> Response<Outbound> {
    let message = format!(
        "{} takes {allow}, not {}",
        inbound.endpoint.target.path(),
        inbound.parts.method
    );
    let failure = Failure::new(Reason::BadMethod, message);
    let mut response = failed(&failure, inbound.format(), &inbound.id);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Says that all is well: the server answers.
fn health() -> Response<Outbound> {
    let mut response = Response::new(Outbound::full(Bytes::from_static(b"ok\n")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Says whether calls are taken.
fn readiness(shared: &Shared) -> Response<Outbound> {
    let lifecycle = &shared.lifecycle;
    let (status, text) = if !lifecycle.is_open() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if lifecycle.is_starved() {
        (StatusCode::SERVICE_UNAVAILABLE, "out of file descriptors\n")
    } else {
        (StatusCode::OK, "ready\n")
    };
    let mut response = health().map(|_| Outbound::full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

/// Says no to a call that comes while the server drains.
fn refuse(endpoint: Option<Endpoint>, parts: &Parts, id: &str) -> Response<Outbound> {
    let message = "the gateway is shutting down: try again, at another one or when it is back";
    let failure = Failure::new(Reason::ShuttingDown, message).with_retry_after(BACK_AFTER);
    let format = endpoint.map_or(Format::Chat, |it| it.format());
    let mut response = failed(&failure, format, id);
    if parts.version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// When it makes sense to look for a gateway that has shut down.
const BACK_AFTER: Duration = Duration::from_secs(1);

fn no_such_path(parts: &Parts) -> Failure {
    let path: String = parts.uri.path().chars().take(200).collect();
    Failure::new(
        Reason::BadPath,
        format!(
            "there is no {} {path} here: clients of OpenAI take /api/v1 or /v1 as their base URL, \
             those of Anthropic /api",
            parts.method
        ),
    )
}

/// Makes the answer of a failure.
fn failed(failure: &Failure, format: Format, id: &str) -> Response<Outbound> {
    let mut response = failure.to_response(format, id).map(Outbound::full);
    response.extensions_mut().insert(failure.reason());
    response
}

/// Reads a body whole, as far as allowed.
async fn read(settings: &Settings, body: Incoming) -> Result<Bytes, Failure> {
    let (limit, limits) = (settings.max_body_bytes, &settings.limits);
    let mut read = pin!(collect_bounded(body, limit));
    let read = match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
        // Mostly it is there with its head, and needs no timer.
        Poll::Ready(read) => read,
        Poll::Pending => {
            let Ok(read) = tokio::time::timeout(limits.body_time, read).await else {
                return Err(limits.body_too_slow());
            };
            read
        }
    };
    read.map_err(|error| {
        if error.is_too_large() {
            too_large(limit as u64)
        } else {
            Failure::new(Reason::BadRequest, "the body of the request broke off")
        }
    })
}

fn too_large(limit: u64) -> Failure {
    let message = format!("the body has more than the {limit} bytes that are allowed here");
    Failure::new(Reason::BodyTooLarge, message)
}

/// Makes an answer from its head and a body.
fn respond<B>(status: StatusCode, mut headers: HeaderMap, body: B) -> Response<B> {
    headers::to_caller(&mut headers);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
