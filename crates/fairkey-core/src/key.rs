//! Keys and who owns them: the label [`KeyId`], the secret [`ApiKey`], the account [`AccountId`].

use std::borrow::Borrow;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use zeroize::Zeroizing;

macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the label as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(label: &str) -> Self {
                Self(label.into())
            }
        }

        impl From<String> for $name {
            fn from(label: String) -> Self {
                Self(label.into())
            }
        }

        impl From<&$name> for $name {
            fn from(label: &$name) -> Self {
                label.clone()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

label! {
    /// The label of a key: what logs, metrics, errors and strategies see instead of the secret.
    ///
    /// It names the key across reloads: whatever keeps its label keeps its state.
    KeyId
}

label! {
    /// The label of an account: whoever owns keys, and shares balance and limits among them.
    AccountId
}

/// The secret itself.
///
/// It has no `Display`, prints nothing of itself in `Debug`, is not serializable, and is wiped
/// when its last clone is dropped. [`ApiKey::expose`] is the only door.
#[derive(Clone)]
pub struct ApiKey(Arc<Zeroizing<String>>);

impl ApiKey {
    /// Takes a secret. Surrounding white space, such as the newline of a file, is removed.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        let secret = Zeroizing::new(secret.into());
        if secret.trim().len() == secret.len() {
            Self(Arc::new(secret))
        } else {
            Self(Arc::new(Zeroizing::new(secret.trim().to_owned())))
        }
    }

    /// Returns the secret. Only what puts it into an `Authorization` header calls this.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether both are the same secret. Not in constant time: both are ours.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }

    /// Returns whether the secret is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for ApiKey {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

impl From<String> for ApiKey {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// One key of a pool: its label, its secret, its owner and its weight.
///
/// ```
/// use fairkey_core::Key;
///
/// let key = Key::new("search-team", "sk-or-v1-…").account("acme").weight(2);
/// assert_eq!(key.id().as_str(), "search-team");
/// assert!(!format!("{key:?}").contains("sk-or"));
/// ```
#[derive(Clone, Debug)]
pub struct Key {
    id: KeyId,
    secret: ApiKey,
    account: Option<AccountId>,
    weight: NonZeroU32,
}

impl Key {
    /// Makes a key of weight 1 that is alone in its account.
    #[must_use]
    pub fn new(id: impl Into<KeyId>, secret: impl Into<ApiKey>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            account: None,
            weight: NonZeroU32::MIN,
        }
    }

    /// Names the account that owns the key. Keys of one account share its limits; a key without
    /// one is an account of its own.
    #[must_use]
    pub fn account(mut self, account: impl Into<AccountId>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Sets the key's share of the calls, relative to the other keys' (1 to 65,535, default 1).
    /// Zero counts as 1 and more than 65,535 as that: a key that shall get nothing is left out.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = NonZeroU32::new(weight.clamp(1, 65_535)).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// Returns the label.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns the secret, still wrapped.
    #[must_use]
    pub fn secret(&self) -> &ApiKey {
        &self.secret
    }

    /// Returns the account's label, if one was named.
    #[must_use]
    pub fn account_id(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    /// Returns the weight.
    #[must_use]
    pub fn weight_value(&self) -> NonZeroU32 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_no_debug_output() {
        let key = Key::new("a", "sk-or-v1-canary").account("acme");
        assert!(!format!("{key:?} {key:#?}").contains("canary"));
        assert_eq!(format!("{:?}", key.secret()), "ApiKey(..)");
    }

    #[test]
    fn the_newline_of_a_file_is_not_part_of_the_secret() {
        assert_eq!(ApiKey::new(" sk-or-v1-x\r\n").expose(), "sk-or-v1-x");
    }

    #[test]
    fn a_weight_out_of_range_is_clamped() {
        assert_eq!(Key::new("a", "s").weight(0).weight_value().get(), 1);
        assert_eq!(
            Key::new("a", "s").weight(u32::MAX).weight_value().get(),
            65_535
        );
    }
}
