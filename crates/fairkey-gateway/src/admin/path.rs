//! Which path is what: [`Route`], [`Query`].

use std::str::FromStr;

use http::Method;

use crate::{Failure, Reason};

/// Before everything. What changes the meaning of anything below it gets another number.
const BASE: &str = "/admin/v1/";

/// What an operator asks or says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status,
    Keys,
    Key(String),
    Accounts,
    Explain,
    Decisions,
    TellKey(String, Word),
    TellAccount(String, Word),
    Drain,
    Reload,
}

/// What an operator says of a key or an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Clear,
    Pin,
    Unpin,
    Disable,
    Enable,
}

impl Word {
    const ALL: [Self; 5] = [
        Self::Clear,
        Self::Pin,
        Self::Unpin,
        Self::Disable,
        Self::Enable,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Disable => "disable",
            Self::Enable => "enable",
        }
    }

    fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.as_str() == text)
    }
}

impl Route {
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(BASE)?;
        let parts: Option<Vec<String>> = rest.split('/').map(|part| decode(part, false)).collect();
        let parts = parts?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(match *parts.as_slice() {
            ["status"] => Self::Status,
            ["keys"] => Self::Keys,
            ["keys", key] if !key.is_empty() => Self::Key(key.to_owned()),
            ["keys", key, word] => Self::TellKey(key.to_owned(), Word::of(word)?),
            ["accounts"] => Self::Accounts,
            ["accounts", account, word] => Self::TellAccount(account.to_owned(), Word::of(word)?),
            ["explain"] => Self::Explain,
            ["decisions"] => Self::Decisions,
            ["drain"] => Self::Drain,
            ["reload"] => Self::Reload,
            _ => return None,
        })
    }

    /// Returns the method that it takes.
    pub(super) const fn method(&self) -> Method {
        match self {
            Self::TellKey(..) | Self::TellAccount(..) | Self::Drain | Self::Reload => Method::POST,
            _ => Method::GET,
        }
    }
}

/// What stands behind the question mark.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name, true)?, decode(value, true)?))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(other, _)| other == name)?;
        Some(value)
            .filter(|value| !value.is_empty())
            .map(|it| &**it)
    }

    /// Reads a number.
    ///
    /// # Errors
    ///
    /// 400 where it is none.
    pub(super) fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, Failure> {
        let number = self.get(name).map(str::parse).transpose();
        number.map_err(|_| Failure::new(Reason::BadRequest, format!("{name} is no number")))
    }
}

/// Decodes `%20` and, in a query, `+`. `None`: that is no text.
fn decode(text: &str, is_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if is_query => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_version_and_labels_may_hold_anything() {
        assert_eq!(Route::of("/admin/v1/status"), Some(Route::Status));
        assert_eq!(Route::of("/admin/status"), None);
        assert_eq!(Route::of("/admin/v1/keys/"), None);
        assert_eq!(Route::of("/admin/v1/keys/a/explode"), None);
        assert_eq!(Route::of("/admin/v1/keys/%zz"), None);
        let told = Route::of("/admin/v1/keys/team%2Fa%20b/pin").unwrap();
        assert_eq!(told, Route::TellKey("team/a b".to_owned(), Word::Pin));
        assert_eq!(told.method(), Method::POST);
    }

    #[test]
    fn a_query_is_decoded_and_its_numbers_are_numbers() {
        let query = Query::of("model=openai%2Fgpt-4o&tenant=a+b&tokens=12&usd=x&empty=");
        assert_eq!(query.get("model"), Some("openai/gpt-4o"));
        assert_eq!(query.get("tenant"), Some("a b"));
        assert_eq!(query.get("empty"), None);
        assert_eq!(query.number::<u64>("tokens").unwrap(), Some(12));
        assert!(query.number::<f64>("usd").is_err());
    }
}
