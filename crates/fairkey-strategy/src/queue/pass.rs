//! Asking those who wait, in order: [`Pass`], [`Rest`].

use std::collections::HashMap;
use std::hash::Hash;

use fairkey_core::Timestamp;

use super::entry::{LEVELS, Ticket};
use super::line::Size;
use super::{Held, LaneKey, Queue};

/// One look at those who wait, in order, for as long as there is something for somebody.
///
/// Its work is bounded: after so many refusals it ends, and [`is_cut_short`](Self::is_cut_short)
/// tells that somebody was not asked who might have been served. [`Rest`] is for those.
#[derive(Debug)]
pub struct Pass {
    pub(super) now: Timestamp,
    /// What was refused in each line: nobody that is no smaller is asked about.
    blocked: HashMap<u64, Size>,
    /// Where somebody smaller waits, who may be asked next.
    smaller: Option<u64>,
    refused: Vec<u64>,
    /// Whether it asks those who wait in order, and not about one who came.
    is_usual: bool,
    /// That it is for one who came, while nothing came free: that there is nothing for a call does
    /// not tell then whether it is too large. Who is to be asked about alone.
    newcomer: Option<Option<u64>>,
    refusals: u32,
    /// Since somebody was served.
    refusals_since: u32,
    any_served: bool,
    /// Whether the call was asked about for which others are held up, since somebody was served.
    asked_held: bool,
    last_served: Option<u64>,
    cut_short: bool,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Ask whether there is something for this call: then [`Queue::serve`], or [`Queue::refused`].
    Ask(u64, T),
    /// Its time is over; it is out of the queue.
    Late(T),
}

/// What a refusal leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    GoOn,
    /// So many have been served past this call that others are to be [held up](Queue::hold) for
    /// it, if a smaller one would be served; else, this is to be [noted](Queue::note_other_bar).
    Look,
}

/// Where a look at every line is, in no particular order: for what a [`Pass`] has not come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    after: u64,
}

/// A pass ends after so many refusals: something that is free for somebody far behind is found by
/// the rest.
const REFUSALS: u32 = 16;

/// After so many, where somebody was served: most often that was all there is.
const REFUSALS_SINCE: u32 = 4;

/// The rest goes on later after so many.
const REFUSALS_OF_REST: u32 = 32;

/// How many heads of lines that were refused are passed over in search of another one.
const STEPS: usize = 128;

/// How many calls rise to the next class at a time, at most.
const RISES: usize = 64;

impl Pass {
    fn new(now: Timestamp) -> Self {
        Self {
            now,
            blocked: HashMap::new(),
            smaller: None,
            refused: Vec::new(),
            is_usual: true,
            newcomer: None,
            refusals: 0,
            refusals_since: 0,
            any_served: false,
            asked_held: false,
            last_served: None,
            cut_short: false,
        }
    }

    /// Returns whether the pass ended before everybody was asked about that might be served.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// Returns the time that it was begun with.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns those who were refused before.
    pub(super) fn note_served(&mut self, line: u64) -> &[u64] {
        self.any_served = true;
        self.refusals_since = 0;
        self.asked_held = false;
        self.last_served = Some(line);
        if self.blocked.contains_key(&line) {
            self.smaller = Some(line);
        }
        &self.refused
    }

    fn is_spent(&self) -> bool {
        self.refusals >= REFUSALS || (self.any_served && self.refusals_since >= REFUSALS_SINCE)
    }
}

