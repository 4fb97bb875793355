#![doc = include_str!("../README.md")]

mod ask;
mod clock;
mod key;
mod outcome;
mod slot;

pub use ask::{Ask, Class, Cost, Tried};
pub use clock::{Clock, ManualClock, MonotonicClock, SystemWallClock, Timestamp, WallClock};
pub use key::{AccountId, ApiKey, Key, KeyId};
pub use outcome::{FaultKind, Outcome, Report, Retry, Scope, Scopes};
pub use slot::{AccountSlot, Slot, Slots};
