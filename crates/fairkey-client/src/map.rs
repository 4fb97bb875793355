//! Many prompts at once: [`Map`].

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use fairkey_openrouter::{ChatRequest, ChatResponse};
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::{Answer, CallError, Client};

/// What came of one prompt, and which it was.
type Item = (usize, Result<Answer<ChatResponse>, CallError>);
type Work = Pin<Box<dyn Future<Output = Item> + Send>>;

/// Answers to many prompts: a [`Stream`] of `(index, answer)`. Made by [`Client::map`].
///
/// At most `n` calls are under way at a time. Prompts are taken from the iterator only when there
/// is room for them. In order, answers that are early wait for those before them; how many may do
/// so is bounded too, so a slow answer stops the ones behind it after a while instead of filling
/// the memory.
///
/// Everything happens in the task that polls it. Dropping it gives up the calls under way.
pub struct Map<I> {
    client: Client,
    prompts: I,
    limit: usize,
    /// How far an answer may be ahead of the next one to be told; `None`: any order will do.
    window: Option<usize>,
    work: FuturesUnordered<Work>,
    early: BTreeMap<usize, Result<Answer<ChatResponse>, CallError>>,
    taken: usize,
    told: usize,
    exhausted: bool,
}

impl<I> Map<I> {
    pub(crate) fn new(client: Client, prompts: I, limit: usize) -> Self {
        let limit = limit.max(1);
        Self {
            client,
            prompts,
            limit,
            window: Some(limit.saturating_mul(4)),
            work: FuturesUnordered::new(),
            early: BTreeMap::new(),
            taken: 0,
            told: 0,
            exhausted: false,
        }
    }

    /// Tells answers in the order of the prompts. The default.
    ///
    /// No answer is more than four times `n` ahead of the next one to be told.
    #[must_use]
    pub fn ordered(mut self) -> Self {
        self.window = Some(self.limit.saturating_mul(4));
        self
    }

    /// Tells answers as they come.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.window = None;
        self
    }

    /// Returns how many calls are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.work.len()
    }
}

impl<I> Map<I>
where
    I: Iterator + Unpin,
    I::Item: Into<ChatRequest>,
{
    /// Returns the next answer; `None` when there are no more.
    ///
    /// The same as the [`Stream`], for those who do without its extension traits.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Item> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn fill(&mut self) {
        while !self.exhausted
            && self.work.len() < self.limit
            && self
                .window
                .is_none_or(|window| self.taken - self.told < window)
        {
            let Some(prompt) = self.prompts.next() else {
                self.exhausted = true;
                return;
            };
            let (client, index, request) = (self.client.clone(), self.taken, prompt.into());
            self.taken += 1;
            self.work.push(Box::pin(
                async move { (index, client.chat(&request).await) },
            ));
        }
    }
}

impl<I> Stream for Map<I>
where
    I: Iterator + Unpin,
    I::Item: Into<ChatRequest>,
{
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            self.fill();
            if self.window.is_some() {
                let next = self.told;
                if let Some(answer) = self.early.remove(&next) {
                    self.told += 1;
                    return Poll::Ready(Some((next, answer)));
                }
            }
            match self.work.poll_next_unpin(cx) {
                Poll::Ready(Some((index, answer))) if self.window.is_some() => {
                    self.early.insert(index, answer);
                }
                Poll::Ready(Some(item)) => {
                    self.told += 1;
                    return Poll::Ready(Some(item));
                }
                // With nothing under way, `fill` would have taken more.
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let open = self.taken - self.told;
        let (lower, upper) = if self.exhausted {
            (0, Some(0))
        } else {
            self.prompts.size_hint()
        };
        (
            lower.saturating_add(open),
            upper.and_then(|upper| upper.checked_add(open)),
        )
    }
}

impl<I> fmt::Debug for Map<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("limit", &self.limit)
            .field("window", &self.window)
            .field("in_flight", &self.work.len())
            .field("taken", &self.taken)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
