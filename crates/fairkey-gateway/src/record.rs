//! One request from its head to its end, as metrics and the access log hear of it:
//! [`CallRecord`], and who hears of it: [`Observer`].

use std::fmt;
use std::time::Duration;

use fairkey_client::Attempt;
use fairkey_core::{KeyId, Timestamp};

use crate::End;
use crate::reply::Reason;
use crate::tenant::Used;
use crate::trace::TraceParent;

/// One request that is over. No secret is in it, and nothing of what was asked or answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallRecord<'a> {
    /// The request's identifier.
    pub request_id: &'a str,
    /// The tenant; empty where none was found.
    pub tenant: &'a str,
    /// The method.
    pub method: &'a str,
    /// The operation: `chat`. The path itself may name things of a user, and is not kept.
    pub operation: &'static str,
    /// The model, as the request names it.
    pub model: Option<&'a str>,
    /// Where it belongs in a trace, where the caller said so and somebody [observes](Observer).
    pub trace: Option<TraceParent>,
    /// When its head was there, on the clock of the client's pool, as the attempts have it.
    pub began: Timestamp,
    /// How long ago that was when this is told: what a call has used may be known only long after
    /// its end.
    pub age: Duration,
    /// Whether a stream was asked for.
    pub is_stream: bool,
    /// The status that the caller got.
    pub status: u16,
    /// Where the gateway refused or failed: why.
    pub reason: Option<Reason>,
    /// How it ended; `None` where the gateway itself answered.
    pub end: Option<End>,
    /// Every attempt; the last one served.
    pub attempts: &'a [Attempt],
    /// The key that served where only one could, and there are no attempts.
    pub key: Option<&'a KeyId>,
    /// How long it waited for keys.
    pub queued: Duration,
    /// From the head of the request to the first content of the answer.
    pub first_content: Option<Duration>,
    /// From the head of the request to the end of the answer.
    pub total: Duration,
    /// What it used, where that is known.
    pub used: Option<Used>,
    /// The identifier of the generation.
    pub generation: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

/// Hears of each request that is over, refused ones and those of nobody included.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Is called once for each request, on the task that served it. Must not block.
    fn over(&self, call: &CallRecord<'_>);
}

impl<'a> CallRecord<'a> {
    /// Returns the label of the key that served, or that was the last to be tried.
    pub(crate) fn key_label(&self) -> Option<&'a str> {
        let served = self.attempts.last().map(|attempt| &attempt.key);
        served.or(self.key).map(KeyId::as_str)
    }

    /// Returns the status as a class: `2xx`.
    #[must_use]
    pub const fn status_class(&self) -> &'static str {
        STATUS_CLASSES[status_class(self.status)]
    }
}

/// The classes of statuses; the last one is for what is no status.
pub(crate) const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

pub(crate) const fn status_class(status: u16) -> usize {
    match status / 100 {
        class @ 1..=5 => class as usize - 1,
        _ => 5,
    }
}
