//! Where a request goes, and what of it may go there.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri};

use crate::request_body::{Payload, RequestBody};
use crate::{TransportError, TransportErrorKind, strip_hop_by_hop};

/// Scheme, host and port: what a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    /// Lower case; IPv6 addresses without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The origin of the last request, which is nearly always that of the next one, too: read once.
#[derive(Default)]
pub(crate) struct Origins {
    last: Mutex<Option<Known>>,
}

struct Known {
    scheme: Scheme,
    authority: Authority,
    origin: Arc<Origin>,
    is_loopback: bool,
}

impl Origins {
    /// Returns the origin of a URI, and whether its host can only be this machine.
    fn of(&self, uri: &Uri) -> Result<(Arc<Origin>, bool), TransportError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(known), Some(authority)) = (&*last, uri.authority())
            // Byte for byte: what is written otherwise is read anew.
            && known.authority.as_str() == authority.as_str()
            && Some(&known.scheme) == uri.scheme()
        {
            return Ok((Arc::clone(&known.origin), known.is_loopback));
        }
        let origin = Arc::new(origin_of(uri)?);
        let is_loopback = origin.is_loopback();
        if let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) {
            *last = Some(Known {
                scheme: scheme.clone(),
                authority: authority.clone(),
                origin: Arc::clone(&origin),
                is_loopback,
            });
        }
        Ok((origin, is_loopback))
    }
}

impl Origin {
    /// Returns true when the host can only be this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => is_loopback(address),
            // RFC 6761 6.3: names below `localhost` are loopback as well.
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }

    /// Returns the URI that proxy rules are asked about, with the port always given.
    pub(crate) fn uri(&self) -> Result<Uri, http::Error> {
        let scheme = if self.tls {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let authority = format!("{}:{}", self.bracketed_host(), self.port);
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query("/")
            .build()
    }

    /// Returns the text that errors show.
    pub(crate) fn label(&self) -> Arc<str> {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.bracketed_host(), self.port).into()
    }

    /// Returns what the header `Host` says; `None` where that would be no header.
    pub(crate) fn host_header(&self) -> Option<HeaderValue> {
        // Shared by all requests.
        HeaderValue::from_maybe_shared(bytes::Bytes::from(self.authority())).ok()
    }

    /// Returns what HTTP/2 calls the server; `None` where that would be no authority.
    #[cfg(feature = "http2")]
    pub(crate) fn http2_authority(&self) -> Option<Authority> {
        // Shared by all requests.
        Authority::from_maybe_shared(bytes::Bytes::from(self.authority())).ok()
    }

    fn authority(&self) -> String {
        let default_port = if self.tls { 443 } else { 80 };
        if self.port == default_port {
            self.bracketed_host()
        } else {
            format!("{}:{}", self.bracketed_host(), self.port)
        }
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }
}

/// Returns true for 127.0.0.0/8, `::1`, and the former written as IPv6.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// A request that has been checked and can be written, as often as need be, to its origin.
///
/// No `Debug`: it holds the caller's headers.
pub(crate) struct Outgoing {
    pub(crate) origin: Arc<Origin>,
    method: Method,
    path_and_query: PathAndQuery,
    headers: HeaderMap,
    body: Payload,
}

impl Outgoing {
    /// Takes a request apart, and refuses what cannot or must not be sent.
    pub(crate) fn check(
        request: Request<Payload>,
        allow_plaintext: bool,
        origins: &Origins,
    ) -> Result<Self, TransportError> {
        let (parts, body) = request.into_parts();
        let (origin, is_loopback) = origins.of(&parts.uri)?;
        if !origin.tls && !allow_plaintext && !is_loopback {
            return Err(refused(
                "plain http leaves this machine only to loopback; use https, or allow plaintext \
                 when the transport is built",
            )
            .at(&origin.label()));
        }
        if parts.method == Method::CONNECT {
            return Err(refused(
                "the CONNECT method opens tunnels and is not for requests",
            ));
        }
        let mut headers = parts.headers;
        strip_hop_by_hop(&mut headers);
        // Ours to say.
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::HOST);
        for (name, value) in &mut headers {
            // HTTP/2 then never puts the value into a compression table, and Debug hides it.
            if SECRETS.contains(name) {
                value.set_sensitive(true);
            }
        }
        let path_and_query = parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self {
            origin,
            method: parts.method,
            path_and_query,
            headers,
            body,
        })
    }

    /// Returns true when running the request twice is the same as running it once (RFC 9110
    /// 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// Returns whether its body comes while it is sent.
    pub(crate) fn is_streamed(&self) -> bool {
        self.body.is_coming()
    }

    /// Returns whether its body is there to be sent once more.
    pub(crate) fn is_there(&self) -> bool {
        self.body.is_there()
    }

    /// Returns the request in the form of HTTP/1.1.
    pub(crate) fn http1(
        &self,
        host: Option<&HeaderValue>,
    ) -> Result<Request<RequestBody>, TransportError> {
        let host = host.ok_or_else(|| refused("the host is no header value"))?;
        let mut request = Request::new(self.body.body());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path_and_query.clone());
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(header::HOST, host.clone());
        Ok(request)
    }

    /// Returns the head of the request in the form of HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) fn http2(&self, to: Option<&Authority>) -> Result<Request<()>, TransportError> {
        let to = to.ok_or_else(|| refused("the host is no authority"))?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.origin.tls {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        });
        parts.authority = Some(to.clone());
        parts.path_and_query = Some(self.path_and_query.clone());
        let uri = Uri::from_parts(parts)
            .map_err(|error| refused("the URI is not valid").with_source(error))?;
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        let has_meaning = matches!(self.method, Method::POST | Method::PUT | Method::PATCH);
        if let Some(length) = self.body.length()
            && (length > 0 || has_meaning)
        {
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(request)
    }

    /// Returns the body, to be sent with what [`http2`](Self::http2) returns.
    #[cfg(feature = "http2")]
    pub(crate) fn payload(&self) -> &Payload {
        &self.body
    }
}

