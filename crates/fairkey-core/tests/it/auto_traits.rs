//! What crosses threads: auto traits are part of the interface.

use std::sync::Arc;

use fairkey_core::{
    ApiKey, Ask, BuildError, Candidate, Explanation, Gate, Gated, Key, KeySet, Lease, ManualClock,
    MonotonicClock, Observer, Pool, PoolBuilder, Reload, SlotBits, Slots, Strategy, Tried,
    Unavailable,
};

#[test]
fn what_is_shared_by_tasks_is_send_and_sync() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Pool>();
    shared::<Lease>();
    shared::<KeySet>();
    shared::<Key>();
    shared::<ApiKey>();
    shared::<Reload>();
    shared::<Explanation>();
    shared::<Unavailable>();
    shared::<BuildError>();
    shared::<Tried>();
    shared::<Ask<'static>>();
    shared::<Candidate<'static>>();
    shared::<SlotBits>();
    shared::<Slots<u64>>();
    shared::<ManualClock>();
    shared::<MonotonicClock>();
    shared::<Arc<dyn Gate>>();
    shared::<Arc<dyn Observer>>();
    shared::<Box<dyn Strategy>>();
    shared::<Gated<Box<dyn Strategy>>>();
}

#[test]
fn a_pool_builder_moves_between_threads() {
    fn moves<T: Send>() {}
    moves::<PoolBuilder>();
}

#[test]
fn a_lease_is_one_pointer_wide() {
    assert_eq!(size_of::<Lease>(), size_of::<usize>());
}
