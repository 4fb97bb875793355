//! OpenRouter's Batch API (beta): many requests of one endpoint and model at once, answered within
//! 24 hours, as a rule at half the price of their tokens.
//!
//! A batch is made by `POST` of [`BatchBuilder::finish`] to [`PATH`], and looked at by `GET` of
//! [`path_of`]; both lie beside the base URL of everything else, under `/api/beta`. What is known
//! is in the quick start of OpenRouter's documentation (August 2026). There is no call to cancel a
//! batch and none to list batches, and nothing is said of the most rows or bytes of one, nor of the
//! form of a single request's error: that is read leniently.
//!
//! ```
//! use bytes::Bytes;
//! use fairkey_openrouter::batch::{Batch, BatchBuilder, BatchRequest, BatchStatus};
//! use http::{HeaderMap, StatusCode};
//!
//! let body = Bytes::from_static(br#"{"model":"a/b","messages":[{"role":"user","content":"Hi"}]}"#);
//! let request = BatchRequest::new("/chat/completions", body, None)?;
//! let mut builder = BatchBuilder::new(request.kind().clone());
//! builder.push("row-1", &request)?;
//! assert_eq!(
//!     builder.finish(),
//!     r#"{"endpoint":"/v1/chat/completions","model":"a/b","requests":[{"custom_id":"row-1","body":{"model":"a/b","messages":[{"role":"user","content":"Hi"}]}}]}"#
//! );
//!
//! let answer = Bytes::from_static(br#"{"id":"batch-1","object":"batch","status":"completed",
//!     "request_counts":{"total":1,"completed":1,"failed":0},"results":[{"id":"gen-batch-1",
//!     "custom_id":"row-1","response":{"status_code":200,"request_id":"gen-batch-1",
//!     "body":{"choices":[]}},"error":null}]}"#);
//! let batch = Batch::read(StatusCode::OK, &HeaderMap::new(), &answer)?;
//! assert_eq!(batch.status, BatchStatus::Completed);
//! let result = batch.results()?.next().unwrap()?;
//! assert_eq!(result.custom_id, "row-1");
//! assert_eq!(result.answer?.body, r#"{"choices":[]}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod object;
mod request;
mod result;

pub use self::builder::{BatchBuilder, PushError};
pub use self::object::{Batch, BatchCounts, BatchStatus};
pub use self::request::{BatchKind, BatchRequest, Unbatchable};
pub use self::result::{BatchAnswer, BatchResult, BatchResults};

use std::fmt;

use crate::endpoint::{CHAT_COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES};

/// Where batches are made, from the root of the host: `POST`.
pub const PATH: &str = "/api/beta/batches";

/// The longest name of a batch that is believed, in bytes.
pub(crate) const ID_BYTES: usize = 200;

/// Returns where a batch is looked at, from the root of the host: `GET`. `None` where `id` could
/// name anything else than a batch.
///
/// ```
/// use fairkey_openrouter::batch::path_of;
///
/// assert_eq!(path_of("batch-1").as_deref(), Some("/api/beta/batches/batch-1"));
/// assert_eq!(path_of("../keys"), None);
/// ```
#[must_use]
pub fn path_of(id: &str) -> Option<String> {
    is_id(id).then(|| format!("{PATH}/{id}"))
}

/// Whether a text is fit to be a part of a path, and is no path itself.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= ID_BYTES
        && id.bytes().any(|byte| byte != b'.')
        && (id.bytes()).all(|byte| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte))
}

/// An endpoint whose requests batches take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BatchEndpoint {
    /// Chat completions.
    ChatCompletions,
    /// The Responses format of OpenAI.
    Responses,
    /// The Messages format of Anthropic.
    Messages,
    /// Embeddings.
    Embeddings,
}

impl BatchEndpoint {
    /// Every endpoint.
    pub const ALL: [Self; 4] = [
        Self::ChatCompletions,
        Self::Responses,
        Self::Messages,
        Self::Embeddings,
    ];

    /// Returns its name in a batch: `/v1/chat/completions`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// Returns its path below the base URL: `/chat/completions`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => CHAT_COMPLETIONS,
            Self::Responses => RESPONSES,
            Self::Messages => MESSAGES,
            Self::Embeddings => EMBEDDINGS,
        }
    }

    /// Returns the endpoint of a path below the base URL.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.path() == path)
    }
}

impl fmt::Display for BatchEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
