//! Whether a base URL can be one, before anything is sent to it.

use fairkey_openrouter::endpoint;

/// What OpenRouter's own ends with.
const PATH: &str = "/api/v1";

/// Checks a base URL. Returns a hint where it can be one, but most likely is not what was meant.
///
/// # Errors
///
/// Says what is wrong, without repeating the URL, which may hold a secret.
pub(crate) fn check(url: &str) -> Result<Option<String>, String> {
    let (_, rest) = url.trim().split_once("://").unwrap_or(("", ""));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The error for a user or a password does not show them.
    if !rest.is_empty() && !authority.contains('@') {
        let (host, port) = split(authority);
        if host.is_empty() {
            return Err("the base URL has no host: https://openrouter.ai/api/v1 is one".to_owned());
        }
        if let Some(port) = port
            && !port.parse::<u16>().is_ok_and(|port| port > 0)
        {
            return Err("the port of the base URL is not between 1 and 65535".to_owned());
        }
    }
    let uri = endpoint::url(url, "").map_err(|error| error.to_string())?;
    let path = uri.path().trim_end_matches('/');
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let is_openrouter = host == "openrouter.ai" || host.ends_with(".openrouter.ai");
    let hint = if let Some(base) = path.strip_suffix("/chat/completions") {
        let base = if base.is_empty() { "/" } else { base };
        format!("the base URL ends with /chat/completions; that part is added: end it at {base}")
    } else if path.is_empty() || (is_openrouter && path != PATH) {
        format!("the base URL does not end with {PATH}, as OpenRouter's and the mock's do")
    } else {
        return Ok(None);
    };
    Ok(Some(hint))
}

/// Splits an authority without a user into host and port.
fn split(authority: &str) -> (&str, Option<&str>) {
    let end_of_ipv6 = authority.find(']').map_or(0, |end| end + 1);
    match authority[end_of_ipv6..].rfind(':') {
        Some(colon) => {
            let colon = end_of_ipv6 + colon;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_base_url_is_refused_at_once() {
        for (url, what) in [
            ("https://openrouter.ai:99999/api/v1", "port"),
            ("https://openrouter.ai:0/api/v1", "port"),
            ("https://openrouter.ai:/api/v1", "port"),
            ("http://[::1]:70000/api/v1", "port"),
            ("https:///api/v1", "no host"),
            ("http://:8080/api/v1", "no host"),
            ("https://", "URL"),
            ("openrouter.ai/api/v1", ""),
            ("https://user:canary@openrouter.ai:99999", "user"),
            ("", ""),
        ] {
            let error = check(url).unwrap_err();
            assert!(error.contains(what), "{url}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_base_url_without_the_usual_path_gets_a_hint() {
        for url in [
            "https://openrouter.ai",
            "https://openrouter.ai/",
            "https://eu.openrouter.ai/v1",
            "https://OPENROUTER.ai/api",
            "http://127.0.0.1:8080",
            "https://openrouter.ai/api/v1/chat/completions",
            "http://[::1]:8080/",
        ] {
            assert!(check(url).unwrap().is_some(), "{url}");
        }
        for url in [
            "https://openrouter.ai/api/v1",
            "https://openrouter.ai:443/api/v1/",
            "http://[::1]:8080/api/v1",
            "https://proxy.example/openrouter",
        ] {
            assert_eq!(check(url), Ok(None), "{url}");
        }
    }
}
