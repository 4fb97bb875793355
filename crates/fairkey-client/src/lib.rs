#![doc = include_str!("../README.md")]

mod account;
mod admission;
mod answer;
mod attempts;
mod authorization;
mod backoff;
mod budget;
mod builder;
mod call;
mod chat_stream;
mod client;
mod clock;
mod config;
mod core;
mod error;
mod exchange;
#[cfg(feature = "tower")]
mod layer;
mod leased_body;
mod ledger;
mod management;
mod map;
mod models;
mod network;
mod origin;
mod request;
mod stats;
mod summary;
mod verdict;
mod watch;

pub use answer::{Answer, Attempt, AttemptFault};
pub use budget::RetryBudget;
pub use builder::ClientBuilder;
pub use call::{Call, CallOptions};
pub use chat_stream::ChatStream;
pub use client::{Client, Served};
pub use clock::TokioClock;
pub use config::{BudgetConfig, RetryConfig};
pub use error::{CallError, CallErrorKind, ClientBuildError, KeyCount, KeyState};
#[cfg(feature = "tower")]
pub use layer::{KeyLayer, KeyService, KeyServiceError};
pub use leased_body::LeasedBody;
pub use management::{Management, ManagementBuilder};
pub use map::Map;
pub use stats::{ClientStats, FaultCount};
pub use verdict::{Case, Elsewhere, Fallback, GiveUp, Hint, Spent, Verdict, verdict};
