//! Who watches a run: the trait [`Progress`].

use std::time::Duration;

use fairkey_core::{AccountId, Cost, KeyId};

use crate::{Place, Refusal, Stopped};

/// Hears how a run goes. All methods do nothing by default, and none may block for long.
pub trait Progress: Send {
    /// The numbers of this moment; a few times per second, and once at the end.
    fn snapshot(&mut self, snapshot: &Snapshot) {
        let _ = snapshot;
    }

    /// Something worth a line happened.
    fn notice(&mut self, notice: &Notice) {
        let _ = notice;
    }
}

/// Watches nothing.
impl Progress for () {}

impl<P: Progress + ?Sized> Progress for &mut P {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        (**self).snapshot(snapshot);
    }

    fn notice(&mut self, notice: &Notice) {
        (**self).notice(notice);
    }
}

/// The numbers of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Rows that are done, the failed ones included.
    pub done: u64,
    /// Rows that have failed.
    pub failed: u64,
    /// Rows that are being sent, or wait for a key.
    pub in_flight: u64,
    /// The most rows that may be in flight now.
    pub limit: u64,
    /// Attempts that were refused so far.
    pub refused: u64,
    /// Tokens used so far, as far as answers said so.
    pub tokens: u64,
    /// Money spent so far, in millionths of a US dollar: what OpenRouter charged, and what providers
    /// charged an account of the caller's own.
    pub micro_usd: u64,
    /// What came of each account so far, and of each key that has none.
    pub lanes: Vec<Lane>,
    /// Since the run began.
    pub elapsed: Duration,
    /// Rows done per second, over the last seconds.
    pub rate: f64,
    /// Tokens used per second, over the last seconds.
    pub token_rate: f64,
    /// Rows in all, where the length of the input allows a guess.
    pub rows_expected: Option<u64>,
    /// Whether that is no guess any more: the input was read to its end.
    pub all_read: bool,
    /// Until the end, where that can be guessed.
    pub eta: Option<Duration>,
}

/// What came of one account so far, or of one key that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lane {
    /// The account, or the key.
    pub name: String,
    /// Whether it is an account.
    pub is_account: bool,
    /// Attempts that were answered.
    pub answered: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// What the answers used.
    pub cost: Cost,
}

/// Something worth a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A key was refused for good; the run goes on with the others.
    KeyRefused {
        /// The key.
        key: KeyId,
        /// Its account, where one is named.
        account: Option<AccountId>,
        /// What was said.
        refusal: Refusal,
    },
    /// A key, its budget or its account has used up what it may; the run goes on with the others.
    KeyExhausted {
        /// The key.
        key: KeyId,
        /// Its account, where one is named.
        account: Option<AccountId>,
        /// What was said.
        refusal: Refusal,
    },
    /// For a while no row was answered, although some were sent; the run goes on. Told once until a
    /// row is answered again.
    Silent {
        /// For how long.
        quiet: Duration,
        /// How long a run goes on like this in all.
        patience: Duration,
        /// Why it would end if that were over.
        why: Stopped,
    },
    /// A row has failed.
    RowFailed {
        /// Where it stands.
        place: Place,
        /// Its name, where it has one.
        custom_id: Option<String>,
        /// Why.
        message: String,
    },
    /// Two rows have the same name, so that their results can only be told apart by their lines.
    /// Told once, for the first such row.
    NameRepeated {
        /// The name.
        custom_id: String,
        /// Where both stand.
        places: (Place, Place),
    },
    /// The run ends early; what is in flight is finished or abandoned.
    Stopping(Stopped),
}
