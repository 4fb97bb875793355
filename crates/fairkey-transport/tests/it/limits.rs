//! Bounds: sizes, connections, lines, origins.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use fairkey_transport::{Transport, TransportErrorKind};
use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::server::*;

async fn answering(answer: String) -> Server {
    let answer = Arc::new(answer);
    Server::start(move |_, mut stream: TcpStream| {
        let answer = Arc::clone(&answer);
        async move {
            while read_request(&mut stream).await.is_some() {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_by_its_declared_length_before_it_is_read() {
    within(async {
        let transport = builder().max_body_bytes(10).build().unwrap();
        let fits =
            answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789".into()).await;
        assert_eq!(
            fetch(&transport, get(fits.address, "/")).await.unwrap(),
            "0123456789"
        );
        // The body never comes: nobody waits for it.
        let over = answering("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n".into()).await;
        let error = transport.send(get(over.address, "/")).await.unwrap_err();
        assert!(
            error.is_too_large() && !error.before_sent(),
            "{}",
            printed(&error)
        );
        assert_eq!(transport.stats().streams_in_use, 0);
    })
    .await;
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_by_its_counted_length() {
    within(async {
        let transport = builder().max_body_bytes(10).build().unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let fits = answering(format!("{head}5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")).await;
        assert_eq!(
            fetch(&transport, get(fits.address, "/")).await.unwrap(),
            "0123456789"
        );
        let over = answering(format!("{head}5\r\n01234\r\n6\r\n56789x\r\n0\r\n\r\n")).await;
        let error = fetch(&transport, get(over.address, "/")).await.unwrap_err();
        assert!(error.is_too_large(), "{}", printed(&error));
        assert_eq!(transport.stats().streams_in_use, 0);
    })
    .await;
}

#[tokio::test]
async fn a_head_without_an_end_is_refused() {
    within(async {
        let head = format!("HTTP/1.1 200 OK\r\nx-much: {}\r\n", "y".repeat(100_000));
        let server = answering(head).await;
        let error = transport()
            .send(get(server.address, "/"))
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            TransportErrorKind::Protocol,
            "{}",
            printed(&error)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_calls_beyond_the_connection_bound_wait_their_turn() {
    within(async {
        let (open, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, most) = (Arc::clone(&open), Arc::clone(&peak));
        let server = Server::start(move |_, stream| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                echo_paths(stream).await;
                now.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        let transport = builder().max_connections_per_origin(3).build().unwrap();
        let mut calls = JoinSet::new();
        for call in 0..100 {
            let (transport, path) = (transport.clone(), format!("/{call}"));
            let request = post(server.address, &path, "{}");
            calls.spawn(async move {
                assert_eq!(fetch(&transport, request).await.unwrap(), path);
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
        assert_eq!((server.accepted(), peak.load(Ordering::SeqCst)), (3, 3));
        let stats = transport.stats();
        assert_eq!(
            (stats.streams_in_use, stats.waiting, stats.connections_open),
            (0, 0, 3)
        );
    })
    .await;
}

#[tokio::test]
async fn a_line_that_is_full_refuses_the_next_call_until_somebody_leaves() {
    within(async {
        let (go_on, goes_on) = watch::channel(false);
        let server = Server::start(move |_, stream| {
            let mut goes_on = goes_on.clone();
            async move {
                goes_on.wait_for(|on| *on).await.unwrap();
                echo_paths(stream).await;
            }
        })
        .await;
        let transport = builder()
            .max_connections_per_origin(1)
            .max_waiting_per_origin(1)
            .build()
            .unwrap();
        let call = |path| {
            let (transport, request) = (transport.clone(), post(server.address, path, "{}"));
            tokio::spawn(async move { fetch(&transport, request).await })
        };
        let first = call("/first");
        until("it has the connection", || {
            transport.stats().streams_in_use == 1
        })
        .await;
        let leaving = call("/leaving");
        until("it stands in line", || transport.stats().waiting == 1).await;
        let error = call("/over").await.unwrap().unwrap_err();
        assert!(
            error.is_overloaded() && error.before_sent(),
            "{}",
            printed(&error)
        );
        leaving.abort();
        until("it has left", || transport.stats().waiting == 0).await;
        let last = call("/last");
        until("it stands in line", || transport.stats().waiting == 1).await;
        go_on.send(true).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), "/first");
        assert_eq!(last.await.unwrap().unwrap(), "/last");
    })
    .await;
}

#[tokio::test]
async fn a_connection_granted_to_a_call_that_has_left_is_as_good_as_before() {
    within(async {
        let server = Server::start(|_, stream| echo_paths(stream)).await;
        let transport = builder().max_connections_per_origin(1).build().unwrap();
        let first = transport.send(get(server.address, "/first")).await.unwrap();
        let mut leaving = Box::pin(transport.send(get(server.address, "/leaving")));
        poll_fn(|cx| {
            assert!(leaving.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(transport.stats().waiting, 1);
        assert_eq!(read(first).await.unwrap(), "/first");
        // Granted, and never polled again.
        until("it is granted", || transport.stats().streams_in_use == 1).await;
        drop(leaving);
        assert_eq!(
            fetch(&transport, get(server.address, "/next"))
                .await
                .unwrap(),
            "/next"
        );
        assert_eq!(
            (server.accepted(), transport.stats().streams_in_use),
            (1, 0)
        );
    })
    .await;
}

#[tokio::test]
async fn origins_are_bounded_and_unused_ones_make_room() {
    within(async {
        let transport = builder().max_origins(2).build().unwrap();
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Server::start(|_, stream| echo_paths(stream)).await);
        }
        for server in &servers[..2] {
            assert_eq!(
                fetch(&transport, get(server.address, "/")).await.unwrap(),
                "/"
            );
        }
        let third = servers[2].address;
        let error = fetch(&transport, get(third, "/")).await.unwrap_err();
        assert!(error.is_overloaded(), "{}", printed(&error));
        servers.remove(0);
        until("its connection is gone", || {
            transport.stats().connections_open == 1
        })
        .await;
        assert_eq!(fetch(&transport, get(third, "/")).await.unwrap(), "/");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_origin_fails_all_who_wait_for_it_at_once() {
    within(async {
        // A port that was free a moment ago.
        let address = Server::start(|_, _| async {}).await.address;
        let transport = transport();
        until("nobody listens any more", || {
            std::net::TcpStream::connect(address).is_err()
        })
        .await;
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let (transport, request) = (transport.clone(), post(address, "/", "{}"));
            calls.spawn(async move { fetch(&transport, request).await });
        }
        while let Some(call) = calls.join_next().await {
            let error = call.unwrap().unwrap_err();
            assert!(
                error.is_connect() && error.before_sent(),
                "{}",
                printed(&error)
            );
        }
        let stats = transport.stats();
        assert_eq!(
            (stats.connections_open, stats.waiting, stats.streams_in_use),
            (0, 0, 0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_call_in_line_behind_a_long_one_gets_a_connection_once_the_peer_takes_one_again() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let transport = transport();
        let long = tokio::spawn({
            let transport = transport.clone();
            async move { fetch(&transport, get(address, "/long")).await }
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        // The peer takes no second connection, and the long call keeps the first.
        drop(listener);
        let waiting = tokio::spawn({
            let transport = transport.clone();
            async move { fetch(&transport, get(address, "/waiting")).await }
        });
        until("a second one was refused", || {
            transport.stats().connections_failed == 1
        })
        .await;
        assert_eq!(transport.stats().waiting, 1);
        let listener = TcpListener::bind(address).await.unwrap();
        let (second, _) = listener.accept().await.unwrap();
        let served = tokio::spawn(echo_paths(second));
        assert_eq!(waiting.await.unwrap().unwrap(), "/waiting");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
        assert_eq!(long.await.unwrap().unwrap(), "ok");
        served.abort();
    })
    .await;
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    within(async {
        let server = Server::start(|_, stream| echo_paths(stream)).await;
        let request = |host: &str| {
            Request::get(format!("http://{host}:{}/x", server.address.port()))
                .body(Bytes::new())
                .unwrap()
        };
        let transport = builder()
            // Nobody listens on the first two.
            .resolve(
                "localhost",
                ["127.0.0.2", "127.0.0.3", "127.0.0.1"].map(|a| a.parse().unwrap()),
            )
            .resolve("elsewhere.localhost", ["192.0.2.1".parse().unwrap()])
            .resolve("nowhere.localhost", [])
            .build()
            .unwrap();
        assert_eq!(fetch(&transport, request("localhost")).await.unwrap(), "/x");
        // A loopback name that resolves to another machine gets no plain bytes.
        for host in ["elsewhere.localhost", "nowhere.localhost"] {
            let error = fetch(&transport, request(host)).await.unwrap_err();
            assert!(
                error.is_connect() && error.to_string().contains("resolves elsewhere"),
                "{error}"
            );
        }
    })
    .await;
}

#[test]
fn a_bound_of_zero_is_no_transport() {
    for builder in [
        builder().max_connections_per_origin(0),
        #[cfg(feature = "http2")]
        builder().max_streams_per_connection(0),
        builder().max_waiting_per_origin(0),
        builder().max_origins(0),
    ] {
        assert!(builder.build().unwrap_err().to_string().contains("is 0"));
    }
}
