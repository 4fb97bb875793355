//! What an ask needs, of which groups, and what is left there: [`Need`].

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{Ask, Candidate};

use super::cell::steps_used;
use super::config::DIMENSIONS;
use super::plane::Plane;
use super::state::{Amounts, amounts};
use super::{ACCOUNT, FREE, KEY, Limits, MODEL};
use crate::is_free_model;

/// What one ask needs, and which kinds of groups it is counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(super) amounts: Amounts,
    /// A bit for each kind.
    pub(super) kinds: u32,
    /// The number of its model, where that has limits.
    pub(super) model: usize,
}

impl Need {
    /// Returns whether no kind of group that the ask belongs to has limits.
    #[inline]
    pub(crate) fn is_unlimited(&self) -> bool {
        self.kinds == 0
    }
}

/// The kinds that are set in `bits`, the first first.
#[inline]
pub(super) fn kinds(mut bits: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let kind = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (kind <= MODEL).then_some(kind)
    })
}

impl Limits {
    /// Returns what `ask` needs, and of which groups.
    #[inline]
    pub(crate) fn need(&self, ask: &Ask<'_>) -> Need {
        let mut need = Need {
            amounts: amounts(&ask.cost),
            kinds: self.in_use.load(Ordering::Relaxed),
            model: 0,
        };
        if need.kinds & (1 << FREE | 1 << MODEL) != 0 {
            (need.kinds, need.model) = self.kinds_of(ask.model, need.kinds);
        }
        need
    }

    /// Returns which kinds of groups a call for that model is counted in, of those `in_use`, and
    /// the number of the model.
    #[inline(never)]
    fn kinds_of(&self, model: Option<&str>, in_use: u32) -> (u32, usize) {
        let mut kinds = in_use & (1 << KEY | 1 << ACCOUNT);
        let Some(name) = model else {
            return (kinds, 0);
        };
        if in_use & 1 << FREE != 0 && is_free_model(name) {
            kinds |= 1 << FREE;
        }
        if in_use & 1 << MODEL != 0
            && let Some((number, _)) = self.models.find(name)
        {
            return (kinds | 1 << MODEL, number);
        }
        (kinds, 0)
    }

    /// Returns the groups of one kind; those of the model of that number.
    #[inline]
    pub(super) fn groups(&self, kind: u32, model: usize) -> Option<&Plane> {
        if kind == MODEL {
            return self.models.get(model);
        }
        self.planes.get(kind as usize)
    }

    /// Returns the groups that are accounts, where `need` is counted in no others.
    #[inline]
    pub(crate) fn accounts_only(&self, need: &Need) -> Option<&Plane> {
        (need.kinds == 1 << ACCOUNT).then(|| &self.planes[ACCOUNT as usize])
    }

    /// Returns whether `need` is hardly more than the least that a call needs, for every group.
    #[inline]
    pub(crate) fn is_tiny(&self, need: &Need) -> bool {
        fits_all(&need.amounts, &self.tiny)
    }

    /// Returns how many of [`STEPS`] would be used, of the dimension and group of which most would
    /// be; where `tiny` says that `need` is hardly more than the least, what the least call uses.
    #[inline]
    pub(crate) fn steps_of(&self, key: Candidate<'_>, need: &Need, now: u64, tiny: bool) -> u64 {
        if !tiny {
            return steps_used(self.part_used(key, need, now));
        }
        self.most(key, need, |plane, index| plane.glance(index, now))
    }

    /// Returns how much would be used of [`WHOLE`], of the dimension and group of which most would
    /// be.
    pub(super) fn part_used(&self, key: Candidate<'_>, need: &Need, now: u64) -> u64 {
        self.most(key, need, |plane, index| {
            let cell = plane.at(index);
            cell.map_or(0, |(cell, place)| {
                cell.part_used(now, &need.amounts, &place)
            })
        })
    }

    /// Returns the most that `of` says of the groups of `key` that `need` is counted in.
    #[inline]
    fn most(&self, key: Candidate<'_>, need: &Need, of: impl Fn(&Plane, usize) -> u64) -> u64 {
        let mut most = 0;
        for kind in kinds(need.kinds) {
            if let Some(plane) = self.groups(kind, need.model) {
                let index = match kind {
                    KEY => key.slot().index(),
                    _ => key.account().index(),
                };
                most = most.max(of(plane, index));
            }
        }
        most
    }
}

#[inline]
pub(super) fn fits_all(need: &Amounts, most: &[AtomicU64; DIMENSIONS]) -> bool {
    let mut fits = true;
    for (need, most) in need.iter().zip(most) {
        fits &= *need <= most.load(Ordering::Relaxed);
    }
    fits
}
