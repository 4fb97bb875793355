//! One call of administration: what to send, and how to read what comes back.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::endpoint::{self, UrlError};
use crate::fault::Fault;
use crate::management::{InvalidCall, ManagementAnswer};

/// A call of administration: method, path and body, and the type of its answer.
///
/// Its `Debug` shows method and path.
#[derive(Clone)]
pub struct ManagementCall<T> {
    method: Method,
    path: String,
    body: Option<Bytes>,
    answer: PhantomData<fn() -> T>,
}

impl<T> ManagementCall<T> {
    pub(super) fn new(method: Method, path: String, body: Option<Bytes>) -> Self {
        Self {
            method,
            path,
            body,
            answer: PhantomData,
        }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path with its query, to be joined to a base URL by [`endpoint::url`].
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the JSON body, where there is one.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Returns the call as an HTTP request to a base URL such as
    /// [`BASE_URL`](endpoint::BASE_URL), without `Authorization`: whoever sends it adds the
    /// management key.
    ///
    /// # Errors
    ///
    /// Those of [`endpoint::url`].
    pub fn to_request(&self, base_url: &str) -> Result<Request<Bytes>, UrlError> {
        let mut request = Request::new(self.body.clone().unwrap_or_default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = endpoint::url(base_url, &self.path)?;
        let json = HeaderValue::from_static("application/json");
        if self.body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, json.clone());
        }
        request.headers_mut().insert(ACCEPT, json);
        Ok(request)
    }
}

impl<T: ManagementAnswer> ManagementCall<T> {
    /// Reads the answer.
    ///
    /// # Errors
    ///
    /// The fault, where the status says so or the body is no such answer. It repeats nothing of a
    /// body that may hold a secret.
    pub fn read(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<T, Fault> {
        if !status.is_success() {
            return Err(Fault::from_response(status, headers, body));
        }
        if body.trim_ascii().is_empty()
            && let Some(answer) = T::empty()
        {
            return Ok(answer);
        }
        if let Some(fault) = Fault::in_body(body) {
            return Err(fault);
        }
        T::read(body).map_err(|what| Fault::malformed(&what).with_status(status.as_u16()))
    }
}

impl<T> fmt::Debug for ManagementCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementCall")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Returns `/keys/{hash}`.
pub(super) fn key_path(hash: &str) -> Result<String, InvalidCall> {
    // Dots alone would name another path once somebody in between normalizes it.
    if hash.is_empty() || hash.bytes().all(|b| b == b'.') {
        return Err(InvalidCall::Hash);
    }
    Ok(format!("{}/{}", endpoint::KEYS, percent_encoded(hash)))
}

/// Encodes all but the unreserved characters of RFC 3986: fits a path segment and a query value.
pub(super) fn percent_encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}
