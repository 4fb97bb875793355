//! Models of what races in core: every interleaving, up to a bound on preemptions.
//!
//! `RUSTFLAGS="--cfg fairkey_loom" cargo test -p fairkey-core --release --test loom`
//!
//! Each model runs every racing party in a thread of its own, and asserts afterwards that both
//! sides of its race were seen: a model that explores one order proves nothing. What can be copied
//! in a few lines is also tried in a broken form, which must fail.
#![cfg(fairkey_loom)]

#[path = "loom/leases.rs"]
mod leases;
#[path = "loom/reload.rs"]
mod reload;
#[path = "loom/slot_bits.rs"]
mod slot_bits;
#[path = "loom/support.rs"]
mod support;
