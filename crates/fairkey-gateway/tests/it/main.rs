//! Whole gateways over real sockets, in front of the mock.

mod bodies;
mod endpoints;
mod fuzz_seeds;
mod leaving;
mod owned;
mod refusals;
mod streams;
mod world;
