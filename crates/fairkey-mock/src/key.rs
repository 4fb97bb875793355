//! Keys and the spending caps around them, as the test writes them down.

use std::fmt;

use crate::clock::{Reset, Timestamp};
use crate::limit::Limit;
use crate::money::Money;

/// An API key of one account. `Debug` shows the label, never the secret.
#[derive(Clone)]
pub struct Key {
    pub(crate) secret: String,
    pub(crate) label: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) limit: Option<Money>,
    pub(crate) limit_reset: Option<Reset>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) disabled: bool,
    pub(crate) management: bool,
    pub(crate) member: Option<String>,
    pub(crate) workspace: Option<String>,
    pub(crate) limits: Vec<Limit>,
}

impl Key {
    /// A key that clients send as `Authorization: Bearer <secret>`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            label: None,
            account: None,
            limit: None,
            limit_reset: None,
            expires_at: None,
            disabled: false,
            management: false,
            member: None,
            workspace: None,
            limits: Vec::new(),
        }
    }

    /// A management key: it may read `/credits` and administer the keys of its account at `/keys`,
    /// and is refused for inference.
    pub fn management(secret: impl Into<String>) -> Self {
        Self {
            management: true,
            ..Self::new(secret)
        }
    }

    /// The account that owns the key; it must be declared. Default: an account named `default`,
    /// without limits, that all such keys share.
    #[must_use]
    pub fn account(mut self, id: impl Into<String>) -> Self {
        self.account = Some(id.into());
        self
    }

    /// The name of the key in log and counters; also accepted wherever a secret names a key.
    /// Default: `key-1`, `key-2`, … in the order of declaration. (On the wire a label is the masked
    /// secret.)
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The key's own spending cap in US dollars. Once spent, the answer is 403
    /// `Key limit exceeded (… limit)`. Default: none.
    #[must_use]
    pub fn limit_usd(mut self, usd: f64) -> Self {
        self.limit = Some(Money::from_usd(usd));
        self
    }

    /// How often the cap starts over, at midnight UTC of the mock's clock. Default: never.
    #[must_use]
    pub fn limit_reset(mut self, reset: Reset) -> Self {
        self.limit_reset = Some(reset);
        self
    }

    /// From when on the key is refused with 401. Default: never.
    #[must_use]
    pub fn expires_at(mut self, at: impl Into<Timestamp>) -> Self {
        self.expires_at = Some(at.into());
        self
    }

    /// Whether the key is disabled: refused with 401 until it is enabled. Default: no.
    #[must_use]
    pub fn disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// The member who created the key, as `GET /key` reports it (`creator_user_id`), and whose
    /// budgets it draws on. Default: one user per account.
    #[must_use]
    pub fn member(mut self, user_id: impl Into<String>) -> Self {
        self.member = Some(user_id.into());
        self
    }

    /// The workspace the key belongs to, and whose budgets it draws on. Default: none.
    #[must_use]
    pub fn workspace(mut self, id: impl Into<String>) -> Self {
        self.workspace = Some(id.into());
        self
    }

    /// Adds a limit of this key alone. Default: none; OpenRouter has none per key. See [`Limit`].
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("label", &self.label)
            .field("account", &self.account)
            .field("limit", &self.limit)
            .field("limit_reset", &self.limit_reset)
            .finish_non_exhaustive()
    }
}

/// A budget that several keys may share: of a workspace, of a member, or a guardrail on one key.
/// Spent, it answers 403 with its `scope`, `limit_usd`, `spend_usd` and `resets_at`.
#[derive(Clone, Debug)]
pub struct Budget {
    pub(crate) of: BudgetOf,
    pub(crate) limit: Money,
    pub(crate) reset: Option<Reset>,
}

/// Whose budget it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum BudgetOf {
    Member(String),
    Key(String),
    Workspace(String),
    /// Of every member with keys in a workspace.
    EachMember(String),
    /// Of every key in a workspace.
    EachKey(String),
}

