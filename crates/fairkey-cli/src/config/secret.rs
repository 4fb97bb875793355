//! Where a secret is, and what came along with it when it was pasted: [`Secret`], [`tidy`].

use std::fmt;
use std::path::{Path, PathBuf};

use fairkey_core::ApiKey;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Sources;

/// Where a secret is. It has no `Debug`.
pub(super) enum Secret {
    Literal(ApiKey, Vec<Oddity>),
    Env(String),
    File(PathBuf),
}

/// The same, for people: without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretFrom {
    /// In the configuration itself.
    Literal,
    /// In a variable; which of its entries, from 1, where it is a list.
    Env(String, Option<usize>),
    /// In a file.
    File(PathBuf),
}

impl fmt::Display for SecretFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal => f.write_str("the configuration itself"),
            Self::Env(name, None) => f.write_str(name),
            Self::Env(name, Some(entry)) => write!(f, "entry {entry} of {name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What stood around or in a secret that is no part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// White space around it: removed.
    Space,
    /// A pair of quotes: removed.
    Quotes,
    /// `Bearer`, or `Authorization: Bearer`: removed.
    Bearer,
    /// White space in the middle: still there.
    InnerSpace,
}

impl Oddity {
    /// Returns a warning about `what`, if there is one to give.
    pub(crate) fn warning(what: &str, oddities: &[Self]) -> Option<String> {
        let left_out: Vec<&str> = oddities
            .iter()
            .filter_map(|oddity| match oddity {
                Self::Space => Some("white space"),
                Self::Quotes => Some("quotes"),
                Self::Bearer => Some("the word Bearer"),
                Self::InnerSpace => None,
            })
            .collect();
        let mut text = Vec::new();
        if !left_out.is_empty() {
            text.push(format!(
                "had {} around it, which is left out",
                left_out.join(" and ")
            ));
        }
        if oddities.contains(&Self::InnerSpace) {
            text.push("has white space in the middle: is it one key, pasted whole?".to_owned());
        }
        (!text.is_empty()).then(|| format!("{what} {}", text.join(", and ")))
    }
}

/// Returns a secret without what can only have been pasted along with it, and what that was.
pub(crate) fn tidy(text: &str) -> (&str, Vec<Oddity>) {
    const QUOTES: [(char, char); 5] = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{2018}', '\u{2019}'),
    ];
    let (mut rest, mut oddities) = (text, Vec::new());
    loop {
        let before = rest;
        let oddity = if rest.trim() != rest {
            rest = rest.trim();
            Oddity::Space
        } else if let Some(inner) = QUOTES
            .iter()
            .find_map(|(open, close)| rest.strip_prefix(*open)?.strip_suffix(*close))
        {
            rest = inner;
            Oddity::Quotes
        } else if let Some(inner) =
            without_word(rest, "authorization:").or_else(|| without_word(rest, "bearer "))
        {
            // No space before it is worth a word.
            rest = inner.trim_start();
            Oddity::Bearer
        } else {
            if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
                oddities.push(Oddity::InnerSpace);
            }
            return (rest, oddities);
        };
        debug_assert!(rest.len() < before.len(), "each turn takes something away");
        if !oddities.contains(&oddity) {
            oddities.push(oddity);
        }
    }
}

/// Takes a word away, however it is capitalized.
fn without_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

impl Secret {
    /// Takes one that stands in the configuration itself.
    pub(super) fn literal(text: &str) -> Self {
        let (secret, oddities) = tidy(text);
        Self::Literal(ApiKey::new(secret), oddities)
    }

    /// Returns where it is.
    pub(super) fn from(&self) -> SecretFrom {
        match self {
            Self::Literal(..) => SecretFrom::Literal,
            Self::Env(name) => SecretFrom::Env(name.clone(), None),
            Self::File(path) => SecretFrom::File(path.clone()),
        }
    }

