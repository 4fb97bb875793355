//! The one place where a secret enters a request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use fairkey_core::{ApiKey, KeyId, KeySet, Slot};
use foldhash::fast::RandomState;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, InvalidHeaderValue};

/// The headers of the keys, built once for each.
#[derive(Default)]
pub(crate) struct Authorizations {
    by_slot: RwLock<HashMap<Slot, (ApiKey, HeaderValue), RandomState>>,
}

impl Authorizations {
    /// Returns the header for the key in `slot`, whose secret is `secret`.
    pub(crate) fn of(
        &self,
        slot: Slot,
        secret: &ApiKey,
    ) -> Result<HeaderValue, InvalidHeaderValue> {
        let known = self.by_slot.read().unwrap_or_else(PoisonError::into_inner);
        // A slot gets another key where a reload took its key away.
        if let Some((key, header)) = known.get(&slot)
            && key.is_same(secret)
        {
            return Ok(header.clone());
        }
        drop(known);
        let header = bearer(secret)?;
        let mut known = self.by_slot.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(slot, (secret.clone(), header.clone()));
        Ok(header)
    }

    /// Forgets the secrets of keys that are no longer there.
    pub(crate) fn retain(&self, keys: &KeySet) {
        let mut known = self.by_slot.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|slot, _| keys.get(*slot).is_some());
    }
}

impl fmt::Debug for Authorizations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizations(..)")
    }
}

/// Makes the header for a secret. Marked as sensitive: HTTP/2 does not index it, and debug output
/// does not show it.
pub(crate) fn bearer(secret: &ApiKey) -> Result<HeaderValue, InvalidHeaderValue> {
    let text = Bytes::from(format!("Bearer {}", secret.expose()));
    let mut header = HeaderValue::from_maybe_shared(text)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Puts a key on a request, in place of whatever the caller had there. Nothing else in this crate
/// writes this header.
pub(crate) fn authorize(headers: &mut HeaderMap, header: HeaderValue) {
    headers.insert(AUTHORIZATION, header);
}

/// Tells whether a secret can stand in a header, so that a bad one is found before any call.
pub(crate) fn check(id: &KeyId, secret: &ApiKey) -> Result<(), String> {
    bearer(secret).map(|_| ()).map_err(|_| {
        format!("the secret of key \"{id}\" holds characters that no header may have: is it a key?")
    })
}

#[cfg(test)]
mod tests {
    use fairkey_core::{Key, Pool};

    use super::*;

    #[test]
    fn a_header_is_sensitive_and_replaces_the_callers() {
        let mut headers = HeaderMap::new();
        headers.append(
            AUTHORIZATION,
            HeaderValue::from_static("Bearer of-the-caller"),
        );
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer another"));
        authorize(&mut headers, bearer(&ApiKey::new("sk-canary")).unwrap());
        let all: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(all, ["Bearer sk-canary"]);
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn a_secret_that_changes_in_its_slot_changes_the_header() {
        let pool = Pool::builder().key(Key::new("a", "sk-1")).build().unwrap();
        let slot = pool.with_keys(|keys| keys.find("a").unwrap().slot());
        let headers = Authorizations::default();
        assert_eq!(
            headers.of(slot, &ApiKey::new("sk-1")).unwrap(),
            "Bearer sk-1"
        );
        assert_eq!(
            headers.of(slot, &ApiKey::new("sk-2")).unwrap(),
            "Bearer sk-2"
        );
        assert!(!format!("{headers:?}").contains("sk-"));
    }

    #[test]
    fn a_secret_that_fits_no_header_is_named_by_its_label() {
        let error = check(&"a".into(), &ApiKey::new("sk-\ncanary")).unwrap_err();
        assert!(
            error.contains("\"a\"") && !error.contains("canary"),
            "{error}"
        );
    }
}
