//! A streamed chat completion: [`ChatStream`].

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fairkey_core::{Cost, KeyId};
use fairkey_openrouter::{ChatChunk, ChatStreamReader, Fault, FinishReason, StreamItem, Usage};
use futures_core::Stream;
use tokio::time::{Sleep, sleep};

use crate::answer::Attempt;
use crate::error::CallError;
use crate::exchange::{Exchange, Failure};
use crate::leased_body::interrupted;
use crate::summary;

/// A streamed chat completion: a [`Stream`] of typed chunks.
///
/// It exists once the first content has come: until then the call may have gone through several
/// keys, unseen. From then on no other attempt is made: a stream that fails says so with an error,
/// its last item, and the caller decides what to do with the part that came.
///
/// The key counts as in flight until the stream has ended or is dropped. Dropping it early is
/// nobody's fault; it closes the connection, which stops work and billing with providers that
/// support that.
///
/// ```no_run
/// # async fn example(client: fairkey_client::Client) -> Result<(), fairkey_client::CallError> {
/// use fairkey_openrouter::ChatRequest;
///
/// let request = ChatRequest::new("openai/gpt-4o-mini").user("Tell me a story.");
/// let mut stream = client.chat_stream(&request).await?;
/// while let Some(chunk) = stream.next().await {
///     print!("{}", chunk?.text());
/// }
/// eprintln!("{} served it for {:?}", stream.key(), stream.cost());
/// # Ok(())
/// # }
/// ```
pub struct ChatStream {
    opening: Opening,
    attempts: Vec<Attempt>,
}

/// A stream on its way to its first content.
#[derive(Debug)]
pub(crate) struct Opening {
    exchange: Exchange,
    reader: ChatStreamReader,
    /// What was read before the first content, the first content included.
    chunks: VecDeque<ChatChunk>,
    /// A fault that was read, and not told yet.
    fault: Option<Fault>,
    /// The last chunk, or a fault, has been read.
    over: bool,
    /// Until when the end of the body is waited for after the last chunk.
    linger: Option<Pin<Box<Sleep>>>,
    /// Frames that came behind the end of the stream.
    behind_end: u32,
}

/// How long the end of the body is waited for after `[DONE]`. A connection whose answer was read
/// to its end can be used again; usually the end has come already.
const LINGER: Duration = Duration::from_millis(500);
/// How many frames a peer may send behind the end of a stream before its connection is given up: a
/// peer that always has one more would keep the key for ever.
const FRAMES_BEHIND_END: u32 = 64;

impl Opening {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            reader: ChatStreamReader::new(),
            chunks: VecDeque::new(),
            fault: None,
            over: false,
            linger: None,
            behind_end: 0,
        }
    }

    pub(crate) fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// Reads on until the first content has come, or it is known that none will.
    pub(crate) async fn first(&mut self, limit_bytes: usize) -> Result<(), Failure> {
        let mut kept = 0;
        loop {
            match self.exchange.chunk().await {
                Some(Ok(chunk)) => {
                    kept += chunk.len();
                    self.reader.push(&chunk);
                }
                Some(Err(error)) => return Err(self.exchange.fail_in_transport(&error)),
                None => self.reader.finish(),
            }
            self.take();
            if self.reader.has_content() {
                self.exchange.note_first_content();
                return Ok(());
            }
            if let Some(fault) = self.fault.take() {
                return Err(Failure::told(fault));
            }
            if self.over || kept > limit_bytes {
                return Ok(());
            }
        }
    }

    /// Takes what the reader has, and tells the lease what it means.
    fn take(&mut self) {
        while let Some(item) = self.reader.next() {
            match item {
                StreamItem::Chunk(chunk, _) => self.chunks.push_back(*chunk),
                StreamItem::Done => {
                    self.note_used();
                    self.exchange.record_success(self.reader.provider());
                    self.over = true;
                }
                StreamItem::Fault(fault) => {
                    self.note_used();
                    let fault = self.exchange.judge(fault);
                    self.exchange.record_fault(&fault);
                    self.fault = Some(fault);
                    self.over = true;
                    self.exchange.end();
                }
                _ => {}
            }
        }
    }

    fn note_used(&mut self) {
        if let Some(usage) = self.reader.usage() {
            self.exchange.note_used(usage);
        }
    }

    /// Ends the exchange after the last item: at the end of the body, or after a while. What may
    /// still come says nothing.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.exchange.held().is_some() {
            match self.exchange.poll_frame(cx) {
                // What comes behind the end is thrown away, and not for ever.
                Poll::Ready(Some(Ok(_))) if self.behind_end < FRAMES_BEHIND_END => {
                    self.behind_end += 1;
                }
                Poll::Ready(_) => self.exchange.end(),
                Poll::Pending => {
                    let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
                    ready!(linger.as_mut().poll(cx));
                    self.exchange.end();
                }
            }
        }
        Poll::Ready(())
    }
}

impl ChatStream {
    pub(crate) fn new(opening: Opening, attempts: Vec<Attempt>) -> Self {
        Self { opening, attempts }
    }

    /// Returns the next chunk; `None` after the end, and after an error.
    ///
    /// The same as the [`Stream`], for those who do without its extension traits.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<ChatChunk, CallError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Returns the label of the key that serves the stream.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        self.opening.exchange.key()
    }

    /// Returns every attempt up to the first content, the last one the good one.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Returns what the call used, once the stream has said so, near its end.
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        self.opening.reader.usage()
    }

    /// Returns what the call cost, once the stream has said so, near its end.
    #[must_use]
    pub fn cost(&self) -> Option<Cost> {
        self.usage().and_then(summary::cost)
    }

    /// Returns why the answer ended, once it has.
    #[must_use]
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.opening.reader.finish_reason()
    }

    /// Returns the provider that serves the stream, once the stream has said so.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.opening.reader.provider()
    }

    /// Returns the model that serves the stream, once the stream has said so.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.opening.reader.model()
    }

    /// Returns the generation's identifier, once the stream has said so.
    #[must_use]
    pub fn generation(&self) -> Option<&str> {
        self.opening.reader.id()
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatChunk, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let opening = &mut self.opening;
            if let Some(chunk) = opening.chunks.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            if let Some(fault) = opening.fault.take() {
                return Poll::Ready(Some(Err(interrupted(fault, self.attempts.clone()))));
            }
            if opening.over {
                return opening.poll_end(cx).map(|()| None);
            }
            match ready!(opening.exchange.poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Some(chunk) = frame.data_ref() {
                        opening.reader.push(chunk);
                    }
                }
                Some(Err(error)) => {
                    let failure = opening.exchange.fail_in_transport(&error);
                    opening.fault = Some(failure.fault);
                    opening.over = true;
                }
                None => opening.reader.finish(),
            }
            opening.take();
        }
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream")
            .field("key", self.key())
            .field("attempts", &self.attempts)
            .field("over", &self.opening.over)
            .finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn is<T: Send + Unpin + 'static>() {}
    is::<ChatStream>();
};
