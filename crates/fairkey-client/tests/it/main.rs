//! The client against a scripted transport, on tokio's paused time; at last (`whole`), over sockets
//! against the mock.

mod account;
mod budget;
mod cancel;
mod catalog;
mod catalog_files;
mod correlation;
mod door;
mod estimates;
mod fallbacks;
mod faults;
mod fuzz_seeds;
mod hedging;
mod held_back;
mod in_memory;
mod key_watch;
#[cfg(feature = "tower")]
mod layer;
mod limits;
mod management;
mod map;
mod memory;
mod no_key;
mod outcomes;
mod passing;
mod properties;
mod providers;
mod recovery;
mod scripted;
mod secrets;
mod send;
mod state;
mod streams;
mod table;
mod told;
mod waiting;
mod whole;