    /// Fetches it; `what` is how it is called. Adds what the user should know to `warnings`.
    ///
    /// # Errors
    ///
    /// Says where it should be, and is not.
    pub(super) fn fetch(
        self,
        what: &str,
        dir: &Path,
        sources: &Sources<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<ApiKey, String> {
        let (secret, mut oddities) = match self {
            Self::Literal(secret, oddities) => {
                warnings.push(format!(
                    "{what} stands in the configuration itself: whoever can read the file has it; \
                     take {{ env = \"…\" }} or {{ file = \"…\" }}"
                ));
                (secret, oddities)
            }
            Self::Env(name) => match (sources.env)(&name) {
                Some(value) if !value.trim().is_empty() => {
                    let (secret, oddities) = tidy(&value);
                    (ApiKey::new(secret), oddities)
                }
                found => {
                    let why = if found.is_some() { "empty" } else { "not set" };
                    return Err(format!("{what} is in the variable {name}, which is {why}"));
                }
            },
            // Relative to the configuration: it may be read from any folder.
            Self::File(path) => match (sources.file)(&dir.join(&path)) {
                Ok(text) => {
                    // A file ends with a line end.
                    let (secret, oddities) = tidy(text.trim());
                    (ApiKey::new(secret), oddities)
                }
                Err(error) => {
                    let path = path.display();
                    return Err(format!("{what} is in {path}, which is unreadable: {error}"));
                }
            },
        };
        if secret.is_empty() {
            return Err(format!("{what} is empty"));
        }
        oddities.dedup();
        warnings.extend(Oddity::warning(what, &oddities));
        Ok(secret)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Where;

        impl<'de> Visitor<'de> for Where {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret: { env = … }, { file = … } or a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::literal(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                let one = || de::Error::custom("a secret has exactly one of `env` and `file`");
                let Some(name) = map.next_key::<String>()? else {
                    return Err(one());
                };
                let secret = match &*name {
                    "env" => Secret::Env(map.next_value()?),
                    "file" => Secret::File(map.next_value()?),
                    _ => return Err(one()),
                };
                match map.next_key::<String>()? {
                    None => Ok(secret),
                    Some(_) => Err(one()),
                }
            }
        }

        deserializer.deserialize_any(Where)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pasted_along_is_left_out_where_that_is_certain() {
        use Oddity::{Bearer, InnerSpace, Quotes, Space};
        for (text, secret, oddities) in [
            ("sk-or-v1-a", "sk-or-v1-a", &[][..]),
            (" sk-or-v1-a\r\n", "sk-or-v1-a", &[Space]),
            ("\"sk-or-v1-a\"", "sk-or-v1-a", &[Quotes]),
            ("'sk-or-v1-a'", "sk-or-v1-a", &[Quotes]),
            ("\u{201c}sk-or-v1-a\u{201d}", "sk-or-v1-a", &[Quotes]),
            ("Bearer sk-or-v1-a", "sk-or-v1-a", &[Bearer]),
            ("\"bearer  sk-or-v1-a\"", "sk-or-v1-a", &[Quotes, Bearer]),
            ("Authorization: Bearer sk-or-v1-a", "sk-or-v1-a", &[Bearer]),
            (
                "sk-or-v1-a sk-or-v1-b",
                "sk-or-v1-a sk-or-v1-b",
                &[InnerSpace],
            ),
            ("sk-or-\nv1-a", "sk-or-\nv1-a", &[InnerSpace]),
            // Not certain: it may be a part of the secret.
            ("\"sk-or-v1-a", "\"sk-or-v1-a", &[]),
            ("Bearer", "Bearer", &[]),
            ("", "", &[]),
            ("\"\"", "", &[Quotes]),
        ] {
            assert_eq!(tidy(text), (secret, oddities.to_vec()), "{text:?}");
        }
    }

    #[test]
    fn a_warning_names_what_was_there_and_never_the_secret() {
        let (_, oddities) = tidy("\" Bearer sk-canary x\"");
        let warning = Oddity::warning("the key", &oddities).unwrap();
        assert_eq!(
            warning,
            "the key had quotes and white space and the word Bearer around it, which is left out, \
             and has white space in the middle: is it one key, pasted whole?"
        );
        assert_eq!(Oddity::warning("the key", &[]), None);
    }
}