impl<L: Clone + Eq + Hash, T: Clone> Queue<L, T> {
    /// Begins to ask those who wait: lets those rise that have waited long, and opens the lines
    /// whose time has come.
    pub fn begin(&mut self, now: Timestamp) -> Pass {
        for _ in 0..RISES {
            let may = (1..LEVELS).filter(|level| self.may_rise(*level));
            let first = may.filter_map(|level| Some((self.first_to_rise(level)?, level)));
            let due = first.filter(|((at, _), _)| *at <= now).min();
            let Some(((_, number), _)) = due else {
                break;
            };
            self.rise(number);
        }
        while let Some((at, line)) = self.openings.first().copied().filter(|(at, _)| *at <= now) {
            self.openings.remove(&(at, line));
            if let Some(line) = self.lines.get_mut(&line) {
                line.opens = None;
            }
            self.unpark(line);
        }
        if self.held.as_ref().is_some_and(|held| held.until <= now) {
            self.let_go();
        }
        Pass::new(now)
    }

    /// Begins to ask about one who came, while nothing came free. Nobody else has to be asked
    /// about; nor has the newcomer where one of its line goes before it that is no larger: there
    /// was nothing for that one. Only one that is smaller or due sooner than those before it is
    /// asked about in the usual order, so that it is noted [whom it passes](super::QueueConfig::bypass).
    pub fn begin_for(&mut self, ticket: Ticket, now: Timestamp) -> Pass {
        let number = ticket.number;
        let (mut alone, mut is_behind) = (false, true);
        if let Some(item) = self.items.get(&number)
            && let Some(line) = self.lines.get(&item.line)
        {
            let first = self.lanes.get(&item.lane()).and_then(|lane| lane.first());
            let smallest = line.by_size.first().map(|(_, place)| place);
            alone = line.by_size.len() == 1;
            let place = item.place(number);
            is_behind = first != Some(&place) && smallest != Some(&place);
        }
        let mut pass = if alone || is_behind {
            Pass::new(now)
        } else {
            self.begin(now)
        };
        pass.newcomer = Some(alone.then_some(number));
        pass.is_usual = !alone && !is_behind;
        pass
    }

    /// Returns who is next. To be answered by [`serve`](Self::serve) or
    /// [`refused`](Self::refused), perhaps after calls have come and gone meanwhile.
    pub fn next(&mut self, pass: &mut Pass) -> Option<Next<T>> {
        let number = match &mut pass.newcomer {
            Some(newcomer) if !pass.is_usual => newcomer.take()?,
            _ => self.find(pass)?,
        };
        let line = self.items.get(&number)?.line;
        let next = self.next_of(number, pass.now);
        if matches!(next, Some(Next::Late(_))) && pass.blocked.contains_key(&line) {
            // It was to be asked as the smallest of its line: now another one is that.
            pass.smaller = Some(line);
        }
        next
    }

    /// Notes that there is nothing for a call, until a time where one is known. `closed`: nor for
    /// any other of its line, whatever its size, nor because of those before it.
    pub fn refused(
        &mut self,
        pass: &mut Pass,
        number: u64,
        until: Option<Timestamp>,
        closed: bool,
    ) -> Then {
        pass.refusals += 1;
        pass.refusals_since += 1;
        let bypass = u16::try_from(self.config.bypass.max(1)).unwrap_or(u16::MAX);
        let Some(item) = self.items.get_mut(&number) else {
            return Then::GoOn;
        };
        let (id, size) = (item.line, Size::of(item.cost()));
        let passed = item.passed;
        pass.refused.push(number);
        let blocked = pass.blocked.entry(id).or_insert(size);
        *blocked = (*blocked).min(size);
        let blocked = *blocked;
        let until = until.filter(|until| *until > pass.now);
        if let Some(until) = until {
            // The soonest: what is refused for longer says so again.
            self.schedule(id, until);
        }
        if closed {
            if let Some(line) = self.lines.get_mut(&id) {
                line.behind_to = self.last;
            }
            self.park(id);
            return Then::GoOn;
        }
        if let Some(held) = self.held.as_mut().filter(|held| held.number == number) {
            // Whoever was served last made it wait longer, or it cannot be told.
            let later = held
                .time
                .is_none_or(|time| until.is_none_or(|until| until > time));
            if let Some(last) = pass.last_served.take().filter(|last| later && *last != id) {
                held.rivals.insert(last);
            }
            held.time = until;
            return Then::GoOn;
        }
        let is_held = self.held.as_ref().is_some_and(|held| held.line == id);
        let line = self.lines.get(&id);
        let smallest = line.and_then(|line| line.by_size.first());
        if !is_held
            && self.config.bypass > 0
            && smallest.is_some_and(|(it, _)| it.is_below(blocked))
        {
            pass.smaller = Some(id);
        }
        let by_rest = line.is_some_and(|line| line.parked);
        let first = pass.newcomer.is_none() && !pass.any_served;
        if passed >= bypass && first && self.held.is_none() && !by_rest {
            Then::Look
        } else {
            Then::GoOn
        }
    }

