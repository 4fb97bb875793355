//! Models of what races in gates: every interleaving, up to a bound on preemptions.
//!
//! `RUSTFLAGS="--cfg fairkey_loom" cargo test -p fairkey-strategy --release --test loom`
//!
//! Each model runs every racing party in a thread of its own, and asserts afterwards that both
//! sides of its race were seen. Small broken copies of a cap and of a breaker go through the same
//! models, and must fail.
#![cfg(fairkey_loom)]

#[path = "loom/breaker.rs"]
mod breaker;
#[path = "loom/broken.rs"]
mod broken;
#[path = "loom/cap.rs"]
mod cap;
#[path = "loom/cooldown.rs"]
mod cooldown;
#[path = "loom/limits.rs"]
mod limits;
#[path = "loom/model_breaker.rs"]
mod model_breaker;
#[path = "loom/queue.rs"]
mod queue;
#[path = "loom/support.rs"]
mod support;
