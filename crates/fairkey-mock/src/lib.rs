#![doc = include_str!("../README.md")]

mod account;
mod action;
mod answer;
mod ask;
mod body;
mod builder;
mod call;
mod catalog;
mod chance;
mod clock;
mod connection;
mod endpoints;
pub mod fault;
mod inference;
mod key;
pub mod log;
mod management;
mod model;
mod money;
mod random;
mod reading;
mod reply;
mod route;
pub mod scenario;
pub mod script;
mod server;
mod stream;
mod wire;
mod world;

pub use account::{Account, FreeTier};
pub use action::Action;
pub use builder::{Builder, StartError};
pub use chance::{FaultKind, Latency};
pub use clock::{Reset, Timestamp, TimestampError};
pub use fault::Fault;
pub use key::{Budget, Key};
pub use log::{Counters, Event, EventKind, Log, Tally};
pub use model::{Model, Provider};
pub use reply::Reply;
pub use scenario::Scenario;
#[cfg(feature = "scenario")]
pub use scenario::ScenarioError;
pub use script::{Break, On, Step};
pub use server::MockOpenRouter;
