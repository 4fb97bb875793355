//! TLS: protocols, roots, providers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::{
    Deadlines, HttpTransportBuilder, Phase, Roots, TlsOptions, Transport, TransportErrorKind,
};
use http::{Request, Version};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::*;

/// The name on the certificates; the tests resolve it to loopback.
pub(crate) const HOST: &str = "upstream.test";

/// An authority of a test's own, and a certificate for [`HOST`] that it has signed.
pub(crate) struct Authority {
    pub(crate) pem: String,
    der: Vec<u8>,
    chain: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([HOST.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        Self {
            pem: root.pem(),
            der: root.der().to_vec(),
            chain: leaf.der().clone(),
            key: leaf_key.serialize_der(),
        }
    }

    pub(crate) fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.chain.clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Trusts this authority and nobody else.
    pub(crate) fn trusted(&self) -> TlsOptions {
        let tls = TlsOptions::new().provider(provider()).roots(Roots::None);
        tls.add_ca_pem(self.pem.as_bytes()).unwrap()
    }
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Answers HTTP/1.1 or HTTP/2, whichever was agreed on, with the path.
pub(crate) async fn serve(acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    if speaks_http2(&stream) {
        #[cfg(feature = "http2")]
        serve_http2(stream, Some(10), |request, mut respond| async move {
            answer(&mut respond, request.uri().path().to_owned());
        })
        .await;
        return;
    }
    while let Some(request) = read_request(&mut stream).await {
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
            path.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

async fn server(authority: &Authority, protocols: &[&str]) -> Server {
    let acceptor = authority.acceptor(protocols);
    Server::start(move |_, stream| serve(acceptor.clone(), stream)).await
}

fn resolving(tls: TlsOptions) -> HttpTransportBuilder {
    let loopback = "127.0.0.1".parse().unwrap();
    builder()
        .tls(tls)
        .resolve(HOST, [loopback])
        .resolve("other.test", [loopback])
}

pub(crate) fn https(host: &str, port: u16, path: &str) -> Request<Bytes> {
    Request::post(format!("https://{host}:{port}{path}"))
        .header("authorization", "Bearer hunter2")
        .body(Bytes::from_static(b"{}"))
        .unwrap()
}

#[tokio::test]
async fn both_sides_agree_on_a_protocol() {
    within(async {
        let authority = Authority::new();
        let best = if cfg!(feature = "http2") {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        for (protocols, only_http1, version) in [
            (&["h2", "http/1.1"][..], false, best),
            (&["h2", "http/1.1"], true, Version::HTTP_11),
            (&["http/1.1"], false, Version::HTTP_11),
            (&[], false, Version::HTTP_11),
        ] {
            let server = server(&authority, protocols).await;
            let transport = resolving(authority.trusted())
                .http1_only(only_http1)
                .build()
                .unwrap();
            for path in ["/a", "/b"] {
                let request = https(HOST, server.address.port(), path);
                let response = transport.send(request).await.unwrap();
                assert_eq!(response.version(), version, "{protocols:?}");
                assert_eq!(read(response).await.unwrap(), path);
            }
            assert_eq!(server.accepted(), 1);
        }
    })
    .await;
}

#[cfg(feature = "http2")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_over_tls_at_ten_streams_take_five_connections_from_cold() {
    within(async {
        let authority = Authority::new();
        let acceptor = authority.acceptor(&["h2"]);
        let here = Arc::new(tokio::sync::Barrier::new(50));
        let server = Server::start(move |_, stream| {
            let (acceptor, here) = (acceptor.clone(), Arc::clone(&here));
            async move {
                let stream = acceptor.accept(stream).await.unwrap();
                serve_http2(stream, Some(10), move |request, mut respond| {
                    let here = Arc::clone(&here);
                    async move {
                        // Nobody is answered before all fifty are there.
                        here.wait().await;
                        answer(&mut respond, request.uri().path().to_owned());
                    }
                })
                .await;
            }
        })
        .await;
        let transport = resolving(authority.trusted()).build().unwrap();
        let mut calls = tokio::task::JoinSet::new();
        for call in 0..50 {
            let (transport, path) = (transport.clone(), format!("/{call}"));
            let request = https(HOST, server.address.port(), &path);
            calls.spawn(async move {
                assert_eq!(fetch(&transport, request).await.unwrap(), path);
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
        assert_eq!((server.accepted(), transport.stats().resends), (5, 0));
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused_as_tls() {
    within(async {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let server = server(&authority, &["http/1.1"]).await;
        let port = server.address.port();

        let transport = resolving(stranger.trusted()).build().unwrap();
        let error = fetch(&transport, https(HOST, port, "/")).await.unwrap_err();
        assert!(error.is_tls() && error.before_sent(), "{}", printed(&error));

        let transport = resolving(authority.trusted()).build().unwrap();
        let error = fetch(&transport, https("other.test", port, "/"))
            .await
            .unwrap_err();
        assert!(error.is_tls(), "{}", printed(&error));
        assert_eq!(transport.stats().connections_failed, 1);
    })
    .await;
}

#[tokio::test]
async fn an_authority_is_accepted_as_pem_and_as_der_beside_the_usual_roots() {
    within(async {
        let authority = Authority::new();
        let server = server(&authority, &["http/1.1"]).await;
        let with_der = TlsOptions::new()
            .provider(provider())
            .add_ca_der(authority.der.clone());
        for tls in [authority.trusted(), with_der] {
            let transport = resolving(tls).build().unwrap();
            let request = https(HOST, server.address.port(), "/x");
            assert_eq!(fetch(&transport, request).await.unwrap(), "/x");
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_never_answers_the_handshake_meets_the_connect_deadline() {
    within(async {
        let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(move |_, mut stream| {
            let gone = gone.clone();
            async move {
                until_gone(&mut stream).await;
                gone.send(()).unwrap();
            }
        })
        .await;
        let transport = resolving(Authority::new().trusted()).build().unwrap();
        let mut request = https(HOST, server.address.port(), "/");
        let connect = Duration::from_millis(50);
        request.extensions_mut().insert(Deadlines {
            connect,
            ..Deadlines::default()
        });
        let error = fetch(&transport, request).await.unwrap_err();
        let kind = TransportErrorKind::Timeout(Phase::Connect);
        assert_eq!(error.kind(), kind, "{}", printed(&error));
        assert!(error.before_sent());
        // Nothing goes on trying in the background.
        is_gone.recv().await.unwrap();
        assert_eq!(transport.stats().connections_open, 0);
    })
    .await;
}

#[tokio::test]
async fn a_call_dropped_while_the_peer_reads_nothing_closes_its_connection() {
    within(async {
        let authority = Authority::new();
        let acceptor = authority.acceptor(&["http/1.1"]);
        let (accepted, mut is_accepted) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(move |_, stream| {
            let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
            async move {
                let _stream = acceptor.accept(stream).await.unwrap();
                accepted.send(()).unwrap();
                std::future::pending::<()>().await;
            }
        })
        .await;
        let transport = resolving(authority.trusted()).build().unwrap();
        let mut request = https(HOST, server.address.port(), "/");
        // More than the buffers of two sockets hold: the end of it is not written before it is
        // read, and nor is a polite goodbye.
        *request.body_mut() = vec![b'x'; 64 << 20].into();
        let call = tokio::spawn({
            let transport = transport.clone();
            async move { transport.send(request).await.map(drop) }
        });
        is_accepted.recv().await.unwrap();
        until("the call is under way", || {
            transport.stats().streams_in_use == 1
        })
        .await;
        // The runtime has one thread: when nothing more happens, the buffers are full.
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        call.abort();
        until("the connection is closed", || {
            transport.stats().connections_open == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_told() {
    within(async {
        let server = Server::start(|_, mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            until_gone(&mut stream).await;
        })
        .await;
        let transport = resolving(Authority::new().trusted()).build().unwrap();
        let error = fetch(&transport, https(HOST, server.address.port(), "/"))
            .await
            .unwrap_err();
        assert!(error.is_tls() && error.before_sent(), "{}", printed(&error));
    })
    .await;
}

#[test]
fn tls_settings_that_cannot_work_are_refused_when_the_transport_is_built() {
    assert!(TlsOptions::new().add_ca_pem(b"no certificate").is_err());
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let tls = TlsOptions::new()
        .provider(provider())
        .add_ca_pem(broken)
        .unwrap();
    assert!(builder().tls(tls).build().is_err());
    let nobody = TlsOptions::new().provider(provider()).roots(Roots::None);
    let error = builder().tls(nobody).build().unwrap_err();
    assert!(error.to_string().contains("root"), "{error}");
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
#[tokio::test]
async fn without_a_provider_plain_http_works_and_https_says_what_is_missing() {
    within(async {
        let server = Server::start(|_, stream| echo_paths(stream)).await;
        let transport = transport();
        assert_eq!(
            fetch(&transport, get(server.address, "/x")).await.unwrap(),
            "/x"
        );
        let error = fetch(&transport, https("localhost", server.address.port(), "/")).await;
        let error = error.unwrap_err();
        assert!(
            error.is_tls() && printed(&error).contains("crypto provider"),
            "{error}"
        );
        assert!(builder().tls(TlsOptions::new()).build().is_err());
    })
    .await;
}
