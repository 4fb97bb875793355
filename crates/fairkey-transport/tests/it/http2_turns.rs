//! HTTP/2: what many callers ask for at once goes out at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::JoinSet;

use crate::server::*;

/// A pipe of which it is counted how often it is written to.
#[derive(Debug)]
struct Counted {
    pipe: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.pipe).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// One worker, whose next task is the one that the present one woke.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn callers_who_are_ready_together_are_written_together() {
    const CALLERS: usize = 32;
    within(async {
        let writes = Arc::new(AtomicUsize::new(0));
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let counted = Counted {
            pipe: ours,
            writes: Arc::clone(&writes),
        };
        // Answers when all have asked, so that nothing is written meanwhile but what is asked.
        let asked = Arc::new(tokio::sync::Barrier::new(CALLERS));
        let server = tokio::spawn(serve_http2(theirs, None, move |request, mut respond| {
            let asked = Arc::clone(&asked);
            async move {
                if request.uri().path() != "/first" {
                    asked.wait().await;
                }
                answer(&mut respond, "here".into());
            }
        }));
        let transport = builder()
            .http2_prior_knowledge(true)
            .dialer(Arc::new(Pipe::new(counted)))
            .build()
            .unwrap();
        let ask = |path: &str| {
            Request::post(format!("http://127.0.0.1{path}"))
                .body(vec![b'x'; 1_000].into())
                .unwrap()
        };
        assert_eq!(fetch(&transport, ask("/first")).await.unwrap(), "here");
        // By the worker itself, so that all are ready before the first one runs.
        let callers = transport.clone();
        let before = writes.load(Ordering::SeqCst);
        let all = tokio::spawn(async move {
            let mut all = JoinSet::new();
            for _ in 0..CALLERS {
                let (transport, request) = (callers.clone(), ask("/"));
                all.spawn(async move { fetch(&transport, request).await });
            }
            all.join_all().await
        });
        for answer in all.await.unwrap() {
            assert_eq!(answer.unwrap(), "here");
        }
        let written = writes.load(Ordering::SeqCst) - before;
        assert!(written <= CALLERS / 8, "{written} writes");
        drop(transport);
        server.await.unwrap();
    })
    .await;
}
