//! Who may ask at all: [`Guard`].
//!
//! A gateway without client tokens serves whoever reaches it. On a laptop that is every program of
//! its user, which is wanted, and every web page in its browser, which is not: a page may send
//! requests to `http://127.0.0.1:4210` (CSRF), and with a name of its own that it lets point to
//! 127.0.0.1, read the answers too (DNS rebinding). So without tokens the gateway listens on
//! loopback only, takes only requests whose `Host` is loopback, and none that a browser sends for
//! another site. With tokens a page has none to send, and reaches nothing.

mod cors;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Response};

use self::cors::is_preflight;
pub use self::cors::{Cors, Origins};
use crate::reply::{Failure, Reason};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What stands before every request of one listener: the gateway's, or the one for
/// administration.
///
/// ```
/// use fairkey_gateway::{Guard, Origins};
///
/// let anywhere = "0.0.0.0:4210".parse().unwrap();
/// let open = Guard::without_tokens(Origins::none(), []);
/// assert!(open.check_listen(anywhere).is_err());
/// assert!(Guard::with_tokens(Origins::none()).check_listen(anywhere).is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Guard {
    /// No token keeps anybody out.
    is_open: bool,
    /// Names that stand for this machine besides the loopback ones, in lower case.
    hosts: Vec<Box<str>>,
    origins: Origins,
}

/// Why the configuration would let strangers in: what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardError(String);

impl GuardError {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GuardError {}

/// What a request is to the guard.
#[derive(Debug)]
#[must_use]
pub enum Admitted {
    /// Let it in; where there is something, put it into the answer's headers.
    Request(Option<Cors>),
    /// A browser asks whether it may send a request: this is the answer. It needs no token.
    Preflight(Response<Bytes>),
}

impl Guard {
    /// Stands before a listener that asks for a token. Hosts are not looked at, and pages of other
    /// origins are answered, but their browser shows them nothing unless `origins` has them.
    #[must_use]
    pub fn with_tokens(origins: Origins) -> Self {
        Self {
            is_open: false,
            hosts: Vec::new(),
            origins,
        }
    }

    /// Stands before a listener that asks for nothing. `hosts` are names that stand for this
    /// machine besides `localhost` and the loopback addresses, such as `host.docker.internal`.
    #[must_use]
    pub fn without_tokens<'a>(origins: Origins, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        let hosts = hosts.into_iter();
        Self {
            is_open: true,
            hosts: hosts.map(|host| host.to_ascii_lowercase().into()).collect(),
            origins,
        }
    }

