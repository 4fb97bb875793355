//! How ceilings are learned, and forgotten: [`CeilingsConfig`]; what taught them: [`Refusal`].

use std::time::Duration;

use fairkey_core::{Cost, Timestamp};

use crate::{Dimension, LimitGroup};

/// How ceilings are learned and forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct CeilingsConfig {
    /// The window in which requests and tokens are taken to be counted, where no configured limit
    /// says another one. Default 60 s: what OpenRouter and the providers behind it count by.
    /// At least 1 ms.
    pub window: Duration,
    /// For how many windows of full use after the last refusal a ceiling stays near the amount at
    /// which it was refused: after as many it is twice that. Default 4. A smaller number finds a
    /// limit that rose sooner, and is refused more often by one that did not.
    pub patience: f64,
    /// No ceiling is lower than so many requests in a window, so that nobody is locked out and a
    /// limit that rises is noticed. Default 2, at least 1.
    pub least_requests: u64,
    /// A ceiling that nobody refused for so long, and that a call met meanwhile, is forgotten.
    /// Default 1 h.
    pub forget: Duration,
    /// The most that the time of a refusal is believed. Default 300 s.
    pub hint_cap: Duration,
}

impl CeilingsConfig {
    /// The defaults, for use in constants.
    pub const DEFAULT: Self = Self {
        window: Duration::from_secs(60),
        patience: 4.0,
        least_requests: 2,
        forget: Duration::from_secs(3600),
        hint_cap: Duration::from_secs(300),
    };

    /// Returns the configuration with all values brought into their ranges.
    pub(super) fn sound(mut self) -> Self {
        self.window = self.window.max(Duration::from_millis(1));
        self.least_requests = self.least_requests.max(1);
        self.patience = if self.patience.is_finite() {
            self.patience.clamp(0.1, 1_000.0)
        } else {
            Self::DEFAULT.patience
        };
        self
    }
}

impl Default for CeilingsConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a refusal that means "slow down" says is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Excess {
    /// It does not say: too many requests, too many tokens, or too many calls at a time.
    Unsaid,
    /// Too many calls at a time.
    Calls,
    /// Calls under way hold too much money.
    Money,
}

/// A refusal that means "slow down".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refusal<'a> {
    /// Who asks to slow down, seen from the key of the call.
    pub group: LimitGroup<'a>,
    /// What is too much.
    pub excess: Excess,
    /// The limit, where it is told: so many requests in a window, or tokens, whichever fits what
    /// was used.
    pub told: Option<u64>,
    /// When to come back, where it is told, counted from now.
    pub wait: Option<Duration>,
    /// When the call began.
    pub begun: Timestamp,
    /// What was reserved for it.
    pub cost: Cost,
    /// How many tokens calls have really used of those that were reserved for them, of late: by it
    /// the reservations of calls under way are read. 1 where that is not known; values beyond 1/8
    /// and 8 count as these.
    pub token_ratio: f64,
}

/// A ceiling as it was learned: for tables, and to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The group, seen from a key of its account.
    pub group: LearnedGroup,
    /// What it limits.
    pub dimension: Dimension,
    /// How much: requests or tokens in a window, calls or millionths of a US dollar at a time.
    pub amount: u64,
    /// The window of requests or tokens; of no meaning for what counts calls under way.
    pub per: Duration,
    /// Whether the other side named it.
    pub is_told: bool,
    /// For how long nobody has refused at it.
    pub age: Duration,
}

/// What a learned ceiling belongs to: an owned [`LimitGroup`] that can be learned of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LearnedGroup {
    /// The account.
    Account,
    /// Its free models.
    FreeModels,
    /// Its calls for one model.
    Model(Box<str>),
}

impl LearnedGroup {
    /// Returns the group that is meant; of a key none is learned.
    pub(super) fn of(group: LimitGroup<'_>) -> Option<Self> {
        match group {
            LimitGroup::Key => None,
            LimitGroup::Account => Some(Self::Account),
            LimitGroup::FreeModels => Some(Self::FreeModels),
            LimitGroup::Model(name) => Some(Self::Model(name.into())),
        }
    }

    /// Returns it as limits know it.
    #[must_use]
    pub fn as_group(&self) -> LimitGroup<'_> {
        match self {
            Self::Account => LimitGroup::Account,
            Self::FreeModels => LimitGroup::FreeModels,
            Self::Model(name) => LimitGroup::Model(name),
        }
    }
}
