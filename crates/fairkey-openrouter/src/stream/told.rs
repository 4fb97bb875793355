//! What a stream has told of itself so far, common to all readers: [`Told`].

use crate::response::Usage;

/// What a stream has told of itself so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) has_content: bool,
    pub(super) usage: Option<Usage>,
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
}

/// Keeps the first of what is said: `place` stays what it is where it has something.
pub(super) fn keep_first(place: &mut Option<String>, said: Option<&str>) {
    if place.is_none() {
        *place = said.filter(|text| !text.is_empty()).map(str::to_owned);
    }
}

/// Gives a reader with the fields `frames` and `told` the methods that are the same in all.
macro_rules! reads {
    ($reader:ty) => {
        impl $reader {
            /// Takes the bytes that have come, however they are cut. Does nothing after
            /// [`finish`](Self::finish) and after the last item.
            pub fn push(&mut self, chunk: &[u8]) {
                self.frames.push(chunk);
            }

            /// The same without a copy, where nothing unread is left: what is taken keeps all of
            /// `chunk` alive.
            pub fn push_bytes(&mut self, chunk: bytes::Bytes) {
                self.frames.push_bytes(chunk);
            }

            /// Says that the body has ended, in whatever way: what is missing now is missing for
            /// good.
            pub fn finish(&mut self) {
                self.frames.finish();
            }

            /// Returns whether content has come: text, reasoning, a piece of a tool call. Before
            /// that, another attempt costs the caller nothing.
            #[must_use]
            pub fn has_content(&self) -> bool {
                self.told.has_content
            }

            /// Returns what the call used and cost, as far as the stream has said so.
            #[must_use]
            pub fn usage(&self) -> Option<&$crate::Usage> {
                self.told.usage.as_ref()
            }

            /// Returns what the call cost as the pool counts it, as far as the stream has said so.
            #[must_use]
            pub fn cost(&self) -> Option<fairkey_core::Cost> {
                self.told.usage.as_ref().map($crate::Usage::cost)
            }

            /// Returns the provider that answers, once the stream has said so.
            #[must_use]
            pub fn provider(&self) -> Option<&str> {
                self.told.provider.as_deref()
            }

            /// Returns the model that answers, once the stream has said so.
            #[must_use]
            pub fn model(&self) -> Option<&str> {
                self.told.model.as_deref()
            }

            /// Returns the identifier of the answer, once the stream has said so: a generation's
            /// in chat.
            #[must_use]
            pub fn id(&self) -> Option<&str> {
                self.told.id.as_deref()
            }

            /// Returns how many of the bytes that were pushed come after the last item.
            #[must_use]
            pub fn unread_bytes(&self) -> usize {
                self.frames.unread_bytes()
            }

            /// Returns whether the last item was taken.
            #[must_use]
            pub fn is_over(&self) -> bool {
                self.frames.is_over()
            }
        }
    };
}
pub(super) use reads;
