//! The baseline: a reverse proxy of the same HTTP stack, which only forwards.

use std::net::SocketAddr;
use std::path::Path;

use http::uri::{Authority, Scheme};
use http::{HeaderName, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::Result;
use crate::secured::Connect;

const HOP_BY_HOP: [HeaderName; 4] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Forwards to `upstream`; with TLS where there is the folder of its certificate.
pub(crate) fn main(upstream: &str, certificate: Option<&Path>) -> Result<()> {
    let upstream: SocketAddr = upstream.parse()?;
    let authority: Authority = upstream.to_string().parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connector = Connect::new(certificate)?;
        let scheme = match certificate {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        };
        let client: Client<_, Incoming> = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let (client, authority) = (client.clone(), authority.clone());
            let scheme = scheme.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let forwarded = forward(request, &scheme, &authority);
                    let client = client.clone();
                    async move {
                        let response = match forwarded {
                            Some(request) => client.request(request).await.ok(),
                            None => None,
                        };
                        Ok::<_, std::convert::Infallible>(answer(response))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                let _ = connection.await;
            });
        }
    })
}

fn forward(
    mut request: Request<Incoming>,
    scheme: &Scheme,
    authority: &Authority,
) -> Option<Request<Incoming>> {
    // Whichever version is agreed on with the upstream.
    *request.version_mut() = Version::HTTP_11;
    let path = request.uri().path_and_query()?.clone();
    *request.uri_mut() = Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query(path)
        .build()
        .ok()?;
    let headers = request.headers_mut();
    HOP_BY_HOP
        .iter()
        .for_each(|name| drop(headers.remove(name)));
    headers.remove(header::HOST);
    Some(request)
}

fn answer(response: Option<Response<Incoming>>) -> Response<Either<Incoming, Empty<Bytes>>> {
    match response {
        Some(mut response) => {
            let headers = response.headers_mut();
            HOP_BY_HOP
                .iter()
                .for_each(|name| drop(headers.remove(name)));
            response.map(Either::Left)
        }
        None => {
            let mut response = Response::new(Either::Right(Empty::new()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}
