//! Who takes batches: the trait [`BatchUpstream`], and a [`Client`] as one.

use std::future::Future;

use bytes::Bytes;
use fairkey_client::{CallError, Client};
use fairkey_core::{AccountId, Ask, KeyId, Scope};
use fairkey_openrouter::batch::{self, Batch};
use fairkey_openrouter::{Cause, Fault};
use fairkey_transport::Body;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};

/// The most bytes of an answer with results.
const ANSWER_BYTES: usize = 1 << 30;
/// The most bytes of an answer without.
const BATCH_BYTES: usize = 4 << 20;

/// Takes batches, each by one key.
pub trait BatchUpstream: Send + Sync + 'static {
    /// Returns the keys, those first that are to be preferred.
    fn keys(&self) -> Vec<BatchKey>;

    /// Submits the text of a batch with a key, once.
    ///
    /// # Cancel safety
    ///
    /// None: dropped, it leaves a batch in doubt.
    fn submit(
        &self,
        key: &KeyId,
        text: Bytes,
    ) -> impl Future<Output = Result<Batch, SubmitError>> + Send;

    /// Looks at a batch with a key, once. Returns the answer as it came, too.
    fn look(
        &self,
        key: &KeyId,
        id: &str,
    ) -> impl Future<Output = Result<(Batch, Bytes), Fault>> + Send;
}

/// A key that batches can be submitted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchKey {
    /// The key.
    pub key: KeyId,
    /// Its account, where one is named.
    pub account: Option<AccountId>,
    /// Whether nothing is known to bar it.
    pub is_open: bool,
}

/// Why a batch was not submitted.
#[derive(Clone, Debug, PartialEq)]
pub enum SubmitError {
    /// It was refused: there is no batch.
    Refused(Fault),
    /// Its answer did not come, or was none: nobody knows whether there is a batch.
    Doubtful(Fault),
}

/// A [`Client`] that batches are submitted by. Needs no leases: batches count for no limits.
#[derive(Clone, Debug)]
pub struct ClientBatches {
    client: Client,
    /// Where batches are, without a slash at its end.
    url: String,
}

impl ClientBatches {
    /// Submits by `client`.
    ///
    /// # Errors
    ///
    /// Where its base URL does not end in `/v1`, so that nobody knows where batches are.
    pub fn new(client: Client) -> Result<Self, String> {
        let base = client.base_url();
        let Some(root) = base.strip_suffix("/v1") else {
            return Err(format!(
                "batches lie beside /v1, and the base URL is {base}: name one that ends in /v1"
            ));
        };
        let path = batch::PATH.strip_prefix("/api").unwrap_or(batch::PATH);
        let url = format!("{root}{path}");
        Ok(Self { client, url })
    }

    async fn send(
        &self,
        key: &KeyId,
        request: Request<Body>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), (Fault, bool)> {
        let most = match *request.method() {
            Method::GET => ANSWER_BYTES,
            _ => BATCH_BYTES,
        };
        let sent = self.client.send_by(key.as_str(), request).await;
        let response: Response<Body> = sent.map_err(|error: CallError| {
            let fault = error.fault().cloned();
            let fault = fault.unwrap_or_else(|| Fault::new(Cause::BadRequest, &error.to_string()));
            (fault, error.may_run())
        })?;
        let (parts, body) = response.into_parts();
        match body.collect_bounded(most).await {
            Ok(body) => Ok((parts.status, parts.headers, body)),
            Err(error) => Err((Fault::network(&error.to_string()), true)),
        }
    }
}

impl BatchUpstream for ClientBatches {
    fn keys(&self) -> Vec<BatchKey> {
        let explanation = self.client.pool().explain(&Ask::new());
        let mut keys = explanation.keys;
        keys.sort_by(|a, b| {
            let score = |key: &fairkey_core::KeyExplanation| key.score.unwrap_or(0.0);
            score(a).total_cmp(&score(b))
        });
        keys.into_iter()
            .map(|key| BatchKey {
                is_open: key.is_admitted(),
                key: key.id,
                account: key.account,
            })
            .collect()
    }

    async fn submit(&self, key: &KeyId, text: Bytes) -> Result<Batch, SubmitError> {
        let mut request = Request::new(Body::full(text));
        *request.method_mut() = Method::POST;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        set_uri(&mut request, &self.url).map_err(SubmitError::Refused)?;
        let answer = self.send(key, request).await;
        let (status, headers, body) = answer.map_err(|(fault, may_run)| {
            if may_run {
                SubmitError::Doubtful(fault)
            } else {
                SubmitError::Refused(fault)
            }
        })?;
        Batch::read(status, &headers, &body).map_err(|fault| {
            if status.is_success() || is_doubtful(&fault) {
                SubmitError::Doubtful(fault)
            } else {
                SubmitError::Refused(fault)
            }
        })
    }

    async fn look(&self, key: &KeyId, id: &str) -> Result<(Batch, Bytes), Fault> {
        let mut request = Request::new(Body::empty());
        set_uri(&mut request, &format!("{}/{id}", self.url))?;
        let (status, headers, body) =
            (self.send(key, request).await).map_err(|(fault, _)| fault)?;
        let batch = Batch::read(status, &headers, &body)?;
        Ok((batch, body))
    }
}

fn set_uri(request: &mut Request<Body>, uri: &str) -> Result<(), Fault> {
    let uri = uri.parse();
    *request.uri_mut() = uri.map_err(|_| Fault::local("the URL of batches is none"))?;
    Ok(())
}

/// Whether a refusal may have come after the batch was made: whoever spoke was not sure of it.
fn is_doubtful(fault: &Fault) -> bool {
    matches!(
        fault.cause(),
        Cause::ServerError
            | Cause::RequestTimeout
            | Cause::EdgeFailed
            | Cause::ProviderTimeout
            | Cause::Malformed
            | Cause::Unknown
    ) && fault.scope() != Scope::Request
}
