//! A key for any client: [`KeyLayer`].

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fairkey_core::Tried;
use fairkey_transport::{Body, BoxError};
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::answer::Bill;
use crate::attempts::{Accepted, Mode, seat};
use crate::authorization::authorize;
use crate::call::CallOptions;
use crate::client::Served;
use crate::core::Core;
use crate::error::{CallError, CallErrorKind};
use crate::exchange::{Asked, Exchange};
use crate::job::Job;
use crate::ledger::Ledger;
use crate::{Client, LeasedBody, network};

/// Puts a leased key on every request that goes through a `tower` service
/// of any HTTP client, and lets the lease ride in the answer's body.
///
/// It makes one attempt for each request. What retries stands *outside* of it, so that each
/// attempt leases anew; a [`Tried`] among a request's extensions says which keys are not to be
/// used again, and [`Served`] among the answer's says which one was. [`CallOptions`] among the
/// request's extensions say what the call wants.
///
/// The request's URI is a path relative to the base URL of the [`Client`], or a whole URL of the
/// same origin; keys are sent to no other.
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// use fairkey_client::{Client, KeyLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer: KeyLayer = Client::builder().key("a", "sk-or-v1-aaa").build_layer()?;
/// // In place of a real client:
/// let http = service_fn(|request: Request<Full<Bytes>>| async move {
///     assert_eq!(request.headers()["authorization"], "Bearer sk-or-v1-aaa");
///     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from_static(b"{\"data\":[]}"))))
/// });
/// let service = ServiceBuilder::new().layer(layer).service(http);
/// let request = Request::get("/models").body(Full::default())?;
/// assert_eq!(service.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeyLayer {
    core: Arc<Core>,
}

impl KeyLayer {
    /// Makes a layer over the keys, the queue and the statistics of `client`.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            core: client.core(),
        }
    }

    /// Returns the client whose keys these are: for its pool and its statistics.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.core))
    }
}

impl<S> Layer<S> for KeyLayer {
    type Service = KeyService<S>;

    fn layer(&self, inner: S) -> KeyService<S> {
        KeyService {
            core: Arc::clone(&self.core),
            inner,
        }
    }
}

/// What a [`KeyLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct KeyService<S> {
    core: Arc<Core>,
    inner: S,
}

/// Why a [`KeyService`] has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyServiceError<E> {
    /// There was no key, the request cannot be sent, or the answer broke before its content.
    Call(CallError),
    /// The service inside failed.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for KeyServiceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for KeyServiceError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Call(error) => error.source(),
            Self::Inner(error) => error.source(),
        }
    }
}

impl<S, B, RB> Service<Request<B>> for KeyService<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    RB: http_body::Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    type Response = Response<LeasedBody>;
    type Error = KeyServiceError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<LeasedBody>, Self::Error>> + Send>>;

    /// Ready when the service inside is. Keys are waited for in `call`: which one depends on the
    /// request.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(KeyServiceError::Inner)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is the one to call; a clone of it need not be.
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(call(Arc::clone(&self.core), inner, request))
    }
}

async fn call<S, B, RB>(
    core: Arc<Core>,
    mut inner: S,
    request: Request<B>,
) -> Result<Response<LeasedBody>, KeyServiceError<S::Error>>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: http_body::Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    let refuse = |message: &str| {
        KeyServiceError::Call(CallError::new(CallErrorKind::Request, message.to_owned()))
    };
    let (mut parts, body) = request.into_parts();
    parts.uri = core.base.resolve(&parts.uri).map_err(refuse)?;
    let path = parts.uri.path().to_owned();
    let options = parts.extensions.remove::<CallOptions>().unwrap_or_default();
    core.counters.calls.up();
    // Which model is asked for next, what retries outside decides.
    let options = CallOptions {
        models: Vec::new(),
        ..options
    };
    let job = Arc::new(Job::of_options(options));
    let mut ledger = Ledger::new(Arc::clone(&job));
    ledger.begin_now(core.seeds.draw());
    if let Some(tried) = parts.extensions.remove::<Tried>() {
        ledger.exclude_all(&tried);
    }
    let taken = seat::take(&core, &mut ledger).await;
    let held = match taken.map(|()| ledger.take_held()) {
        Ok(Some(held)) => held,
        Ok(None) => return Err(refuse("no key was held")),
        Err(stop) => return Err(KeyServiceError::Call(stop.into_error(&core, &mut ledger))),
    };
    let key = held.lease.key();
    core.counters.attempts.up();
    ledger.begin(key, core.admission.pool.now());
    let header = core
        .keyed
        .authorizations
        .of(key.slot(), held.lease.expose_key());
    let Ok(header) = header else {
        return Err(refuse(&format!(
            "the secret of key \"{}\" holds characters that no header may have",
            key.id()
        )));
    };
    authorize(&mut parts.headers, header);
    let mut exchange = Exchange::new(Arc::clone(&core), held, core.deadlines).asking_for(Asked {
        model: job.model.clone(),
        ..Asked::default()
    });
    let response = match inner.call(Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(error) => {
            // Of whatever kind it is: no key is to blame for it.
            exchange.fail(&network::unknown());
            return Err(KeyServiceError::Inner(error));
        }
    };
    let now = || core.admission.pool.now();
    let accepted = match (Mode::Pass { hold: false })
        .accept(exchange, &path, response.map(Body::new))
        .await
    {
        Ok(accepted) => {
            ledger.end(None, Bill::default(), now());
            core.counters.answered.up();
            accepted
        }
        Err(mut failed) => {
            ledger.end(Some(failed.in_short()), failed.bill, now());
            match failed.passed.take() {
                Some((accepted, _)) => accepted,
                None => {
                    let stop = crate::attempts::Stop::Failed(failed, None);
                    return Err(KeyServiceError::Call(stop.into_error(&core, &mut ledger)));
                }
            }
        }
    };
    let Accepted::Pass(mut response) = accepted else {
        return Err(refuse(
            "the answer was read in another way than was asked for",
        ));
    };
    let served = Served {
        key: response.body().key().clone(),
        model: job.model.clone(),
        attempts: ledger.take_attempts(),
        waited: ledger.waited(),
        // Whoever makes the attempts decides whether there is another.
        error: None,
    };
    response.extensions_mut().insert(served);
    Ok(*response)
}
