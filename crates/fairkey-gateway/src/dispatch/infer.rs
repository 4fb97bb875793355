//! Calls that any key may serve.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fairkey_client::{CallError, CallOptions, LeasedBody, Served};
use fairkey_transport::Body;
use http::{HeaderValue, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::timeout;

use super::answered::{Answered, Call};
use super::ask::Asked;
use super::upload::Upload;
use super::{Inbound, read, too_large};
use crate::Failure;
use crate::gateway::Shared;
use crate::relay::{Departing, Outbound, Waiting};

/// Passes a call to the pool.
pub(super) async fn infer(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Incoming,
) -> Result<Response<Outbound>, Failure> {
    if !inbound.is_json() {
        let answered = Box::pin(upload(shared, inbound, body)).await?;
        return Ok(answered.into_response());
    }
    let body = read(&inbound.settings, body).await?;
    let (mut sent, is_stream) = send(shared, inbound, body)?;
    if !is_stream {
        return Ok((&mut sent).await.into_response());
    }
    let every = inbound.settings.comment_after;
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

/// Sends a call; the flag says whether it asks for a stream. Apart from what waits for its answer,
/// so that nothing of what was asked is kept meanwhile but in the call.
fn send(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Bytes,
) -> Result<(Departing<Answer<impl Sent>>, bool), Failure> {
    let asked = Asked::of(shared, inbound, body)?;
    let (model, bytes) = (asked.options.model.as_ref(), asked.body.len() as u64);
    inbound.report.asks(model, asked.stream, bytes);
    let permit = inbound.permit(shared, &asked.body, asked.measured.as_ref())?;
    let request = inbound.upstream(shared, asked.body)?;
    let call = Call::new(shared, inbound, permit);
    let departure = call.departure();
    let answer = Answer {
        sent: (shared.client).send_for(request, asked.options, asked.measured),
        call: Some(call),
    };
    let sent = Departing::new(answer, departure, Answered::leave);
    Ok((sent, asked.stream))
}

/// What the client makes of a request.
trait Sent:
    Future<Output = Result<(Response<LeasedBody>, Served), CallError>> + Send + 'static
{
}

impl<F> Sent for F where
    F: Future<Output = Result<(Response<LeasedBody>, Served), CallError>> + Send + 'static
{
}

pin_project! {
    /// A call under way, until it is known what came of it. Written out, since an `async` block
    /// would have room for it twice.
    struct Answer<F> {
        #[pin]
        sent: F,
        call: Option<Call>,
    }
}

impl<F: Sent> Future for Answer<F> {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = self.project();
        let sent = ready!(this.sent.poll(cx));
        // Polled again after its end, it has nothing to say.
        let Some(call) = this.call.take() else {
            return Poll::Pending;
        };
        Poll::Ready(Answered::of(sent, call))
    }
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
