//! What a gate's state belongs to: [`Group`].

use fairkey_core::{Candidate, Denied, KeySet, Scope, Turn};

/// What a gate keeps one state for: each key, each account, or all keys together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Each key by itself.
    Key,
    /// All keys of an account together. A key without an account is one by itself.
    Account,
    /// All keys together, for faults of the service. While it is out nothing is to be had from
    /// any key: the whole turn is closed, and no key is blamed.
    Service,
    /// All keys together, for faults of the way to the service.
    Network,
}

impl Group {
    /// Returns the scope that a refusal of this group names, and whose faults it hears.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Key => Scope::Key,
            Self::Account => Scope::Account,
            Self::Service => Scope::Service,
            Self::Network => Scope::Network,
        }
    }

    /// Returns where the state for `key` is.
    #[inline]
    pub(crate) fn index(self, key: Candidate<'_>) -> usize {
        if self == Self::Key {
            key.slot().index()
        } else if self == Self::Account {
            key.account().index()
        } else {
            0
        }
    }

    /// Returns how far state must reach.
    pub(crate) fn len(self, keys: &KeySet) -> usize {
        match self {
            Self::Key => keys.slots(),
            Self::Account => keys.account_slots(),
            Self::Service | Self::Network => 1,
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
            // What all keys share is older than any of them.
            Self::Service | Self::Network => {}
        }
    }

    /// Returns a key that the state at `index` is for: any one of several.
    pub(crate) fn representative(self, keys: &KeySet, index: usize) -> Option<Candidate<'_>> {
        match self {
            Self::Key => keys.at(index),
            Self::Account => {
                let (word, members) = keys.members(keys.account_at(index)).first()?;
                let bit = members.trailing_zeros();
                keys.at((word * 64 + bit) as usize)
            }
            Self::Service | Self::Network => keys.iter().next(),
        }
    }

    /// Takes the keys out of `turn` whose state's bit is set in `bits` (words of 64, as
    /// [`SlotBits`](fairkey_core::SlotBits) has them) and that `look` denies by the state's index;
    /// closes the turn where the state is that of all keys. Each state is asked once, whatever the
    /// number of its keys.
    pub(crate) fn narrow(
        self,
        turn: &mut Turn<'_>,
        bits: impl Fn(usize) -> u64,
        mut look: impl FnMut(usize) -> Result<(), Denied>,
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
                let Err(denied) = look(index) else {
                    continue;
                };
                match self {
                    Self::Key => gone |= 1 << bit,
                    Self::Account => {
                        let account = keys.account_at(index);
                        for &(at, members) in keys.members(account) {
                            turn.mask(at as usize, !members);
                        }
                    }
                    Self::Service | Self::Network => turn.close(denied),
                }
            }
            if gone != 0 {
                turn.mask(word, !gone);
            }
        }
    }
}
