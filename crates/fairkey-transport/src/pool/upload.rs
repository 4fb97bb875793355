//! The body of a request on its way by HTTP/2: [`Upload`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body as _;

use crate::request_body::RequestBody;
use crate::{TransportError, TransportErrorKind};

/// Sends a body while it comes, as far as the peer takes it. Whoever wants the answer polls it;
/// dropped before its end, it resets the stream.
pub(super) struct Upload {
    body: RequestBody,
    stream: SendStream<Bytes>,
    /// What has come and is not sent.
    chunk: Bytes,
}

impl Upload {
    pub(super) fn new(body: RequestBody, stream: SendStream<Bytes>) -> Self {
        Self {
            body,
            stream,
            chunk: Bytes::new(),
        }
    }

    /// Completes when all is sent, or the peer wants no more: why is told in place of the answer.
    ///
    /// # Errors
    ///
    /// When the body fails.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !self.chunk.is_empty() {
                self.stream.reserve_capacity(self.chunk.len());
                while self.stream.capacity() == 0 {
                    let Some(Ok(_)) = ready!(self.stream.poll_capacity(cx)) else {
                        return Poll::Ready(Ok(()));
                    };
                }
                let most = self.stream.capacity().min(self.chunk.len());
                let part = self.chunk.split_to(most);
                let is_last = self.chunk.is_empty() && self.body.is_end_stream();
                if self.stream.send_data(part, is_last).is_err() || is_last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let ended = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        self.chunk = chunk;
                        continue;
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => self.stream.send_trailers(trailers),
                        Err(_) => continue,
                    },
                },
                Some(Err(error)) => {
                    self.stream.send_reset(h2::Reason::CANCEL);
                    let message = "the request cannot be written";
                    let error = TransportError::new(TransportErrorKind::Request, message)
                        .with_source(error);
                    return Poll::Ready(Err(error));
                }
                None => self.stream.send_data(Bytes::new(), true),
            };
            // It fails only where the stream has ended.
            drop(ended);
            return Poll::Ready(Ok(()));
        }
    }
}