    /// Checks where to listen, before anybody does. A Unix socket needs no check: who may open it
    /// is a matter of its file.
    ///
    /// # Errors
    ///
    /// Where the listener is open, and reachable from elsewhere, or by every page there is.
    pub fn check_listen(&self, address: SocketAddr) -> Result<(), GuardError> {
        if !self.is_open {
            return Ok(());
        }
        if !address.ip().to_canonical().is_loopback() {
            return Err(GuardError(format!(
                "no client token is configured, so whoever reaches {address} could spend your \
                 money: add a [[clients]] table with a token, or listen on 127.0.0.1:{}",
                address.port()
            )));
        }
        if self.origins.is_any() {
            return Err(GuardError(
                "no client token is configured, so with \"*\" among the origins every web page \
                 could spend your money: add a [[clients]] table with a token, or name the origins"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Decides on a request by its head.
    ///
    /// # Errors
    ///
    /// 403 for what a browser sends in the name of another site, and for a `Host` that is not this
    /// machine.
    pub fn admit(&self, head: &Parts) -> Result<Admitted, Failure> {
        let origin = head.headers.get(ORIGIN);
        if self.is_open {
            self.check_host(head)?;
        }
        if head.headers.get_all(ORIGIN).iter().nth(1).is_some() {
            // No browser does; which of them counts is anybody's guess.
            return Err(Failure::new(
                Reason::BadRequest,
                "the request names two origins",
            ));
        }
        let Some(origin) = origin else {
            return if self.is_open {
                check_site(&head.headers).map(|()| Admitted::Request(None))
            } else {
                Ok(Admitted::Request(None))
            };
        };
        let is_listed = self.origins.has(origin);
        if is_listed && is_preflight(head) {
            return Ok(Admitted::Preflight(
                Cors::new(origin).preflight(&head.headers),
            ));
        }
        if is_listed {
            return Ok(Admitted::Request(Some(Cors::new(origin))));
        }
        if self.is_open && !is_own(origin, head) {
            return Err(foreign(format!(
                "the request comes from the web page {}, and no client token is configured: add \
                 its origin to gateway.origins, or a token",
                shown(origin)
            )));
        }
        Ok(Admitted::Request(None))
    }

    fn check_host(&self, head: &Parts) -> Result<(), Failure> {
        // HTTP/2 has it in the URI, and so has an absolute one of HTTP/1.1; both are to be right.
        let mut named = false;
        if let Some(authority) = head.uri.authority() {
            named = true;
            self.check_name(authority.as_str())?;
        }
        for host in head.headers.get_all(HOST) {
            named = true;
            self.check_name(host.to_str().unwrap_or(""))?;
        }
        if named {
            Ok(())
        } else {
            Err(Failure::new(
                Reason::BadRequest,
                "the request names no host",
            ))
        }
    }

    fn check_name(&self, authority: &str) -> Result<(), Failure> {
        let name = host_of(authority);
        if is_loopback(name)
            || self
                .hosts
                .iter()
                .any(|host| host.eq_ignore_ascii_case(name))
        {
            return Ok(());
        }
        Err(foreign(format!(
            "the request is for the host \"{}\", which is not this machine, and no client token is \
             configured: use http://127.0.0.1 as base URL, add the host to gateway.hosts, or add \
             a token",
            printable(name)
        )))
    }
}

/// A browser says for whom it asks, even where it sends no `Origin`: for images and links.
fn check_site(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(foreign(
            "the request comes from a web page of another site, and no client token is configured",
        )),
    }
}

/// Whether `origin` is that of the gateway itself, under the host that the request names.
fn is_own(origin: &HeaderValue, head: &Parts) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| {
        let rest = origin.strip_prefix("http://");
        rest.or_else(|| origin.strip_prefix("https://"))
    });
    let host = head.uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| head.headers.get(HOST)?.to_str().ok());
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Returns the host of an authority, without its port.
fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        let end = authority.find(']').map_or(authority.len(), |at| at + 1);
        // What follows is a port or nothing; else it is no address.
        return match &authority[end..] {
            "" => &authority[..end],
            rest if rest.starts_with(':') => &authority[..end],
            _ => "",
        };
    }
    // A name with user information before it is not a loopback name, and stays whole.
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(inner) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        let ip = inner.parse::<std::net::Ipv6Addr>();
        return ip.is_ok_and(|ip| IpAddr::V6(ip).to_canonical().is_loopback());
    }
    if let Ok(ip) = host.parse::<std::net::Ipv4Addr>() {
        return ip.is_loopback();
    }
    // RFC 6761: names that are, or end in, `localhost` never leave the machine.
    let tail = host.len().checked_sub("localhost".len());
    tail.is_some_and(|at| {
        host.is_char_boundary(at)
            && host[at..].eq_ignore_ascii_case("localhost")
            && (at == 0 || host.as_bytes()[at - 1] == b'.')
    })
}

fn foreign(message: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(Reason::ForeignOrigin, message)
}

fn shown(value: &HeaderValue) -> String {
    printable(value.to_str().unwrap_or("(not text)"))
}

/// A name as messages show it: bounded, and nothing but what a host may have.
fn printable(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || ":/.-_[]".contains(*c);
    name.chars().filter(plain).take(100).collect()
}

#[cfg(test)]
mod tests;
