//! A row on its way: [`Begun`].

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::result::Address;
use crate::row::Place;

/// What is remembered of a row while it is sent.
pub(super) struct Begun {
    pub(super) index: u64,
    pub(super) place: Place,
    pub(super) id: String,
    pub(super) named: bool,
    pub(super) identity: u64,
    pub(super) epoch: u64,
    /// Of its request.
    pub(super) bytes: usize,
    /// When it was sent first.
    pub(super) since: Instant,
    /// Whether others have waited for it for too long.
    pub(super) overdue: bool,
    pub(super) handle: Option<AbortHandle>,
}

impl Begun {
    pub(super) fn address(&self) -> Address<'_> {
        Address {
            index: self.index,
            place: &self.place,
            id: &self.id,
        }
    }
}
