//! Administration of keys: [`Management`].

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fairkey_core::{ApiKey, Random, Scope};
use fairkey_openrouter::management::{
    self, CreatedKey, InvalidCall, KeyChange, KeyFilter, ManagedKey, ManagementAnswer,
    ManagementCall, NewKey,
};
use fairkey_openrouter::{Credits, Fault, endpoint};
use fairkey_transport::{Deadlines, Transport};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use crate::authorization::{authorize, bearer};
use crate::error::{CallError, CallErrorKind, ClientBuildError};
use crate::exchange::Failure;
use crate::origin::BaseUrl;
use crate::{RetryConfig, backoff, builder, network, request};

/// The most that an answer has; a page of keys has some tens of kilobytes.
const ANSWER_BYTES: usize = 16 << 20;
/// The most pages of a list.
const PAGES: usize = 1_000;

/// Administers the keys of one account, with a management key.
///
/// It is a client of its own: a management key is refused for inference, and no key of a
/// [`Client`](crate::Client) is ever used for administration. A clone shares everything.
///
/// Calls that can be made twice without harm are tried again where the network or the service
/// failed. A key is made once: where the answer is lost, the error says that the key may be there.
///
/// ```
/// use fairkey_client::Management;
/// use fairkey_mock::MockOpenRouter;
/// use fairkey_openrouter::management::NewKey;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mock = MockOpenRouter::open().start().await?;
/// let management = Management::builder("sk-or-v1-mgmt-0123456789")
///     .base_url(mock.base_url())
///     .build()?;
/// let created = management.create_key(&NewKey::new("search").limit(50.0)).await?;
/// assert_eq!(created.key.limit, Some(50.0));
/// // `created.secret` is shown here, and never again.
/// management.delete_key(&created.key.hash).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Management {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    base: BaseUrl,
    authorization: HeaderValue,
    deadlines: Deadlines,
    retry: RetryConfig,
    chance: Mutex<Random>,
}

/// Builds a [`Management`].
#[must_use = "a builder does nothing until `build`"]
pub struct ManagementBuilder {
    key: ApiKey,
    base_url: String,
    transport: Option<Arc<dyn Transport>>,
    deadlines: Deadlines,
    retry: RetryConfig,
    seed: u64,
}

impl ManagementBuilder {
    /// Sets the upstream. Default: OpenRouter.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Sets what sends. Default: the HTTP client of `fairkey-transport`, with the feature
    /// `transport`.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets how long the parts of a call may take.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Sets how often, and when, a call is tried again; `failovers` and `budget` mean nothing here.
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the seed of the jitter. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds it. Sends nothing.
    ///
    /// # Errors
    ///
    /// Where the base URL or the key cannot be one, or there is no transport.
    pub fn build(self) -> Result<Management, ClientBuildError> {
        let base = BaseUrl::parse(&self.base_url).map_err(ClientBuildError::new)?;
        if self.key.is_empty() {
            return Err(ClientBuildError::new("the management key is empty"));
        }
        let authorization = bearer(&self.key).map_err(|_| {
            ClientBuildError::new(
                "the management key holds characters that no header may have: is it a key?",
            )
        })?;
        let transport = match self.transport {
            Some(transport) => transport,
            None => builder::default_transport(self.deadlines)?,
        };
        Ok(Management {
            shared: Arc::new(Shared {
                transport,
                base,
                authorization,
                deadlines: self.deadlines,
                retry: self.retry,
                chance: Mutex::new(Random::new(self.seed)),
            }),
        })
    }
}

impl Management {
    /// Starts to build one, with a management key.
    pub fn builder(key: impl Into<ApiKey>) -> ManagementBuilder {
        ManagementBuilder {
            key: key.into(),
            base_url: endpoint::BASE_URL.to_owned(),
            transport: None,
            deadlines: Deadlines::default(),
            retry: RetryConfig::default(),
            seed: 0,
        }
    }

    /// Makes any call of administration.
    ///
    /// # Errors
    ///
    /// [`CallErrorKind::Fault`] with what the upstream said; [`CallErrorKind::Request`] for what
    /// cannot be sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is unknown whether the call was carried out.
    pub async fn call<T: ManagementAnswer>(
        &self,
        call: &ManagementCall<T>,
    ) -> Result<T, CallError> {
        let uri = (self.shared.base.join(call.path()))
            .map_err(|message| CallError::new(CallErrorKind::Request, message))?;
        let mut retry = 0;
        loop {
            let Failure { fault, may_run } = match self.attempt(call, &uri).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let once = call.method() == Method::POST;
            let passes = may_pass(&fault);
            let again = passes && retry + 1 < self.shared.retry.attempts && !(once && may_run);
            if !again {
                let message = if once && may_run && is_unknown(&fault) {
                    format!(
                        "{fault}; it may have been carried out all the same: list the keys before \
                         trying again"
                    )
                } else {
                    fault.to_string()
                };
                let error = CallError::new(CallErrorKind::Fault, message);
                return Err(error.with_fault(Some(fault)));
            }
            let chance = self.chance();
            tokio::time::sleep(backoff::wait(&self.shared.retry, retry, None, chance)).await;
            retry += 1;
        }
    }

