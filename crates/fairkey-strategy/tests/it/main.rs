//! Every law on every strategy and gate, and each documented rule at its edges.
#![cfg(not(fairkey_loom))]

mod allocations;
mod breaker;
mod cooldown;
mod laws;
mod limits;
mod max_in_flight;
mod rotation;
mod spread;
mod sticky;
mod support;
mod together;
