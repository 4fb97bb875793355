//! HTTP/1.1: deadlines and cancellation.

use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::{Deadlines, Phase, Transport, TransportErrorKind};
use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::server::*;

/// Starts a server that sends `answer` to the first request of each connection, then stalls until
/// the client is gone.
async fn stalling_after(answer: &'static [u8]) -> Server {
    Server::start(move |_, mut stream: TcpStream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(answer).await;
        until_gone(&mut stream).await;
    })
    .await
}

fn with(mut request: Request<Bytes>, deadlines: Deadlines) -> Request<Bytes> {
    request.extensions_mut().insert(deadlines);
    request
}

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn each_deadline_tells_its_phase() {
    within(async {
        let head = &b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"[..];
        let chunk = &b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"[..];
        let usual = Deadlines::default();
        for (answer, deadlines, phase) in [
            (
                &b""[..],
                Deadlines {
                    head: SHORT,
                    ..usual
                },
                Phase::Head,
            ),
            (
                b"HTTP/1.1 200",
                Deadlines {
                    head: SHORT,
                    ..usual
                },
                Phase::Head,
            ),
            (
                head,
                Deadlines {
                    first_content: SHORT,
                    ..usual
                },
                Phase::FirstChunk,
            ),
            (
                chunk,
                Deadlines {
                    idle: SHORT,
                    ..usual
                },
                Phase::Idle,
            ),
            (
                chunk,
                Deadlines {
                    total: SHORT,
                    ..usual
                },
                Phase::Total,
            ),
            (
                b"",
                Deadlines {
                    total: SHORT,
                    ..usual
                },
                Phase::Total,
            ),
        ] {
            let server = stalling_after(answer).await;
            let transport = transport();
            let request = with(post(server.address, "/", "{}"), deadlines);
            let error = fetch(&transport, request).await.expect_err("it stalls");
            assert_eq!(
                error.kind(),
                TransportErrorKind::Timeout(phase),
                "{}",
                printed(&error)
            );
            assert!(error.is_timeout() && !error.before_sent());
            until("the connection closes", || {
                transport.stats().connections_open == 0
            })
            .await;
            assert_eq!(transport.stats().streams_in_use, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_drip_that_never_trips_the_idle_deadline_meets_the_total_one() {
    within(async {
        let server = Server::start(|_, mut stream: TcpStream| async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            if stream.write_all(head).await.is_err() {
                return;
            }
            let mut drip = tokio::time::interval(Duration::from_millis(2));
            loop {
                drip.tick().await;
                if stream.write_all(b"1\r\n.\r\n").await.is_err() {
                    return;
                }
            }
        })
        .await;
        let deadlines = Deadlines {
            total: Duration::from_millis(200),
            ..Deadlines::default()
        };
        let answer = fetch(&transport(), with(get(server.address, "/"), deadlines)).await;
        assert_eq!(
            answer.unwrap_err().kind(),
            TransportErrorKind::Timeout(Phase::Total)
        );
    })
    .await;
}

#[tokio::test]
async fn dropping_a_call_before_its_head_closes_the_connection() {
    within(async {
        let (events, mut event) = mpsc::unbounded_channel();
        let server = Server::start(move |_, mut stream: TcpStream| {
            let events = events.clone();
            async move {
                read_request(&mut stream).await;
                let _ = events.send("request");
                until_gone(&mut stream).await;
                let _ = events.send("gone");
            }
        })
        .await;
        let transport = transport();
        let call = tokio::spawn({
            let (transport, request) = (transport.clone(), post(server.address, "/", "{}"));
            async move { transport.send(request).await.map(drop) }
        });
        assert_eq!(event.recv().await, Some("request"));
        assert_eq!(transport.stats().streams_in_use, 1);
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert_eq!(event.recv().await, Some("gone"));
        assert_eq!(transport.stats().streams_in_use, 0);
        until("the connection is counted out", || {
            transport.stats().connections_open == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn dropping_a_body_stops_the_download_and_the_connection_is_not_used_again() {
    within(async {
        let (events, mut event) = mpsc::unbounded_channel();
        let server = Server::start(move |number, mut stream: TcpStream| {
            let events = events.clone();
            async move {
                if number > 0 {
                    return echo_paths(stream).await;
                }
                read_request(&mut stream).await;
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head).await;
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
                // Without an end: only a client that leaves stops it.
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                let _ = events.send("stopped");
            }
        })
        .await;
        let transport = transport();
        let mut body = transport
            .send(get(server.address, "/"))
            .await
            .unwrap()
            .into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        drop(body);
        assert_eq!(event.recv().await, Some("stopped"));
        assert_eq!(
            fetch(&transport, get(server.address, "/next"))
                .await
                .unwrap(),
            "/next"
        );
        assert_eq!(server.accepted(), 2);
    })
    .await;
}
