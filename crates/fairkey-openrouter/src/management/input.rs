//! What calls of administration take, checked before anything is sent.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::date;
use crate::key_info::ResetInterval;
use crate::management::ManagedKeys;
use crate::management::call::percent_encoded;

/// Which keys to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    offset: u64,
    include_disabled: Option<bool>,
    include_expired: Option<bool>,
    workspace_id: Option<String>,
}

impl KeyFilter {
    /// Makes a filter for the first page of the default workspace's keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Skips this many keys.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Says whether to list disabled keys.
    #[must_use]
    pub fn include_disabled(mut self, include: bool) -> Self {
        self.include_disabled = Some(include);
        self
    }

    /// Says whether to list expired keys.
    #[must_use]
    pub fn include_expired(mut self, include: bool) -> Self {
        self.include_expired = Some(include);
        self
    }

    /// Lists the keys of this workspace.
    #[must_use]
    pub fn workspace_id(mut self, id: impl Into<String>) -> Self {
        self.workspace_id = Some(id.into());
        self
    }

    /// Returns the filter of the page behind `page`, which this filter gave; `None` behind the
    /// last one, which is empty.
    ///
    /// The length of a page is not documented: only an empty one is known to be the last.
    #[must_use]
    pub fn next(&self, page: &ManagedKeys) -> Option<Self> {
        let seen = page.keys.len() as u64 + page.unreadable;
        (seen > 0).then(|| self.clone().offset(self.offset.saturating_add(seen)))
    }

    pub(super) fn query(&self) -> Result<String, InvalidCall> {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(name);
            query.push('=');
            query.push_str(&percent_encoded(value));
        };
        if self.offset > 0 {
            add("offset", &self.offset.to_string());
        }
        for (name, flag) in [
            ("include_disabled", self.include_disabled),
            ("include_expired", self.include_expired),
        ] {
            if let Some(flag) = flag {
                add(name, if flag { "true" } else { "false" });
            }
        }
        if let Some(id) = &self.workspace_id {
            add("workspace_id", identifier("workspace_id", id)?);
        }
        Ok(query)
    }
}

/// A key to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewKey {
    name: String,
    limit: Option<f64>,
    limit_reset: Option<ResetInterval>,
    include_byok_in_limit: Option<bool>,
    expires_at: Option<String>,
    creator_user_id: Option<String>,
    workspace_id: Option<String>,
}

impl NewKey {
    /// Makes a description of a key with this name, without a cap and without an end.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Caps what it may spend, in US dollars; zero and above.
    #[must_use]
    pub fn limit(mut self, usd: f64) -> Self {
        self.limit = Some(usd);
        self
    }

    /// Says how often the cap starts anew; without this it never does.
    #[must_use]
    pub fn limit_reset(mut self, interval: ResetInterval) -> Self {
        self.limit_reset = Some(interval);
        self
    }

    /// Says whether spending through own provider keys counts towards the cap.
    #[must_use]
    pub fn include_byok_in_limit(mut self, include: bool) -> Self {
        self.include_byok_in_limit = Some(include);
        self
    }

    /// Ends the key at this time, as ISO 8601: `2027-12-31T23:59:59Z`, or a date alone (midnight).
    ///
    /// OpenRouter takes UTC only: a time with another offset is converted, one without a zone is
    /// taken for UTC. Whether it lies ahead is for the upstream to say.
    #[must_use]
    pub fn expires_at(mut self, time: impl Into<String>) -> Self {
        self.expires_at = Some(time.into());
        self
    }

    /// Makes the key in the name of this member; for keys of an organization.
    #[must_use]
    pub fn creator_user_id(mut self, id: impl Into<String>) -> Self {
        self.creator_user_id = Some(id.into());
        self
    }

    /// Makes the key in this workspace instead of the default one.
    #[must_use]
    pub fn workspace_id(mut self, id: impl Into<String>) -> Self {
        self.workspace_id = Some(id.into());
        self
    }

    pub(super) fn body(&self) -> Result<Bytes, InvalidCall> {
        let mut body = Map::new();
        body.insert("name".into(), name(&self.name)?);
        if let Some(usd) = self.limit {
            body.insert("limit".into(), money(usd)?);
        }
        if let Some(reset) = &self.limit_reset {
            body.insert("limit_reset".into(), interval(reset)?);
        }
        if let Some(include) = self.include_byok_in_limit {
            body.insert("include_byok_in_limit".into(), include.into());
        }
        if let Some(time) = &self.expires_at {
            body.insert("expires_at".into(), utc(time)?.into());
        }
        for (member, id) in [
            ("creator_user_id", &self.creator_user_id),
            ("workspace_id", &self.workspace_id),
        ] {
            if let Some(id) = id {
                body.insert(member.into(), identifier(member, id)?.into());
            }
        }
        Ok(json(body))
    }
}

