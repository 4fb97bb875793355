//! Whole gateways over real sockets, in front of the mock.

mod bodies;
mod classes;
mod coding_tools;
mod endpoints;
mod faults;
mod fuzz_seeds;
mod leaving;
#[cfg(feature = "otlp")]
mod otlp;
mod owned;
mod refusals;
mod smuggling;
mod strangers;
mod streams;
mod tenants;
mod world;
