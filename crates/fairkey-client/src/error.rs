//! What a caller is told when there is no answer: [`CallError`].

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{BuildError, Denied, KeyId, Scope, Timestamp};
use fairkey_openrouter::Fault;
use fairkey_strategy::queue::Refused;
use http::Response;

use crate::answer::Attempt;
use crate::verdict::GiveUp;

/// Says why a call has no answer: what went wrong at last, what was tried, and what to do.
///
/// It names keys by label. It is cheap to move and to clone.
#[derive(Clone)]
pub struct CallError {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: CallErrorKind,
    message: String,
    attempts: Vec<Attempt>,
    fault: Option<Fault>,
    give_up: Option<GiveUp>,
    retry_at: Option<Timestamp>,
    retry_after: Option<Duration>,
    keys: Keys,
    queue: Option<Refused>,
    waited: Duration,
    response: Option<Response<Bytes>>,
    may_run: bool,
}

/// The kinds of [`CallError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// No key could be had, at all or in time: see [`CallError::keys`] and
    /// [`CallError::retry_after`].
    NoKey,
    /// The last attempt failed, and no further one was made: see [`CallError::fault`].
    Fault,
    /// The caller's deadline passed.
    Deadline,
    /// So many calls wait for a key already, or for so long, that this one was turned away: see
    /// [`CallError::queue`].
    Overloaded,
    /// The call cannot be sent as it is: its path, its headers, its origin.
    Request,
    /// An answer came, and it is of another form than this method reads.
    Answer,
}

/// What stands before one key: an entry of [`CallError::keys`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KeyState {
    /// The key.
    pub key: KeyId,
    /// Who bars it, and until when on the pool's clock; `None` where nobody did.
    pub denied: Option<Denied>,
    /// Until it opens, as far as time alone opens it, counted from the failure.
    pub opens_in: Option<Duration>,
    /// The last refusal that was charged to this key or its account, as words: scope, cause and
    /// status.
    pub refusal: Option<String>,
    /// How long before the failure that refusal came.
    pub refused_ago: Option<Duration>,
    /// The limit that bars it, and until when, as words, where it is one of ours.
    pub limit: Option<String>,
}

/// How many keys are out for one reason: an entry of [`CallError::key_counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyCount {
    /// Who bars them; `None` for those that nobody did.
    pub by: Option<Scope>,
    /// Whether they do not open by the passing of time.
    pub is_for_good: bool,
    /// How many they are.
    pub count: usize,
}

/// The most keys that an error has in detail: what a reader can take in, however many there are.
pub(crate) const KEYS_IN_DETAIL: usize = 32;

/// What stood before the keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    /// At most [`KEYS_IN_DETAIL`].
    pub(crate) detail: Vec<KeyState>,
    /// Of all.
    pub(crate) counts: Vec<KeyCount>,
}

