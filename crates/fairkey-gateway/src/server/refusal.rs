//! Connections for which there is no room: [`Refusal`].

use std::fmt::Write as _;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::listener::{Listener, Stream};
use crate::headers::X_FAIRKEY_REQUEST_ID;
use crate::{Failure, Format, Reason};

/// How long, and of how many bytes, a connection is read that is turned away: where something is
/// unread when it closes, the peer may lose the answer.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: usize = 64 << 10;
/// How many of them may linger at a time; further ones are closed without a word.
const LINGERING: usize = 64;
/// The request of the answer, which nobody read.
const NO_REQUEST: &str = "none";

/// Says no to connections for which there is no room: with 503, and where there is no file
/// descriptor left, with one that is kept for that.
#[derive(Debug)]
pub(super) struct Refusal {
    spare: Option<File>,
    lingering: Arc<Semaphore>,
    answer: Bytes,
}

/// Whether there are no file descriptors left, in the process or in the system.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;

        let codes = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
        error
            .raw_os_error()
            .is_some_and(|code| codes.contains(&code))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

impl Refusal {
    pub(super) fn new() -> Self {
        Self {
            spare: spare(),
            lingering: Arc::new(Semaphore::new(LINGERING)),
            answer: answer(),
        }
    }

    /// Takes one connection with the spare descriptor, if one waits, and turns it away. Returns
    /// whether there was a spare one; without it, nothing can be done.
    pub(super) async fn serve_one(&mut self, listener: &Listener) -> bool {
        if self.spare.take().is_none() {
            self.spare = spare();
            return false;
        }
        let waiting = poll_fn(|cx| {
            Poll::Ready(match listener.poll_accept(cx) {
                Poll::Ready(Ok((stream, _))) => Some(stream),
                Poll::Ready(Err(_)) | Poll::Pending => None,
            })
        });
        if let Some(stream) = waiting.await {
            // One after the other: there is only one descriptor.
            refuse(stream, listener.is_plain(), self.answer.clone()).await;
        }
        self.spare = spare();
        true
    }

    /// Turns a connection away, beside others.
    pub(super) fn turn_away(&self, stream: Stream, is_plain: bool) {
        let Ok(permit) = Arc::clone(&self.lingering).try_acquire_owned() else {
            return;
        };
        let answer = self.answer.clone();
        tokio::spawn(async move {
            refuse(stream, is_plain, answer).await;
            drop(permit);
        });
    }
}

/// Any descriptor will do.
fn spare() -> Option<File> {
    let path = if cfg!(windows) { "NUL" } else { "/dev/null" };
    File::open(path).ok()
}

async fn refuse(mut stream: Stream, is_plain: bool, answer: Bytes) {
    if !is_plain {
        // No word would be understood before a handshake.
        return;
    }
    let say = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        let mut unread = [0; 4 << 10];
        let mut read = 0;
        while read < LINGER_BYTES {
            match stream.read(&mut unread).await? {
                0 => break,
                more => read += more,
            }
        }
        io::Result::Ok(())
    };
    // Whether it was heard is its peer's business.
    let _ = timeout(LINGER, say).await;
}

/// The answer of a connection that is turned away.
fn answer() -> Bytes {
    let message = "the gateway has as many connections as it can have: try again";
    let failure = Failure::new(Reason::Overloaded, message).with_retry_after(LATER);
    on_the_wire(&failure, NO_REQUEST)
}

/// What is said in place of an answer of hyper's own, which has no body: `None` where `bytes` are
/// no such. Its own are those to a head that is none, and to one that is too large.
pub(super) fn instead_of(bytes: &[u8]) -> Option<Bytes> {
    // As all but a few answers go on.
    let status = bytes.strip_prefix(b"HTTP/1.1 4")?;
    // What was asked here at all has a name.
    let has_name = memchr::memmem::find(bytes, X_FAIRKEY_REQUEST_ID.as_str().as_bytes()).is_some();
    if has_name || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let failure = match &status[..status.len().min(2)] {
        b"31" => Failure::new(
            Reason::HeadTooLarge,
            "the head of the request has more bytes or headers than are allowed",
        ),
        b"14" => Failure::new(Reason::HeadTooLarge, "the request's target is too long"),
        _ => Failure::new(Reason::BadRequest, "this is no request of HTTP/1.1"),
    };
    Some(on_the_wire(&failure, NO_REQUEST))
}

/// An answer after which the connection ends.
fn on_the_wire(failure: &Failure, id: &str) -> Bytes {
    let response = failure.to_response(Format::Chat, id);
    let mut text = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH {
            let value = value.to_str().unwrap_or_default();
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    let body = response.body();
    let _ = write!(
        text,
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut answer = text.into_bytes();
    answer.extend_from_slice(body);
    answer.into()
}

/// When it makes sense to come again.
const LATER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_http_and_says_when_to_come_again() {
        let answer = answer();
        let text = std::str::from_utf8(&answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{head}"
        );
        assert!(
            head.contains("\r\nretry-after: 1\r\n") || head.ends_with("retry-after: 1"),
            "{head}"
        );
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["metadata"]["reason"], "overloaded", "{body}");
    }
}
