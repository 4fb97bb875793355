//! Where requests may go: [`BaseUrl`].

use std::net::IpAddr;
use std::sync::Arc;

use fairkey_openrouter::endpoint;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use crate::job::Target;

/// The upstream: an origin, to which alone keys are sent, and the path that requests are relative
/// to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    uri: Uri,
    /// Where nearly all calls go, made once.
    usual: Vec<(&'static str, Arc<Target>)>,
}

/// The endpoints that nearly all calls go to.
const USUAL: [&str; 5] = [
    endpoint::CHAT_COMPLETIONS,
    endpoint::MESSAGES,
    endpoint::RESPONSES,
    endpoint::EMBEDDINGS,
    endpoint::COMPLETIONS,
];

impl BaseUrl {
    /// Checks a base URL: `https`, or `http` to this machine; no user, no query.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let uri = endpoint::url(text, "").map_err(|error| error.to_string())?;
        let host = uri.host().unwrap_or_default();
        if uri.scheme_str() != Some("https") && !is_loopback(host) {
            return Err(format!(
                "the base URL is plain http to \"{host}\", so that anybody on the way could read \
                 the keys; use https, or a server on this machine"
            ));
        }
        let mut base = Self {
            uri,
            usual: Vec::new(),
        };
        for path in USUAL {
            let target = base.target(Method::POST, path)?;
            base.usual.push((path, target));
        }
        Ok(base)
    }

    /// Returns where a call goes: a method, and a path that may carry a query.
    pub(crate) fn target(&self, method: Method, path: &str) -> Result<Arc<Target>, &'static str> {
        if method == Method::POST
            && let Some((_, target)) = self.usual.iter().find(|(usual, _)| *usual == path)
        {
            return Ok(Arc::clone(target));
        }
        let uri = self.join(path)?;
        Ok(Arc::new(Target { method, uri }))
    }

    /// Does the same for what a request names: see [`resolve`](Self::resolve).
    pub(crate) fn target_of(&self, method: Method, uri: &Uri) -> Result<Arc<Target>, &'static str> {
        match (uri.scheme(), uri.authority(), uri.path_and_query()) {
            (None, None, Some(path)) => self.target(method, path.as_str()),
            _ => {
                let uri = self.resolve(uri)?;
                Ok(Arc::new(Target { method, uri }))
            }
        }
    }

    /// Returns it as text. It has neither user nor query.
    pub(crate) fn text(&self) -> String {
        self.uri.to_string().trim_end_matches('/').to_owned()
    }

    /// Resolves what a request names: a path relative to the base, or a whole URL of the same
    /// origin.
    pub(crate) fn resolve(&self, uri: &Uri) -> Result<Uri, &'static str> {
        match (uri.scheme_str(), uri.authority()) {
            (None, None) => self.join(uri.path_and_query().map_or("/", PathAndQuery::as_str)),
            (Some(scheme), Some(_)) => {
                let same = self.uri.scheme_str() == Some(scheme)
                    && uri.host().map(str::to_ascii_lowercase)
                        == self.uri.host().map(str::to_ascii_lowercase)
                    && port(uri) == port(&self.uri)
                    && !uri.authority().is_some_and(|a| a.as_str().contains('@'));
                same.then(|| uri.clone()).ok_or(
                    "the URL is of another origin than the base URL, and keys are sent to no other",
                )
            }
            _ => Err("the URL has a host and no scheme; give a path, or a whole URL"),
        }
    }

    /// Joins a path, which may carry a query.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, &'static str> {
        let prefix = self.uri.path().trim_end_matches('/');
        let path = path.trim_start_matches('/');
        Uri::builder()
            .scheme(self.uri.scheme_str().unwrap_or("https"))
            .authority(
                self.uri
                    .authority()
                    .map_or("", |authority| authority.as_str()),
            )
            .path_and_query(format!("{prefix}/{path}"))
            .build()
            .map_err(|_| "the path holds characters that no URL may have")
    }
}

fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_over_tls_or_to_this_machine() {
        for good in [
            "https://openrouter.ai/api/v1",
            "https://eu.openrouter.ai/api/v1/",
            "http://127.0.0.1:8080/api/v1",
            "http://127.9.9.9",
            "http://[::1]:1",
            "http://LOCALHOST:8080/x",
        ] {
            assert!(BaseUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://openrouter.ai/api/v1",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "http://0.0.0.0:8080",
            "http://[::ffff:10.0.0.1]",
            "https://user:pass@openrouter.ai",
            "openrouter.ai",
            "",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_base_and_foreign_origins_are_refused() {
        let base = BaseUrl::parse("https://openrouter.ai/api/v1").unwrap();
        let resolve = |text: &str| base.resolve(&text.parse().unwrap());
        assert_eq!(resolve("/key").unwrap(), "https://openrouter.ai/api/v1/key");
        let with_query = resolve("/generation?id=gen-1").unwrap();
        assert_eq!(
            with_query,
            "https://openrouter.ai/api/v1/generation?id=gen-1"
        );
        for own in [
            "https://openrouter.ai/api/beta/batches",
            "https://OPENROUTER.ai:443/api",
        ] {
            assert!(resolve(own).is_ok(), "{own}");
        }
        for foreign in [
            "https://openrouter.ai.evil.example/api/v1/key",
            "http://openrouter.ai/api/v1/key",
            "https://openrouter.ai:8443/api/v1/key",
            "https://evil@openrouter.ai/api/v1/key",
            "openrouter.ai:443",
        ] {
            assert!(resolve(foreign).is_err(), "{foreign}");
        }
        assert!(base.join("a b").is_err());
    }
}
