//! The client: [`Client`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{ApiKey, KeyId, Pool};
use fairkey_openrouter::{ChatRequest, ChatResponse, Credits, KeyInfo, endpoint};
use fairkey_transport::{Body, StreamedBody};
use http::header::HeaderMap;
use http::request::Parts;
use http::{Method, Request, Response};

use crate::account;
use crate::activity::Activity;
use crate::answer::{Answer, Attempt};
use crate::attempts::{self, Accepted, Done, Mode};
use crate::call::{Call, CallOptions};
use crate::catalog::Catalog;
use crate::chat_stream::ChatStream;
use crate::core::Core;
use crate::error::{CallError, CallErrorKind};
use crate::estimate::MeasuredBody;
use crate::job::{Job, Payload};
use crate::leased_body::LeasedBody;
use crate::map::Map;
use crate::stats::ClientStats;
use crate::watch::is_chat;
use crate::{ClientBuilder, request};

/// An OpenRouter client over many keys.
///
/// A clone shares everything: keys, queue, budget, connections. It is made for one tokio runtime.
///
/// Each call gets a key for each of its attempts. A refusal that concerns a key or an account goes
/// to another one at once; what no key cures is tried again after a wait, within the call's ledger
/// and the fleet's budget, or with the next model that the call names; and where no key is free,
/// the call waits in line for one. See [`verdict`](crate::verdict()) and
/// [`RetryConfig`](crate::RetryConfig).
///
/// # Cancel safety
///
/// Every future, and every body or stream, can be dropped at any point: the key's lease and the
/// place in flight go back, and nobody upstream is blamed.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
}

/// Who served an answer: among the extensions of what [`Client::send`] returns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Served {
    /// The key.
    pub key: KeyId,
    /// The model that was asked for, where one was named.
    pub model: Option<Arc<str>>,
    /// Every attempt up to the answer.
    pub attempts: Vec<Attempt>,
    /// How long the call stood in line for keys, all its attempts together.
    pub waited: Duration,
    /// Where the answer is a refusal: why there was no other attempt, and when one makes sense. Its
    /// scope says whether the refusal concerns the request, or the keys.
    pub error: Option<CallError>,
}

impl Client {
    /// Starts to build a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Sends a chat completion request and reads the answer whole.
    ///
    /// Whatever the request says, it is not streamed. An answer with status 200 that holds an
    /// error, or no content at all, is a fault like any other: nothing has reached the caller, so
    /// the call is tried again within its ledger.
    ///
    /// # Errors
    ///
    /// [`CallError`] names what went wrong at last and every attempt.
    pub async fn chat(&self, request: &ChatRequest) -> Result<Answer<ChatResponse>, CallError> {
        self.chat_call(Call::chat(request)).await
    }

    /// The same, with options of the caller's own: a deadline, an affinity, a class.
    /// [`CallOptions::of_chat`] has those to start from.
    ///
    /// # Errors
    ///
    /// As [`chat`](Self::chat).
    pub async fn chat_with(
        &self,
        request: &ChatRequest,
        options: CallOptions,
    ) -> Result<Answer<ChatResponse>, CallError> {
        self.chat_call(Call::chat(request).options(options)).await
    }

    async fn chat_call(&self, call: Call) -> Result<Answer<ChatResponse>, CallError> {
        let answer = self.call(call).await?;
        match ChatResponse::from_slice(&answer.value) {
            Ok(response) => {
                let answer = answer.map(|_| ());
                Ok(answer.map(|()| response))
            }
            Err(error) => {
                let message = format!("the answer is no chat completion: {error}");
                Err(CallError::new(CallErrorKind::Answer, message).with_attempts(answer.attempts))
            }
        }
    }

    /// Sends a chat completion request and streams the answer.
    ///
    /// Returns when the first content has come. Until then the call fails over like any other;
    /// from then on it does not.
    ///
    /// # Errors
    ///
    /// [`CallError`] names what went wrong at last and every attempt.
    pub async fn chat_stream(&self, request: &ChatRequest) -> Result<ChatStream, CallError> {
        self.chat_stream_with(request, CallOptions::of_chat(request))
            .await
    }