impl BudgetOf {
    /// The API's word for it.
    pub(crate) const fn scope(&self) -> &'static str {
        match self {
            Self::EachMember(_) => "workspace_default_member",
            Self::EachKey(_) => "workspace_default_key",
            Self::Member(_) => "member",
            Self::Key(_) => "api_key",
            Self::Workspace(_) => "workspace",
        }
    }

    /// Its place in the order of the checks: guardrails first, then workspaces.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::EachMember(_) => 0,
            Self::EachKey(_) => 1,
            Self::Member(_) => 2,
            Self::Key(_) => 3,
            Self::Workspace(_) => 4,
        }
    }

    pub(crate) const fn is_workspace(&self) -> bool {
        matches!(self, Self::Workspace(_))
    }
}

impl fmt::Debug for BudgetOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(id) => f.debug_tuple("Member").field(id).finish(),
            // A key may be named by its secret.
            Self::Key(_) => f.write_str("Key(..)"),
            Self::Workspace(id) => f.debug_tuple("Workspace").field(id).finish(),
            Self::EachMember(id) => f.debug_tuple("EachMember").field(id).finish(),
            Self::EachKey(id) => f.debug_tuple("EachKey").field(id).finish(),
        }
    }
}

impl Budget {
    /// A guardrail budget of a member: the sum over all keys with [`Key::member`] `user_id`.
    pub fn member(user_id: impl Into<String>, limit_usd: f64) -> Self {
        Self::of(BudgetOf::Member(user_id.into()), limit_usd)
    }

    /// A guardrail budget of one key (label or secret), beside the key's own cap.
    pub fn key(key: impl Into<String>, limit_usd: f64) -> Self {
        Self::of(BudgetOf::Key(key.into()), limit_usd)
    }

    /// A budget of a workspace: the sum over all keys with [`Key::workspace`] `id`.
    pub fn workspace(id: impl Into<String>, limit_usd: f64) -> Self {
        Self::of(BudgetOf::Workspace(id.into()), limit_usd)
    }

    /// The budget that a workspace's default guardrail gives each member by itself.
    pub fn each_member(workspace: impl Into<String>, limit_usd: f64) -> Self {
        Self::of(BudgetOf::EachMember(workspace.into()), limit_usd)
    }

    /// The budget that a workspace's default guardrail gives each key by itself.
    pub fn each_key(workspace: impl Into<String>, limit_usd: f64) -> Self {
        Self::of(BudgetOf::EachKey(workspace.into()), limit_usd)
    }

    fn of(of: BudgetOf, limit_usd: f64) -> Self {
        Self {
            of,
            limit: Money::from_usd(limit_usd),
            reset: None,
        }
    }

    /// Whether a key of this member and workspace draws on it, alone or with others. Of a budget on
    /// one key nobody else does.
    pub(crate) fn is_over(&self, member: &str, workspace: Option<&str>) -> bool {
        match &self.of {
            BudgetOf::Member(id) => id == member,
            BudgetOf::Workspace(id) | BudgetOf::EachMember(id) | BudgetOf::EachKey(id) => {
                workspace == Some(id)
            }
            BudgetOf::Key(_) => false,
        }
    }

    /// How often the budget starts over. Default: never (a lifetime budget).
    #[must_use]
    pub fn resets(mut self, reset: Reset) -> Self {
        self.reset = Some(reset);
        self
    }
}

/// The label that the API shows for a secret: its first and last characters. Of a secret too short
/// to hide anything that way, nothing is shown.
pub(crate) fn masked(secret: &str) -> String {
    let chars: Vec<char> = secret.chars().collect();
    if chars.len() < 24 {
        return "sk-or-v1-...".to_owned();
    }
    let head: String = chars[..12].iter().collect();
    let tail: String = chars[chars.len() - 3..].iter().collect();
    format!("{head}...{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = "sk-or-v1-0123456789abcdef";
        let key = Key::new(secret).label("a");
        let budget = Budget::key(secret, 1.0);
        let shown = format!("{key:?} {budget:?}");
        assert!(!shown.contains("0123"), "{shown}");
    }

    #[test]
    fn a_masked_secret_shows_its_ends_and_a_short_one_nothing() {
        assert_eq!(masked("sk-or-v1-abcdefghijklmnop"), "sk-or-v1-abc...nop");
        assert_eq!(masked("sk-or-v1-secret"), "sk-or-v1-...");
    }
}
