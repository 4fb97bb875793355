//! The crate as its users see it.

mod faults;
mod fuzz_seeds;
mod laws;
mod management;
mod secrets;
mod splice;
mod sse;
mod stream;