/// What to change about a key. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyChange {
    name: Option<String>,
    disabled: Option<bool>,
    limit: Option<Option<f64>>,
    limit_reset: Option<Option<ResetInterval>>,
    include_byok_in_limit: Option<bool>,
}

impl KeyChange {
    /// Makes a change of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives it another name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Turns it off, or on again.
    #[must_use]
    pub fn disabled(mut self, disabled: bool) -> Self {
        self.disabled = Some(disabled);
        self
    }

    /// Caps what it may spend, in US dollars, zero and above; `None` takes the cap away.
    #[must_use]
    pub fn limit(mut self, usd: impl Into<Option<f64>>) -> Self {
        self.limit = Some(usd.into());
        self
    }

    /// Says how often the cap starts anew; `None`: never.
    #[must_use]
    pub fn limit_reset(mut self, interval: impl Into<Option<ResetInterval>>) -> Self {
        self.limit_reset = Some(interval.into());
        self
    }

    /// Says whether spending through own provider keys counts towards the cap.
    #[must_use]
    pub fn include_byok_in_limit(mut self, include: bool) -> Self {
        self.include_byok_in_limit = Some(include);
        self
    }

    pub(super) fn body(&self) -> Result<Bytes, InvalidCall> {
        let mut body = Map::new();
        if let Some(text) = &self.name {
            body.insert("name".into(), name(text)?);
        }
        if let Some(disabled) = self.disabled {
            body.insert("disabled".into(), disabled.into());
        }
        if let Some(usd) = self.limit {
            body.insert("limit".into(), usd.map_or(Ok(Value::Null), money)?);
        }
        if let Some(reset) = &self.limit_reset {
            let value = reset.as_ref().map_or(Ok(Value::Null), interval)?;
            body.insert("limit_reset".into(), value);
        }
        if let Some(include) = self.include_byok_in_limit {
            body.insert("include_byok_in_limit".into(), include.into());
        }
        if body.is_empty() {
            return Err(InvalidCall::NoChange);
        }
        Ok(json(body))
    }
}

/// A call of administration that would be refused, and is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCall {
    /// The name is empty.
    Name,
    /// The limit is negative, infinite or no number.
    Limit,
    /// The interval is none of daily, weekly and monthly.
    LimitReset,
    /// The expiry is no date that ISO 8601 knows, or beyond the year 9999.
    ExpiresAt,
    /// This identifier is empty.
    Identifier(&'static str),
    /// The hash is empty, or dots only.
    Hash,
    /// The change names nothing.
    NoChange,
}

impl fmt::Display for InvalidCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the name of a key must not be empty",
            Self::Limit => "the limit of a key must be an amount of US dollars, zero or more",
            Self::LimitReset => "the limit of a key is reset daily, weekly, monthly, or never",
            Self::ExpiresAt => {
                "the expiry of a key must be a time such as 2027-12-31T23:59:59Z, by UTC"
            }
            Self::Identifier(member) => return write!(f, "{member} must not be empty"),
            Self::Hash => {
                "the hash of a key must not be empty or only dots; list the keys to see it"
            }
            Self::NoChange => "nothing to change about the key: name what is to be changed",
        })
    }
}

impl Error for InvalidCall {}

fn json(body: Map<String, Value>) -> Bytes {
    Value::Object(body).to_string().into()
}

fn name(text: &str) -> Result<Value, InvalidCall> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidCall::Name);
    }
    Ok(text.into())
}

fn money(usd: f64) -> Result<Value, InvalidCall> {
    if !usd.is_finite() || usd < 0.0 {
        return Err(InvalidCall::Limit);
    }
    // Of the two zeros, the one without a sign.
    Ok((usd + 0.0).into())
}

fn interval(interval: &ResetInterval) -> Result<Value, InvalidCall> {
    if !interval.is_known() {
        return Err(InvalidCall::LimitReset);
    }
    Ok(interval.as_str().into())
}

fn utc(time: &str) -> Result<String, InvalidCall> {
    let at = date::parse_iso8601(time).ok_or(InvalidCall::ExpiresAt)?;
    // The service counts in seconds; a fraction is dropped, so the key ends no later than asked.
    date::format_iso8601(Duration::from_secs(at.as_secs())).ok_or(InvalidCall::ExpiresAt)
}

fn identifier<'a>(member: &'static str, text: &'a str) -> Result<&'a str, InvalidCall> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidCall::Identifier(member));
    }
    Ok(text)
}
