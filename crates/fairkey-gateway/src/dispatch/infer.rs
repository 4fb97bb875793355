//! Calls that any key may serve.

use std::sync::Arc;

use bytes::Bytes;
use fairkey_client::{CallOptions, MeasuredBody};
use fairkey_transport::Body;
use http::{HeaderValue, Request, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::answered::{Answered, Call};
use super::ask::Asked;
use super::upload::Upload;
use super::{Inbound, read, too_large};
use crate::gateway::Shared;
use crate::relay::{Departing, Outbound, Waiting};
use crate::{Departure, Failure};

/// Passes a call to the pool.
pub(super) async fn infer(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Incoming,
) -> Result<Response<Outbound>, Failure> {
    if !inbound.is_json() {
        return Ok(upload(shared, inbound, body).await?.into_response());
    }
    let body = read(&inbound.settings, body).await?;
    let asked = Asked::of(shared, inbound, body)?;
    let (model, bytes) = (asked.options.model.as_ref(), asked.body.len() as u64);
    inbound.report.asks(model, asked.stream, bytes);
    let permit = inbound.permit(shared, &asked.body, asked.measured.as_ref())?;
    let request = inbound.upstream(shared, asked.body)?;
    let (options, measured) = (asked.options, asked.measured);
    let call = Call::new(shared, inbound, permit);
    let departure = call.departure();
    let sent = send(Arc::clone(shared), request, options, measured, call);
    if !asked.stream {
        let answered = match departure {
            Departure::Cancel => sent.await,
            departure => Departing::new(sent, departure, Answered::leave).await,
        };
        return Ok(answered.into_response());
    }
    let every = inbound.settings.comment_after;
    let mut sent = Box::pin(Departing::new(sent, departure, Answered::leave));
    match timeout(every, &mut sent).await {
        Ok(answered) => Ok(answered.into_response()),
        Err(_) => {
            inbound.report.waits();
            let rest = Box::pin(async move { sent.await.into_stream().await });
            let waiting = Waiting::new(rest, every);
            Ok(begun(Outbound::Waiting(Box::new(waiting))))
        }
    }
}

async fn send(
    shared: Arc<Shared>,
    request: Request<Bytes>,
    options: CallOptions,
    measured: Option<MeasuredBody>,
    call: Call,
) -> Answered {
    let sent = shared.client.send_for(request, options, measured);
    Answered::of(sent.await, call)
}

/// Passes a body on while it comes.
pub(super) async fn upload(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Incoming,
) -> Result<Answered, Failure> {
    let limit = inbound.settings.max_upload_bytes;
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    if inbound.operation().is_inference() {
        // A form is not looked into: for us it names no model.
        inbound.tenant.check_model(None)?;
    }
    inbound.report.asks(None, false, body.size_hint().lower());
    let permit = inbound.permit(shared, b"", None)?;
    let body = Upload::new(body, limit, inbound.settings.limits.idle_time);
    let fate = body.fate();
    let body = Body::new(body);
    let request = inbound.upstream(shared, body)?;
    let options = CallOptions {
        hold_json: true,
        ..inbound.options()
    };
    let call = Call::new(shared, inbound, permit);
    let sent = shared.client.send_streamed_for(request, options).await;
    let is_answered = sent.is_ok();
    let answered = Answered::of(sent, call);
    Ok(match fate.failure() {
        Some(failure) if !is_answered => answered.instead(failure),
        _ => answered,
    })
}

/// The head of a stream that begins before its upstream does.
fn begun(body: Outbound) -> Response<Outbound> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let media = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
