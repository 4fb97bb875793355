//! Whole gateways over real sockets, in front of the mock.

mod bodies;
mod bounds;
mod classes;
mod coding_tools;
mod endings;
mod endpoints;
mod faults;
mod floods;
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
#[cfg(feature = "tls")]
mod tls;
mod world;