    /// The same, with options of the caller's own: a deadline, an affinity, a class.
    /// [`CallOptions::of_chat`] has those to start from.
    ///
    /// # Errors
    ///
    /// As [`chat_stream`](Self::chat_stream).
    pub async fn chat_stream_with(
        &self,
        request: &ChatRequest,
        options: CallOptions,
    ) -> Result<ChatStream, CallError> {
        let body = if request.is_stream() {
            request.to_bytes()
        } else {
            request.clone().stream(true).to_bytes()
        };
        let target = self
            .core
            .base
            .target(Method::POST, endpoint::CHAT_COMPLETIONS);
        let target = target.map_err(bad_request)?;
        let body = Payload::Whole(body);
        let job = Job::new(Mode::ChatStream, target, None, body, options);
        attempts::run(&self.core, Ok(job), streamed).await
    }

    /// Sends any request and returns the answer as it comes.
    ///
    /// The request's URI is a path relative to the base URL (`/embeddings`), or a whole URL of the
    /// same origin. Its body is sent byte for byte, its headers as they are, but `Authorization`,
    /// which is the key's, and those of one connection. [`CallOptions`] among its extensions say
    /// what the call wants.
    ///
    /// The answer is that of the last attempt, whatever its status: a refusal that no further
    /// attempt can help, or after which there is no key for one, is returned with its body
    /// untouched. [`Served`] is among its extensions.
    /// A stream of events is returned when its first content has come; from then on no other
    /// attempt is made.
    ///
    /// # Errors
    ///
    /// Where there is no answer at all.
    pub fn send(
        &self,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<LeasedBody>, CallError>> + Send {
        self.pass(request.map(Payload::Whole))
    }

    /// The same as [`send`](Self::send) for whoever passes calls on by the thousand: options and
    /// what was read of the body are given, and who served is returned, and neither of them among
    /// extensions. The call lives as long as it wants, whatever becomes of this handle.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_for(
        &self,
        request: Request<Bytes>,
        options: CallOptions,
        measured: Option<MeasuredBody>,
    ) -> impl Future<Output = Result<(Response<LeasedBody>, Served), CallError>> + Send + use<>
    {
        let (parts, body) = request.into_parts();
        let job = self.job_for(parts, Payload::Whole(body), options, measured);
        let core = Arc::clone(&self.core);
        async move { attempts::run(&core, job, passed_for).await }
    }

