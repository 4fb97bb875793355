//! What a tenant may do: [`TenantConfig`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{AccountId, Class, KeyId};

use super::{Budget, Globs, Rate, TokenHash};

/// The longest name of a tenant, in bytes.
const MAX_ID: usize = 64;

/// One client of the gateway: its tokens, and what it may do with them.
///
/// ```
/// use fairkey_gateway::{Budget, Per, TenantConfig, Tenants, TokenHash};
///
/// let mut team = TenantConfig::new("team-a");
/// team.tokens = vec![TokenHash::of("tok-team-a-3d9f")];
/// team.limits.money = vec![Budget { micro_usd: 5_000_000, per: Per::Day }];
/// let tenants = Tenants::new([team])?;
/// assert!(!tenants.is_open());
/// # Ok::<(), fairkey_gateway::TenantError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TenantConfig {
    /// The name, in logs, metrics and the store of what was spent: letters, digits, `.`, `_`, `-`,
    /// at most 64.
    pub id: Arc<str>,
    /// Its tokens; several while one takes the place of another.
    pub tokens: Vec<TokenHash>,
    /// The models it may use. Default: any.
    pub models: Globs,
    /// The routes it may use, named as operations are: `chat`, `embeddings`. Default: any.
    pub routes: Globs,
    /// The class of its calls in the queue. Default [`Class::Normal`].
    pub class: Class,
    /// Its part of what is free while others wait, too: 1 to 1,000. Default 1.
    pub weight: u32,
    /// The keys it may use, together with those of [`accounts`](Self::accounts). Default: where
    /// both are empty, any.
    pub keys: Vec<KeyId>,
    /// The accounts whose keys it may use.
    pub accounts: Vec<AccountId>,
    /// How much it may use.
    pub limits: TenantLimits,
}

/// How much a tenant may use. Default: no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantLimits {
    /// Requests in any window of a length.
    pub requests: Option<Rate>,
    /// Tokens in any window of a length, prompts and completions together. What a call may use is
    /// taken when it begins, and put right when it ends.
    pub tokens: Option<Rate>,
    /// Money by hour, day, week, month or in all; every one of these holds.
    pub money: Vec<Budget>,
    /// Calls under way at the same time.
    pub in_flight: Option<u32>,
    /// What is reserved for a call of unknown price, in millionths of a US dollar. Default 0: such
    /// calls are let through while anything is left, and put right when their cost is known.
    pub unpriced_micro_usd: u64,
}

/// Why tenants cannot be as configured: what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantError(String);

impl TenantError {
    pub(super) fn new(message: String) -> Self {
        Self(message)
    }
}

impl fmt::Display for TenantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TenantError {}

impl TenantConfig {
    /// Makes a tenant without a token and without limits.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            tokens: Vec::new(),
            models: Globs::any(),
            routes: Globs::any(),
            class: Class::Normal,
            weight: 1,
            keys: Vec::new(),
            accounts: Vec::new(),
            limits: TenantLimits::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), TenantError> {
        let id = &self.id;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if id.is_empty() || id.len() > MAX_ID || !id.chars().all(is_plain) {
            let shown: String = id
                .chars()
                .filter(|c| !c.is_control())
                .take(MAX_ID)
                .collect();
            return Err(TenantError::new(format!(
                "\"{shown}\" cannot be a client's id: use 1 to {MAX_ID} letters, digits, \".\", \
                 \"_\" or \"-\""
            )));
        }
        let problem = if self.tokens.is_empty() {
            "has no token: give it one by `token`"
        } else if self.tokens.contains(&TokenHash::of("")) {
            "has an empty token: give it a long random one"
        } else if !(1..=1_000).contains(&self.weight) {
            "has a weight that is not from 1 to 1,000"
        } else if self.limits.in_flight == Some(0) {
            "may have no call under way: allow at least 1, or remove the client"
        } else if !is_sane(self.limits.requests) || !is_sane(self.limits.tokens) {
            "has a rate of nothing, or a window of under a millisecond or over 366 days"
        } else {
            return Ok(());
        };
        Err(TenantError::new(format!("client \"{id}\" {problem}")))
    }
}

fn is_sane(rate: Option<Rate>) -> bool {
    let windows = Duration::from_millis(1)..=Duration::from_secs(366 * 86_400);
    rate.is_none_or(|rate| rate.limit > 0 && windows.contains(&rate.per))
}
