//! Atomics and locks, from std, or from loom where a model explores their interleavings.
//!
//! Public so that gates in other crates can be modeled together with the pool; not part of the
//! stable interface.

#[cfg(not(fairkey_loom))]
pub use std::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(fairkey_loom)]
pub use loom::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use std::sync::PoisonError;

/// Locks `mutex`; a panic of an earlier holder is not ours to repeat.
#[inline]
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