    /// Notes what has barred a call that was refused: limits alone (`by_limit`), or failures. A line
    /// that failures bar has no [forecast](Self::forecast), until limits alone do or one of it is
    /// served, and for a few seconds more.
    pub fn note_bar(&mut self, pass: &Pass, number: u64, by_limit: bool) {
        if let Some(item) = self.items.get(&number)
            && let Some(line) = self.lines.get_mut(&item.line)
        {
            line.rate.bar(by_limit, pass.now);
        }
    }

    /// Holds others up for a call that does not fit, until it is served, leaves, or
    /// [`QueueConfig::hold`](super::QueueConfig::hold) is over. `until`: what it was refused with.
    ///
    /// Those of its line are held up at once, those of other lines when serving one of them has made
    /// it wait longer. One call at a time is held up for.
    pub fn hold(&mut self, pass: &mut Pass, number: u64, until: Option<Timestamp>) {
        if self.held.is_none()
            && let Some(item) = self.items.get(&number)
        {
            pass.asked_held = true;
            pass.smaller = None;
            self.held = Some(Held {
                number,
                line: item.line,
                until: pass.now + self.config.hold,
                time: until,
                rivals: <_>::default(),
            });
        }
    }

    /// Returns whether others are held up for somebody.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Notes that something else bars a call than its size: others need not wait for it, and its
    /// line is asked about when its time has come or [`open`](Self::open) says so, and by the
    /// [`Rest`].
    pub fn note_other_bar(&mut self, number: u64) {
        if let Some(item) = self.items.get_mut(&number) {
            item.passed = 0;
            let line = item.line;
            self.park(line);
        }
    }

    /// Opens a line, where it was closed: something may have changed for it. Returns whether it
    /// was.
    pub fn open(&mut self, line: &L) -> bool {
        let id = self.line_ids.get(line).copied();
        let id = id.filter(|id| self.parked.contains(id));
        id.is_some_and(|id| {
            self.unpark(id);
            true
        })
    }

    /// Notes that a line is worth another look at a time, unless one is noted that is sooner.
    pub fn remind(&mut self, line: &L, at: Timestamp) {
        if let Some(id) = self.line_ids.get(line).copied() {
            self.schedule(id, at);
        }
    }

