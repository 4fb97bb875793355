//! HTTP/2: peers that retire their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http2::{burst, plain_http2};
use crate::server::frames::*;
use crate::server::*;

/// Reads frames until one that begins a request.
pub(crate) async fn until_headers(stream: &mut TcpStream, preface: bool) -> Option<u32> {
    if preface {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.ok()?;
    }
    loop {
        let mut bytes = [0; 9];
        stream.read_exact(&mut bytes).await.ok()?;
        let (length, kind, _, id) = head(bytes);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.ok()?;
        if kind == HEADERS {
            return Some(id);
        }
    }
}

#[tokio::test]
async fn a_goaway_that_does_not_cover_our_stream_is_no_fault() {
    within(async {
        let server = Server::start(|number, mut stream: TcpStream| async move {
            if number > 0 {
                let handle = |request: http::Request<_>, mut respond| async move {
                    answer(&mut respond, request.uri().path().to_owned());
                };
                return serve_http2(stream, None, handle).await;
            }
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            let id = until_headers(&mut stream, true).await.unwrap();
            assert_eq!(id, 1);
            // Last stream 0, NO_ERROR: stream 1 was not looked at.
            stream
                .write_all(&frame(GOAWAY, 0, 0, &[0; 8]))
                .await
                .unwrap();
            until_gone(&mut stream).await;
        })
        .await;
        let transport = plain_http2();
        assert_eq!(
            fetch(&transport, post(server.address, "/a", "{}"))
                .await
                .unwrap(),
            "/a"
        );
        assert_eq!((server.accepted(), transport.stats().resends), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn a_goaway_that_covers_our_stream_leaves_it_alone_and_its_loss_is_told() {
    within(async {
        let server = Server::start(|_, mut stream: TcpStream| async move {
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            until_headers(&mut stream, true).await.unwrap();
            // Last stream 1: it may have been looked at. Then the connection is lost.
            stream
                .write_all(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]))
                .await
                .unwrap();
        })
        .await;
        let transport = plain_http2();
        let error = fetch(&transport, post(server.address, "/", "{}"))
            .await
            .unwrap_err();
        assert!(
            error.is_reset() && !error.before_sent(),
            "{}",
            printed(&error)
        );
        assert_eq!((server.accepted(), transport.stats().resends), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn what_a_peer_writes_into_its_goaway_is_not_printed() {
    within(async {
        let server = Server::start(|_, mut stream: TcpStream| async move {
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            until_headers(&mut stream, true).await;
            let mut payload = vec![0, 0, 0, 0, 0, 0, 0, 11];
            payload.extend(b"you sent Bearer hunter2");
            stream
                .write_all(&frame(GOAWAY, 0, 0, &payload))
                .await
                .unwrap();
            until_gone(&mut stream).await;
        })
        .await;
        let error = fetch(&plain_http2(), post(server.address, "/", "{}"))
            .await
            .unwrap_err();
        let text = printed(&error);
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("ENHANCE_YOUR_CALM"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_retire_all_the_time_lose_no_call() {
    within(async {
        let handled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handled);
        let server = Server::start(move |_, stream: TcpStream| {
            let count = Arc::clone(&count);
            async move {
                let mut builder = h2::server::Builder::new();
                builder.max_concurrent_streams(5);
                let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
                    return;
                };
                let mut taken = 0;
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    taken += 1;
                    if taken == 7 {
                        connection.graceful_shutdown();
                    }
                    let count = Arc::clone(&count);
                    tokio::spawn(async move {
                        let path = request.uri().path().to_owned();
                        // Only a request that is whole is one.
                        let mut body = request.into_body();
                        while let Some(chunk) = body.data().await {
                            if chunk.is_err() {
                                return;
                            }
                        }
                        count.fetch_add(1, Ordering::SeqCst);
                        answer(&mut respond, path);
                    });
                }
            }
        })
        .await;
        let transport = plain_http2();
        for _ in 0..10 {
            burst(&transport, &server, 50).await;
        }
        assert_eq!(
            handled.load(Ordering::SeqCst),
            500,
            "each call is handled once"
        );
        assert_eq!(transport.stats().streams_in_use, 0);
        assert!(server.accepted() >= 500 / 12, "{}", server.accepted());
    })
    .await;
}
