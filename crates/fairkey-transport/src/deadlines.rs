//! How long each part of a call may take.

use std::time::Duration;

use tokio::time::Instant;

/// The longest time that each part of a call may take.
///
/// One deadline for all would be wrong for answers that stream: a model may think for a minute
/// before its first word and talk for ten, while a peer that is gone should be noticed in seconds.
///
/// A transport has its own set; a request overrides it by carrying one among its extensions:
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use fairkey_transport::Deadlines;
///
/// let mut request = http::Request::get("http://127.0.0.1:8080/").body(Bytes::new())?;
/// let deadlines = Deadlines { head: Duration::from_secs(5), ..Deadlines::default() };
/// request.extensions_mut().insert(deadlines);
/// # Ok::<(), http::Error>(())
/// ```
///
/// [`Duration::MAX`] switches a deadline off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Name lookup, TCP, proxy tunnel and TLS together. Default 10 s.
    ///
    /// Waiting for a free connection while the most that are allowed are in use does not count;
    /// only [`total`](Self::total) ends that.
    pub connect: Duration,
    /// From the request being handed to a connection to the head of the answer. Default 120 s.
    pub head: Duration,
    /// From the head to the first content. Default 120 s.
    ///
    /// The transport holds the first chunk of a body to it, of whatever that chunk consists. What
    /// counts as *content* (a keep-alive comment does not) only the reader of the body can tell:
    /// it enforces the rest. It stands here so that all deadlines have one home.
    pub first_content: Duration,
    /// Between two chunks of the body. Default 60 s.
    pub idle: Duration,
    /// The whole call, from `send` to the end of the body. Default 15 min.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(120),
            first_content: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(15 * 60),
        }
    }
}

/// Returns the moment `wait` after `now`; what lies beyond the clock's range becomes far enough.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
    now.checked_add(wait.min(FAR)).unwrap_or(now)
}