    fn schedule(&mut self, id: u64, at: Timestamp) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if line.opens.is_none_or(|opens| at < opens) {
            if let Some(opens) = line.opens.replace(at) {
                self.openings.remove(&(opens, id));
            }
            self.openings.insert((at, id));
        }
    }

    /// Opens every line.
    pub fn open_all(&mut self) {
        while let Some(id) = self.parked.first().copied() {
            self.unpark(id);
        }
    }

    /// Returns whether somebody waits whom no [`Pass`] asks about: for the [`Rest`].
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Returns who is next of everybody, line by line, the smallest first; `None` at the end, or
    /// where `pass` has seen so many refusals that the rest is for another one.
    pub fn next_of_rest(&mut self, rest: &mut Rest, pass: &mut Pass) -> Option<Next<T>> {
        loop {
            if pass.refusals >= REFUSALS_OF_REST {
                pass.cut_short = true;
                return None;
            }
            let (id, line) = self.lines.range(rest.after + 1..).next()?;
            let id = *id;
            let first = line.by_size.first().map(|(_, (_, number))| *number);
            match first.filter(|_| !pass.blocked.contains_key(&id) && !self.is_held_up(id)) {
                Some(number) => return self.next_of(number, pass.now),
                None => rest.after = id,
            }
        }
    }

    fn next_of(&mut self, number: u64, now: Timestamp) -> Option<Next<T>> {
        let item = self.items.get(&number)?;
        if item.limit().is_some_and(|limit| limit <= now) {
            return Some(Next::Late(self.take(number)?.item));
        }
        Some(Next::Ask(number, item.item.clone()))
    }

    fn find(&self, pass: &mut Pass) -> Option<u64> {
        if let Some(held) = self.held.as_ref().filter(|_| !pass.asked_held) {
            pass.asked_held = true;
            return Some(held.number);
        }
        if self.is_empty() || pass.blocked.len() >= self.lines.len() && pass.smaller.is_none() {
            return None;
        }
        if pass.is_spent() {
            pass.cut_short = true;
            return None;
        }
        let mut levels: [usize; LEVELS] = std::array::from_fn(|at| at);
        levels.sort_by_key(|at| self.levels[*at].pass);
        if let Some(id) = pass.smaller.take()
            && let Some(blocked) = pass.blocked.get(&id)
            && !self.is_held_up(id)
        {
            // At the last, whoever is the least: if there is nothing for that one, there is none.
            let is_last = pass.refusals_since + 1 >= REFUSALS_SINCE;
            let next = self.smallest_below(id, *blocked);
            let next = next.filter(|_| !is_last).map_or(next, |least| {
                Some(self.next_below(id, *blocked, levels).unwrap_or(least))
            });
            if next.is_some() {
                return next;
            }
        }
        // Of a tenant's calls, those that a closed line has kept take turns with the others.
        let is_behind = |line: u64, number: u64| {
            let line = self.lines.get(&line).filter(|_| self.was_behind);
            line.is_some_and(|line| number <= line.behind_to)
        };
        let heads = |at| self.tenants.heads(at, STEPS, is_behind);
        let heads = levels.into_iter().flat_map(heads);
        for (steps, (_, number, line)) in heads.enumerate() {
            if !pass.blocked.contains_key(&line) && !self.is_held_up(line) {
                return Some(number);
            }
            if steps >= STEPS {
                pass.cut_short = true;
                return None;
            }
        }
        None
    }

    /// Whether others go before a line for now: the one that is held up for, and what it waits for
    /// is left to it.
    fn is_held_up(&self, line: u64) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.line == line || held.rivals.contains(&line))
    }

    /// Others are held up no more for a call, which is as it was at first.
    fn let_go(&mut self) {
        if let Some(held) = self.held.take()
            && let Some(item) = self.items.get_mut(&held.number)
        {
            item.passed = 0;
        }
    }

    pub(super) fn park(&mut self, id: u64) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.parked) else {
            return;
        };
        line.parked = true;
        self.parked.insert(id);
        for (level, tenant) in &line.lanes {
            let lane = LaneKey {
                level: *level,
                tenant: *tenant,
                line: id,
            };
            if let Some(head) = self.lanes.get(&lane).and_then(|lane| lane.first()) {
                self.tenants.remove_head(*tenant, *level, *head, id);
            }
        }
    }

    pub(super) fn unpark(&mut self, id: u64) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| line.parked) else {
            return;
        };
        line.parked = false;
        self.parked.remove(&id);
        for (level, tenant) in &line.lanes {
            let lane = LaneKey {
                level: *level,
                tenant: *tenant,
                line: id,
            };
            if let Some(head) = self.lanes.get(&lane).and_then(|lane| lane.first()) {
                self.tenants.add_head(*tenant, *level, *head, id);
            }
        }
    }
}