    /// Sends a request while its body comes, and returns the answer as it comes: for uploads that
    /// are not to be held in memory. Otherwise as [`send`](Self::send).
    ///
    /// There is another attempt only as long as nobody has asked for a piece of the body: a key that
    /// cannot be had, a connection that cannot be made. From the first piece on the answer stands,
    /// whatever it is, and a failure is final ([`GiveUp::BodySent`](crate::GiveUp::BodySent)).
    ///
    /// # Errors
    ///
    /// Where there is no answer at all.
    pub fn send_streamed(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<LeasedBody>, CallError>> + Send {
        self.pass(request.map(|body| Payload::Streamed(StreamedBody::new(body))))
    }

    /// The same as [`send_streamed`](Self::send_streamed), with options that are given and an
    /// answer as those of [`send_for`](Self::send_for).
    ///
    /// # Errors
    ///
    /// As [`send_streamed`](Self::send_streamed).
    pub fn send_streamed_for(
        &self,
        request: Request<Body>,
        options: CallOptions,
    ) -> impl Future<Output = Result<(Response<LeasedBody>, Served), CallError>> + Send {
        let (parts, body) = request.into_parts();
        let body = Payload::Streamed(StreamedBody::new(body));
        let job = self.job_for(parts, body, options, None);
        attempts::run(&self.core, job, passed_for)
    }

    fn pass(
        &self,
        request: Request<Payload>,
    ) -> impl Future<Output = Result<Response<LeasedBody>, CallError>> + Send {
        attempts::run(&self.core, self.job_of(request), passed)
    }

    fn job_of(&self, request: Request<Payload>) -> Result<Arc<Job>, CallError> {
        let (mut parts, body) = request.into_parts();
        let options = parts.extensions.remove().unwrap_or_default();
        let measured = parts.extensions.remove();
        self.job_for(parts, body, options, measured)
    }

    fn job_for(
        &self,
        parts: Parts,
        body: Payload,
        options: CallOptions,
        measured: Option<MeasuredBody>,
    ) -> Result<Arc<Job>, CallError> {
        let target = self.core.base.target_of(parts.method, &parts.uri);
        let target = target.map_err(bad_request)?;
        let mode = Mode::Pass {
            hold: options.hold_json,
        };
        let headers = Some(Box::new(self.headers(parts.headers)));
        Ok(match measured {
            Some(measured) => Job::measured(mode, target, headers, body, options, measured),
            None => Job::new(mode, target, headers, body, options),
        })
    }

    /// Sends a request with the key `id` and no other, once: for what belongs to that key or its
    /// account, such as a job that it began.
    ///
    /// Needs no lease, counts for nothing, and asks no gate. The request's URI is as for
    /// [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`CallErrorKind::Request`] where no key has this label; otherwise where there is no answer.
    pub async fn send_by(
        &self,
        id: &str,
        request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        let secret = self.core.admission.pool.expose_key(id).ok_or_else(|| {
            CallError::new(CallErrorKind::Request, format!("there is no key \"{id}\""))
        })?;
        self.send_with(&secret, request).await
    }

    /// The same with a secret that is no key of this client, such as a management key. It is sent to
    /// the client's own origin and to no other.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn send_with(
        &self,
        secret: &ApiKey,
        request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        let (parts, body) = request.into_parts();
        let uri = self.core.base.resolve(&parts.uri).map_err(bad_request)?;
        let headers = self.headers(parts.headers);
        account::pass(&self.core, parts.method, uri, headers, body, secret).await
    }

    /// Returns the base URL that requests are relative to, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.core.base.text()
    }

    /// Makes one call and reads the answer whole, up to the client's bound on bodies.
    ///
    /// The body is sent byte for byte. An answer with status 200 that holds an error is a fault
    /// like any other, and tried again within the call's ledger.
    ///
    /// # Errors
    ///
    /// [`CallError`] names what went wrong at last and every attempt; an answer that was a refusal
    /// is in [`CallError::response`].
    pub fn call(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<Answer<Bytes>, CallError>> + Send {
        attempts::run(&self.core, self.job_of_call(call), answered)
    }

    fn job_of_call(&self, call: Call) -> Result<Arc<Job>, CallError> {
        let target = self.core.base.target(call.method, &call.path);
        let target = target.map_err(bad_request)?;
        let mode = Mode::Whole {
            chat: is_chat(target.uri.path()) && target.method == Method::POST,
        };
        let headers = request::of_call(call.headers, call.is_json, &self.core.headers);
        let body = Payload::Whole(call.body);
        Ok(Job::new(mode, target, headers, body, call.options))
    }

    /// Sends many chat completion requests, at most `n` at a time (0 counts as 1).
    ///
    /// Returns a stream of `(index, answer)`, in the order of the requests unless
    /// [`Map::unordered`] is asked for. Requests are taken from the iterator as they are needed,
    /// so it may be endless; nothing happens while the stream is not polled.
    pub fn map<I>(&self, prompts: I, n: usize) -> Map<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<ChatRequest>,
    {
        Map::new(self.clone(), prompts.into_iter(), n)
    }

    /// Asks OpenRouter what the key with the label `id` may still do, with that very key.
    ///
    /// Needs no lease, and is tried again only where the network failed.
    ///
    /// # Errors
    ///
    /// [`CallErrorKind::Request`] where no key has this label; otherwise as [`call`](Self::call).
    pub async fn key_info(&self, id: &str) -> Result<KeyInfo, CallError> {
        let secret = self.core.admission.pool.expose_key(id).ok_or_else(|| {
            CallError::new(CallErrorKind::Request, format!("there is no key \"{id}\""))
        })?;
        let body = account::get(&self.core, endpoint::KEY, &secret).await?;
        KeyInfo::from_slice(&body).map_err(|error| {
            let message = format!("the answer about key \"{id}\" is of another form: {error}");
            CallError::new(CallErrorKind::Answer, message)
        })
    }

    /// Asks OpenRouter for the balance of the account that a management key belongs to.
    ///
    /// # Errors
    ///
    /// As [`key_info`](Self::key_info); an ordinary key is refused.
    pub async fn credits(&self, management_key: &ApiKey) -> Result<Credits, CallError> {
        let body = account::get(&self.core, endpoint::CREDITS, management_key).await?;
        Credits::from_slice(&body).map_err(|error| {
            let message = format!("the answer about credits is of another form: {error}");
            CallError::new(CallErrorKind::Answer, message)
        })
    }

    /// Returns the catalogue: models, endpoints, providers, fetched with the keys of this client and
    /// kept in memory. All clones share it. Its calls need no lease, and count for nothing.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.core.catalog
    }

    /// Returns the pool: to reload keys, to explain, to count.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.core.admission.pool
    }

    /// Looks again for whoever waits: to be called when a gate was opened by hand, of which the
    /// pool does not know.
    pub fn wake(&self) {
        self.core.admission.pump_all();
    }

    /// Returns how many calls of a class wait for a key now.
    #[must_use]
    pub fn waiting(&self, class: fairkey_core::Class) -> usize {
        self.core.admission.waiting_of(class)
    }

    /// Returns what the client has done so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        let admission = &self.core.admission;
        let counters = &self.core.counters;
        let estimates = &self.core.estimates;
        ClientStats {
            estimates: estimates.read(),
            unpriced: estimates.unpriced(),
            ..counters.read(admission.waiting(), admission.pool.in_flight())
        }
    }

    /// Returns what each key and each account has done within the last minute and the last 15
    /// minutes, and which keys do worse than their siblings.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let core = &self.core;
        core.keyed.records.read(&core.admission.pool)
    }

    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    fn headers(&self, callers: HeaderMap) -> HeaderMap {
        request::headers(callers, &self.core.headers)
    }
}

