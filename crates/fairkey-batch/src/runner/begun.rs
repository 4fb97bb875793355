//! A row on its way: [`Begun`].

use crate::result::Address;
use crate::row::Place;

/// What is remembered of a row while it is sent.
pub(super) struct Begun {
    pub(super) index: u64,
    pub(super) place: Place,
    pub(super) id: String,
    pub(super) named: bool,
    pub(super) epoch: u64,
    /// Of its request.
    pub(super) bytes: usize,
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
