//! A batch as it is shown: [`Batch`].

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{BatchResults, is_id};
use crate::fault::{Fault, malformed_json};
use crate::lenient::{object, odd_is_default, odd_is_none, optional_count};
use crate::open_enum::open_enum;
use crate::redaction::{MESSAGE_CHARS, clean};
use crate::response::Usage;

open_enum! {
    /// How far a batch is.
    pub enum BatchStatus {
        /// Its requests are looked at.
        Validating = "validating",
        /// They are being answered.
        InProgress = "in_progress",
        /// The answers are brought together.
        Finalizing = "finalizing",
        /// The answers are there. The end.
        Completed = "completed",
        /// The batch as a whole has failed. The end.
        Failed = "failed",
        /// The window of 24 hours has passed. The end.
        Expired = "expired",
        /// It is being cancelled.
        Cancelling = "cancelling",
        /// It was cancelled. The end.
        Cancelled = "cancelled",
    }
}

impl BatchStatus {
    /// Returns whether nothing comes after it. A status that this version does not know is none.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Expired | Self::Cancelled
        )
    }
}

/// How many requests a batch has, and how many are through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct BatchCounts {
    /// All of them.
    #[serde(default, deserialize_with = "crate::lenient::count")]
    pub total: u64,
    /// Those with an answer.
    #[serde(default, deserialize_with = "crate::lenient::count")]
    pub completed: u64,
    /// Those with an error.
    #[serde(default, deserialize_with = "crate::lenient::count")]
    pub failed: u64,
}

/// A batch: what its making and each look at it answer.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// Its name: letters, digits and `-._~:`.
    pub id: String,
    /// How far it is.
    pub status: BatchStatus,
    /// Its endpoint, such as `/v1/chat/completions`.
    pub endpoint: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_at: Option<u64>,
    /// When it came to its end, in seconds since 1970.
    pub finalized_at: Option<u64>,
    /// How many requests are through.
    pub counts: BatchCounts,
    /// What it used in all, where that is said.
    pub usage: Option<Usage>,
    /// Why it failed as a whole, in words: bounded and redacted.
    pub error: Option<String>,
    results: Option<Bytes>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    id: String,
    status: String,
    #[serde(default, deserialize_with = "odd_is_none")]
    endpoint: Option<String>,
    #[serde(default, deserialize_with = "odd_is_none")]
    model: Option<String>,
    #[serde(default, deserialize_with = "optional_count")]
    created_at: Option<u64>,
    #[serde(default, deserialize_with = "optional_count")]
    finalized_at: Option<u64>,
    #[serde(default, deserialize_with = "odd_is_default")]
    request_counts: BatchCounts,
    #[serde(default, deserialize_with = "odd_is_none")]
    usage: Option<Usage>,
    #[serde(default)]
    error: Value,
    #[serde(borrow)]
    results: Option<&'a RawValue>,
}

impl Batch {
    /// Reads an answer to the making of a batch or to a look at one. Results are not looked into
    /// here, and not copied: see [`results`](Self::results).
    ///
    /// # Errors
    ///
    /// The fault, where the status says so or the body is no batch.
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Result<Self, Fault> {
        if !status.is_success() {
            return Err(Fault::from_response(status, headers, body));
        }
        let malformed = |what: &str| Fault::malformed(what).with_status(status.as_u16());
        let wire: Wire<'_> = match object(body) {
            Ok(wire) => wire,
            Err(error) => {
                let what = format!("the batch: {}", malformed_json(&error));
                return Err(Fault::in_body(body).unwrap_or_else(|| malformed(&what)));
            }
        };
        if !is_id(&wire.id) {
            return Err(malformed("the batch has a name that is no name"));
        }
        let results = wire.results.filter(|raw| raw.get() != "null");
        Ok(Self {
            id: wire.id,
            status: wire.status.into(),
            endpoint: wire.endpoint,
            model: wire.model,
            created_at: wire.created_at,
            finalized_at: wire.finalized_at,
            counts: wire.request_counts,
            usage: wire.usage,
            error: message(&wire.error),
            results: results.map(|raw| body.slice_ref(raw.get().as_bytes())),
        })
    }

    /// Returns the results, in the order in which they came, which need not be that of the
    /// requests. None but of a completed batch.
    ///
    /// # Errors
    ///
    /// Where they are no list.
    pub fn results(&self) -> Result<BatchResults, Fault> {
        BatchResults::read(self.results.as_ref())
    }

    /// Returns whether there are results.
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.results.is_some()
    }
}

/// Does not show results.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("counts", &self.counts)
            .field("usage", &self.usage)
            .field("error", &self.error)
            .field("result_bytes", &self.results.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

/// The words of an error whose form nobody has documented.
fn message(error: &Value) -> Option<String> {
    let text = match error {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => match other.get("message").and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => other.to_string(),
        },
    };
    Some(clean(&text, MESSAGE_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<Batch, Fault> {
        let body = Bytes::from_static(body.as_bytes());
        Batch::read(StatusCode::OK, &HeaderMap::new(), &body)
    }

    #[test]
    fn a_batch_is_read_with_odd_members() {
        let batch = read(
            r#"{"id":"b-1","status":"resting","request_counts":7,"usage":"?","created_at":"12",
                "error":{"code":5,"message":"sk-or-v1-0123456789abcdef is bad"},"results":null}"#,
        )
        .unwrap();
        assert_eq!(batch.status, BatchStatus::Other("resting".into()));
        assert!(!batch.status.is_terminal() && !batch.has_results());
        assert_eq!((batch.created_at, batch.usage), (Some(12), None));
        assert_eq!(batch.error.as_deref(), Some("[key] is bad"));
        assert_eq!(batch.counts, BatchCounts::default());
    }

    #[test]
    fn what_is_no_batch_is_a_fault() {
        for body in [
            "[]",
            "{}",
            "nothing",
            r#"{"id":"../keys","status":"completed"}"#,
            r#"{"id":7,"status":"completed"}"#,
            r#"{"error":{"code":502,"message":"no"}}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn only_the_four_ends_are_ends() {
        let ends = BatchStatus::KNOWN.iter().filter(|it| it.is_terminal());
        let ends: Vec<&str> = ends.map(BatchStatus::as_str).collect();
        assert_eq!(ends, ["completed", "failed", "expired", "cancelled"]);
    }
}
