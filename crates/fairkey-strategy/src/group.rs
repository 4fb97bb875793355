//! What a gate's state belongs to: [`Group`].

use fairkey_core::{Candidate, KeySet, Scope, Turn};

/// What a gate keeps one state for: each key, or each account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Each key by itself.
    Key,
    /// All keys of an account together. A key without an account is one by itself.
    Account,
}

impl Group {
    /// Returns the scope that a refusal of this group names.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Key => Scope::Key,
            Self::Account => Scope::Account,
        }
    }

    /// Returns where the state for `key` is.
    pub(crate) fn index(self, key: Candidate<'_>) -> usize {
        match self {
            Self::Key => key.slot().index(),
            Self::Account => key.account().index(),
        }
    }

    /// Returns how far state must reach.
    pub(crate) fn len(self, keys: &KeySet) -> usize {
        match self {
            Self::Key => keys.slots(),
            Self::Account => keys.account_slots(),
        }
    }

    /// Calls `f` with the index of each state that belongs to somebody new.
    pub(crate) fn for_each_fresh(self, keys: &KeySet, mut f: impl FnMut(usize)) {
        match self {
            Self::Key => keys.fresh().iter().for_each(|slot| f(slot.index())),
            Self::Account => keys
                .fresh_accounts()
                .iter()
                .for_each(|slot| f(slot.index())),
        }
    }

    /// Takes the keys out of `turn` whose state's bit is set in `bits` (words of 64, as
    /// [`SlotBits`](fairkey_core::SlotBits) has them) and for which `keep` of the state's index
    /// says no. Each account is asked once, whatever the number of its keys.
    pub(crate) fn narrow(
        self,
        turn: &mut Turn<'_>,
        bits: impl Fn(usize) -> u64,
        mut keep: impl FnMut(usize) -> bool,
    ) {
        let keys = turn.keys();
        for word in 0..self.len(keys).div_ceil(64) {
            let mut left = bits(word);
            if self == Self::Key {
                left &= turn.words()[word];
            }
            let mut gone = 0_u64;
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                let index = word * 64 + bit;
                if keep(index) {
                    continue;
                }
                match self {
                    Self::Key => gone |= 1 << bit,
                    Self::Account => {
                        let account = keys.account_at(index);
                        for &(at, members) in keys.members(account) {
                            turn.mask(at as usize, !members);
                        }
                    }
                }
            }
            if gone != 0 {
                turn.mask(word, !gone);
            }
        }
    }
}
