//! What a thread keeps from one selection to the next.
//!
//! - Empty holds, so that a selection allocates nothing.
//! - A weak pointer to the keys it used last, with their version. A selection that finds the
//!   version unchanged upgrades the pointer instead of going through the pool's lock: two atomic
//!   operations on shared memory less, and threads meet at one word less. It is weak, so that an
//!   idle thread keeps no removed key alive.
//! - A source of chance for those keys, drawn from the pool's seed once: no two threads share it,
//!   and one thread that does the same does it with the same numbers.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::Random;
use crate::lease::Hold;
use crate::pool::Snapshot;

/// As many holds as a thread keeps for its next calls: about 15 kB.
const KEPT: usize = 64;

struct Local {
    #[expect(clippy::vec_box, reason = "the boxes are handed out")]
    holds: Vec<Box<Hold>>,
    version: u64,
    snapshot: Weak<Snapshot>,
    random: Random,
}

/// What a selection begins with, as far as this thread has it.
pub(crate) struct Begin {
    pub(crate) hold: Option<Box<Hold>>,
    pub(crate) snapshot: Option<(Arc<Snapshot>, Random)>,
}

thread_local! {
    static LOCAL: RefCell<Local> = const {
        RefCell::new(Local {
            holds: Vec::new(),
            version: 0,
            snapshot: Weak::new(),
            random: Random::new(0),
        })
    };
}

/// Returns an empty hold, and the snapshot of that version if this thread used it last.
#[inline]
pub(crate) fn begin(version: u64) -> Begin {
    // At the end of a thread there is nothing kept; inside another selection of this thread (a
    // strategy that selects from a second pool) neither.
    LOCAL
        .try_with(|local| {
            let mut local = local.try_borrow_mut().ok()?;
            let hold = local.holds.pop();
            let mut snapshot = None;
            if local.version == version
                && let Some(known) = local.snapshot.upgrade()
            {
                snapshot = Some((known, local.random.branch()));
            }
            Some(Begin { hold, snapshot })
        })
        .ok()
        .flatten()
        .unwrap_or(Begin {
            hold: None,
            snapshot: None,
        })
}

/// Notes the snapshot that this thread uses now, and its source of chance.
#[cold]
pub(crate) fn note(version: u64, snapshot: &Arc<Snapshot>, random: Random) {
    let _ = LOCAL.try_with(|local| {
        if let Ok(mut local) = local.try_borrow_mut() {
            local.version = version;
            local.snapshot = Arc::downgrade(snapshot);
            local.random = random;
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
