//! HTTP/1.1: reuse, early ends, deadlines, cancellation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairkey_transport::{Transport, TransportErrorKind};
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::server::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Starts a server that sends `answer` to the first request of each connection, then closes.
async fn closing_after(answer: &'static [u8]) -> Server {
    Server::start(move |_, mut stream: TcpStream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(answer).await;
    })
    .await
}

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    within(async {
        let server = Server::start(|_, stream| echo_paths(stream)).await;
        let transport = transport();
        for path in ["/a", "/b", "/c?d=e"] {
            assert_eq!(
                fetch(&transport, get(server.address, path)).await.unwrap(),
                path
            );
        }
        assert_eq!(server.accepted(), 1);
        let stats = transport.stats();
        assert_eq!((stats.connections_opened, stats.streams_in_use), (1, 0));
        assert_eq!(
            (stats.connections_open, stats.waiting, stats.resends),
            (1, 0, 0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_status_of_any_kind_is_a_response_and_redirects_are_not_followed() {
    within(async {
        let server = closing_after(
            b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        let response = transport().send(get(server.address, "/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(response.headers()["location"], "/elsewhere");
        assert_eq!(server.accepted(), 1);
        for head in [
            &b"HTTP/1.1 429 Slow down\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 503 x\r\n\r\n",
        ] {
            let server = closing_after(head).await;
            assert!(
                !transport()
                    .send(get(server.address, "/"))
                    .await
                    .unwrap()
                    .status()
                    .is_success()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_ends_early_is_an_error_of_the_right_kind_and_then_the_end() {
    use TransportErrorKind as Kind;
    within(async {
        for (answer, kind) in [
            (&b""[..], Kind::Reset),
            (b"HTTP/1.1 200 OK\r\ncontent-", Kind::Reset),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
                Kind::Reset,
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
                Kind::Reset,
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
                Kind::Body,
            ),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Kind::Protocol),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: seven\r\n\r\n",
                Kind::Protocol,
            ),
        ] {
            let shown = String::from_utf8_lossy(answer);
            let server = closing_after(answer).await;
            let transport = transport();
            let error = match transport.send(post(server.address, "/", "{}")).await {
                Err(error) => error,
                Ok(response) => {
                    let mut body = response.into_body();
                    let error = loop {
                        match body.frame().await.expect("not a clean end") {
                            Ok(_) => {}
                            Err(error) => break error,
                        }
                    };
                    for _ in 0..1_000 {
                        assert!(body.frame().await.is_none(), "{shown}");
                    }
                    error
                }
            };
            assert_eq!(error.kind(), kind, "{shown}: {}", printed(&error));
            assert!(!error.before_sent(), "{shown}");
            // A POST that was written is written once.
            assert_eq!(
                (server.accepted(), transport.stats().resends),
                (1, 0),
                "{shown}"
            );
            assert_eq!(transport.stats().streams_in_use, 0, "{shown}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_is_told_and_not_taken_for_its_end() {
    within(async {
        let server = Server::start(|_, mut stream: TcpStream| async move {
            read_request(&mut stream).await;
            // No length and no chunks: only the close says where it ends, and a reset is no close.
            drop(
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart")
                    .await,
            );
            stream.set_zero_linger().unwrap();
        })
        .await;
        let answer = fetch(&transport(), get(server.address, "/")).await;
        let error = answer.expect_err("a reset is not an end");
        assert!(error.is_reset(), "{}", printed(&error));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_the_peer_has_closed_is_replaced_unseen_even_for_a_post() {
    within(async {
        let (closed, mut has_closed) = mpsc::unbounded_channel();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&requests);
        let server = Server::start(move |_, mut stream: TcpStream| {
            let (closed, seen) = (closed.clone(), Arc::clone(&seen));
            async move {
                if read_request(&mut stream).await.is_some() {
                    seen.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(OK).await;
                }
                drop(stream);
                let _ = closed.send(());
            }
        })
        .await;
        let transport = transport();
        for round in 1..=200 {
            let answer = fetch(&transport, post(server.address, "/", "{}")).await;
            assert_eq!(answer.expect("a stale connection is no error"), "ok");
            has_closed.recv().await.unwrap();
            assert_eq!(
                requests.load(Ordering::SeqCst),
                round,
                "each request arrives once"
            );
        }
    })
    .await;
}

/// Starts a server that answers the first request of the first connection and closes it upon the
/// second, which it has read; later connections answer everything.
async fn dropping_the_second_request(seen: Arc<AtomicUsize>) -> Server {
    Server::start(move |number, mut stream: TcpStream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut answered = 0;
            while read_request(&mut stream).await.is_some() {
                seen.fetch_add(1, Ordering::SeqCst);
                if number == 0 && answered == 1 {
                    return;
                }
                let _ = stream.write_all(OK).await;
                answered += 1;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_post_that_was_written_to_an_old_connection_is_not_sent_again() {
    within(async {
        let seen = Arc::new(AtomicUsize::new(0));
        let server = dropping_the_second_request(Arc::clone(&seen)).await;
        let transport = transport();
        assert_eq!(
            fetch(&transport, post(server.address, "/", "1"))
                .await
                .unwrap(),
            "ok"
        );
        let error = fetch(&transport, post(server.address, "/", "2"))
            .await
            .unwrap_err();
        assert!(
            error.is_reset() && !error.before_sent(),
            "{}",
            printed(&error)
        );
        assert_eq!(
            (seen.load(Ordering::SeqCst), transport.stats().resends),
            (2, 0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_get_that_was_written_to_an_old_connection_is_sent_again() {
    within(async {
        let seen = Arc::new(AtomicUsize::new(0));
        let server = dropping_the_second_request(Arc::clone(&seen)).await;
        let transport = transport();
        for _ in 0..2 {
            assert_eq!(
                fetch(&transport, get(server.address, "/")).await.unwrap(),
                "ok"
            );
        }
        assert_eq!(
            (seen.load(Ordering::SeqCst), transport.stats().resends),
            (3, 1)
        );
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_stops_after_the_last_chunk_leaves_a_usable_connection() {
    within(async {
        let server = Server::start(|_, stream| echo_paths(stream)).await;
        let transport = transport();
        for _ in 0..3 {
            let mut body = transport
                .send(get(server.address, "/"))
                .await
                .unwrap()
                .into_body();
            assert!(body.frame().await.unwrap().unwrap().is_data());
            drop(body);
        }
        assert_eq!(server.accepted(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    within(async {
        let (gone, mut is_gone) = mpsc::unbounded_channel();
        let server = Server::start(move |_, stream| {
            let gone = gone.clone();
            async move {
                echo_paths(stream).await;
                let _ = gone.send(());
            }
        })
        .await;
        let transport = builder().pool_idle_timeout(SHORT).build().unwrap();
        assert_eq!(
            fetch(&transport, get(server.address, "/a")).await.unwrap(),
            "/a"
        );
        is_gone.recv().await.unwrap();
        until("the connection is counted out", || {
            transport.stats().connections_open == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn dropping_the_transport_closes_idle_connections_and_lets_bodies_end() {
    within(async {
        let (gone, mut is_gone) = mpsc::unbounded_channel();
        let (go_on, goes_on) = tokio::sync::watch::channel(false);
        let server = Server::start(move |number, mut stream: TcpStream| {
            let (gone, mut goes_on) = (gone.clone(), goes_on.clone());
            async move {
                if number == 0 {
                    echo_paths(stream).await;
                } else {
                    read_request(&mut stream).await;
                    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none";
                    stream.write_all(head).await.unwrap();
                    goes_on.wait_for(|on| *on).await.unwrap();
                    stream.write_all(b"two").await.unwrap();
                    until_gone(&mut stream).await;
                }
                let _ = gone.send(number);
            }
        })
        .await;
        let transport = builder().pool_idle_timeout(Duration::MAX).build().unwrap();
        let first = transport.send(get(server.address, "/idle")).await.unwrap();
        // The second call needs a second connection as long as the first body is not read.
        let second = transport.send(get(server.address, "/busy")).await.unwrap();
        assert_eq!(read(first).await.unwrap(), "/idle");
        // On this one thread: enough turns for the connection to arrive in the pool.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        drop(transport);
        assert_eq!(is_gone.recv().await, Some(0));
        go_on.send(true).unwrap();
        assert_eq!(read(second).await.unwrap(), "onetwo");
        assert_eq!(is_gone.recv().await, Some(1));
    })
    .await;
}
