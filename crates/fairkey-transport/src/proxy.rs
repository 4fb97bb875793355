//! Which proxy, if any, stands between us and an origin.

use std::fmt;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;

use crate::TransportBuildError;

/// Which proxy to use.
///
/// Every request goes through a tunnel (`CONNECT`, or SOCKS 5), plain HTTP ones too: a proxy sees
/// the host and port of an origin, and never a request, an answer or an `Authorization` header.
/// Names are looked up by the proxy. Loopback addresses and names are always reached directly.
///
/// The schemes are `http` (also when none is given), `https`, `socks5` and `socks5h`. Credentials
/// in a proxy's URL make that URL a secret: nothing here prints it.
#[derive(Clone)]
pub struct ProxyOptions {
    source: Source,
}

#[derive(Clone)]
enum Source {
    Environment,
    Nobody,
    Everything { url: String, except: String },
}

/// The variables that curl reads as well, in the order in which they win.
const VARIABLES: [[&str; 2]; 3] = [
    ["HTTPS_PROXY", "https_proxy"],
    ["HTTP_PROXY", "http_proxy"],
    ["ALL_PROXY", "all_proxy"],
];

impl ProxyOptions {
    /// Uses what the environment says, as curl does: `HTTPS_PROXY` for `https` URLs, `HTTP_PROXY`
    /// for `http` ones, `ALL_PROXY` for both, `NO_PROXY` for exceptions (upper or lower case).
    ///
    /// The variables are read once, when the transport is built. This is the default.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            source: Source::Environment,
        }
    }

    /// Uses no proxy, whatever the environment says.
    #[must_use]
    pub fn none() -> Self {
        Self {
            source: Source::Nobody,
        }
    }

    /// Uses the proxy at `url` for every origin.
    #[must_use]
    pub fn all(url: impl Into<String>) -> Self {
        Self {
            source: Source::Everything {
                url: url.into(),
                except: String::new(),
            },
        }
    }

    /// Reaches these directly, in the syntax of `NO_PROXY`: `"internal.example, 10.0.0.0/8"`.
    ///
    /// It counts for [`all`](Self::all) only; the environment has `NO_PROXY`.
    #[must_use]
    pub fn except(mut self, hosts: impl Into<String>) -> Self {
        if let Source::Everything { except, .. } = &mut self.source {
            *except = hosts.into();
        }
        self
    }

    /// Returns the rules. A URL that cannot be used is an error: silently going around a proxy
    /// that somebody has set would send traffic where it must not go.
    pub(crate) fn matcher(&self) -> Result<Option<Arc<Matcher>>, TransportBuildError> {
        match &self.source {
            Source::Nobody => Ok(None),
            Source::Everything { url, except } => {
                check("the proxy URL", url)?;
                let matcher = Matcher::builder()
                    .all(url.as_str())
                    .no(except.as_str())
                    .build();
                Ok(Some(Arc::new(matcher)))
            }
            Source::Environment => {
                for names in VARIABLES {
                    let set = names
                        .into_iter()
                        .find_map(|n| Some((n, std::env::var(n).ok()?)));
                    if let Some((name, url)) = set.filter(|(_, url)| !url.is_empty()) {
                        check(name, &url)?;
                    }
                }
                Ok(Some(Arc::new(Matcher::from_env())))
            }
        }
    }
}

/// Checks that `url` names a proxy that can be used; `what` stands for it in the error, since the
/// URL itself may hold a password.
fn check(what: &str, url: &str) -> Result<(), TransportBuildError> {
    let probe = http::Uri::from_static("https://a.example/");
    let usable = Matcher::builder()
        .all(url)
        .build()
        .intercept(&probe)
        .is_some_and(|i| {
            matches!(
                i.uri().scheme_str(),
                Some("http" | "https" | "socks5" | "socks5h")
            )
        });
    if usable {
        return Ok(());
    }
    Err(TransportBuildError::new(format!(
        "{what} is no usable proxy; give http://, https://, socks5:// or socks5h:// with a host"
    )))
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self::from_env()
    }
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Environment => "environment",
            Source::Nobody => "none",
            Source::Everything { .. } => "all",
        };
        f.debug_struct("ProxyOptions")
            .field("source", &source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_that_does_not_print_it() {
        for url in [
            "ftp://user:hunter2@proxy.example",
            "http://",
            "user:hunter2@",
            "socks4://p:1",
        ] {
            let error = ProxyOptions::all(url).matcher().map(drop).unwrap_err();
            assert!(
                !format!("{error:?} {error}").contains("hunter2"),
                "{error:?}"
            );
        }
        for url in [
            "proxy.example:3128",
            "http://u:p@proxy.example",
            "socks5h://proxy.example:1080",
        ] {
            assert!(ProxyOptions::all(url).matcher().is_ok(), "{url}");
        }
    }

    #[test]
    fn debug_output_has_no_password() {
        let options = ProxyOptions::all("http://user:hunter2@proxy.example").except("a.example");
        let text = format!("{options:?} {:?}", options.matcher().unwrap());
        assert!(
            !text.contains("hunter2") && !text.contains("user"),
            "{text}"
        );
    }
}
