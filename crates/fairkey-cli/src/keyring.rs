//! Which keys there are: the configuration's and the environment's, each secret once.

use std::ffi::OsString;

use fairkey_core::{ApiKey, Key};

use crate::config::{Oddity, SecretFrom, tidy};

/// What to do where there is no key.
pub(crate) const NO_KEY: &str = "there is no key: set OPENROUTER_API_KEY (or OPENROUTER_API_KEYS, \
    separated by commas, or OPENROUTER_KEY_1, OPENROUTER_KEY_2 and so on), or name keys in \
    fairkey.toml; --mock tries everything without a key";

/// The variable that holds a management key, where the configuration has none.
pub(crate) const MANAGEMENT_VARIABLE: &str = "OPENROUTER_MANAGEMENT_KEY";

/// What to do where there is no management key.
pub(crate) const NO_MANAGEMENT_KEY: &str = "there is no management key: set \
    OPENROUTER_MANAGEMENT_KEY, or management_key of [[accounts]] in fairkey.toml; --mock tries \
    everything without one";

/// Refuses keys that are used for inference and for administration alike.
///
/// # Errors
///
/// Names the key.
pub(crate) fn keep_apart<'a>(
    keys: &[Key],
    management_keys: impl IntoIterator<Item = &'a ApiKey>,
) -> Result<(), String> {
    for management in management_keys {
        if let Some(key) = keys.iter().find(|key| key.secret().is_same(management)) {
            return Err(format!(
                "key \"{}\" is a management key at the same time: those administer, and are \
                 refused for inference; take it out of the keys",
                key.id()
            ));
        }
    }
    Ok(())
}

/// The keys of a program, and what the user should know about them.
pub(crate) struct Keyring {
    pub(crate) keys: Vec<Key>,
    /// The variable that each comes from; `None`: the configuration.
    pub(crate) from: Vec<Option<SecretFrom>>,
    pub(crate) warnings: Vec<String>,
}

impl Keyring {
    /// Collects keys: first `configured`, then those of the environment `variables`, but those in
    /// `taken`, which the configuration has read itself.
    pub(crate) fn collect(
        configured: Vec<Key>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        taken: &[String],
    ) -> Self {
        let mut ring = Self {
            keys: Vec::new(),
            from: Vec::new(),
            warnings: Vec::new(),
        };
        for key in configured {
            ring.add(key, None);
        }
        let mut found: Vec<(Place, String, String)> = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(place) = Place::of(name) else {
                continue;
            };
            if taken.iter().any(|other| other == name) {
                continue;
            }
            match value.into_string() {
                Ok(value) => found.push((place, name.to_owned(), value)),
                Err(_) => ring
                    .warnings
                    .push(format!("{name} is not text, and is left out")),
            }
        }
        found.sort();
        for (place, name, value) in found {
            let only = SecretFrom::Env(name.clone(), None);
            match place {
                Place::One => ring.add_secret("api-key", &value, only),
                Place::Many => {
                    // Quotes may be around the whole list, too.
                    let (list, _) = tidy(&value);
                    for (at, secret) in list.split(',').enumerate() {
                        let entry = SecretFrom::Env(name.clone(), Some(at + 1));
                        // Spaces after the commas are as good as none.
                        ring.add_secret(&format!("api-keys-{}", at + 1), secret.trim(), entry);
                    }
                }
                Place::Numbered(n) => ring.add_secret(&format!("key-{n}"), &value, only),
            }
        }
        ring
    }

    /// Adds a secret from a variable; an empty one is as good as none.
    fn add_secret(&mut self, id: &str, secret: &str, from: SecretFrom) {
        let (secret, oddities) = tidy(secret);
        if secret.is_empty() {
            return;
        }
        self.warnings
            .extend(Oddity::warning(&from.to_string(), &oddities));
        let mut id = id.to_owned();
        while self.keys.iter().any(|key| key.id().as_str() == id) {
            id.push_str("-env");
        }
        self.add(Key::new(id, secret), Some(from));
    }

    fn add(&mut self, key: Key, from: Option<SecretFrom>) {
        let same = self
            .keys
            .iter()
            .find(|other| other.secret().is_same(key.secret()));
        match same {
            Some(other) => {
                let from = from
                    .map(|from| format!(", from {from},"))
                    .unwrap_or_default();
                self.warnings.push(format!(
                    "key \"{}\"{from} is the same as \"{}\": it is used once",
                    key.id(),
                    other.id()
                ));
            }
            None => {
                self.keys.push(key);
                self.from.push(from);
            }
        }
    }
}

