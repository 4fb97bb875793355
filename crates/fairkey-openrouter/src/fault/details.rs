//! The parts of a fault that are more than one word.

use std::time::Duration;

use crate::fault::AvailabilityCode;
use crate::key_info::BudgetScope;

/// What might help. Each is a hint on where to go, not a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Remedy {
    /// Another key, even of the same account.
    pub same_account_key: bool,
    /// A key of another account; for a budget, of another workspace or member.
    pub other_account: bool,
    /// A key of an account with more money.
    pub richer_account: bool,
    /// A smaller `max_tokens`, or a shorter prompt.
    pub smaller_max_tokens: bool,
    /// Another model, or another provider. OpenRouter may suggest some:
    /// [`Fault::suggested_models`](crate::Fault::suggested_models).
    pub other_model: bool,
    /// The same call with the same key, after a wait.
    pub wait: bool,
}

impl Remedy {
    /// Nothing helps.
    pub const NONE: Self = Self {
        same_account_key: false,
        other_account: false,
        richer_account: false,
        smaller_max_tokens: false,
        other_model: false,
        wait: false,
    };

    /// Returns whether some other key might help.
    #[must_use]
    pub const fn other_key(self) -> bool {
        self.same_account_key || self.other_account || self.richer_account
    }
}

/// A word in a typed place of an error that this version does not know, such as a new
/// `limit_source`.
///
/// It never decides anything: the next piece of evidence does, as
/// [`Fault::unknown_words`](crate::Fault::unknown_words) says. Count it, so that somebody sees it.
/// Fit for a metric's label: one of a few field names, and a word of at most 64 letters, digits
/// and signs; anything else that stands in such a place is the word `(no word)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct UnknownWord {
    /// The field: `limit_source`, `error_type`, `availability`, `reason`, `scope`, `code`, `type`
    /// or `status`.
    pub field: &'static str,
    /// The word.
    pub word: String,
}

impl UnknownWord {
    pub(crate) fn new(field: &'static str, word: &str) -> Self {
        Self {
            field,
            word: word.to_owned(),
        }
    }
}

/// What a fault was read from: how far its scope can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// From fields with a documented vocabulary, which name the scope.
    Typed,
    /// From the status, and which fields are there.
    Status,
    /// From the words of a message: without them, the fault would have another cause.
    Phrase,
    /// From what this process saw itself: a broken connection, a deadline, a cut stream.
    Observed,
}

/// Why no endpoint is available: the `availability` of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Availability {
    /// What it is.
    pub code: AvailabilityCode,
    /// Whether the same call may succeed later.
    pub retryable: Option<bool>,
    /// The least wait among the attempts that OpenRouter made.
    pub retry_after: Option<Duration>,
    /// The models that were asked for.
    pub requested_models: Vec<String>,
    /// Models that might do instead.
    pub fallback_models: Vec<String>,
    /// The providers that are concerned.
    pub affected_providers: Vec<String>,
    /// What left no endpoint, such as `data_policy:zdr` or `max_price`.
    pub excluded_by: Vec<String>,
}

/// The budget or cap that refused a call.
#[derive(Clone, Debug, PartialEq, Default)]
#[non_exhaustive]
pub struct BudgetStatus {
    /// What it applies to.
    pub scope: Option<BudgetScope>,
    /// The budget, in US dollars.
    pub limit_usd: Option<f64>,
    /// What is spent of it.
    pub spend_usd: Option<f64>,
    /// When it starts anew, since 1970-01-01 00:00 UTC.
    pub resets_at: Option<Duration>,
}

/// One attempt that OpenRouter made before it gave up.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PreviousError {
    /// The provider that failed.
    pub provider: Option<String>,
    /// Why, in OpenRouter's words.
    pub code: Option<String>,
    /// With which status.
    pub status: Option<u16>,
}
