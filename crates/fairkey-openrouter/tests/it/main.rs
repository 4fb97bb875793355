//! The crate as its users see it.

mod check;
mod compile_fail;
mod events;
mod faults;
mod fuzz_seeds;
mod laws;
mod management;
mod precedence;
mod profile;
mod requests;
mod route;
mod secrets;
mod sizing;
mod splice;
mod sse;
mod stream;
mod wire;