/// A variable that holds keys, in the order in which they count.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    One,
    Many,
    Numbered(u32),
}

impl Place {
    fn of(name: &str) -> Option<Self> {
        match name {
            "OPENROUTER_API_KEY" => Some(Self::One),
            "OPENROUTER_API_KEYS" => Some(Self::Many),
            _ => {
                let digits = name.strip_prefix("OPENROUTER_KEY_")?;
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                if plain {
                    digits.parse().ok().map(Self::Numbered)
                } else {
                    None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(configured: Vec<Key>, variables: &[(&str, &str)], taken: &[&str]) -> Keyring {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let taken: Vec<String> = taken.iter().map(ToString::to_string).collect();
        Keyring::collect(configured, variables, &taken)
    }

    fn ids(ring: &Keyring) -> Vec<&str> {
        ring.keys.iter().map(|key| key.id().as_str()).collect()
    }

    #[test]
    fn every_variable_is_read_in_order() {
        let ring = ring(
            vec![Key::new("a", "s0")],
            &[
                ("OPENROUTER_KEY_10", "s10"),
                ("OPENROUTER_KEY_2", "s2"),
                ("OPENROUTER_API_KEYS", "s3, s4,,"),
                ("OPENROUTER_KEY_X", "no"),
                ("OPENROUTER_API_KEY", "s5"),
                ("PATH", "/bin"),
            ],
            &[],
        );
        let expected = [
            "a",
            "api-key",
            "api-keys-1",
            "api-keys-2",
            "key-2",
            "key-10",
        ];
        assert_eq!(ids(&ring), expected);
        assert!(ring.warnings.is_empty());
    }

    #[test]
    fn the_same_key_twice_is_used_once_and_told_without_the_key() {
        let secret = "sk-or-v1-canary";
        let ring = ring(
            vec![Key::new("a", secret)],
            &[
                ("OPENROUTER_API_KEY", secret),
                ("OPENROUTER_KEY_1", " other "),
            ],
            &[],
        );
        assert_eq!(ids(&ring), ["a", "key-1"]);
        assert_eq!(ring.warnings.len(), 2, "{:?}", ring.warnings);
        assert!(ring.warnings[1].starts_with("OPENROUTER_KEY_1 had white space around it"));
        assert!(
            ring.warnings[0].contains("OPENROUTER_API_KEY"),
            "{:?}",
            ring.warnings
        );
        assert!(!ring.warnings[0].contains("canary"));
    }

    #[test]
    fn what_was_pasted_around_keys_is_left_out_and_told() {
        let ring = ring(
            vec![],
            &[
                ("OPENROUTER_API_KEY", "\"sk-or-v1-canary-1\""),
                (
                    "OPENROUTER_API_KEYS",
                    "'sk-or-v1-canary-2, Bearer sk-or-v1-canary-3'",
                ),
            ],
            &[],
        );
        let secrets: Vec<&str> = ring.keys.iter().map(|key| key.secret().expose()).collect();
        let expected = [
            "sk-or-v1-canary-1",
            "sk-or-v1-canary-2",
            "sk-or-v1-canary-3",
        ];
        assert_eq!(secrets, expected);
        assert_eq!(ring.warnings.len(), 2, "{:?}", ring.warnings);
        assert!(ring.warnings[0].starts_with("OPENROUTER_API_KEY had quotes"));
        assert!(ring.warnings[1].starts_with("entry 2 of OPENROUTER_API_KEYS had the word Bearer"));
        assert!(!ring.warnings.concat().contains("canary"));
    }

    #[test]
    fn a_variable_that_the_configuration_names_is_not_read_again() {
        let ring = ring(
            vec![Key::new("key-1", "s1")],
            &[("OPENROUTER_KEY_1", "s1"), ("OPENROUTER_KEY_2", "s2")],
            &["OPENROUTER_KEY_1"],
        );
        assert_eq!(ids(&ring), ["key-1", "key-2"]);
        assert!(ring.warnings.is_empty());
    }

    #[test]
    fn a_label_that_is_taken_gets_another() {
        let ring = ring(
            vec![Key::new("key-1", "s1")],
            &[("OPENROUTER_KEY_1", "s2")],
            &[],
        );
        assert_eq!(ids(&ring), ["key-1", "key-1-env"]);
    }
}
