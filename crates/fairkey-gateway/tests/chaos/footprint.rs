//! What a process holds: memory, file descriptors, tasks.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Bytes that are allocated at this moment. Exact, which the resident memory is not: an allocator
/// keeps what was given back.
pub(super) fn bytes() -> u64 {
    ALLOCATED.current_usage() as u64
}

/// Open file descriptors, where the system lists them.
pub(super) fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64)
}

/// Tasks of this runtime that are not over.
pub(super) fn tasks() -> u64 {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks() as u64
}
