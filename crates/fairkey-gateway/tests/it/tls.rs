//! Listeners that speak TLS.

use std::path::Path;
use std::time::Duration;

use fairkey_gateway::{Gateway, ListenAddr, Listener, Serving, Settings, Tls};
use fairkey_transport::{HttpTransport, ProxyOptions, Roots, TlsOptions, Transport};
use http::{Request, Version};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::*;

/// Writes a certificate for this machine, and its key; returns who has signed it, in PEM.
fn issue(dir: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    std::fs::write(dir.join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), leaf_key.serialize_pem()).unwrap();
    root.pem()
}

fn files(dir: &TempDir) -> Tls {
    let path = |name: &str| dir.path().join(name);
    Tls::from_pem_files(path("cert.pem"), path("key.pem")).unwrap()
}

#[test]
fn files_that_cannot_be_used_say_which_one_and_why() {
    let dir = TempDir::new().unwrap();
    issue(dir.path());
    for (cert, key, which, why) in [
        ("none.pem", "key.pem", "none.pem", "cannot be read"),
        ("cert.pem", "none.pem", "none.pem", "cannot be read"),
        ("key.pem", "key.pem", "key.pem", "no certificate in it"),
        ("cert.pem", "cert.pem", "cert.pem", "no private key in it"),
    ] {
        let path = |name: &str| dir.path().join(name);
        let error = Tls::from_pem_files(path(cert), path(key)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(which) && error.contains(why), "{error}");
    }
}

/// The client of `world` behind a listener with TLS.
async fn behind(world: &World, tls: &Tls, settings: Settings) -> Serving {
    let listener = Listener::bind(&ListenAddr::Tcp("127.0.0.1:0".parse().unwrap())).await;
    let listener = listener.unwrap().with_tls(tls.clone());
    let gateway = Gateway::builder(world.client.clone()).settings(settings);
    gateway.build().serve_on(listener).unwrap()
}

/// A caller that trusts nobody but `root`.
fn caller(root: &str, is_http1: bool) -> HttpTransport {
    let tls = TlsOptions::new().roots(Roots::None);
    HttpTransport::builder()
        .tls(tls.add_ca_pem(root.as_bytes()).unwrap())
        .proxy(ProxyOptions::none())
        .http1_only(is_http1)
        .build()
        .unwrap()
}

/// Makes a call; returns the version of HTTP that was agreed on, and what came.
async fn call(caller: &HttpTransport, serving: &Serving) -> Result<(Version, String), String> {
    let request = Request::post(format!("https://{}/v1/chat/completions", serving.addr()))
        .header("content-type", "application/json")
        .body(STREAM.into())
        .unwrap();
    let sent = caller.send(request).await;
    let response = sent.map_err(|error| format!("{error:?}"))?;
    let (head, body) = response.into_parts();
    let body = body.collect_bounded(1 << 20).await.unwrap();
    assert_eq!(head.status, 200);
    Ok((head.version, String::from_utf8(body.to_vec()).unwrap()))
}

#[tokio::test]
async fn http2_or_http1_is_spoken_as_the_caller_prefers() {
    within(async {
        let (dir, world) = (TempDir::new().unwrap(), start(mock()).await);
        let root = issue(dir.path());
        let serving = behind(&world, &files(&dir), Settings::default()).await;
        for (is_http1, version) in [(false, Version::HTTP_2), (true, Version::HTTP_11)] {
            let (spoken, text) = call(&caller(&root, is_http1), &serving).await.unwrap();
            assert_eq!(spoken, version);
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        }
        world.is_idle().await;
        // Without TLS nobody is understood.
        let mut plain = TcpStream::connect(serving.addr()).await.unwrap();
        plain
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut said = Vec::new();
        let _ = plain.read_to_end(&mut said).await;
        assert!(
            !String::from_utf8_lossy(&said).contains("HTTP/"),
            "{said:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn another_certificate_holds_for_new_connections_and_a_bad_one_for_none() {
    within(async {
        let (dir, world) = (TempDir::new().unwrap(), start(mock()).await);
        let before = issue(dir.path());
        let tls = files(&dir);
        let serving = behind(&world, &tls, Settings::default()).await;
        let old = caller(&before, false);
        call(&old, &serving).await.unwrap();
        assert_eq!(tls.reload(), Ok(false), "it is the same");

        // A file that is being written, and one that belongs to another certificate.
        std::fs::write(dir.path().join("cert.pem"), "-----BEGIN CERT").unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains("cert.pem"), "{error}");
        let key = std::fs::read(dir.path().join("key.pem")).unwrap();
        let after = issue(dir.path());
        let next = std::fs::read(dir.path().join("key.pem")).unwrap();
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(
            error.contains("cert.pem") && error.contains("key.pem"),
            "{error}"
        );
        call(&caller(&before, false), &serving).await.unwrap();

        std::fs::write(dir.path().join("key.pem"), next).unwrap();
        assert_eq!(tls.reload(), Ok(true));
        call(&caller(&after, false), &serving).await.unwrap();
        let error = call(&caller(&before, false), &serving).await.unwrap_err();
        assert!(error.contains("Tls"), "{error}");
        // A connection that was there goes on with what it began with.
        call(&old, &serving).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    within(async {
        let (dir, world) = (TempDir::new().unwrap(), start(mock()).await);
        issue(dir.path());
        let mut settings = Settings::default();
        settings.limits.head_time = Duration::from_millis(50);
        let serving = behind(&world, &files(&dir), settings).await;
        for begins in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
            let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
            stream.write_all(begins).await.unwrap();
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
        }
    })
    .await;
}
