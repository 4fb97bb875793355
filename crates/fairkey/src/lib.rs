#![cfg_attr(feature = "client", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "client"), doc = "The crates of fairkey in one.")]

pub use fairkey_core as core;
pub use fairkey_openrouter as openrouter;
pub use fairkey_strategy as strategy;

#[cfg(feature = "batch")]
pub use fairkey_batch as batch;
#[cfg(feature = "client")]
pub use fairkey_client as client;
#[cfg(feature = "mock")]
pub use fairkey_mock as mock;
#[cfg(feature = "testkit")]
pub use fairkey_testkit as testkit;
#[cfg(feature = "client")]
pub use fairkey_transport as transport;

pub use fairkey_core::{AccountId, ApiKey, Class, Cost, Key, KeyId, Pool, Scope};
pub use fairkey_openrouter::{
    AppAttribution, Cause, ChatRequest, ChatResponse, Fault, Message, ProviderPreferences,
};

#[cfg(feature = "client")]
pub use fairkey_client::{
    Answer, Attempt, Call, CallError, CallErrorKind, CallOptions, ChatStream, Client,
    ClientBuilder, RetryConfig,
};
#[cfg(feature = "tower")]
pub use fairkey_client::{KeyLayer, KeyService};
