//! One selection in progress: [`Turn`].

use std::fmt;

use crate::pool::Core;
use crate::registry::GateId;
use crate::tickets::Tickets;
use crate::{Ask, At, Candidate, Denied, Gate, KeySet, Outcome, Random, Report, Slot, Timestamp};
use std::sync::Arc;

/// One selection in progress: what is offered, what is wanted, what has been reserved so far.
///
/// Gates narrow what is offered; it never grows. A strategy picks from what is left. Gates that
/// were entered for a key are recorded here; a turn that ends without a lease leaves them all.
pub struct Turn<'a> {
    core: &'a Core,
    keys: &'a KeySet,
    ask: &'a Ask<'a>,
    now: Timestamp,
    /// A bit for every slot that is still offered.
    words: &'a mut [u64],
    /// How many bits are set.
    len: usize,
    closed: Option<Denied>,
    tickets: Tickets,
    random: Option<Random>,
}

impl<'a> Turn<'a> {
    /// Starts a turn over all of `keys` but those that the ask has tried.
    pub(crate) fn new(
        core: &'a Core,
        keys: &'a KeySet,
        ask: &'a Ask<'a>,
        now: Timestamp,
        words: &'a mut [u64],
    ) -> Self {
        words.copy_from_slice(keys.present());
        let mut turn = Self {
            core,
            keys,
            ask,
            now,
            words,
            len: keys.len(),
            closed: None,
            tickets: Tickets::new(),
            random: None,
        };
        if let Some(tried) = ask.tried {
            for &account in tried.accounts() {
                for &(word, members) in keys.members(account) {
                    turn.mask(word as usize, !members);
                }
            }
            for slot in tried.keys() {
                if slot.index() < keys.slots() {
                    turn.mask(slot.index() / 64, !(1 << (slot.index() % 64)));
                }
            }
        }
        turn
    }

    /// Returns what the call wants.
    #[must_use]
    pub fn ask(&self) -> &'a Ask<'a> {
        self.ask
    }

