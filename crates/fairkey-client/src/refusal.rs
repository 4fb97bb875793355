//! As much of a refusal as helps to understand it: [`Refusal`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use fairkey_openrouter::Fault;
use http::{HeaderMap, StatusCode};
use http_body::Body as HttpBody;

/// The body of a refusal, or its beginning.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use fairkey_client::Refusal;
/// use fairkey_openrouter::Cause;
/// use fairkey_transport::Body;
/// use http::{HeaderMap, StatusCode};
///
/// let told = r#"{"error":{"code":400,"message":"no such model","metadata":{"provider_name":"X"}}}"#;
/// let mut refusal = Refusal::default();
/// refusal.read(&mut Body::full(told.into())).await;
/// assert!(refusal.is_whole());
/// let fault = refusal.fault(StatusCode::BAD_REQUEST, &HeaderMap::new());
/// assert_eq!(fault.cause(), Cause::RejectedByProvider);
/// # }
/// ```
#[derive(Default)]
pub struct Refusal {
    bytes: BytesMut,
    end: Option<End>,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

impl Refusal {
    /// How much is read: 256 KiB, and what comes with the last of it.
    pub const READ_BYTES: usize = 256 << 10;

    /// Reads to the end, to its break, or until enough is read. What comes after it is left in the
    /// body.
    ///
    /// # Cancel safety
    ///
    /// What was read is kept.
    pub async fn read<B>(&mut self, body: &mut B)
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        while self.end.is_none() && self.bytes.len() < Self::READ_BYTES {
            match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                None => self.end = Some(End::Whole),
                Some(Err(_)) => self.end = Some(End::Broken),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.bytes.extend_from_slice(data);
                    }
                }
            }
        }
    }

    /// Returns whether all of it was read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.end == Some(End::Whole)
    }

    /// Returns whether it broke off: there is no more of it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.end == Some(End::Broken)
    }

    /// Returns what it says of who is at fault, where it is the body of an answer with this head.
    #[must_use]
    pub fn fault(&self, status: StatusCode, headers: &HeaderMap) -> Fault {
        if self.is_whole() {
            Fault::from_response(status, headers, &self.bytes)
        } else {
            Fault::from_cut_response(status, headers, &self.bytes)
        }
    }

    /// Returns what was read.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes.freeze()
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may quote the prompt.
        f.debug_struct("Refusal")
            .field("bytes", &self.bytes.len())
            .field("end", &self.end)
            .finish()
    }
}
