//! Who calls: [`Caller`], and what a call came to: [`End`].

use async_trait::async_trait;
use bytes::Bytes;
use fairkey_client::{CallOptions, Client, KeyWatch, WatchConfig};
use fairkey_openrouter::{ChatRequest, ChatResponse, Fault};

use crate::load::PATIENCE;
use crate::world::World;

/// What a call came to, for the one who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A whole answer.
    Answered,
    /// An error that says so.
    Failed,
    /// An error, or half an answer, that was handed over as an answer.
    Deceived,
}

impl End {
    /// Judges a body that was handed over as an answer.
    #[must_use]
    pub fn of_body(body: &[u8]) -> Self {
        let whole = Fault::in_body(body).is_none()
            && ChatResponse::from_slice(body).is_ok_and(|answer| !answer.text().is_empty());
        if whole {
            Self::Answered
        } else {
            Self::Deceived
        }
    }
}

/// Something that gets chat requests answered.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Makes one call.
    async fn call(&self, request: &ChatRequest) -> End;
}

/// fairkey's client with its defaults, four keys in two accounts.
#[derive(Debug)]
pub struct Fairkey {
    client: Client,
    /// Asks about the keys beside the calls, as long as it is held.
    _watch: KeyWatch,
}

impl Fairkey {
    /// Builds a client for `keys` of label and account; a key's secret follows from its label.
    ///
    /// # Panics
    ///
    /// If it cannot be built: a scenario is code of this crate.
    #[must_use]
    pub fn new(world: &World, keys: &[(&str, &str)]) -> Self {
        let key = |(label, account): &(&str, &str)| {
            fairkey_core::Key::new(*label, secret(label)).account(*account)
        };
        let client = Client::builder()
            .keys(keys.iter().map(key))
            .base_url(world.mock().base_url())
            .transport(std::sync::Arc::new(world.transport()))
            .deadlines(crate::world::DEADLINES)
            .wall_clock(world.wall_clock())
            .seed(7)
            .build()
            .expect("a client for a scenario");
        let watch = client.watch_keys(WatchConfig::default());
        Self {
            client,
            _watch: watch,
        }
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

#[async_trait]
impl Caller for Fairkey {
    async fn call(&self, request: &ChatRequest) -> End {
        let options = CallOptions {
            deadline: Some(PATIENCE),
            ..CallOptions::of_chat(request)
        };
        match self.client.chat_with(request, options).await {
            Ok(answer) if answer.value.text().is_empty() => End::Deceived,
            Ok(_) => End::Answered,
            Err(_) => End::Failed,
        }
    }
}

/// Returns the secret that goes with a label.
#[must_use]
pub fn secret(label: &str) -> String {
    format!("sk-or-v1-{label}")
}

/// Returns the bytes of a request, as both callers send them.
pub(crate) fn body(request: &ChatRequest) -> Bytes {
    request.to_bytes()
}
