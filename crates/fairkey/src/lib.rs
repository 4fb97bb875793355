#![doc = include_str!("../README.md")]

pub use fairkey_core as core;
pub use fairkey_strategy as strategy;

#[cfg(feature = "batch")]
pub use fairkey_batch as batch;
#[cfg(feature = "client")]
pub use fairkey_client as client;
#[cfg(feature = "mock")]
pub use fairkey_mock as mock;
#[cfg(feature = "client")]
pub use fairkey_openrouter as openrouter;
#[cfg(feature = "testkit")]
pub use fairkey_testkit as testkit;
#[cfg(feature = "client")]
pub use fairkey_transport as transport;

pub use fairkey_core::{ApiKey, Key, KeyId, Pool};

#[cfg(feature = "client")]
pub use fairkey_client::{Answer, CallError, ChatStream, Client, ClientBuilder};
#[cfg(feature = "client")]
pub use fairkey_openrouter::{ChatRequest, ChatResponse, Message, ProviderPreferences};

/// The programs of the repository's first page.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../../../README.md")]
mod first_page {}