static SECRETS: [HeaderName; 3] = [
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
];

fn origin_of(uri: &Uri) -> Result<Origin, TransportError> {
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => {
            return Err(refused(
                "the URI must be absolute and start with https:// or http://",
            ));
        }
    };
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    if authority.as_bytes().contains(&b'@') {
        return Err(refused(
            "the URI holds credentials; give them in a header instead",
        ));
    }
    let host = uri.host().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    // One trailing dot only says that the name is complete.
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() {
        return Err(refused("the URI has no host"));
    }
    let port = match uri.port() {
        Some(port) => port.as_u16(),
        None if authority.ends_with(':') || !has_port(authority) => {
            if tls {
                443
            } else {
                80
            }
        }
        None => return Err(refused("the port of the URI is not a number below 65536")),
    };
    if port == 0 {
        return Err(refused("the port of the URI is 0"));
    }
    Ok(Origin { tls, host, port })
}

/// Returns true when something follows the colon after the host.
fn has_port(authority: &str) -> bool {
    let after_host = authority
        .rsplit_once(']')
        .map_or(authority, |(_, rest)| rest);
    after_host.contains(':')
}

fn refused(message: &'static str) -> TransportError {
    TransportError::new(TransportErrorKind::Request, message)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(uri: &str) -> Result<Outgoing, TransportError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri.parse().expect("the test's URI parses");
        Outgoing::check(request.map(Payload::Whole), false, &Origins::default())
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        for uri in [
            "http://127.0.0.1:8080/a",
            "http://[::1]/",
            "http://localhost",
            "http://a.localhost:1/",
        ] {
            assert!(check(uri).is_ok(), "{uri}");
        }
        for uri in [
            "http://api.example/v1?key=hunter2",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://0.0.0.0/",
            "http://127.0.0.1.example/",
        ] {
            let error = check(uri).err().expect(uri);
            assert!(
                error.is_request() && error.before_sent(),
                "{uri}: {error:?}"
            );
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_uri_that_names_no_origin_is_refused() {
        for uri in [
            "/v1/chat",
            "api.example:443",
            "ftp://api.example/",
            "https://u:hunter2@api.example/",
        ] {
            let error = check(uri).err().expect(uri);
            assert!(error.is_request(), "{uri}: {error:?}");
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn an_origin_is_the_same_however_it_is_written() {
        let origins: Vec<_> = [
            "https://API.Example/x",
            "https://api.example:443",
            "https://api.example.:443/?q",
        ]
        .map(|uri| check(uri).map(|o| o.origin).unwrap())
        .into();
        assert!(origins.windows(2).all(|w| w[0] == w[1]), "{origins:?}");
        assert_eq!(&*origins[0].label(), "https://api.example:443");
        assert_eq!(
            &*check("http://[::1]:8080/").unwrap().origin.label(),
            "http://[::1]:8080"
        );
    }

    #[test]
    fn what_was_read_for_one_request_is_not_taken_for_another_origins() {
        let origins = Origins::default();
        let uris = [
            "https://api.example/a",
            "https://api.example/b",
            "https://API.example/",
            "https://api.example:444/",
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "http://api.example/",
            "http://127.0.0.1/",
            "https://u@127.0.0.1/",
            "/a",
        ];
        for uri in uris.iter().chain(uris.iter().rev()) {
            let parsed: Uri = uri.parse().unwrap();
            let known = origins.of(&parsed).ok();
            let anew = origin_of(&parsed).ok();
            let anew = anew.map(|origin| (origin.is_loopback(), Arc::new(origin)));
            assert_eq!(known.map(|(origin, near)| (near, origin)), anew, "{uri}");
        }
    }

    #[test]
    fn connection_headers_stay_here_and_the_host_is_ours() {
        let request = Request::post("http://127.0.0.1:8080/a?b=c")
            .header("host", "elsewhere.example")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("proxy-authorization", "Basic x")
            .header("content-length", "7")
            .header("authorization", "Bearer hunter2")
            .body(Bytes::from("body"))
            .unwrap();
        let written = Outgoing::check(request.map(Payload::Whole), false, &Origins::default())
            .unwrap()
            .http1(Some(&HeaderValue::from_static("127.0.0.1:8080")))
            .unwrap();
        let mut names: Vec<_> = written.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "host"]);
        assert_eq!(written.headers()["host"], "127.0.0.1:8080");
        assert_eq!(written.uri(), "/a?b=c");
        assert!(!format!("{:?}", written.headers()).contains("hunter2"));
    }
}
