//! Small servers that do exactly what a test tells them, and what tests share.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::{
    Body, HttpTransport, HttpTransportBuilder, ProxyOptions, Transport, TransportError,
};
#[cfg(feature = "http2")]
use fairkey_transport::{ByteStream, Dial};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Fails a test that hangs; far longer than any test takes.
pub(crate) async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .expect("the test does not hang")
}

/// Waits until something that other tasks bring about is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .expect(what);
}

/// Returns a builder that the environment of the test run has no say in.
pub(crate) fn builder() -> HttpTransportBuilder {
    HttpTransport::builder().proxy(ProxyOptions::none())
}

pub(crate) fn transport() -> HttpTransport {
    builder().build().expect("the defaults build")
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Request<Bytes> {
    Request::get(format!("http://{address}{path}"))
        .body(Bytes::new())
        .expect("a valid request")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &'static str) -> Request<Bytes> {
    Request::post(format!("http://{address}{path}"))
        .header("authorization", "Bearer hunter2")
        .body(Bytes::from_static(body.as_bytes()))
        .expect("a valid request")
}

/// Sends and reads to the end.
pub(crate) async fn fetch(
    transport: &impl Transport,
    request: Request<Bytes>,
) -> Result<Bytes, TransportError> {
    read(transport.send(request).await?).await
}

pub(crate) async fn read(response: Response<Body>) -> Result<Bytes, TransportError> {
    response.into_body().collect_bounded(1 << 20).await
}

/// Everything that an error prints, its causes included.
pub(crate) fn printed(error: &TransportError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(" {cause} {cause:?}");
        next = cause.source();
    }
    text
}

/// Dials by handing out one end of a pipe, once.
#[cfg(feature = "http2")]
#[derive(Debug)]
pub(crate) struct Pipe<S>(std::sync::Mutex<Option<S>>);

#[cfg(feature = "http2")]
impl<S> Pipe<S> {
    pub(crate) fn new(end: S) -> Self {
        Self(std::sync::Mutex::new(Some(end)))
    }
}

#[cfg(feature = "http2")]
#[async_trait::async_trait]
impl<S: ByteStream + std::fmt::Debug + 'static> Dial for Pipe<S> {
    async fn dial(&self, _: &str, _: u16) -> std::io::Result<Box<dyn ByteStream>> {
        let end = self.0.lock().unwrap().take();
        Ok(Box::new(end.ok_or(std::io::ErrorKind::ConnectionRefused)?))
    }
}

/// A TCP server that runs `script` on each connection; the number says which connection it is.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start<S, F>(script: S) -> Self
    where
        S: Fn(usize, TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback is there");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream
                    .set_nodelay(true)
                    .expect("a new connection takes options");
                let number = count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(script(number, stream));
            }
        });
        Self {
            address,
            accepted,
            task,
        }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one HTTP/1.1 request, with the body that its head declares. `None` at a clean end.
pub(crate) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).expect("our heads are text");
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| {
            value.trim().parse().expect("a length is a number")
        });
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).expect("our bodies are text"))
}

/// Answers every request on the connection with its own path.
pub(crate) async fn echo_paths(mut stream: TcpStream) {
    while let Some(request) = read_request(&mut stream).await {
        let path = request
            .split(' ')
            .nth(1)
            .expect("a request line has a path")
            .to_owned();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
            path.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads until the peer is gone, and returns how it went: true for a close or a reset.
pub(crate) async fn until_gone(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
    }
}

/// Serves HTTP/2 on one connection, allowing `limit` streams at once, until the client leaves.
#[cfg(feature = "http2")]
pub(crate) async fn serve_http2<S, H, F>(stream: S, limit: Option<u32>, handle: H)
where
    S: AsyncRead + tokio::io::AsyncWrite + Unpin,
    H: Fn(Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut builder = h2::server::Builder::new();
    if let Some(limit) = limit {
        builder.max_concurrent_streams(limit);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut streams = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        streams.spawn(handle(request, respond));
    }
}

/// Answers with one chunk.
#[cfg(feature = "http2")]
pub(crate) fn answer(respond: &mut h2::server::SendResponse<Bytes>, body: String) {
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(body.into(), true);
    }
}

/// The frames of HTTP/2, by hand.
#[cfg(feature = "http2")]
pub(crate) mod frames {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;

    /// Length, type, flags, stream, payload.
    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("our payloads are small");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Splits the nine bytes before a payload into its length, the type, the flags, the stream.
    pub(crate) fn head(bytes: [u8; 9]) -> (usize, u8, u8, u32) {
        let [a, b, c, kind, flags, id @ ..] = bytes;
        (
            u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            u32::from_be_bytes(id),
        )
    }
}
