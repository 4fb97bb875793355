//! Administration of keys, for management keys.

use serde_json::{Map, Value, json};

use crate::clock::{Reset, Timestamp};
use crate::fault::Fault;
use crate::money::Money;
use crate::route::{KeysCall, Query};
use crate::world::World;

/// Longer names are refused.
const MAX_NAME: usize = 200;

/// What a body of `POST /keys` or `PATCH /keys/{hash}` asks for. What was left out is `None`.
#[derive(Debug, Default)]
pub(crate) struct KeyWish {
    pub(crate) name: Option<String>,
    pub(crate) disabled: Option<bool>,
    pub(crate) limit: Option<Option<Money>>,
    pub(crate) limit_reset: Option<Option<Reset>>,
    pub(crate) include_byok: Option<bool>,
    pub(crate) expires_at: Option<Option<Timestamp>>,
    pub(crate) creator: Option<String>,
    pub(crate) workspace: Option<String>,
}

/// Which keys a list is to show.
#[derive(Debug)]
pub(crate) struct KeyFilter<'a> {
    pub(crate) offset: usize,
    pub(crate) disabled: bool,
    pub(crate) expired: bool,
    /// Without it the keys that are in no workspace of their own.
    pub(crate) workspace: Option<&'a str>,
}

/// The status and the body that such a call is answered with.
pub(crate) fn answer(
    world: &mut World,
    key: usize,
    call: &KeysCall,
    query: &Query,
    body: &[u8],
) -> Result<(u16, Value), Fault> {
    let account = world.managed_by(key)?;
    let json = match call {
        KeysCall::List => world.list_keys(account, &filter(query)?),
        KeysCall::Create => {
            let wish = KeyWish::read(body)?;
            if wish.name.is_none() {
                return Err(invalid("name", "is required"));
            }
            return Ok((201, world.create_key(account, key, wish)));
        }
        KeysCall::Read(hash) => world.read_key(account, hash)?,
        KeysCall::Change(hash) => world.patch_key(account, hash, KeyWish::read(body)?)?,
        KeysCall::Delete(hash) => {
            world.delete_key(account, hash)?;
            json!({"deleted": true})
        }
    };
    Ok((200, json))
}

fn filter(query: &Query) -> Result<KeyFilter<'_>, Fault> {
    let offset = match query.get("offset") {
        None | Some("") => 0,
        Some(text) => text
            .parse()
            .map_err(|_| invalid("offset", "must be a number, 0 or greater"))?,
    };
    Ok(KeyFilter {
        offset,
        disabled: query.is_true("include_disabled"),
        expired: query.is_true("include_expired"),
        workspace: query.get("workspace_id"),
    })
}

impl KeyWish {
    /// Members that mean nothing here are passed over, as OpenRouter does.
    fn read(body: &[u8]) -> Result<Self, Fault> {
        let body: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| Fault::bad_request(format!("Invalid request body: {error}")))?;
        Ok(Self {
            name: name(&body)?,
            disabled: flag(&body, "disabled")?,
            limit: limit(&body)?,
            limit_reset: limit_reset(&body)?,
            include_byok: flag(&body, "include_byok_in_limit")?,
            expires_at: expires_at(&body)?,
            creator: text(&body, "creator_user_id")?,
            workspace: text(&body, "workspace_id")?,
        })
    }
}

fn name(body: &Map<String, Value>) -> Result<Option<String>, Fault> {
    match body.get("name") {
        None => Ok(None),
        Some(Value::String(name)) if (1..=MAX_NAME).contains(&name.chars().count()) => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(invalid("name", "must be text of 1 to 200 characters")),
    }
}

fn flag(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, Fault> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(invalid(name, "must be true or false")),
    }
}

fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(invalid(name, "must be text")),
    }
}

fn limit(body: &Map<String, Value>) -> Result<Option<Option<Money>>, Fault> {
    match body.get("limit") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => match value.as_f64() {
            Some(usd) if (0.0..=1e6).contains(&usd) => Ok(Some(Some(Money::from_usd(usd)))),
            _ => Err(invalid(
                "limit",
                "must be null or a number from 0 to 1000000",
            )),
        },
    }
}

fn limit_reset(body: &Map<String, Value>) -> Result<Option<Option<Reset>>, Fault> {
    match body.get("limit_reset") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => match value.as_str().and_then(Reset::from_name) {
            Some(reset) => Ok(Some(Some(reset))),
            None => Err(invalid(
                "limit_reset",
                "must be null, daily, weekly or monthly",
            )),
        },
    }
}

fn expires_at(body: &Map<String, Value>) -> Result<Option<Option<Timestamp>>, Fault> {
    match body.get("expires_at") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => {
            let text = value.as_str().unwrap_or_default();
            // Only UTC is taken, whatever offsets RFC 3339 knows.
            let utc = text.ends_with(['Z', 'z']) || text.ends_with("+00:00");
            match text.parse() {
                Ok(at) if utc => Ok(Some(Some(at))),
                _ => Err(invalid("expires_at", "must be null or a time in UTC")),
            }
        }
    }
}

fn invalid(field: &str, rule: &str) -> Fault {
    Fault::bad_request(format!("Invalid request parameters: {field} {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<KeyWish, Fault> {
        KeyWish::read(body.as_bytes())
    }

    #[test]
    fn null_takes_a_limit_away_and_silence_keeps_it() {
        let wish = read(r#"{"limit":null,"name":"a","unknown":[1]}"#).unwrap();
        assert_eq!(wish.limit, Some(None));
        assert_eq!(wish.limit_reset, None);
        let wish = read(r#"{"limit":2.5,"limit_reset":"weekly"}"#).unwrap();
        assert_eq!(wish.limit, Some(Some(Money::from_usd(2.5))));
        assert_eq!(wish.limit_reset, Some(Some(Reset::Weekly)));
    }

    #[test]
    fn nonsense_is_a_bad_request_that_names_its_field() {
        for (body, field) in [
            (r#"{"name":""}"#, "name"),
            (r#"{"name":7}"#, "name"),
            (r#"{"limit":-1}"#, "limit"),
            (r#"{"limit":"5"}"#, "limit"),
            (r#"{"limit_reset":"yearly"}"#, "limit_reset"),
            (
                r#"{"expires_at":"2027-01-01T00:00:00+02:00"}"#,
                "expires_at",
            ),
            (r#"{"expires_at":"soon"}"#, "expires_at"),
            (r#"{"disabled":"no"}"#, "disabled"),
            ("[]", "body"),
            ("", "body"),
        ] {
            let fault = read(body).unwrap_err();
            assert_eq!(fault.status(), 400, "{body}");
            let message = fault.error()["message"].to_string();
            assert!(message.contains(field), "{body}: {message}");
        }
    }
}
