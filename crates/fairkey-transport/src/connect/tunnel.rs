//! Through a proxy: the request for a tunnel names the origin and carries nothing of a request.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::{BoxIo, Connector, handshake};
use crate::{TransportError, TransportErrorKind};

impl Connector {
    /// Connects to the proxy and has it open a tunnel to `target`.
    pub(super) async fn tunnel(
        &self,
        proxy: &Intercept,
        target: Uri,
    ) -> Result<BoxIo, TransportError> {
        let uri = proxy.uri();
        let scheme = uri.scheme_str().unwrap_or("http");
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => 1080,
        };
        let port = uri.port_u16().unwrap_or(default_port);
        let stream = self.tcp(host, port, false).await.map_err(unreachable)?;
        let mut io: BoxIo = Box::new(stream);
        if scheme == "https" {
            let config = self.proxy_tls.as_ref().ok_or_else(|| {
                let message = "the proxy wants TLS, and there is no crypto provider or root";
                TransportError::new(TransportErrorKind::Proxy, message)
            })?;
            io = handshake(config, host, io).await.map_err(unreachable)?.0;
        }
        let ready = Opened(Some(TokioIo::new(io)));
        let tunneled = if scheme.starts_with("socks") {
            let mut socks = SocksV5::new(uri.clone(), ready);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            socks.call(target).await.map_err(|error| refused(&error))
        } else {
            let mut tunnel = Tunnel::new(uri.clone(), ready);
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            tunnel.call(target).await.map_err(|error| refused(&error))
        };
        Ok(tunneled?.into_inner())
    }
}

/// Hands out a connection that is open already, as the "connector" under a tunnel.
struct Opened(Option<TokioIo<BoxIo>>);

impl Service<Uri> for Opened {
    type Response = TokioIo<BoxIo>;
    type Error = NoConnection;
    type Future = Ready<Result<TokioIo<BoxIo>, NoConnection>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), NoConnection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _proxy: Uri) -> Self::Future {
        ready(self.0.take().ok_or(NoConnection))
    }
}

/// A second tunnel was asked of one connection; nobody here does.
#[derive(Debug)]
struct NoConnection;

impl std::fmt::Display for NoConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection to the proxy is taken")
    }
}

impl std::error::Error for NoConnection {}

fn unreachable(error: TransportError) -> TransportError {
    TransportError::new(TransportErrorKind::Proxy, "the proxy was not reached").with_source(error)
}

/// Keeps the words of the refusal only: what a proxy sends back is not ours to print.
fn refused(error: &dyn std::error::Error) -> TransportError {
    let message = "the proxy opened no tunnel; check its address and credentials";
    TransportError::new(TransportErrorKind::Proxy, message).with_source(error.to_string())
}
