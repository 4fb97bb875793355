//! An upstream that answers at once, and costs next to nothing: a fixed answer, a stream of 50 chunks,
//! a short one that pauses before each, or one that begins and never ends.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::time::{Sleep, sleep};

use crate::{Result, secured};

const WHOLE: &str = r#"{"id":"gen-1790000000-benchbenchbench","object":"chat.completion","created":1790000000,"model":"openai/gpt-4o-mini","provider":"OpenAI","choices":[{"index":0,"message":{"role":"assistant","content":"Every failure is charged to whoever caused it."},"finish_reason":"stop","native_finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":9,"total_tokens":259,"cost":0.000043}}"#;
/// Chunks with content in a stream; a role before them, usage and an end behind.
const CHUNKS: usize = 50;
/// The same of a stream that pauses.
const PACED_CHUNKS: usize = 4;
/// How long a stream that pauses does so before each chunk but the first.
pub(crate) const PACE: Duration = Duration::from_millis(2);

/// Serves; with TLS where there is the folder of a certificate.
pub(crate) fn main(certificate: Option<&Path>) -> Result<()> {
    let acceptor = certificate.map(secured::acceptor).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let service = service_fn(answer);
                let Some(acceptor) = acceptor else {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service);
                    let _ = connection.await;
                    return;
                };
                if let Ok(stream) = acceptor.accept(socket).await {
                    let mut server = auto::Builder::new(TokioExecutor::new());
                    // As many streams as anybody of this bench opens.
                    server.http2().max_concurrent_streams(100_000);
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                }
            });
        }
    })
}

async fn answer(request: Request<Incoming>) -> std::result::Result<Response<Answer>, Infallible> {
    let body = beginning(request.into_body()).await;
    let has = |what: &[u8]| body.windows(what.len()).any(|window| window == what);
    let (kind, answer) = if has(br#""hold":true"#) {
        ("text/event-stream", Answer::stream(1, true))
    } else if has(br#""paced":true"#) {
        ("text/event-stream", Answer::paced())
    } else if has(br#""stream":true"#) {
        ("text/event-stream", Answer::stream(CHUNKS, false))
    } else {
        (
            "application/json",
            Answer::Whole(Some(Bytes::from_static(WHOLE.as_bytes()))),
        )
    };
    let response = Response::builder()
        .header("content-type", kind)
        .header("x-generation-id", "gen-1790000000-benchbenchbench")
        .body(answer);
    // The headers are constant.
    Ok(response.unwrap_or_default())
}

/// Reads a body to its end, and keeps what tells how to answer: nobody puts that far behind.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(&data[..data.len().min(KEPT - kept.len())]);
        }
    }
    kept
}

/// So much is kept of a request.
const KEPT: usize = 8 << 10;

enum Answer {
    Whole(Option<Bytes>),
    Stream {
        sent: usize,
        chunks: usize,
        holds: bool,
        /// Each chunk is a write of its own, as of an upstream that has no more yet.
        yielded: bool,
        /// Until the next chunk, where there is a pause before each.
        pause: Option<Pin<Box<Sleep>>>,
    },
}

impl Default for Answer {
    fn default() -> Self {
        Self::Whole(None)
    }
}

impl Answer {
    fn stream(chunks: usize, holds: bool) -> Self {
        Self::Stream {
            sent: 0,
            chunks,
            holds,
            yielded: false,
            pause: None,
        }
    }

    fn paced() -> Self {
        Self::Stream {
            sent: 0,
            chunks: PACED_CHUNKS,
            holds: false,
            yielded: false,
            pause: Some(Box::pin(sleep(Duration::ZERO))),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let (sent, chunks, holds, yielded, pause) = match self.get_mut() {
            Self::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Stream {
                sent,
                chunks,
                holds,
                yielded,
                pause,
            } => (sent, *chunks, *holds, yielded, pause),
        };
        if let Some(pause) = pause {
            ready!(pause.as_mut().poll(cx));
            *pause = Box::pin(sleep(PACE));
            *yielded = true;
        }
        if !std::mem::replace(yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *yielded = false;
        let text = match *sent {
            0 => ROLE,
            at if at <= chunks => CONTENT,
            _ if holds => {
                // Held open until the peer goes.
                *yielded = true;
                return Poll::Pending;
            }
            at if at == chunks + 1 => END,
            _ => return Poll::Ready(None),
        };
        *sent += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

const ROLE: &str = concat!(
    r#"data: {"id":"gen-1","object":"chat.completion.chunk","created":1790000000,"model":"openai/gpt-4o-mini","provider":"OpenAI","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
    "\n\n"
);
const CONTENT: &str = concat!(
    r#"data: {"id":"gen-1","object":"chat.completion.chunk","created":1790000000,"model":"openai/gpt-4o-mini","provider":"OpenAI","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#,
    "\n\n"
);
const END: &str = concat!(
    r#"data: {"id":"gen-1","object":"chat.completion.chunk","created":1790000000,"model":"openai/gpt-4o-mini","provider":"OpenAI","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":50,"total_tokens":300,"cost":0.00007}}"#,
    "\n\ndata: [DONE]\n\n"
);
