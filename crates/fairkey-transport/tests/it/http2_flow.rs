//! HTTP/2: what flows both ways, and peers that fall silent.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::{Body, Phase, StreamedBody, Transport, TransportErrorKind};
use http::Request;
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::http2::plain_http2;
use crate::server::frames::*;
use crate::server::*;

/// What the transport lets a peer send of one stream that nobody reads.
const WINDOW: usize = 512 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_do_not_read_are_held_a_bounded_part_for_and_hold_up_nobody() {
    within(async {
        const SLOW: usize = 24;
        const PIECE: usize = 8 * 1024;
        const ALL: usize = 2 * WINDOW;
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let server = Server::start(move |_, stream| {
            let count = Arc::clone(&count);
            serve_http2(stream, None, move |request, mut respond| {
                let count = Arc::clone(&count);
                async move {
                    if request.uri().path() == "/quick" {
                        return answer(&mut respond, "quick".into());
                    }
                    let head = http::Response::new(());
                    let mut stream = respond.send_response(head, false).unwrap();
                    let mut left = ALL;
                    while left > 0 {
                        stream.reserve_capacity(PIECE);
                        while stream.capacity() == 0 {
                            poll_fn(|cx| stream.poll_capacity(cx))
                                .await
                                .unwrap()
                                .unwrap();
                        }
                        let size = stream.capacity().min(PIECE).min(left);
                        left -= size;
                        stream
                            .send_data(vec![b'x'; size].into(), left == 0)
                            .unwrap();
                        count.fetch_add(size, Ordering::SeqCst);
                    }
                }
            })
        })
        .await;
        let transport = plain_http2();
        let mut slow = Vec::new();
        for _ in 0..SLOW {
            slow.push(transport.send(get(server.address, "/slow")).await.unwrap());
        }
        until("nobody can send more to them", || {
            sent.load(Ordering::SeqCst) == SLOW * WINDOW
        })
        .await;
        let quick = fetch(&transport, post(server.address, "/quick", "{}")).await;
        assert_eq!(quick.unwrap(), "quick");
        assert_eq!(sent.load(Ordering::SeqCst), SLOW * WINDOW);
        // Who reads after all gets everything.
        for response in slow {
            let whole = response.into_body().collect_bounded(ALL).await.unwrap();
            assert_eq!(whole.len(), ALL);
        }
        assert_eq!(
            (server.accepted(), transport.stats().streams_in_use),
            (1, 0)
        );
    })
    .await;
}

/// A body of chunks that ends as it is told.
struct Pieces(Vec<Option<Bytes>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.0.pop() {
            None => None,
            Some(Some(piece)) => Some(Ok(Frame::data(piece))),
            Some(None) => Some(Err(io::Error::other("torn"))),
        })
    }
}

fn put(server: &Server, pieces: Vec<Option<Bytes>>) -> Request<StreamedBody> {
    let body = StreamedBody::new(Body::new(Pieces(pieces)));
    Request::put(format!("http://{}/file", server.address))
        .body(body)
        .unwrap()
}

/// Answers with how many bytes came, or with a word before the second half is read; tells how the
/// rest of a body ended.
async fn counting(ends: mpsc::UnboundedSender<Result<usize, h2::Reason>>) -> Server {
    Server::start(move |_, stream| {
        let ends = ends.clone();
        serve_http2(stream, None, move |request, mut respond| {
            let ends = ends.clone();
            async move {
                let mut body = request.into_body();
                let mut count = 0;
                let end = loop {
                    match body.data().await {
                        None => break Ok(count),
                        Some(Ok(chunk)) => {
                            count += chunk.len();
                            body.flow_control().release_capacity(chunk.len()).unwrap();
                        }
                        Some(Err(error)) => break Err(error.reason().unwrap()),
                    }
                };
                if end.is_ok() {
                    answer(&mut respond, count.to_string());
                }
                let _ = ends.send(end);
            }
        })
    })
    .await
}

#[tokio::test]
async fn a_streamed_body_arrives_whole_though_it_is_larger_than_any_window() {
    within(async {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let server = counting(ends).await;
        let pieces = vec![Some(Bytes::from(vec![b'x'; 100_000])); 30];
        let answer = plain_http2().send_streamed(put(&server, pieces)).await;
        assert_eq!(read(answer.unwrap()).await.unwrap(), "3000000");
        assert_eq!(ended.recv().await.unwrap(), Ok(3_000_000));
    })
    .await;
}

#[tokio::test]
async fn a_streamed_body_that_fails_is_told_and_resets_its_stream() {
    within(async {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let server = counting(ends).await;
        let transport = plain_http2();
        let pieces = vec![None, Some(Bytes::from_static(b"a part"))];
        let error = transport.send_streamed(put(&server, pieces)).await;
        let error = error.unwrap_err();
        assert!(
            error.is_request() && !error.before_sent(),
            "{}",
            printed(&error)
        );
        assert_eq!(ended.recv().await.unwrap(), Err(h2::Reason::CANCEL));
        assert_eq!(transport.stats().streams_in_use, 0);
        // Only its own.
        let next = fetch(&transport, post(server.address, "/", "{}")).await;
        assert_eq!((&*next.unwrap(), server.accepted()), (&b"2"[..], 1));
    })
    .await;
}

/// Begins an answer to the first request and says nothing more, but to pings where it `answers`.
async fn fall_silent(mut pipe: DuplexStream, answers: bool) -> Option<()> {
    pipe.read_exact(&mut [0; 24]).await.ok()?;
    pipe.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    loop {
        let mut bytes = [0; 9];
        pipe.read_exact(&mut bytes).await.ok()?;
        let (length, kind, flags, id) = head(bytes);
        let mut payload = vec![0; length];
        pipe.read_exact(&mut payload).await.ok()?;
        let answer = match (kind, flags) {
            (HEADERS, _) => [frame(HEADERS, 4, id, &[0x88]), frame(DATA, 0, id, b"chunk")].concat(),
            (SETTINGS, 0) => frame(SETTINGS, 1, 0, &[]),
            (PING, 0) if answers => frame(PING, 1, 0, &payload),
            _ => continue,
        };
        pipe.write_all(&answer).await.ok()?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_gone_and_one_that_does_may_be_silent() {
    for answers in [true, false] {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let peer = tokio::spawn(fall_silent(theirs, answers));
        let transport = builder()
            .http2_prior_knowledge(true)
            .http2_ping_interval(Some(Duration::from_secs(8)))
            .dialer(Arc::new(Pipe::new(ours)))
            .build()
            .unwrap();
        let request = Request::post("http://127.0.0.1/")
            .body("{}".into())
            .unwrap();
        let mut body = transport.send(request).await.unwrap().into_body();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "chunk"
        );
        let begun = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        let waited = begun.elapsed().as_secs();
        if answers {
            // The deadline between two chunks.
            assert_eq!(error.kind(), TransportErrorKind::Timeout(Phase::Idle));
            assert_eq!(waited, 60);
        } else {
            assert!(error.is_reset(), "{}", printed(&error));
            assert!((28..=36).contains(&waited), "{waited}");
            peer.await.unwrap();
        }
    }
}
