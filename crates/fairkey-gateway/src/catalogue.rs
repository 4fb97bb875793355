//! Answers that are the same for everybody: [`Catalogue`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// Those who ask for one at a time share a fetch, and what came of it where it failed. One that is too
/// old is fetched again; where that fails, the old one is served, and its `Age` says so. Only answers
/// with status 200 are kept.
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
    /// How often it was fetched in vain, and what came of that the last time.
    missed: Mutex<(u64, Option<Missed>)>,
}

/// What those get who have waited for a fetch that failed.
#[derive(Clone, Debug)]
enum Missed {
    /// What is kept.
    Old,
    Told(Result<Passed, Failure>),
}

impl List {
    fn misses(&self) -> u64 {
        self.missed().0
    }

    fn miss(&self, missed: Missed) {
        let mut last = self.missed();
        *last = (last.0 + 1, Some(missed));
    }

    /// Returns what came of the last fetch, where that failed after so many had.
    fn missed_since(&self, misses: u64) -> Option<Missed> {
        let last = self.missed();
        last.1.clone().filter(|_| last.0 > misses)
    }

    fn missed(&self) -> MutexGuard<'_, (u64, Option<Missed>)> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
    /// An answer that is only for those who wait for it.
    Passes(Passed),
}

#[derive(Clone, Debug)]
struct Passed {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Passed {
    fn respond(self) -> Response<Outbound> {
        let mut response = Response::new(Outbound::full(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
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
        let misses = list.misses();
        let mut kept = list.kept.lock().await;
        if let Some(kept) = &*kept
            && kept.at.elapsed() < self.max_age
        {
            return Ok(kept.respond());
        }
        // Whoever has waited for a fetch in vain makes no other: of many who wait, the last would wait
        // for as many of them, one after the other.
        match (list.missed_since(misses), &*kept) {
            (Some(Missed::Old), Some(old)) => return Ok(old.respond()),
            (Some(Missed::Told(told)), _) => return told.map(Passed::respond),
            _ => {}
        }
        let told = match (self.fetch(shared, &uri).await, &*kept) {
            (Ok(Fetched::Kept(new)), _) => {
                let response = new.respond();
                if new.body.len() <= self.max_bytes / 2 {
                    *list.size.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((new.at, new.body.len()));
                    *kept = Some(new);
                    drop(kept);
                    self.shrink();
                } else {
                    list.miss(Missed::Told(Ok(Passed {
                        status: StatusCode::OK,
                        headers: new.headers,
                        body: new.body,
                    })));
                    drop(kept);
                    self.forget(&uri);
                }
                return Ok(response);
            }
            (Ok(Fetched::Passes(passed)), Some(old)) if passed.status.is_server_error() => {
                list.miss(Missed::Old);
                return Ok(old.respond());
            }
            (Err(_), Some(old)) => {
                list.miss(Missed::Old);
                return Ok(old.respond());
            }
            (Ok(Fetched::Passes(passed)), _) => Ok(passed),
            (Err(failure), None) => Err(failure),
        };
        list.miss(Missed::Told(told.clone()));
        drop(kept);
        self.forget(&uri);
        told.map(Passed::respond)
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
        Ok(Fetched::Passes(Passed {
            status: parts.status,
            headers: parts.headers,
            body,
        }))
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