    /// Lists all keys that the filter lets through, page by page.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn keys(&self, filter: &KeyFilter) -> Result<Vec<ManagedKey>, CallError> {
        let (mut keys, mut seen) = (Vec::new(), HashSet::new());
        let mut filter = filter.clone();
        for _ in 0..PAGES {
            let page = self
                .call(&management::list_keys(&filter).map_err(|error| invalid(&error))?)
                .await?;
            let Some(next) = filter.next(&page) else {
                break;
            };
            let before = keys.len();
            // Where keys are made or deleted meanwhile, pages overlap.
            keys.extend(
                page.keys
                    .into_iter()
                    .filter(|key| seen.insert(key.hash.clone())),
            );
            if keys.len() == before {
                break;
            }
            filter = next;
        }
        Ok(keys)
    }

    /// Makes a key. Its secret is in this answer and nowhere else.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call). Where the answer was lost, the key may be there.
    pub async fn create_key(&self, new: &NewKey) -> Result<CreatedKey, CallError> {
        self.call(&management::create_key(new).map_err(|error| invalid(&error))?)
            .await
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn key(&self, hash: &str) -> Result<ManagedKey, CallError> {
        self.call(&management::get_key(hash).map_err(|error| invalid(&error))?)
            .await
    }

    /// Changes a key.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn update_key(&self, hash: &str, to: &KeyChange) -> Result<ManagedKey, CallError> {
        self.call(&management::update_key(hash, to).map_err(|error| invalid(&error))?)
            .await
    }

    /// Deletes a key for good. Returns whether it was deleted.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn delete_key(&self, hash: &str) -> Result<bool, CallError> {
        self.call(&management::delete_key(hash).map_err(|error| invalid(&error))?)
            .await
    }

    /// Reads the account's balance.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn credits(&self) -> Result<Credits, CallError> {
        self.call(&management::credits()).await
    }

    fn chance(&self) -> f64 {
        let chance = self.shared.chance.lock();
        chance.unwrap_or_else(PoisonError::into_inner).unit()
    }

    async fn attempt<T: ManagementAnswer>(
        &self,
        call: &ManagementCall<T>,
        uri: &Uri,
    ) -> Result<T, Failure> {
        let Shared {
            transport,
            authorization,
            deadlines,
            ..
        } = &*self.shared;
        let failure = |error| Failure {
            may_run: network::may_run(&error),
            fault: network::fault(&error, deadlines, deadlines),
        };
        let mut request = Request::new(call.body().cloned().unwrap_or_else(Bytes::new));
        *request.method_mut() = call.method().clone();
        *request.uri_mut() = uri.clone();
        let json = HeaderValue::from_static("application/json");
        let headers = request.headers_mut();
        *headers = request::defaults(HeaderMap::new());
        if call.body().is_some() {
            headers.insert(CONTENT_TYPE, json.clone());
        }
        headers.insert(ACCEPT, json);
        authorize(headers, authorization.clone());
        request.extensions_mut().insert(*deadlines);
        let response = transport.send(request).await.map_err(failure)?;
        let (parts, body) = response.into_parts();
        let body = body.collect_bounded(ANSWER_BYTES).await.map_err(failure)?;
        call.read(parts.status, &parts.headers, &body)
            .map_err(|fault| Failure {
                // A refusal was not carried out; anything else may have been.
                may_run: is_unknown(&fault),
                fault,
            })
    }
}

/// Returns whether the same call can fare better in a moment.
fn may_pass(fault: &Fault) -> bool {
    let ours = matches!(fault.scope(), Scope::Request | Scope::Caller | Scope::Local);
    let passes = |status| status == 429 || status >= 500;
    !ours && fault.status().is_none_or(passes)
}

/// Returns whether a fault leaves open what became of the call.
fn is_unknown(fault: &Fault) -> bool {
    !fault
        .status()
        .is_some_and(|status| (400..500).contains(&status))
}

fn invalid(error: &InvalidCall) -> CallError {
    CallError::new(CallErrorKind::Request, error.to_string())
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management")
            .field("base_url", &self.shared.base)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ManagementBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the base URL: until it is checked, it may have a password in it.
        f.debug_struct("ManagementBuilder").finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn is<T: Clone + Send + Sync + 'static>() {}
    is::<Management>();
};
