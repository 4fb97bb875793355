#![doc = include_str!("../README.md")]

mod ask;
mod bits;
mod clock;
mod error;
mod explain;
mod gate;
mod gated;
mod key;
mod key_set;
mod key_table;
mod lease;
mod local;
mod observer;
mod outcome;
mod pool;
mod random;
mod registry;
mod slot;
mod strategy;
#[doc(hidden)]
pub mod sync;
mod tickets;
mod turn;

pub use ask::{Ask, Class, Cost, Only, Tried};
pub use bits::SlotBits;
pub use clock::{Clock, ManualClock, MonotonicClock, SystemWallClock, Timestamp, WallClock};
pub use error::{BuildError, Unavailable};
pub use explain::{Denial, Explanation, KeyExplanation};
pub use gate::{At, Denied, Detail, Gate, Ticket};
pub use gated::Gated;
pub use key::{AccountId, ApiKey, Key, KeyId};
pub use key_set::{Candidate, KeySet};
pub use key_table::Reload;
pub use lease::Lease;
pub use observer::Observer;
pub use outcome::{FaultKind, Outcome, Report, Retry, Scope, Scopes};
pub use pool::{Pool, PoolBuilder};
pub use random::{Random, Seeds, hash_label, mix};
pub use registry::Registry;
pub use slot::{AccountSlot, AccountTenure, Slot, Slots, Tenure};
pub use strategy::Strategy;
pub use turn::Turn;
