//! How many files may be open: every connection is one.

/// Files that are open besides connections: standard streams, input, output, the runtime's own.
#[cfg(unix)]
const OTHERS: u64 = 64;

/// Allows so many connections, as far as the system lets a process help itself. Returns how many
/// there may be.
#[cfg(unix)]
pub(crate) fn raise_limit(connections: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // With an embedded mock both ends of each connection are ours.
    let wanted = 2 * connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current.unwrap_or(u64::MAX);
    if current < wanted {
        let raised = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
        let wish = Rlimit {
            current: Some(raised.max(current)),
            ..limit
        };
        if setrlimit(Resource::Nofile, wish).is_ok() {
            current = raised.max(current);
        }
    }
    let each = current.saturating_sub(OTHERS) / 2;
    usize::try_from(each).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
pub(crate) fn raise_limit(_: usize) -> usize {
    usize::MAX
}