    /// Returns the time of this selection. It was read once.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns all keys of the pool, offered or not.
    #[must_use]
    pub fn keys(&self) -> &'a KeySet {
        self.keys
    }

    /// Returns how many keys are offered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing is offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether the key in `slot` is offered.
    #[must_use]
    pub fn offers(&self, slot: Slot) -> bool {
        self.words
            .get(slot.index() / 64)
            .is_some_and(|word| word >> (slot.index() % 64) & 1 == 1)
    }

    /// Returns what is offered as bits, a bit for each slot, 64 to a word.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        self.words
    }

    /// Returns the `n`th offered key, counted from 0 in the order of slots.
    #[must_use]
    pub fn nth(&self, n: usize) -> Option<Candidate<'a>> {
        if n >= self.len {
            return None;
        }
        if self.len == self.words.len() * 64 {
            return Some(self.candidate(n));
        }
        let mut left = n as u32;
        for (at, &word) in self.words.iter().enumerate() {
            let here = word.count_ones();
            if left < here {
                return Some(self.candidate(at * 64 + nth_bit(word, left) as usize));
            }
            left -= here;
        }
        None
    }

    /// Returns the offered keys in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'a>> + '_ {
        let keys = self.keys;
        self.words.iter().enumerate().flat_map(move |(at, &word)| {
            Bits(word).map(move |bit| Candidate::new(keys, Slot(at as u32 * 64 + bit)))
        })
    }

    /// Returns one of the offered keys by chance, each with the same probability.
    #[must_use]
    pub fn random(&mut self) -> Option<Candidate<'a>> {
        if self.len == 0 {
            return None;
        }
        // Most of the time nearly everything is offered: a guess hits. Counting bits is the way
        // out where it does not.
        let slots = (self.words.len() * 64) as u32;
        for _ in 0..8 {
            let slot = Slot(self.chance().below(slots));
            if self.offers(slot) {
                return Some(Candidate::new(self.keys, slot));
            }
        }
        let len = self.len as u32;
        let n = self.chance().below(len) as usize;
        self.nth(n)
    }

    /// Returns the offered key whose `cost` is least; among equals one by chance, each with the
    /// same probability.
    #[must_use]
    pub fn least(&mut self, cost: impl Fn(Candidate<'a>) -> u64) -> Option<Candidate<'a>> {
        let (mut least, mut ties, mut first) = (u64::MAX, 0_u32, None);
        for (at, &word) in self.words.iter().enumerate() {
            for bit in Bits(word) {
                let key = Candidate::new(self.keys, Slot(at as u32 * 64 + bit));
                let cost = cost(key);
                if cost < least || first.is_none() {
                    (least, ties, first) = (cost, 1, Some(key));
                } else if cost == least {
                    ties += 1;
                }
            }
        }
        if ties <= 1 {
            return first;
        }
        // A second look instead of a draw for every tie: an idle pool is all ties. What has
        // changed between the two looks only shifts the choice.
        let mut skip = self.chance().below(ties);
        let mut last = first;
        for (at, &word) in self.words.iter().enumerate() {
            for bit in Bits(word) {
                let key = Candidate::new(self.keys, Slot(at as u32 * 64 + bit));
                if cost(key) <= least {
                    last = Some(key);
                    if skip == 0 {
                        return last;
                    }
                    skip -= 1;
                }
            }
        }
        last
    }

    /// Returns this turn's source of chance, seeded by the pool.
    pub fn chance(&mut self) -> &mut Random {
        self.random.get_or_insert_with(|| self.core.seeds.draw())
    }

    /// Takes one key out of the turn.
    pub fn exclude(&mut self, key: Candidate<'_>) {
        let at = key.slot().index();
        self.mask(at / 64, !(1 << (at % 64)));
    }

    /// Takes out of the turn what is not in `keep`, of the slots `64 * word .. 64 * word + 64`.
    pub fn mask(&mut self, word: usize, keep: u64) {
        if let Some(bits) = self.words.get_mut(word) {
            let gone = *bits & !keep;
            if gone != 0 {
                *bits &= keep;
                self.len -= gone.count_ones() as usize;
            }
        }
    }

    /// Takes every key out of the turn for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&At<'a>) -> bool) {
        for word in 0..self.words.len() {
            self.retain_among(word, u64::MAX, &mut keep);
        }
    }

    /// Takes every key out of the turn that is among `bits` of the slots
    /// `64 * word .. 64 * word + 64` and for which `keep` says no: for gates that know which
    /// keys need a look.
    pub fn retain_among(&mut self, word: usize, bits: u64, mut keep: impl FnMut(&At<'a>) -> bool) {
        let offered = self.words.get(word).copied().unwrap_or(0);
        let mut gone = 0;
        for bit in Bits(offered & bits) {
            let key = Candidate::new(self.keys, Slot(word as u32 * 64 + bit));
            if !keep(&self.at(key)) {
                gone |= 1 << bit;
            }
        }
        self.mask(word, !gone);
    }

    /// Closes the turn for every key: the model is out, say. The first reason given stays.
    pub fn close(&mut self, denied: Denied) {
        self.words.fill(0);
        self.len = 0;
        self.closed.get_or_insert(denied);
    }

    /// Returns why the turn was closed, if it was.
    #[must_use]
    pub fn closed(&self) -> Option<Denied> {
        self.closed
    }

    /// Returns where a gate stands before `key`.
    #[must_use]
    pub fn at(&self, key: Candidate<'a>) -> At<'a> {
        At {
            key,
            ask: self.ask,
            now: self.now,
        }
    }

    /// Enters every gate for `key`, or none: at the first refusal, whatever this turn has entered
    /// for `key` is left again and `key` is excluded.
    pub(crate) fn enter_all(
        &mut self,
        gates: &[(GateId, Arc<dyn Gate>)],
        key: Candidate<'a>,
    ) -> bool {
        for (id, gate) in gates {
            // A strategy that asks twice may be answered with the same key twice.
            if self.tickets.has(*id, key.slot()) {
                continue;
            }
            debug_assert!(*id != GateId::NONE, "a wrapper does not forward `attach`");
            let admitted = match gate.enter(&self.at(key)) {
                _ if *id == GateId::NONE => false,
                Ok(ticket) => {
                    self.tickets.push(*id, key.slot(), ticket);
                    true
                }
                Err(_) => false,
            };
            if !admitted {
                self.roll_back(|slot| slot == key.slot());
                self.exclude(key);
                return false;
            }
        }
        true
    }

    /// Ends the turn with `key`: gates entered for other keys are left again, and those entered
    /// for `key` are handed over to its lease. `None` where `key` is not offered.
    pub(crate) fn commit(&mut self, key: Candidate<'a>) -> Option<Tickets> {
        if !self.offers(key.slot()) {
            return None;
        }
        if !self.tickets.only_of(key.slot()) {
            self.roll_back(|slot| slot != key.slot());
        }
        Some(std::mem::replace(&mut self.tickets, Tickets::new()))
    }

    fn roll_back(&mut self, which: impl Fn(Slot) -> bool) {
        let report = Report {
            outcome: Outcome::Neutral,
            begun: self.now,
            first_content: None,
            ended: self.now,
            reserved: self.ask.cost,
            actual: None,
        };
        self.tickets
            .leave(&self.core.gates, self.keys, &report, which);
    }

    fn candidate(&self, index: usize) -> Candidate<'a> {
        Candidate::new(self.keys, Slot(index as u32))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.roll_back(|_| true);
    }
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("ask", &self.ask)
            .field("now", &self.now)
            .field(
                "offered",
                &self.iter().map(|key| key.id().clone()).collect::<Vec<_>>(),
            )
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// The indices of the bits that are set.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

/// Returns the index of the `n`th set bit of `word`, which has more than `n`.
fn nth_bit(mut word: u64, n: u32) -> u32 {
    for _ in 0..n {
        word &= word - 1;
    }
    word.trailing_zeros()
}
