#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! | module | has |
//! | --- | --- |
//! | `server` | the listener, its connections, and how they end |
//! | `endpoint` | which path is what: inference, job, file, catalogue, administration |
//! | `dispatch` | one request, from its head to its answer |
//! | `headers` | which headers travel, which way |
//! | `relay` | answers on their way to the caller: streams, broken ones, callers that leave |
//! | `reply` | what the gateway says itself, in the caller's own format |
//! | `tenant` | client tokens, and what each may do |
//! | `guard` | who may ask at all: `Host` and `Origin` |
//! | `metrics` | counts |

mod dispatch;
mod endpoint;
mod guard;
mod headers;
mod metrics;
mod relay;
mod reply;
mod server;
mod tenant;

pub use reply::{BrokenStream, Failure, Format, MAX_RETRY_WAIT, Origin, Reason};
