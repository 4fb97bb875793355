//! Administration of keys: typed calls for a management key, without I/O.
//!
//! Each maker checks what it is given and returns a [`ManagementCall`]: method, path and body,
//! ready to be sent with a **management key**, which is refused for inference. The same call reads
//! the answer. A normal key is refused here with
//! [`Cause::ManagementKeyRequired`](crate::Cause::ManagementKeyRequired).
//!
//! ```
//! use fairkey_openrouter::{ResetInterval, management};
//! use http::{HeaderMap, StatusCode};
//!
//! let new = management::NewKey::new("search").limit(50.0).limit_reset(ResetInterval::Monthly);
//! let call = management::create_key(&new)?;
//! assert_eq!((call.method().as_str(), call.path()), ("POST", "/keys"));
//! // … send it; then:
//! # let (status, headers) = (StatusCode::CREATED, HeaderMap::new());
//! # let body = br#"{"data":{"hash":"f01d","name":"search"},"key":"sk-or-v1-0123456789abcdef"}"#;
//! let created = call.read(status, &headers, body)?;
//! assert_eq!(created.key.name, "search");
//! assert!(!format!("{created:?}").contains("sk-or"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The shapes are those of the published OpenAPI description of the service, in its edition of
//! August 2026. Fields that it adds are ignored; what is missing or odd costs only itself.

mod answer;
mod call;
mod input;

pub use answer::{CreatedKey, ManagedKey, ManagedKeys, ManagementAnswer};
pub use call::ManagementCall;
pub use input::{InvalidCall, KeyChange, KeyFilter, NewKey};

use http::Method;

use crate::endpoint;
use crate::key_info::Credits;

/// Lists keys of the account: `GET /keys`, one page.
///
/// # Errors
///
/// Where the filter names an empty workspace.
pub fn list_keys(filter: &KeyFilter) -> Result<ManagementCall<ManagedKeys>, InvalidCall> {
    let path = format!("{}{}", endpoint::KEYS, filter.query()?);
    Ok(ManagementCall::new(Method::GET, path, None))
}

/// Makes a key: `POST /keys`. The secret is in this answer and nowhere else.
///
/// Sending it twice makes two keys: after an unknown outcome, list the keys before trying again.
///
/// # Errors
///
/// Where the name is empty, the limit negative or no number, the expiry no date, the interval
/// unknown, or an identifier empty.
pub fn create_key(new: &NewKey) -> Result<ManagementCall<CreatedKey>, InvalidCall> {
    let body = Some(new.body()?);
    Ok(ManagementCall::new(
        Method::POST,
        endpoint::KEYS.into(),
        body,
    ))
}

/// Reads one key: `GET /keys/{hash}`.
///
/// # Errors
///
/// Where the hash cannot stand in a path.
pub fn get_key(hash: &str) -> Result<ManagementCall<ManagedKey>, InvalidCall> {
    Ok(ManagementCall::new(
        Method::GET,
        call::key_path(hash)?,
        None,
    ))
}

/// Changes a key: `PATCH /keys/{hash}`. What the change does not name stays as it is.
///
/// # Errors
///
/// Where the hash cannot stand in a path, the change is empty, or it holds what
/// [`create_key`] would refuse.
pub fn update_key(
    hash: &str,
    change: &KeyChange,
) -> Result<ManagementCall<ManagedKey>, InvalidCall> {
    let (path, body) = (call::key_path(hash)?, change.body()?);
    Ok(ManagementCall::new(Method::PATCH, path, Some(body)))
}

/// Deletes a key for good: `DELETE /keys/{hash}`. The answer is whether it was deleted.
///
/// # Errors
///
/// Where the hash cannot stand in a path.
pub fn delete_key(hash: &str) -> Result<ManagementCall<bool>, InvalidCall> {
    Ok(ManagementCall::new(
        Method::DELETE,
        call::key_path(hash)?,
        None,
    ))
}

/// Reads the account's balance: `GET /credits`.
#[must_use]
pub fn credits() -> ManagementCall<Credits> {
    ManagementCall::new(Method::GET, endpoint::CREDITS.into(), None)
}
