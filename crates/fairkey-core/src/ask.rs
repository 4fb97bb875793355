//! What a call wants: [`Ask`], its [`Cost`] and [`Class`], and what it has [`Tried`].

use std::fmt;
use std::ops::{Add, AddAssign};

use crate::{AccountTenure, Tenure, Timestamp};

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
