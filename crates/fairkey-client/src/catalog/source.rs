//! How a list is fetched: [`Source`].

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fairkey_core::{ApiKey, Random, Scope};
use fairkey_openrouter::Fault;
use fairkey_transport::{Deadlines, Transport};
use http::header::{ACCEPT, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Request, StatusCode};

use super::list::List;
use crate::admission::Admission;
use crate::authorization::{authorize, bearer};
use crate::error::{CallError, CallErrorKind};
use crate::origin::BaseUrl;
use crate::{RetryConfig, backoff, network, request};

/// The most pages of a list.
const PAGES: usize = 64;

/// Where lists come from.
pub(super) struct Source {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) base: BaseUrl,
    pub(super) headers: HeaderMap,
    pub(super) keys: Keys,
    pub(super) deadlines: Deadlines,
    pub(super) retry: RetryConfig,
    pub(super) max_bytes: usize,
    pub(super) chance: Mutex<Random>,
}

/// Which keys may be used.
pub(super) enum Keys {
    Own(Vec<ApiKey>, AtomicUsize),
    /// Those of a client, one after the other: it needs no lease.
    Pool(Arc<Admission>, AtomicUsize),
}

impl Keys {
    /// Returns the next key.
    fn next(&self) -> Option<ApiKey> {
        // Relaxed: any number will do.
        match self {
            Self::Own(keys, nth) if !keys.is_empty() => {
                let nth = nth.fetch_add(1, Ordering::Relaxed) % keys.len();
                keys.get(nth).cloned()
            }
            Self::Own(..) => None,
            Self::Pool(admission, nth) => {
                let nth = nth.fetch_add(1, Ordering::Relaxed);
                let id = admission.pool.with_keys(|keys| {
                    let nth = nth.checked_rem(keys.len())?;
                    keys.at(nth).map(|key| key.id().clone())
                })?;
                admission.pool.expose_key(id.as_str())
            }
        }
    }
}

/// What was fetched.
pub(super) enum Got<T> {
    New {
        value: T,
        bytes: usize,
        etag: Option<HeaderValue>,
    },
    /// What the caller has is still right.
    Same,
}

/// The same, as bytes.
enum Page {
    New(Bytes, Option<HeaderValue>),
    Same,
}

impl Source {
    /// Fetches a list, with all its pages. Who has an old one (`once`) is not kept waiting by
    /// further attempts.
    pub(super) async fn get<T: List>(
        &self,
        path: &str,
        etag: Option<&HeaderValue>,
        once: bool,
    ) -> Result<Got<T>, CallError> {
        let (body, etag) = match self.page(path, etag, once).await? {
            Page::New(body, etag) => (body, etag),
            Page::Same => return Ok(Got::Same),
        };
        let mut bytes = body.len();
        let mut value = T::read(&body).map_err(|what| other_form(path, what))?;
        let bare = path.split('?').next().unwrap_or_default();
        for _ in 1..PAGES {
            // The link names the whole path of the origin, or the URL; what is new is its query.
            let next = value.next_page();
            let query = next.as_deref().and_then(|next| next.split_once('?'));
            let Some((_, query)) = query else { break };
            let Page::New(body, _) = self.page(&format!("{bare}?{query}"), None, once).await?
            else {
                break;
            };
            bytes += body.len();
            if bytes > self.max_bytes {
                let message = format!("{path} has more than {} bytes", self.max_bytes);
                return Err(CallError::new(CallErrorKind::Answer, message));
            }
            let page = T::read(&body).map_err(|what| other_form(path, what))?;
            if page.next_page() == next {
                break;
            }
            value.append(page);
        }
        Ok(Got::New { value, bytes, etag })
    }

    async fn page(
        &self,
        path: &str,
        etag: Option<&HeaderValue>,
        once: bool,
    ) -> Result<Page, CallError> {
        let mut key = self.keys.next();
        let mut retry = 0;
        loop {
            let fault = match self.ask(path, etag, key.as_ref()).await? {
                Ok(page) => return Ok(page),
                Err(fault) => fault,
            };
            // The catalogue is public: what is wrong with a key is no reason not to show it.
            if key.is_some() && matches!(fault.status(), Some(401..=403)) {
                key = None;
                continue;
            }
            if once || !may_pass(&fault) || retry + 1 >= self.retry.attempts {
                let error = CallError::new(CallErrorKind::Fault, fault.to_string());
                return Err(error.with_fault(Some(fault)));
            }
            let chance = self.chance.lock();
            let chance = chance.unwrap_or_else(PoisonError::into_inner).unit();
            tokio::time::sleep(backoff::wait(&self.retry, retry, None, chance)).await;
            retry += 1;
        }
    }

    async fn ask(
        &self,
        path: &str,
        etag: Option<&HeaderValue>,
        key: Option<&ApiKey>,
    ) -> Result<Result<Page, Fault>, CallError> {
        let uri = (self.base.join(path))
            .map_err(|message| CallError::new(CallErrorKind::Request, message))?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        *headers = request::headers(HeaderMap::new(), &self.headers);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(etag) = etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(header) = key.and_then(|key| bearer(key).ok()) {
            authorize(headers, header);
        }
        request.extensions_mut().insert(self.deadlines);
        let fault = |error| network::fault(&error, &self.deadlines, &self.deadlines);
        let response = match self.transport.send(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(fault(error))),
        };
        let (parts, body) = response.into_parts();
        if parts.status == StatusCode::NOT_MODIFIED && etag.is_some() {
            return Ok(Ok(Page::Same));
        }
        let body = match body.collect_bounded(self.max_bytes).await {
            Ok(body) => body,
            Err(error) => return Ok(Err(fault(error))),
        };
        if !parts.status.is_success() {
            let fault = Fault::from_response(parts.status, &parts.headers, &body);
            return Ok(Err(fault));
        }
        Ok(match Fault::in_body(&body) {
            None => Ok(Page::New(body, parts.headers.get(ETAG).cloned())),
            Some(fault) => Err(fault),
        })
    }
}

/// Returns whether the same question can fare better in a moment.
fn may_pass(fault: &Fault) -> bool {
    let ours = matches!(fault.scope(), Scope::Request | Scope::Caller | Scope::Local);
    let passes = |status| status == 429 || status >= 500;
    !ours && fault.status().is_none_or(passes)
}

fn other_form(path: &str, what: &str) -> CallError {
    let message = format!("the answer to {path} is {what}: is the base URL OpenRouter's?");
    CallError::new(CallErrorKind::Answer, message)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("base_url", &self.base)
            .finish_non_exhaustive()
    }
}
