//! One selection in progress: [`Turn`].

mod least;

use std::fmt;

use crate::gated::Guard;
use crate::pool::Core;
use crate::registry::GateId;
use crate::tickets::Tickets;
use crate::{Ask, At, Candidate, Denied, KeySet, Only, Outcome, Random, Report, Slot, Timestamp};

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
    nothing: Nothing,
    committed: bool,
    tickets: &'a mut Tickets,
    random: Random,
}

/// Why nothing was picked, as far as it is known while it happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Nothing {
    /// The turn was closed for every key.
    pub(crate) closed: Option<Denied>,
    /// Of what gates said when they were entered, the refusal that ends soonest: `enter` may deny
    /// what `check` admits.
    pub(crate) refused: Option<Denied>,
    /// It was a gate's `narrow` that took out the last key, before the strategy was asked.
    pub(crate) none_left: bool,
}

impl<'a> Turn<'a> {
    /// Starts a turn over all of `keys` that the ask may use, but those that it has tried.
    #[inline]
    pub(crate) fn new(
        core: &'a Core,
        keys: &'a KeySet,
        ask: &'a Ask<'a>,
        now: Timestamp,
        words: &'a mut [u64],
        tickets: &'a mut Tickets,
        random: Random,
    ) -> Self {
        let mut len = keys.len();
        if let Some(only) = ask.only {
            len = mark_only(only, keys, words);
        } else {
            // A loop, since a call of memcpy costs more than the few words of the usual pool.
            for (word, present) in words.iter_mut().zip(keys.present()) {
                *word = *present;
            }
        }
        let mut turn = Self {
            core,
            keys,
            ask,
            now,
            words,
            len,
            nothing: Nothing {
                closed: None,
                refused: None,
                none_left: false,
            },
            committed: false,
            tickets,
            random,
        };
        if let Some(tried) = ask.tried {
            // Who has come into the slot since is not who was tried.
            for &account in tried.accounts() {
                if keys.has_account(account) {
                    for &(word, members) in keys.members(account.slot) {
                        turn.mask(word as usize, !members);
                    }
                }
            }
            for &key in tried.keys() {
                if keys.has(key) {
                    let at = key.slot.index();
                    turn.mask(at / 64, !(1 << (at % 64)));
                }
            }
        }
        turn
    }

    /// Returns what the call wants.
    #[must_use]
    #[inline]
    pub fn ask(&self) -> &'a Ask<'a> {
        self.ask
    }

