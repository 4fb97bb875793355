//! Answers that are the same for everybody: [`Catalogue`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::Served;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::gateway::Shared;
use crate::headers;
use crate::relay::Outbound;
use crate::{Failure, Reason, Settings};

/// How many lists are kept, whatever their size: queries make as many of them as they like.
const MOST_LISTS: usize = 1_024;

/// Lists of models, endpoints and providers, fetched once and kept for a while.
///
/// Those who ask for one at a time share a fetch. One that is too old is fetched again; where that
/// fails, the old one is served, and its `Age` says so. Only answers with status 200 are kept.
#[derive(Debug)]
pub(crate) struct Catalogue {
    max_age: Duration,
    max_bytes: usize,
    lists: Mutex<HashMap<Arc<str>, Arc<List>>>,
}

/// One list.
#[derive(Debug, Default)]
struct List {
    /// Held by whoever fetches it.
    kept: tokio::sync::Mutex<Option<Kept>>,
    /// For what goes first. Written by whoever has fetched.
    size: Mutex<Option<(Instant, usize)>>,
}

impl List {
    /// Returns since when it is kept, and how large it is.
    fn sized(&self) -> Option<(Instant, usize)> {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug)]
struct Kept {
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
}

/// What came of a fetch.
enum Fetched {
    Kept(Kept),
    /// An answer that is for this caller only.
    Passes(Response<Outbound>),
}

impl Catalogue {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            max_age: settings.catalogue_max_age,
            max_bytes: settings.catalogue_max_bytes,
            lists: Mutex::default(),
        }
    }

    /// Answers with what is kept, or fetches it.
    pub(crate) async fn answer(
        &self,
        shared: &Shared,
        parts: &Parts,
        endpoint: &Endpoint,
    ) -> Result<Response<Outbound>, Failure> {
        let uri = endpoint.target.uri(&shared.base_url, parts.uri.query());
        let Some(uri) = uri else {
            let message = "the upstream has no such path beside its base";
            return Err(Failure::new(Reason::BadPath, message));
        };
        let list = self.list(&uri);
        let mut kept = list.kept.lock().await;
        if let Some(kept) = &*kept
            && kept.at.elapsed() < self.max_age
        {
            return Ok(kept.respond());
        }
        let fetched = self.fetch(shared, &uri).await;
        match (fetched, &*kept) {
            (Ok(Fetched::Kept(new)), _) => {
                let response = new.respond();
                if new.body.len() <= self.max_bytes / 2 {
                    *list.size.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((new.at, new.body.len()));
                    *kept = Some(new);
                    drop(kept);
                    self.shrink();
                } else {
                    drop(kept);
                    self.forget(&uri);
                }
                Ok(response)
            }
            (Ok(Fetched::Passes(response)), Some(old)) if response.status().is_server_error() => {
                Ok(old.respond())
            }
            (Err(_), Some(old)) => Ok(old.respond()),
            (other, None) | (other @ Ok(Fetched::Passes(_)), Some(_)) => {
                drop(kept);
                self.forget(&uri);
                other.map(|fetched| match fetched {
                    Fetched::Passes(response) => response,
                    Fetched::Kept(kept) => kept.respond(),
                })
            }
        }
    }

    fn list(&self, uri: &str) -> Arc<List> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists.get(uri) {
            return Arc::clone(list);
        }
        if lists.len() >= MOST_LISTS {
            // Those that nobody has, and nobody fetches any more: their callers have left.
            lists.retain(|_, list| list.sized().is_some() || Arc::strong_count(list) > 1);
        }
        let list = Arc::default();
        lists.insert(uri.into(), Arc::clone(&list));
        list
    }

    /// Forgets what brought nothing that can be kept.
    fn forget(&self, uri: &str) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.remove(uri);
    }

    /// Lets the oldest go, until the rest is within its bounds.
    fn shrink(&self) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let sizes = lists
                .iter()
                .filter_map(|(uri, list)| Some((uri, list.sized()?)));
            let sizes: Vec<_> = sizes
                .map(|(uri, (at, size))| (at, size, Arc::clone(uri)))
                .collect();
            let total: usize = sizes.iter().map(|(_, size, _)| size).sum();
            if total <= self.max_bytes && lists.len() <= MOST_LISTS {
                return;
            }
            match sizes.into_iter().min() {
                Some((_, _, oldest)) => lists.remove(&oldest),
                None => return,
            };
        }
    }

    async fn fetch(&self, shared: &Shared, uri: &str) -> Result<Fetched, Failure> {
        let bad = || Failure::new(Reason::BadPath, "the path cannot be asked for");
        let request = Request::get(uri).body(Bytes::new()).map_err(|_| bad())?;
        let sent = shared.client.send(request).await;
        let response = sent.map_err(|error| Failure::of_call(&error))?;
        let (mut parts, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, self.max_bytes.max(1 << 20));
        let body = body.collect().await.map_err(|_| {
            Failure::new(
                Reason::UpstreamFailed,
                "the list broke off, or is too large",
            )
        })?;
        let body = body.to_bytes();
        if let Some(Served {
            attempts,
            error: Some(error),
            ..
        }) = parts.extensions.get()
        {
            let fault = attempts.last().and_then(|attempt| attempt.fault);
            if let Some(failure) = fault.and_then(|fault| Failure::instead_of(&fault)) {
                return Err(failure.with_retry_after_if(error.retry_after()));
            }
        }
        headers::to_caller(&mut parts.headers);
        if parts.status == StatusCode::OK {
            return Ok(Fetched::Kept(Kept {
                headers: parts.headers,
                body,
                at: Instant::now(),
            }));
        }
        let mut response = Response::new(Outbound::full(body));
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        Ok(Fetched::Passes(response))
    }
}

impl Kept {
    fn respond(&self) -> Response<Outbound> {
        let mut response = Response::new(Outbound::full(self.body.clone()));
        *response.headers_mut() = self.headers.clone();
        let age = HeaderValue::from(self.at.elapsed().as_secs());
        response.headers_mut().insert(header::AGE, age);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_whose_callers_have_left_do_not_pile_up_and_the_oldest_goes_first() {
        let settings = Settings {
            catalogue_max_bytes: 10,
            ..Settings::default()
        };
        let catalogue = Catalogue::new(&settings);
        let held = catalogue.list("/held");
        for n in 0..3 * MOST_LISTS {
            drop(catalogue.list(&format!("/models?q={n}")));
        }
        assert!(catalogue.lists.lock().unwrap().len() <= MOST_LISTS);
        assert!(Arc::ptr_eq(&held, &catalogue.list("/held")));
        let now = Instant::now();
        for (uri, age) in [("/old", 2), ("/new", 1)] {
            let list = catalogue.list(uri);
            *list.size.lock().unwrap() = Some((now - Duration::from_secs(age), 8));
        }
        catalogue.shrink();
        let lists = catalogue.lists.lock().unwrap();
        assert!(lists.contains_key("/new") && !lists.contains_key("/old"));
    }
}
