//! Who watches: the trait [`Observer`].

use std::fmt;
use std::sync::Arc;

use crate::{Ask, Candidate, KeySet, Report, Unavailable};

/// Hears of every selection and every end of a call. All methods do nothing by default.
///
/// Called on the thread of the call, with no lock held, after the fact: it can count, log, wake
/// waiters and select again, but not change what happened. It must not block.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A call was given `key`.
    fn selected(&self, key: Candidate<'_>, ask: &Ask<'_>) {
        let _ = (key, ask);
    }

    /// A call found nothing free.
    fn refused(&self, ask: &Ask<'_>, unavailable: &Unavailable) {
        let _ = (ask, unavailable);
    }

    /// A call ended and its lease is gone: what it held is free again. The outcome is not
    /// filtered.
    fn settled(&self, key: Candidate<'_>, report: &Report) {
        let _ = (key, report);
    }

    /// The pool has new keys: what was refused before may be admitted now.
    fn reloaded(&self, keys: &KeySet) {
        let _ = keys;
    }
}

#[deny(clippy::missing_trait_methods)]
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn selected(&self, key: Candidate<'_>, ask: &Ask<'_>) {
        (**self).selected(key, ask);
    }

    fn refused(&self, ask: &Ask<'_>, unavailable: &Unavailable) {
        (**self).refused(ask, unavailable);
    }

    fn settled(&self, key: Candidate<'_>, report: &Report) {
        (**self).settled(key, report);
    }

    fn reloaded(&self, keys: &KeySet) {
        (**self).reloaded(keys);
    }
}
