//! Proxies: tunnels, and what a proxy gets to see.

use std::sync::{Arc, Mutex};

use fairkey_transport::{ProxyOptions, TlsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::server::*;
use crate::tls::{Authority, HOST, https, serve};

/// Starts an upstream behind TLS, and a proxy that tunnels everything to it and notes what it is
/// told.
async fn upstream_behind_proxy(answer: &'static str) -> (Server, Server, TlsOptions, Heads) {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["http/1.1"]);
    let upstream = Server::start(move |_, stream| serve(acceptor.clone(), stream)).await;
    let target = upstream.address;
    let heads = Heads::default();
    let noted = Arc::clone(&heads);
    let proxy = Server::start(move |_, mut stream: TcpStream| {
        let noted = Arc::clone(&noted);
        async move {
            let Some(head) = read_request(&mut stream).await else {
                return;
            };
            noted.lock().unwrap().push(head);
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains(" 200 ") {
                let mut target = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut target).await;
            }
        }
    })
    .await;
    (upstream, proxy, authority.trusted(), heads)
}

type Heads = Arc<Mutex<Vec<String>>>;

#[tokio::test]
async fn a_proxy_tunnels_and_never_sees_the_authorization() {
    within(async {
        let (upstream, proxy, tls, heads) =
            upstream_behind_proxy("HTTP/1.1 200 Connection established\r\n\r\n").await;
        let url = format!("http://user:sesame@{}", proxy.address);
        let transport = builder()
            .tls(tls)
            .proxy(ProxyOptions::all(url))
            .build()
            .unwrap();
        for path in ["/a", "/b"] {
            assert_eq!(
                fetch(&transport, https(HOST, 8443, path)).await.unwrap(),
                path
            );
        }
        assert_eq!((upstream.accepted(), proxy.accepted()), (1, 1));
        let heads = heads.lock().unwrap();
        let head = heads[0].to_ascii_lowercase();
        assert!(
            head.starts_with("connect upstream.test:8443 http/1.1\r\n"),
            "{head}"
        );
        // base64 of user:sesame.
        assert!(heads[0].contains("Basic dXNlcjpzZXNhbWU="), "{head}");
        assert!(
            !head.contains("\nauthorization") && !head.contains("hunter2"),
            "{head}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_refuses_is_the_trouble_and_its_password_is_not_printed() {
    within(async {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        let (upstream, proxy, tls, _) = upstream_behind_proxy(refusal).await;
        let url = format!("http://user:sesame@{}", proxy.address);
        let proxied = builder().tls(tls).proxy(ProxyOptions::all(url));
        let text = format!("{proxied:?}");
        let transport = proxied.build().unwrap();
        let error = fetch(&transport, https(HOST, 8443, "/")).await.unwrap_err();
        assert!(
            error.is_proxy() && error.before_sent(),
            "{}",
            printed(&error)
        );
        for text in [text, printed(&error), format!("{transport:?}")] {
            for secret in ["sesame", "dXNlcjpzZXNhbWU", "hunter2", "user:"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        assert_eq!(upstream.accepted(), 0);
    })
    .await;
}

#[tokio::test]
async fn loopback_and_exceptions_are_reached_directly() {
    within(async {
        let (upstream, proxy, tls, _) = upstream_behind_proxy("HTTP/1.1 403 No\r\n\r\n").await;
        let plain = Server::start(|_, stream| echo_paths(stream)).await;
        let through = ProxyOptions::all(format!("http://{}", proxy.address)).except(HOST);
        let transport = builder()
            .tls(tls)
            .proxy(through)
            .resolve(HOST, ["127.0.0.1".parse().unwrap()])
            .build()
            .unwrap();
        assert_eq!(
            fetch(&transport, get(plain.address, "/a")).await.unwrap(),
            "/a"
        );
        let request = https(HOST, upstream.address.port(), "/b");
        assert_eq!(fetch(&transport, request).await.unwrap(), "/b");
        assert_eq!(proxy.accepted(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_the_trouble() {
    within(async {
        let gone = Server::start(|_, _| async {}).await.address;
        until("nobody listens any more", || {
            std::net::TcpStream::connect(gone).is_err()
        })
        .await;
        let proxied = builder().proxy(ProxyOptions::all(format!("http://{gone}")));
        let transport = proxied.tls(Authority::new().trusted()).build().unwrap();
        let error = fetch(&transport, https(HOST, 443, "/")).await.unwrap_err();
        assert!(
            error.is_proxy() && error.before_sent(),
            "{}",
            printed(&error)
        );
    })
    .await;
}

#[tokio::test]
async fn a_socks_proxy_looks_up_the_name() {
    within(async {
        let authority = Authority::new();
        let acceptor = authority.acceptor(&["http/1.1"]);
        let upstream = Server::start(move |_, stream| serve(acceptor.clone(), stream)).await;
        let target = upstream.address;
        let proxy = Server::start(move |_, mut stream: TcpStream| async move {
            // RFC 1928: version and methods; "no authentication"; the request; "succeeded".
            let mut greeting = [0; 2];
            stream.read_exact(&mut greeting).await.unwrap();
            let mut methods = vec![0; usize::from(greeting[1])];
            stream.read_exact(&mut methods).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut request = [0; 5];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request[..4], [5, 1, 0, 3], "a connection to a name");
            let mut name = vec![0; usize::from(request[4]) + 2];
            stream.read_exact(&mut name).await.unwrap();
            assert_eq!(name, [HOST.as_bytes(), &8443_u16.to_be_bytes()].concat());
            stream
                .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
                .await
                .unwrap();
            let mut target = TcpStream::connect(target).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut target).await;
        })
        .await;
        let proxied = builder().proxy(ProxyOptions::all(format!("socks5h://{}", proxy.address)));
        let transport = proxied.tls(authority.trusted()).build().unwrap();
        assert_eq!(
            fetch(&transport, https(HOST, 8443, "/x")).await.unwrap(),
            "/x"
        );
    })
    .await;
}