impl CallError {
    pub(crate) fn new(kind: CallErrorKind, message: impl Into<String>) -> Self {
        let inner = Inner {
            kind,
            message: message.into(),
            attempts: Vec::new(),
            fault: None,
            give_up: None,
            retry_at: None,
            retry_after: None,
            keys: Keys::default(),
            queue: None,
            waited: Duration::ZERO,
            response: None,
            may_run: false,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    pub(crate) fn with_attempts(self, attempts: Vec<Attempt>) -> Self {
        self.with(|inner| inner.attempts = attempts)
    }

    pub(crate) fn with_fault(self, fault: Option<Fault>) -> Self {
        self.with(|inner| inner.fault = fault)
    }

    pub(crate) fn with_give_up(self, give_up: Option<GiveUp>) -> Self {
        self.with(|inner| inner.give_up = give_up)
    }

    pub(crate) fn with_retry(self, at: Option<Timestamp>, now: Timestamp) -> Self {
        self.with(|inner| {
            inner.retry_at = at;
            inner.retry_after = at.map(|at| at.since(now));
        })
    }

    pub(crate) fn with_queue(self, refused: Refused, now: Timestamp) -> Self {
        let at = refused.wait.map(|wait| now + wait);
        self.with(|inner| inner.queue = Some(refused))
            .with_retry(at, now)
    }

    pub(crate) fn with_keys(self, keys: Keys) -> Self {
        self.with(|inner| inner.keys = keys)
    }

    pub(crate) fn with_waited(self, waited: Duration) -> Self {
        self.with(|inner| inner.waited = waited)
    }

    pub(crate) fn with_response(self, response: Option<Response<Bytes>>) -> Self {
        self.with(|inner| inner.response = response)
    }

    pub(crate) fn running(self, may_run: bool) -> Self {
        self.with(|inner| inner.may_run = may_run)
    }

    /// Returns whether the request may have been taken although no answer came, for a request that
    /// was sent once by [`send_by`](crate::Client::send_by) or
    /// [`send_with`](crate::Client::send_with): sent again, it may be done twice.
    #[must_use]
    pub fn may_run(&self) -> bool {
        self.inner.may_run
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> CallErrorKind {
        self.inner.kind
    }

    /// Returns every attempt that was made.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.inner.attempts
    }

    /// Returns the fault of the last attempt that failed.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.inner.fault.as_ref()
    }

    /// Returns why no further attempt was made although one might have helped; `None` where none
    /// could.
    #[must_use]
    pub fn give_up(&self) -> Option<GiveUp> {
        self.inner.give_up
    }

    /// Returns who is at fault: as the last fault says, [`Scope::Caller`] for the caller's
    /// deadline, [`Scope::Request`] for what cannot be sent; for a call that got no key, who bars
    /// them.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (self.inner.kind, &self.inner.fault) {
            (CallErrorKind::Deadline, _) => Scope::Caller,
            (CallErrorKind::Overloaded, _) => Scope::Local,
            (CallErrorKind::Request, _) => Scope::Request,
            (CallErrorKind::NoKey, _) => {
                let bars = self.inner.keys.detail.iter().find_map(|key| key.denied);
                bars.map_or(Scope::Local, |denied| denied.by)
            }
            (_, Some(fault)) => fault.scope(),
            (_, None) => Scope::Local,
        }
    }

    /// Returns the soonest time, on the pool's clock, at which the call makes sense again; `None`
    /// where no time is known.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.inner.retry_at
    }

    /// Returns the same as a wait, counted from the failure.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Returns why the call was not let into the queue, and for how long it would have waited, for
    /// [`CallErrorKind::Overloaded`].
    #[must_use]
    pub fn queue(&self) -> Option<Refused> {
        self.inner.queue
    }

    /// Returns what stood before each key, for [`CallErrorKind::NoKey`]: of at most 32 keys, those
    /// that open soonest first. [`key_counts`](Self::key_counts) has all.
    #[must_use]
    pub fn keys(&self) -> &[KeyState] {
        &self.inner.keys.detail
    }

    /// Returns how many keys are out for which reason, for [`CallErrorKind::NoKey`]: of all keys,
    /// however many there are.
    #[must_use]
    pub fn key_counts(&self) -> &[KeyCount] {
        &self.inner.keys.counts
    }

    /// Returns whether every key is out for good, so that no other call will fare better until
    /// keys are replaced or topped up.
    #[must_use]
    pub fn is_every_key_dead(&self) -> bool {
        self.inner.kind == CallErrorKind::NoKey
            && !self.inner.keys.counts.is_empty()
            && self.inner.keys.counts.iter().all(|keys| {
                keys.is_for_good
                    && matches!(keys.by, Some(Scope::Key | Scope::Budget | Scope::Account))
            })
    }

    /// Returns how long the call stood in line for keys, all its attempts together.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.inner.waited
    }

    /// Returns the answer that the last attempt had, as it came, where it had one and failed.
    #[must_use]
    pub fn response(&self) -> Option<&Response<Bytes>> {
        self.inner.response.as_ref()
    }
}

