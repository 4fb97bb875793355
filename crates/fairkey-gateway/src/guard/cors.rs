//! Which web pages may read answers: [`Origins`], and the headers that say so: [`Cors`].

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::GuardError;

/// What a page may read of an answer's headers besides the few that it always may.
const EXPOSED: &str = "x-request-id, x-generation-id, x-fairkey-request-id, x-fairkey-key, \
                       x-fairkey-attempts, x-fairkey-error, x-fairkey-origin, x-should-retry, \
                       retry-after, retry-after-ms";

/// The web pages, by origin, that may read answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    list: BTreeSet<Box<str>>,
}

impl Origins {
    /// No page may: the default. Answers then have no header of CORS.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These may: each as its browser writes it, `https://app.example` with no path; `*` is any.
    ///
    /// # Errors
    ///
    /// Where one is no origin.
    pub fn list<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Result<Self, GuardError> {
        let mut all = Self::default();
        for origin in origins {
            let origin = origin.as_ref();
            if origin == "*" {
                all.any = true;
            } else if is_origin(origin) {
                all.list.insert(origin.to_ascii_lowercase().into());
            } else {
                return Err(GuardError(format!(
                    "\"{}\" is no origin: write it as a browser does, such as \
                     \"https://app.example\" or \"http://localhost:3000\", with no path, or \"*\"",
                    super::printable(origin)
                )));
            }
        }
        Ok(all)
    }

    pub(super) fn is_any(&self) -> bool {
        self.any
    }

    pub(super) fn has(&self, origin: &HeaderValue) -> bool {
        if self.any {
            return true;
        }
        // A browser writes it in lower case.
        !self.list.is_empty()
            && origin
                .to_str()
                .is_ok_and(|origin| self.list.contains(origin))
    }
}

/// `scheme://host` with no path, query or user information.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let is_word = |text: &str, more: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && text.chars().all(allowed)
    };
    is_word(scheme, "+-.") && is_word(authority, ".-_:[]")
}

/// The headers that let one page read an answer.
#[derive(Clone, Debug)]
pub struct Cors {
    origin: HeaderValue,
}

impl Cors {
    pub(super) fn new(origin: &HeaderValue) -> Self {
        Self {
            origin: origin.clone(),
        }
    }

    /// Puts them in.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers.append(VARY, HeaderValue::from_static("origin"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
    }

    /// Answers a browser that asks first. What it wants to send it may send: what counts is the
    /// token, which no page has by itself.
    pub(super) fn preflight(&self, asked: &HeaderMap) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.apply(headers);
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS"),
        );
        if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    }
}

/// Whether a browser asks before it sends the request itself.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
