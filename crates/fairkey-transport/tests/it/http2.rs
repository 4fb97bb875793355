//! HTTP/2: several connections per origin, refusals, GOAWAY.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairkey_transport::{HttpTransport, Transport, TransportErrorKind};
use http::Version;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::server::*;

pub(crate) fn plain_http2() -> HttpTransport {
    builder().http2_prior_knowledge(true).build().unwrap()
}

/// Streams under way: on which connection how many at most, and how many in all.
#[derive(Default)]
struct Gauge {
    now: Mutex<HashMap<usize, usize>>,
    peaks: Mutex<HashMap<usize, usize>>,
    requests: AtomicUsize,
}

impl Gauge {
    fn begin(&self, connection: usize) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut now = self.now.lock().unwrap();
        let count = now.entry(connection).or_default();
        *count += 1;
        let mut peaks = self.peaks.lock().unwrap();
        let peak = peaks.entry(connection).or_default();
        *peak = (*peak).max(*count);
    }

    fn end(&self, connection: usize) {
        *self.now.lock().unwrap().entry(connection).or_default() -= 1;
    }

    fn under_way(&self) -> usize {
        self.now.lock().unwrap().values().sum()
    }

    fn highest_peak(&self) -> usize {
        self.peaks
            .lock()
            .unwrap()
            .values()
            .copied()
            .max()
            .unwrap_or(0)
    }
}

/// Starts a server that answers no call before `together` of them are under way at once: calls
/// that wait for each other's streams would never end.
async fn answering_together(limit: Option<u32>, together: usize) -> (Server, Arc<Gauge>) {
    let gauge = Arc::new(Gauge::default());
    let (reached, all_here) = watch::channel(false);
    let reached = Arc::new(reached);
    let seen = Arc::clone(&gauge);
    let server = Server::start(move |number, stream| {
        let (gauge, reached, all_here) =
            (Arc::clone(&seen), Arc::clone(&reached), all_here.clone());
        serve_http2(stream, limit, move |request, mut respond| {
            let (gauge, reached, mut all_here) =
                (Arc::clone(&gauge), Arc::clone(&reached), all_here.clone());
            async move {
                gauge.begin(number);
                if gauge.under_way() >= together {
                    reached.send_replace(true);
                }
                all_here.wait_for(|here| *here).await.unwrap();
                gauge.end(number);
                answer(&mut respond, request.uri().path().to_owned());
            }
        })
    })
    .await;
    (server, gauge)
}