/// The most keys and attempts that a message names.
const NAMED: usize = 6;

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        f.write_str(&inner.message)?;
        for (at, key) in inner.keys.detail.iter().take(NAMED).enumerate() {
            f.write_str(if at == 0 { ": " } else { "; " })?;
            write!(f, "{key}")?;
        }
        inner.keys.fmt_counts(f)?;
        if let Some(give_up) = inner.give_up {
            write!(f, "; given up: {}", give_up.as_str())?;
        }
        if let Some(wait) = inner.retry_after {
            write!(f, "; try again in {:.1} s", wait.as_secs_f64())?;
        }
        if !inner.attempts.is_empty() {
            let n = inner.attempts.len();
            let model = |attempt: &Attempt| attempt.model.clone();
            let first = inner.attempts.first().and_then(model);
            let several = inner.attempts.iter().any(|it| model(it) != first);
            write!(f, " [{n} {}: ", if n == 1 { "attempt" } else { "attempts" })?;
            for (at, attempt) in inner.attempts.iter().take(NAMED).enumerate() {
                f.write_str(if at == 0 { "" } else { "; " })?;
                if let (true, Some(model)) = (several, &attempt.model) {
                    write!(f, "{model} with ")?;
                }
                write!(f, "{attempt}")?;
            }
            more(f, n)?;
            f.write_str("]")?;
        }
        Ok(())
    }
}

fn more(f: &mut fmt::Formatter<'_>, n: usize) -> fmt::Result {
    if n > NAMED {
        write!(f, "; and {} more", n - NAMED)
    } else {
        Ok(())
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" ", self.key)?;
        match self.denied {
            None => f.write_str("was free again by then")?,
            Some(Denied {
                by: Scope::Local, ..
            }) => f.write_str("is busy")?,
            Some(Denied { until: None, .. }) => f.write_str("is out for good")?,
            Some(_) => {
                let wait = self.opens_in.unwrap_or_default();
                write!(f, "is out for {:.1} s more", wait.as_secs_f64())?;
            }
        }
        if let Some(limit) = &self.limit {
            return write!(f, " ({limit})");
        }
        match (&self.refusal, self.refused_ago, self.denied) {
            (Some(refusal), Some(ago), _) => {
                write!(f, ", refused {:.1} s ago: {refusal}", ago.as_secs_f64())
            }
            (_, _, Some(denied)) if denied.by != Scope::Local => write!(f, " ({})", denied.by),
            _ => Ok(()),
        }
    }
}

impl Keys {
    /// Says how many there are, where not all were named.
    fn fmt_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.counts.iter().map(|keys| keys.count).sum();
        if all <= NAMED {
            return Ok(());
        }
        write!(f, "; of {all} keys: ")?;
        for (at, keys) in self.counts.iter().enumerate() {
            write!(f, "{}{} ", if at == 0 { "" } else { ", " }, keys.count)?;
            match (keys.by, keys.is_for_good) {
                (None, _) => f.write_str("free again by then")?,
                (Some(Scope::Local), _) => f.write_str("busy")?,
                (Some(by), true) => write!(f, "out for good ({by})")?,
                (Some(by), false) => write!(f, "out for a while ({by})")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        f.debug_struct("CallError")
            .field("kind", &inner.kind)
            .field("message", &inner.message)
            .field("attempts", &inner.attempts)
            .field("fault", &inner.fault)
            .field("give_up", &inner.give_up)
            .field("retry_after", &inner.retry_after)
            .field("keys", &inner.keys)
            // The status only: headers and content are the caller's business.
            .field("status", &inner.response.as_ref().map(Response::status))
            .finish()
    }
}

impl StdError for CallError {}

const _: fn() = || {
    fn is<T: Send + Sync + Clone + 'static>() {}
    is::<CallError>();
};

/// Says why a client cannot be built: what, and what to do about it.
#[derive(Debug)]
pub struct ClientBuildError {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ClientBuildError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl From<BuildError> for ClientBuildError {
    fn from(error: BuildError) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Display for ClientBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ClientBuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
