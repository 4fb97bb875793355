//! What a thread keeps from one selection to the next.
//!
//! - Empty holds, so that a selection allocates nothing.
//! - A weak pointer to the keys it used last, with their version. A selection that finds the
//!   version unchanged upgrades the pointer instead of going through the pool's lock: two atomic
//!   operations on shared memory less, and threads meet at one word less. It is weak, so that an
//!   idle thread keeps no removed key alive.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::lease::Hold;
use crate::pool::Snapshot;

/// As many holds as a thread keeps for its next calls: about 15 kB.
const KEPT: usize = 64;

struct Local {
    #[expect(clippy::vec_box, reason = "the boxes are handed out")]
    holds: Vec<Box<Hold>>,
    version: u64,
    snapshot: Weak<Snapshot>,
}

thread_local! {
    static LOCAL: RefCell<Local> = const {
        RefCell::new(Local { holds: Vec::new(), version: 0, snapshot: Weak::new() })
    };
}

/// Returns an empty hold, and the snapshot of that version if this thread used it last.
#[inline]
pub(crate) fn begin(version: u64) -> (Option<Box<Hold>>, Option<Arc<Snapshot>>) {
    // At the end of a thread there is nothing kept; inside another selection of this thread (a
    // strategy that selects from a second pool) neither.
    LOCAL
        .try_with(|local| {
            let Ok(mut local) = local.try_borrow_mut() else {
                return (None, None);
            };
            let snapshot = if local.version == version {
                local.snapshot.upgrade()
            } else {
                None
            };
            (local.holds.pop(), snapshot)
        })
        .unwrap_or((None, None))
}

/// Notes the snapshot that this thread uses now.
#[cold]
pub(crate) fn note(version: u64, snapshot: &Arc<Snapshot>) {
    let _ = LOCAL.try_with(|local| {
        if let Ok(mut local) = local.try_borrow_mut() {
            local.version = version;
            local.snapshot = Arc::downgrade(snapshot);
        }
    });
}

/// Keeps an empty hold for the next call of this thread, if there is room.
#[inline]
pub(crate) fn keep(hold: Box<Hold>) {
    let _ = LOCAL.try_with(|local| {
        if let Ok(mut local) = local.try_borrow_mut()
            && local.holds.len() < KEPT
        {
            local.holds.push(hold);
        }
    });
}
