//! What a call wants: [`Ask`], its [`Cost`] and [`Class`], what it has [`Tried`], and the [`Only`]
//! keys it may use.

use std::fmt;
use std::ops::{Add, AddAssign};

use crate::{AccountId, AccountTenure, Candidate, KeyId, KeySet, Tenure, Timestamp};

/// What a call uses up: an estimate before it, the truth after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Cost {
    /// Requests; 1 for an ordinary call.
    pub requests: u32,
    /// Tokens, prompt and completion together.
    pub tokens: u64,
    /// Money, in millionths of a US dollar.
    pub micro_usd: u64,
}

impl Cost {
    /// One request of unknown size.
    pub const ONE: Self = Self {
        requests: 1,
        tokens: 0,
        micro_usd: 0,
    };
}

impl Add for Cost {
    type Output = Self;

    /// Adds up; saturates instead of overflowing.
    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            micro_usd: self.micro_usd.saturating_add(other.micro_usd),
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// How urgent a call is: for strategies, gates and queues that make a difference. The pool itself
/// makes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Class {
    /// Somebody waits for it.
    Interactive,
    /// Neither of the others. The default.
    #[default]
    Normal,
    /// Nobody waits for it.
    Batch,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Batch => "batch",
        })
    }
}

/// What a call wants from the pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// The model, as the request names it.
    pub model: Option<&'a str>,
    /// What the call is expected to cost.
    pub cost: Cost,
    /// Calls with the same value would like the same key: a hash of a session or a conversation.
    pub affinity: Option<u64>,
    /// When the caller stops waiting.
    pub deadline: Option<Timestamp>,
    /// How urgent it is.
    pub class: Class,
    /// What earlier attempts of this call used, and this one shall not.
    pub tried: Option<&'a Tried>,
    /// The only providers that may serve it, as the request names them; empty where any may. What
    /// is known to be out at the providers of a model is out for an ask of those.
    pub providers: &'a [String],
    /// The only keys that may serve it; `None` where any may.
    pub only: Option<&'a Only>,
    /// Whether it leaves room for others: a strategy that knows of limits gives it no key of which
    /// less than a third is left.
    pub yields: bool,
}

impl<'a> Ask<'a> {
    /// Returns the ask of one plain call: one request of unknown size.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cost: Cost::ONE,
            ..Self::default()
        }
    }

    /// Names the model.
    #[must_use]
    pub fn with_model(mut self, model: &'a str) -> Self {
        self.model = Some(model);
        self
    }

    /// Asks for the key that other calls with the same `affinity` got, if it is well.
    #[must_use]
    pub fn with_affinity(mut self, affinity: u64) -> Self {
        self.affinity = Some(affinity);
        self
    }

    /// Pins the call to `providers`: no other may serve it.
    #[must_use]
    pub fn with_providers(mut self, providers: &'a [String]) -> Self {
        self.providers = providers;
        self
    }

    /// Restricts the call to some keys.
    #[must_use]
    pub fn with_only(mut self, only: &'a Only) -> Self {
        self.only = Some(only);
        self
    }

    /// Excludes what earlier attempts used.
    #[must_use]
    pub fn with_tried(mut self, tried: &'a Tried) -> Self {
        self.tried = Some(tried);
        self
    }
}

/// The keys and accounts that a call has used and shall not use again.
///
/// Small and ordered by use: a call makes a handful of attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    keys: Vec<Tenure>,
    accounts: Vec<AccountTenure>,
}

impl Tried {
    /// Returns an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Excludes one key from now on: a candidate, or the [`Tenure`] of one.
    pub fn add_key(&mut self, key: impl Into<Tenure>) {
        let key = key.into();
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// Excludes every key of one account from now on: that of a candidate, or of an
    /// [`AccountTenure`].
    pub fn add_account(&mut self, account: impl Into<AccountTenure>) {
        let account = account.into();
        if !self.accounts.contains(&account) {
            self.accounts.push(account);
        }
    }

    /// Forgets everything: every key may be used again.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.accounts.clear();
    }

    /// Returns whether nothing is excluded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.accounts.is_empty()
    }

    /// Returns the excluded keys.
    #[must_use]
    pub fn keys(&self) -> &[Tenure] {
        &self.keys
    }

    /// Returns the excluded accounts.
    #[must_use]
    pub fn accounts(&self) -> &[AccountTenure] {
        &self.accounts
    }
}

/// The only keys that a call may use: those with one of these labels, and those of one of these
/// accounts. Without a label it allows none.
///
/// Labels, not slots: a reload may bring a key back, or take it away. A selection looks each of
/// them up, which costs some tens of nanoseconds for a key, and for an account a look at the
/// accounts there are; calls without a restriction pay one comparison.
///
/// ```
/// use fairkey_core::{Ask, Only};
///
/// let only = Only::keys(["team-a-1", "team-a-2"]).and_accounts(["acme"]);
/// assert_eq!(only.len(), 3);
/// let ask = Ask::new().with_only(&only);
/// # let _ = ask;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Only {
    keys: Vec<KeyId>,
    accounts: Vec<AccountId>,
}

impl Only {
    /// Allows the keys with these labels.
    #[must_use]
    pub fn keys<I: Into<KeyId>>(labels: impl IntoIterator<Item = I>) -> Self {
        Self::default().and_keys(labels)
    }

    /// Allows all keys of the accounts with these labels.
    #[must_use]
    pub fn accounts<I: Into<AccountId>>(labels: impl IntoIterator<Item = I>) -> Self {
        Self::default().and_accounts(labels)
    }

    /// Allows the keys with these labels, too.
    #[must_use]
    pub fn and_keys<I: Into<KeyId>>(mut self, labels: impl IntoIterator<Item = I>) -> Self {
        self.keys.extend(labels.into_iter().map(Into::into));
        self.keys.sort_unstable();
        self.keys.dedup();
        self
    }

    /// Allows all keys of the accounts with these labels, too.
    #[must_use]
    pub fn and_accounts<I: Into<AccountId>>(mut self, labels: impl IntoIterator<Item = I>) -> Self {
        self.accounts.extend(labels.into_iter().map(Into::into));
        self.accounts.sort_unstable();
        self.accounts.dedup();
        self
    }

    /// Returns how many labels it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len() + self.accounts.len()
    }

    /// Returns whether it allows no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.accounts.is_empty()
    }

    /// Returns whether it allows `key`.
    #[must_use]
    pub fn allows(&self, key: Candidate<'_>) -> bool {
        self.keys.binary_search(key.id()).is_ok()
            || key
                .account_id()
                .is_some_and(|account| self.accounts.binary_search(account).is_ok())
    }

    /// Sets the bits of the keys of `keys` that it allows.
    pub(crate) fn mark(&self, keys: &KeySet, words: &mut [u64]) {
        for id in &self.keys {
            if let Some(key) = keys.find(id.as_str()) {
                let at = key.slot().index();
                words[at / 64] |= 1 << (at % 64);
            }
        }
        if self.accounts.is_empty() {
            return;
        }
        for account in (0..keys.account_slots()).map(|at| keys.account_at(at)) {
            let id = keys.account_id(account);
            if id.is_some_and(|id| self.accounts.binary_search(id).is_ok()) {
                for &(word, members) in keys.members(account) {
                    words[word as usize] |= members;
                }
            }
        }
    }
}
