//! Whose turn it is when nothing is free.

mod config;

pub use config::{PerClass, QueueConfig, Tenant};
