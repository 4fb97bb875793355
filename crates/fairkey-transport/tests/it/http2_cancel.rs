//! Calls that are canceled at every point, beside others that are not.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fairkey_transport::{HttpTransport, Transport};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::server::frames::*;
use crate::server::*;

const CALLS: usize = 200;
const LIMIT: u32 = 10;

/// What the server has seen, and how far it may go: 1 the heads, 2 a chunk, 3 the rest.
struct Stage {
    allowed: watch::Sender<u32>,
    requests: AtomicUsize,
    resets: Mutex<Vec<h2::Reason>>,
}

impl Stage {
    /// Returns true when the stage is allowed, false when the client resets the stream first.
    async fn reached(
        &self,
        stage: u32,
        reset: impl Future<Output = Result<h2::Reason, h2::Error>>,
    ) -> bool {
        let mut allowed = self.allowed.subscribe();
        tokio::select! {
            biased;
            reset = reset => {
                self.resets.lock().unwrap().push(reset.expect("a reset has a reason"));
                false
            }
            _ = allowed.wait_for(|allowed| *allowed >= stage) => true,
        }
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
    ) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().path().to_owned();
        if !self.reached(1, poll_fn(|cx| respond.poll_reset(cx))).await {
            return;
        }
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        if !self.reached(2, poll_fn(|cx| body.poll_reset(cx))).await {
            return;
        }
        body.send_data(format!("{path};first;").into(), false)
            .unwrap();
        if !self.reached(3, poll_fn(|cx| body.poll_reset(cx))).await {
            return;
        }
        body.send_data(format!("{path};second").into(), true)
            .unwrap();
    }

    fn resets(&self) -> usize {
        self.resets.lock().unwrap().len()
    }
}