/// Sends `calls` calls at once and checks that each gets its own answer.
pub(crate) async fn burst(transport: &HttpTransport, server: &Server, calls: usize) {
    let mut running = JoinSet::new();
    for call in 0..calls {
        let (transport, path) = (transport.clone(), format!("/{call}"));
        let request = post(server.address, &path, "{}");
        running.spawn(async move {
            let response = transport.send(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            assert_eq!(read(response).await.unwrap(), path);
        });
    }
    while let Some(call) = running.join_next().await {
        call.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_at_ten_streams_run_at_once_over_five_connections_from_cold() {
    within(async {
        let (server, gauge) = answering_together(Some(10), 50).await;
        let transport = plain_http2();
        burst(&transport, &server, 50).await;
        assert_eq!(gauge.highest_peak(), 10);
        assert_eq!(server.accepted(), 5);
        let stats = transport.stats();
        assert_eq!((stats.connections_opened, stats.resends), (5, 0));
        assert_eq!((stats.streams_in_use, stats.waiting), (0, 0));
        // And warm: the same connections.
        burst(&transport, &server, 50).await;
        assert_eq!((server.accepted(), gauge.highest_peak()), (5, 10));
        assert_eq!(gauge.requests.load(Ordering::SeqCst), 100);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_a_stream_limit_gets_one_connection_up_to_our_own_limit() {
    within(async {
        let (server, gauge) = answering_together(None, 50).await;
        burst(&plain_http2(), &server, 50).await;
        assert_eq!((server.accepted(), gauge.highest_peak()), (1, 50));

        let (server, gauge) = answering_together(None, 50).await;
        let few = builder()
            .http2_prior_knowledge(true)
            .max_streams_per_connection(25);
        burst(&few.build().unwrap(), &server, 50).await;
        assert_eq!((server.accepted(), gauge.highest_peak()), (2, 25));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_allows_one_stream_gets_a_connection_per_call() {
    within(async {
        let (server, gauge) = answering_together(Some(1), 7).await;
        burst(&plain_http2(), &server, 7).await;
        assert_eq!((server.accepted(), gauge.highest_peak()), (7, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_connection_bound_wait_their_turn() {
    within(async {
        let (server, gauge) = answering_together(Some(10), 20).await;
        let transport = builder()
            .http2_prior_knowledge(true)
            .max_connections_per_origin(2)
            .build()
            .unwrap();
        burst(&transport, &server, 200).await;
        assert_eq!((server.accepted(), gauge.highest_peak()), (2, 10));
        assert_eq!(transport.stats().resends, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_streams_are_sent_again_unseen() {
    within(async {
        let refusals = Arc::new(AtomicUsize::new(40));
        let handled = Arc::new(AtomicUsize::new(0));
        let (left, done) = (Arc::clone(&refusals), Arc::clone(&handled));
        let server = Server::start(move |_, stream| {
            let (left, done) = (Arc::clone(&left), Arc::clone(&done));
            serve_http2(stream, Some(10), move |request, mut respond| {
                let (left, done) = (Arc::clone(&left), Arc::clone(&done));
                async move {
                    // Every second request, so that no call meets four refusals in a row.
                    let refuse = left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                        .is_ok_and(|n| n % 2 == 0);
                    if refuse {
                        return respond.send_reset(h2::Reason::REFUSED_STREAM);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                    answer(&mut respond, request.uri().path().to_owned());
                }
            })
        })
        .await;
        let transport = plain_http2();
        for call in 0..60 {
            let path = format!("/{call}");
            let answer = fetch(&transport, post(server.address, &path, "{}")).await;
            assert_eq!(answer.unwrap(), path);
        }
        assert_eq!(transport.stats().resends, 20);
        assert_eq!(handled.load(Ordering::SeqCst), 60);
        assert_eq!(transport.stats().streams_in_use, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_less_than_it_announces_is_served_over_more_connections() {
    within(async {
        // Says 100, takes 4 at once.
        let gauge = Arc::new(Gauge::default());
        let seen = Arc::clone(&gauge);
        let server = Server::start(move |number, stream| {
            let gauge = Arc::clone(&seen);
            let busy = Arc::new(AtomicUsize::new(0));
            serve_http2(stream, Some(100), move |request, mut respond| {
                let (gauge, busy) = (Arc::clone(&gauge), Arc::clone(&busy));
                async move {
                    if busy.fetch_add(1, Ordering::SeqCst) >= 4 {
                        busy.fetch_sub(1, Ordering::SeqCst);
                        return respond.send_reset(h2::Reason::REFUSED_STREAM);
                    }
                    gauge.begin(number);
                    tokio::task::yield_now().await;
                    gauge.end(number);
                    busy.fetch_sub(1, Ordering::SeqCst);
                    answer(&mut respond, request.uri().path().to_owned());
                }
            })
        })
        .await;
        let transport = plain_http2();
        for _ in 0..20 {
            burst(&transport, &server, 12).await;
        }
        assert_eq!(transport.stats().streams_in_use, 0);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_always_refuses_is_asked_four_times_and_then_told_as_harmless() {
    within(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = Server::start(move |_, stream| {
            let count = Arc::clone(&count);
            serve_http2(stream, Some(10), move |_, mut respond| {
                count.fetch_add(1, Ordering::SeqCst);
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                async {}
            })
        })
        .await;
        let transport = plain_http2();
        let error = fetch(&transport, post(server.address, "/", "{}"))
            .await
            .unwrap_err();
        assert!(
            error.is_reset() && error.before_sent(),
            "{}",
            printed(&error)
        );
        assert_eq!(
            (asked.load(Ordering::SeqCst), transport.stats().resends),
            (4, 3)
        );
    })
    .await;
}

#[tokio::test]
async fn other_resets_are_told_and_not_repeated() {
    within(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let (go_on, goes_on) = watch::channel(false);
        let server = Server::start(move |_, stream| {
            let (count, goes_on) = (Arc::clone(&count), goes_on.clone());
            serve_http2(stream, Some(10), move |request, mut respond| {
                count.fetch_add(1, Ordering::SeqCst);
                let mut goes_on = goes_on.clone();
                async move {
                    if request.uri().path() == "/head" {
                        return respond.send_reset(h2::Reason::INTERNAL_ERROR);
                    }
                    let mut stream = respond
                        .send_response(http::Response::new(()), false)
                        .unwrap();
                    stream.send_data("part".into(), false).unwrap();
                    goes_on.wait_for(|on| *on).await.unwrap();
                    // REFUSED_STREAM after an answer has begun is a lie, and no reason to repeat.
                    stream.send_reset(h2::Reason::REFUSED_STREAM);
                }
            })
        })
        .await;
        let transport = plain_http2();
        let before = transport
            .send(post(server.address, "/head", "{}"))
            .await
            .unwrap_err();
        let mut body = transport
            .send(post(server.address, "/body", "{}"))
            .await
            .unwrap()
            .into_body();
        assert!(body.frame().await.unwrap().is_ok());
        go_on.send(true).unwrap();
        let within = body.frame().await.unwrap().unwrap_err();
        for error in [before, within] {
            assert_eq!(
                error.kind(),
                TransportErrorKind::Reset,
                "{}",
                printed(&error)
            );
            assert!(!error.before_sent());
        }
        assert_eq!(
            (asked.load(Ordering::SeqCst), transport.stats().resends),
            (2, 0)
        );
        // The connection itself is as good as before.
        assert_eq!(server.accepted(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_never_says_its_limit_holds_nobody_in_line() {
    within(async {
        let server = Server::start(|_, mut stream: TcpStream| async move {
            until_gone(&mut stream).await;
        })
        .await;
        let transport = plain_http2();
        let mut calls = JoinSet::new();
        for _ in 0..3 {
            let (transport, request) = (transport.clone(), post(server.address, "/", "{}"));
            calls.spawn(async move { fetch(&transport, request).await });
        }
        // The first goes ahead at once, the others stop waiting for SETTINGS after a while.
        until("all are under way", || {
            transport.stats().streams_in_use == 3
        })
        .await;
        assert_eq!((transport.stats().waiting, server.accepted()), (0, 3));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_lost_ends_all_its_streams_once() {
    within(async {
        let (cut, is_cut) = watch::channel(false);
        let server = Server::start(move |_, stream: TcpStream| {
            let mut is_cut = is_cut.clone();
            async move {
                let serve = serve_http2(stream, None, |_, mut respond| async move {
                    let mut stream = respond
                        .send_response(http::Response::new(()), false)
                        .unwrap();
                    stream.send_data("part".into(), false).unwrap();
                    std::future::pending::<()>().await;
                });
                tokio::select! {
                    () = serve => {}
                    _ = is_cut.wait_for(|cut| *cut) => {}
                }
            }
        })
        .await;
        let transport = plain_http2();
        let mut bodies = Vec::new();
        for _ in 0..5 {
            let response = transport.send(get(server.address, "/")).await.unwrap();
            let mut body = response.into_body();
            assert!(body.frame().await.unwrap().is_ok());
            bodies.push(body);
        }
        assert_eq!(transport.stats().streams_in_use, 5);
        cut.send(true).unwrap();
        for body in &mut bodies {
            let error = body.frame().await.unwrap().unwrap_err();
            assert!(error.is_reset(), "{}", printed(&error));
            for _ in 0..100 {
                assert!(body.frame().await.is_none());
            }
        }
        // While the bodies are still there: an error gives everything back.
        assert_eq!(transport.stats().streams_in_use, 0);
        until("the connection is counted out", || {
            transport.stats().connections_open == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_after_its_time_and_not_before_its_streams_end() {
    within(async {
        let (gone, mut is_gone) = mpsc::unbounded_channel();
        let (go_on, goes_on) = watch::channel(false);
        let (arrived, mut arrives) = mpsc::unbounded_channel();
        let script = move |_, stream| {
            let (gone, goes_on, arrived) = (gone.clone(), goes_on.clone(), arrived.clone());
            async move {
                let handle = |request: http::Request<_>, mut respond| {
                    let (mut goes_on, arrived) = (goes_on.clone(), arrived.clone());
                    async move {
                        let _ = arrived.send(());
                        if request.uri().path() == "/late" {
                            goes_on.wait_for(|on| *on).await.unwrap();
                        }
                        answer(&mut respond, request.uri().path().to_owned());
                    }
                };
                serve_http2(stream, None, handle).await;
                let _ = gone.send(());
            }
        };
        let (server, other) = (
            Server::start(script.clone()).await,
            Server::start(script).await,
        );
        let timeout = Duration::from_millis(50);
        let transport = builder()
            .http2_prior_knowledge(true)
            .pool_idle_timeout(timeout)
            .build()
            .unwrap();
        let call = tokio::spawn({
            let (transport, request) = (transport.clone(), get(server.address, "/late"));
            async move { fetch(&transport, request).await }
        });
        // A connection that begins later and has nothing to do goes first: so the idle time has
        // passed since this one has had a stream that says nothing.
        arrives.recv().await.unwrap();
        let quick = fetch(&transport, get(other.address, "/quick")).await;
        assert_eq!(quick.unwrap(), "/quick");
        is_gone.recv().await.unwrap();
        assert_eq!(
            fetch(&transport, get(server.address, "/quick"))
                .await
                .unwrap(),
            "/quick"
        );
        assert_eq!(server.accepted(), 1);
        go_on.send(true).unwrap();
        assert_eq!(call.await.unwrap().unwrap(), "/late");
        is_gone.recv().await.unwrap();
        until("the connection is counted out", || {
            transport.stats().connections_open == 0
        })
        .await;
        assert_eq!(server.accepted(), 1);
    })
    .await;
}
