//! Every law on every strategy and gate, and each documented rule at its edges.
#![cfg(not(fairkey_loom))]

mod allocations;
mod breaker;
mod ceilings;
mod cooldown;
mod evidence;
mod headroom;
mod latency;
mod laws;
mod limits;
mod max_in_flight;
mod model_breaker;
mod queue;
mod recovery;
mod rotation;
mod spread;
mod sticky;
mod support;
mod switch;
mod together;