/// Sends one call and reports how far it is: 1 the head is here, 2 a chunk.
fn call(
    transport: &HttpTransport,
    server: &Server,
    number: usize,
    progress: mpsc::UnboundedSender<(usize, u32)>,
) -> JoinHandle<String> {
    let (transport, request) = (
        transport.clone(),
        post(server.address, &format!("/{number}"), "{}"),
    );
    tokio::spawn(async move {
        let response = transport
            .send(request)
            .await
            .expect("a sibling's end is no fault of ours");
        progress.send((number, 1)).unwrap();
        let mut body = response.into_body();
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            let chunk = frame
                .expect("a sibling's end is no fault of ours")
                .into_data()
                .unwrap();
            text += std::str::from_utf8(&chunk).unwrap();
            if text.ends_with(";first;") {
                progress.send((number, 2)).unwrap();
            }
        }
        text
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_of_two_hundred_calls_is_canceled_and_all_others_get_their_bytes() {
    within(async {
        let stage = Arc::new(Stage {
            allowed: watch::Sender::new(0),
            requests: AtomicUsize::new(0),
            resets: Mutex::default(),
        });
        let serving = Arc::clone(&stage);
        let server = Server::start(move |_, stream| {
            let serving = Arc::clone(&serving);
            serve_http2(stream, Some(LIMIT), move |request, respond| {
                Arc::clone(&serving).serve(request, respond)
            })
        })
        .await;
        let transport = builder().http2_prior_knowledge(true).build().unwrap();
        let (progress, mut reports) = mpsc::unbounded_channel();
        let mut calls: Vec<_> = (0..CALLS)
            .map(|number| Some(call(&transport, &server, number, progress.clone())))
            .collect();
        until("all requests are there", || {
            stage.requests.load(Ordering::SeqCst) == CALLS
        })
        .await;
        assert_eq!(transport.stats().streams_in_use, CALLS);

        // Before the head, after the head, after a chunk: every ninth call at each of them.
        let mut canceled = 0;
        for point in 0..3 {
            if point > 0 {
                stage.allowed.send_replace(u32::try_from(point).unwrap());
                let mut missing = CALLS - canceled;
                while missing > 0 {
                    let (_, reached) = reports.recv().await.unwrap();
                    assert_eq!(reached as usize, point);
                    missing -= 1;
                }
            }
            for number in (0..CALLS).filter(|number| number % 9 == 3 * point) {
                let call = calls[number].take().unwrap();
                call.abort();
                assert!(call.await.unwrap_err().is_cancelled());
                canceled += 1;
            }
            until("the server sees the resets", || stage.resets() == canceled).await;
            assert_eq!(transport.stats().streams_in_use, CALLS - canceled);
        }
        assert_eq!(canceled, CALLS.div_ceil(3));
        assert!(
            stage
                .resets
                .lock()
                .unwrap()
                .iter()
                .all(|reason| *reason == h2::Reason::CANCEL)
        );

        stage.allowed.send_replace(3);
        for (number, call) in calls.into_iter().enumerate() {
            let Some(call) = call else { continue };
            let expected = format!("/{number};first;/{number};second");
            assert_eq!(call.await.unwrap(), expected);
        }
        let stats = transport.stats();
        assert_eq!(
            (stats.streams_in_use, stats.waiting, stats.resends),
            (0, 0, 0)
        );
        assert_eq!(stats.connections_opened, 20);

        // Nothing of it has hurt the connections: they carry the next two hundred.
        let again: Vec<_> = (0..CALLS)
            .map(|n| call(&transport, &server, n, progress.clone()))
            .collect();
        for (number, call) in again.into_iter().enumerate() {
            assert_eq!(
                call.await.unwrap(),
                format!("/{number};first;/{number};second")
            );
        }
        assert_eq!(
            (server.accepted(), transport.stats().connections_open),
            (20, 20)
        );
        assert_eq!(transport.stats().streams_in_use, 0);
    })
    .await;
}

/// Answers every stream with a head and a chunk, and every reset with one more chunk, as happens
/// when the two cross.
async fn answer_resets_with_data(mut stream: TcpStream) -> Option<()> {
    stream.read_exact(&mut [0; 24]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let (length, kind, flags, id) = frames::head(head);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.ok()?;
        let answer = match (kind, flags) {
            // `:status: 200` is the eighth entry of HPACK's table; 4 says that the head is whole.
            (HEADERS, _) => [frame(HEADERS, 4, id, &[0x88]), frame(DATA, 0, id, b"chunk")].concat(),
            (RST_STREAM, _) => frame(DATA, 0, id, b"late"),
            (SETTINGS, 0) => frame(SETTINGS, 1, 0, &[]),
            (PING, 0) => frame(PING, 1, 0, &payload),
            _ => continue,
        };
        stream.write_all(&answer).await.ok()?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_canceled_downloads_leave_their_connection_whole() {
    within(async {
        let server = Server::start(|_, stream| async {
            answer_resets_with_data(stream).await;
        })
        .await;
        let transport = builder().http2_prior_knowledge(true).build().unwrap();
        // One sibling that is there from the first to the last of them.
        let mut sibling = transport
            .send(get(server.address, "/"))
            .await
            .unwrap()
            .into_body();
        assert!(sibling.frame().await.unwrap().is_ok());
        for _ in 0..2_000 {
            let mut body = transport
                .send(get(server.address, "/"))
                .await
                .unwrap()
                .into_body();
            assert!(body.frame().await.unwrap().is_ok());
        }
        let mut next = std::pin::pin!(sibling.frame());
        poll_fn(|cx| {
            let polled = next.as_mut().poll(cx);
            assert!(polled.is_pending(), "{polled:?}");
            std::task::Poll::Ready(())
        })
        .await;
        assert_eq!(
            (server.accepted(), transport.stats().streams_in_use),
            (1, 1)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_leave_the_line_are_not_served_and_those_behind_them_are() {
    within(async {
        let (go_on, goes_on) = watch::channel(false);
        let paths = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&paths);
        let server = Server::start(move |_, stream| {
            let (goes_on, seen) = (goes_on.clone(), Arc::clone(&seen));
            serve_http2(stream, Some(1), move |request, mut respond| {
                let path = request.uri().path().to_owned();
                seen.lock().unwrap().push(path.clone());
                let mut goes_on = goes_on.clone();
                async move {
                    goes_on.wait_for(|on| *on).await.unwrap();
                    answer(&mut respond, path);
                }
            })
        })
        .await;
        let transport = builder()
            .http2_prior_knowledge(true)
            .max_connections_per_origin(1)
            .build()
            .unwrap();
        let mut calls = Vec::new();
        for number in 0..7 {
            let (transport, request) = (
                transport.clone(),
                post(server.address, &format!("/{number}"), "{}"),
            );
            calls.push(tokio::spawn({
                let transport = transport.clone();
                async move { fetch(&transport, request).await.unwrap() }
            }));
            // In order: the first has the stream, the others stand in line.
            until("the call is there", || {
                let stats = transport.stats();
                stats.streams_in_use + stats.waiting == number + 1
            })
            .await;
        }
        for number in [1, 2, 4, 6] {
            calls[number].abort();
        }
        until("they have left", || transport.stats().waiting == 2).await;
        go_on.send(true).unwrap();
        for (number, call) in calls.into_iter().enumerate() {
            match call.await {
                Ok(body) => assert_eq!(body, format!("/{number}")),
                Err(error) => assert!(error.is_cancelled() && [1, 2, 4, 6].contains(&number)),
            }
        }
        assert_eq!(*paths.lock().unwrap(), ["/0", "/3", "/5"]);
        let stats = transport.stats();
        assert_eq!((stats.streams_in_use, stats.waiting), (0, 0));
    })
    .await;
}