/// Makes the answer of a call that was read whole.
fn answered(done: Done) -> Result<Answer<Bytes>, CallError> {
    match done {
        Done {
            accepted: Accepted::Whole(whole),
            key,
            model,
            attempts,
            elapsed,
            waited,
            ..
        } => Ok(Answer {
            key,
            model,
            attempts,
            cost: whole.summary.cost(),
            provider: whole.summary.provider,
            generation: whole.summary.generation,
            elapsed,
            waited,
            value: whole.body,
        }),
        _ => Err(other_mode()),
    }
}

/// Makes the answer of a call that is streamed.
fn streamed(done: Done) -> Result<ChatStream, CallError> {
    match done {
        Done {
            accepted: Accepted::ChatStream(opening),
            attempts,
            ..
        } => Ok(ChatStream::new(*opening, attempts)),
        _ => Err(other_mode()),
    }
}

/// Makes the answer of a request that is passed on.
fn passed(done: Done) -> Result<Response<LeasedBody>, CallError> {
    let (mut response, served) = passed_for(done)?;
    response.extensions_mut().insert(served);
    Ok(response)
}

fn passed_for(done: Done) -> Result<(Response<LeasedBody>, Served), CallError> {
    match done {
        Done {
            accepted: Accepted::Pass(response),
            key,
            model,
            attempts,
            waited,
            error,
            ..
        } => {
            let served = Served {
                key,
                model,
                attempts,
                waited,
                error,
            };
            Ok((*response, served))
        }
        _ => Err(other_mode()),
    }
}

fn bad_request(message: &'static str) -> CallError {
    CallError::new(CallErrorKind::Request, message)
}

/// A job is accepted in its own mode.
fn other_mode() -> CallError {
    CallError::new(
        CallErrorKind::Answer,
        "the answer was read in another way than was asked for",
    )
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

const _: fn() = || {
    fn is<T: Clone + Send + Sync + 'static>() {}
    is::<Client>();
};