    /// Returns the time of this selection. It was read once.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns all keys of the pool, offered or not.
    #[must_use]
    #[inline]
    pub fn keys(&self) -> &'a KeySet {
        self.keys
    }

    /// Returns how many keys are offered.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing is offered.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether the key in `slot` is offered.
    #[must_use]
    #[inline]
    pub fn offers(&self, slot: Slot) -> bool {
        self.words
            .get(slot.index() / 64)
            .is_some_and(|word| word >> (slot.index() % 64) & 1 == 1)
    }

    /// Returns what is offered as bits, a bit for each slot, 64 to a word.
    #[must_use]
    #[inline]
    pub fn words(&self) -> &[u64] {
        self.words
    }

    /// Returns the `n`th offered key, counted from 0 in the order of slots.
    #[must_use]
    #[inline]
    pub fn nth(&self, n: usize) -> Option<Candidate<'a>> {
        if n >= self.len {
            return None;
        }
        if let [word] = *self.words {
            return Some(self.candidate(nth_bit(word, n as u32) as usize));
        }
        if self.len == self.keys.span() as usize {
            // Nothing is missing, so the `n`th is in slot `n`.
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

    /// Returns the offered keys in the order of slots. [`Turn::for_each`] is faster.
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'a>> + '_ {
        let keys = self.keys;
        self.words.iter().enumerate().flat_map(move |(at, &word)| {
            Bits(word).map(move |bit| Candidate::new(keys, Slot(at as u32 * 64 + bit)))
        })
    }

    /// Calls `f` with each of the offered keys, in the order of slots.
    #[inline]
    pub fn for_each(&self, mut f: impl FnMut(Candidate<'a>)) {
        for (at, &word) in self.words.iter().enumerate() {
            let first = at as u32 * 64;
            if word == u64::MAX {
                for bit in 0..64 {
                    f(Candidate::new(self.keys, Slot(first + bit)));
                }
            } else {
                for bit in Bits(word) {
                    f(Candidate::new(self.keys, Slot(first + bit)));
                }
            }
        }
    }

    /// Returns one of the offered keys by chance, each with the same probability.
    #[must_use]
    #[inline]
    pub fn random(&mut self) -> Option<Candidate<'a>> {
        if self.len == 0 {
            return None;
        }
        // Most of the time nearly everything is offered: a guess hits. Counting bits is the way
        // out where it does not.
        let span = self.keys.span();
        for _ in 0..8 {
            let slot = Slot(self.chance().below(span));
            if self.offers(slot) {
                return Some(Candidate::new(self.keys, slot));
            }
        }
        let len = self.len as u32;
        let n = self.chance().below(len) as usize;
        self.nth(n)
    }

    /// Returns two different offered keys by chance, each pair with the same probability; the same
    /// one twice where only one is offered.
    #[must_use]
    #[inline]
    pub fn random_two(&mut self) -> Option<(Candidate<'a>, Candidate<'a>)> {
        let (span, keys) = (self.keys.span(), self.keys);
        if self.len > 1 {
            // As in `random`: guesses that nearly always hit. One draw makes both.
            for _ in 0..8 {
                let draw = self.chance().next_u64();
                let one = ((draw & u64::from(u32::MAX)) * u64::from(span)) >> 32;
                let other = ((draw >> 32) * u64::from(span - 1)) >> 32;
                let other = other + u64::from(other >= one);
                let (one, other) = (Slot(one as u32), Slot(other as u32));
                if self.offers(one) && self.offers(other) {
                    return Some((Candidate::new(keys, one), Candidate::new(keys, other)));
                }
            }
        }
        let len = self.len as u32;
        let one = self.chance().below(len);
        let other = self.chance().below(len.saturating_sub(1));
        let other = if len > 1 {
            other + u32::from(other >= one)
        } else {
            one
        };
        Some((self.nth(one as usize)?, self.nth(other as usize)?))
    }

    /// Returns this turn's source of chance, seeded by the pool.
    #[inline]
    pub fn chance(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Takes one key out of the turn.
    #[inline]
    pub fn exclude(&mut self, key: Candidate<'_>) {
        let at = key.slot().index();
        self.mask(at / 64, !(1 << (at % 64)));
    }

    /// Takes out of the turn what is not in `keep`, of the slots `64 * word .. 64 * word + 64`.
    #[inline]
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
        self.nothing.closed.get_or_insert(denied);
    }

    /// Returns why the turn was closed, if it was.
    #[must_use]
    pub fn closed(&self) -> Option<Denied> {
        self.nothing.closed
    }

    /// Returns where a gate stands before `key`.
    #[must_use]
    #[inline]
    pub fn at(&self, key: Candidate<'a>) -> At<'a> {
        At {
            key,
            ask: self.ask,
            now: self.now,
        }
    }

    /// Enters every gate for `key`, or none: at the first refusal, whatever this turn has entered
    /// for `key` is left again and `key` is excluded.
    #[inline]
    pub(crate) fn enter_all(&mut self, gates: &[Guard], key: Candidate<'a>) -> bool {
        // Tickets without a number could not be given back.
        if gates.first().is_some_and(|guard| guard.id == GateId::NONE) {
            debug_assert!(false, "a wrapper does not forward `attach`");
            self.exclude(key);
            return false;
        }
        // A strategy that asks twice may be answered with the same key twice.
        let again = !self.tickets.is_empty();
        let at = self.at(key);
        for Guard { id, gate, .. } in gates {
            if again && self.tickets.has(*id, key.slot()) {
                continue;
            }
            match gate.enter(&at) {
                Ok(ticket) => self.tickets.push(*id, key.slot(), ticket),
                Err(denied) => {
                    self.refused(key, denied);
                    return false;
                }
            }
        }
        true
    }

    #[cold]
    fn refused(&mut self, key: Candidate<'a>, denied: Denied) {
        let is_sooner = match (self.nothing.refused, denied.until) {
            (None, _) => true,
            (Some(known), Some(until)) => known.until.is_none_or(|known| until < known),
            (Some(_), None) => false,
        };
        if is_sooner {
            self.nothing.refused = Some(denied);
        }
        self.roll_back(|slot| slot == key.slot());
        self.exclude(key);
    }

    /// Notes that a gate's `narrow` has just left nothing of `offered` keys.
    #[cold]
    pub(crate) fn narrowed_away(&mut self, offered: usize) {
        self.nothing.none_left |= offered > 0;
    }

    /// Returns what is known of why nothing was picked.
    #[cold]
    pub(crate) fn why_nothing(&self) -> Nothing {
        self.nothing
    }

    /// Returns whether the turn may end with `key`: it is offered, or gates were entered for it.
    /// A strategy that asks twice may take its first answer, which a gate has taken out of the
    /// offer since: what fills the key is this turn's own permit.
    #[inline]
    pub(crate) fn may_end_with(&self, key: Candidate<'a>) -> bool {
        self.offers(key.slot()) || self.tickets.holds(key.slot())
    }

    /// Ends the turn with `key`: gates entered for other keys are left again, those entered for
    /// `key` are handed over to its lease. Does nothing and returns `false` where the turn may
    /// not end with `key`.
    #[inline]
    pub(crate) fn commit(&mut self, key: Candidate<'a>) -> bool {
        if !self.may_end_with(key) {
            return false;
        }
        if !self.tickets.only_of(key.slot()) {
            self.roll_back(|slot| slot != key.slot());
        }
        self.committed = true;
        true
    }

    #[cold]
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

    #[inline]
    fn candidate(&self, index: usize) -> Candidate<'a> {
        Candidate::new(self.keys, Slot(index as u32))
    }
}

/// Offers what the ask is restricted to, and returns how many keys that are. Apart, so that
/// selections without a restriction stay as small as they are.
#[cold]
#[inline(never)]
fn mark_only(only: &Only, keys: &KeySet, words: &mut [u64]) -> usize {
    words.fill(0);
    only.mark(keys, words);
    words.iter().map(|word| word.count_ones() as usize).sum()
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.committed && !self.tickets.is_empty() {
            self.roll_back(|_| true);
        }
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
            .field("closed", &self.nothing.closed)
            .finish_non_exhaustive()
    }
}

/// The indices of the bits that are set.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    #[inline]
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
#[inline]
fn nth_bit(mut word: u64, n: u32) -> u32 {
    // All bits from the lowest on, as in a set that was never reloaded with nothing masked.
    if word & word.wrapping_add(1) == 0 {
        return n;
    }
    for _ in 0..n {
        word &= word - 1;
    }
    word.trailing_zeros()
}
