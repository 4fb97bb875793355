//! What can be set: [`Settings`].

use std::collections::BTreeMap;
use std::time::Duration;

use fairkey_core::ApiKey;

use crate::{Operation, ServerLimits};

/// What can be set about a gateway. Every field has a default.
///
/// ```
/// use fairkey_gateway::{Departure, Operation, Settings};
///
/// let mut settings = Settings::default();
/// // Somebody pays for these tokens anyway: read on, so that they are counted.
/// settings.departures.insert(Operation::Images, Departure::drain());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The most bytes of a body that is read before it is sent: JSON. Default 32 MiB.
    pub max_body_bytes: usize,
    /// The most bytes of a body that passes as a stream: forms, files. Default 512 MiB.
    pub max_upload_bytes: u64,
    /// Whether paths below the base that the gateway does not know are passed on with a key of the
    /// pool. Default: false; they are answered 404.
    pub pass_unknown_paths: bool,
    /// The key for administrative paths. Default: none; they are answered 403.
    pub management_key: Option<ApiKey>,
    /// What happens to a call whose caller leaves. Default [`Departure::Cancel`].
    pub departure: Departure,
    /// The same for single routes, where it differs. Default: none.
    pub departures: BTreeMap<Operation, Departure>,
    /// After which silence a caller who asked for a stream hears of us, and how often from then on:
    /// a comment, which clients skip, and which keeps connections alive. Until the first one a
    /// failure still has a status of its own; after it, it is an event of the stream. Default 15 s.
    pub comment_after: Duration,
    /// How long answers about models and providers are kept. Default 5 min.
    pub catalogue_max_age: Duration,
    /// How many bytes of them are kept; the oldest go first. Default 32 MiB.
    pub catalogue_max_bytes: usize,
    /// How many jobs, files and generations are remembered with the key that they belong to; the
    /// oldest go first. Default 65,536.
    pub remembered: usize,
    /// Whether `GET /metrics` is answered, to everybody who reaches the listener: it names tenants,
    /// keys and models, and what they cost. Default: false.
    pub metrics: bool,
    /// Bounds against abuse.
    pub limits: ServerLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_upload_bytes: 512 << 20,
            pass_unknown_paths: false,
            management_key: None,
            departure: Departure::Cancel,
            departures: BTreeMap::new(),
            comment_after: Duration::from_secs(15),
            catalogue_max_age: Duration::from_secs(300),
            catalogue_max_bytes: 32 << 20,
            remembered: 65_536,
            metrics: false,
            limits: ServerLimits::default(),
        }
    }
}

impl Settings {
    pub(crate) fn departure(&self, operation: Operation) -> Departure {
        let own = self.departures.get(&operation);
        *own.unwrap_or(&self.departure)
    }
}

/// What happens to a call whose caller leaves before its end.
///
/// At many providers OpenRouter stops a stream, and the bill, when its connection closes; calls that
/// are not streamed, and streams of the other providers, run and are billed to their end whoever
/// listens. What they cost can then be read from what still comes, or be asked for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Departure {
    /// The upstream is left at once. What was used is asked for afterwards, by the generation's
    /// identifier, where one is known.
    Cancel,
    /// The rest is read for what it says of its usage, and dropped.
    Drain {
        /// For so long at most.
        within: Duration,
        /// Of so many bytes at most.
        bytes: u64,
    },
}

impl Departure {
    /// Reads on, for so long and so many bytes at most.
    #[must_use]
    pub const fn drain_within(within: Duration, bytes: u64) -> Self {
        Self::Drain { within, bytes }
    }

    /// Reads on for 60 s and 16 MiB at most.
    #[must_use]
    pub const fn drain() -> Self {
        Self::Drain {
            within: Duration::from_secs(60),
            bytes: 16 << 20,
        }
    }
}
