//! Tests of the pool from outside: what callers, strategies, gates and observers see of it.
#![cfg(not(fairkey_loom))]

mod allocations;
mod auto_traits;
mod compile_fail;
mod explain;
mod gates;
mod lease;
mod observers;
mod only;
mod panics;
mod pool;
mod reload;
mod secrets;
mod support;
mod turn;
mod unavailable;
