//! How many files may be open: every connection is one.

/// Files that are open besides connections: standard streams, input, output, the runtime's own.
#[cfg(unix)]
const OTHERS: u64 = 64;

/// Allows so many connections, as far as the system lets a process help itself. Where it does not,
/// what cannot be opened fails then, and is told.
#[cfg(unix)]
pub(crate) fn raise_limit(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // With an embedded mock both ends of each connection are ours.
    let wanted = 2 * connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else {
        return;
    };
    let raised = limit
        .maximum
        .map_or(wanted, |maximum| wanted.min(maximum))
        .max(current);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(raised),
            ..limit
        },
    );
}

#[cfg(not(unix))]
pub(crate) fn raise_limit(_: usize) {}
