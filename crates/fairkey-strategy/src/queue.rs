//! Whose turn it is when nothing is free: [`Queue`], an order of those who wait.
//!
//! It holds no lock, reads no clock and wakes nobody: whoever has something free asks it who is
//! next. `fairkey-client` puts it before its pool; a simulator can put it before anything.
//!
//! - Classes share by weight, as stride scheduling does it: each class has a pass that goes up by
//!   one over its weight with each call served, and the lowest is next. A call that has waited long
//!   counts as of the class above ([`QueueConfig::ageing`]).
//! - Within a class tenants share what is served by cost: a virtual token counter goes up by what
//!   the tenant's calls cost over its weight, and the lowest is next.
//! - Within a tenant, whoever is due first is next; who is due at the same time, in the order in
//!   which they came.
//!
//! Calls are in *lines*: what is refused to one is refused to all of its line that are no smaller.
//! They are not asked about again in the same [`Pass`]. One that is smaller may pass, so many times
//! ([`QueueConfig::bypass`]); then the larger one can be [held](Queue::hold) up for.
//!
//! Each step costs a logarithm of how many wait.
//!
//! ```
//! use fairkey_core::{Class, Cost, Timestamp};
//! use fairkey_strategy::queue::{Entry, Next, Pass, Queue, QueueConfig};
//!
//! let (mut queue, now) = (Queue::new(QueueConfig::default()), Timestamp::ZERO);
//! for (class, call) in [(Class::Batch, "a row"), (Class::Interactive, "a question")] {
//!     let entry = Entry { line: "a/model", class, tenant: None, cost: Cost::ONE, limit: None };
//!     let ticket = queue.ticket(now, None);
//!     queue.push(entry, ticket, call, now).expect("there is room");
//! }
//! let mut pass = queue.begin(now);
//! let Some(Next::Ask(number, call)) = queue.next(&mut pass) else { panic!() };
//! assert_eq!(call, "a question");
//! let charge = queue.serve(&mut pass, number).expect("it waits");
//! queue.settle(charge, Some(Cost::ONE));
//! ```

mod config;
mod entry;
mod forecast;
mod handover;
mod line;
mod pass;
mod sizes;
mod tenants;
mod yardstick;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use fairkey_core::{Cost, Timestamp};

pub use self::config::{PerClass, QueueConfig, Tenant};
pub use self::entry::{Charge, Entry, Full, Refused, Ticket};
use self::entry::{LEVELS, Place, level_of, weight_of};
pub use self::handover::{Baton, Handover, Said};
use self::line::{Line, Size};
pub use self::pass::{Next, Pass, Rest, Then};
use self::sizes::Stale;
use self::tenants::Tenants;
use self::yardstick::Yardstick;

/// Calls that wait, in order. `L` is what a line has in common, `T` what stands for a call.
#[derive(Debug)]
pub struct Queue<L, T> {
    config: QueueConfig,
    /// The last number that was given to a ticket or a line.
    last: u64,
    items: HashMap<u64, Item<T>>,
    /// How many wait of each class, aged ones as what they were.
    classes: [usize; LEVELS],
    levels: [Level; LEVELS],
    /// The pass of whoever was served last: of the classes, as it was before.
    floor: u64,
    tenants: Tenants,
    lanes: HashMap<LaneKey, BTreeSet<Place>>,
    lines: BTreeMap<u64, Line<L>>,
    line_ids: HashMap<L, u64>,
    parked: BTreeSet<u64>,
    /// Lines by when they are worth another look.
    openings: BTreeSet<(Timestamp, u64)>,
    /// Calls that rise to the next class, by the class that they count as and the one that they came
    /// with: of those who share both, who came first rises first, so that a number says when.
    ages: [[BTreeSet<u64>; LEVELS]; LEVELS],
    /// Calls by when they stop waiting, those that do.
    limits: BTreeSet<(Timestamp, u64)>,
    held: Option<Held>,
    yardstick: Yardstick,
    /// Whether who was served last had waited while its line was closed.
    was_behind: bool,
    /// Lines whose calls may need something else than when they came.
    stale: VecDeque<Stale>,
}

/// Those of one class, tenant and line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LaneKey {
    level: usize,
    tenant: u64,
    line: u64,
}

/// One who waits. As small as it can be, since there may be very many.
#[derive(Debug)]
struct Item<T> {
    item: T,
    /// With its number: its place.
    due: Timestamp,
    tenant: u64,
    line: u64,
    tokens: u64,
    micro_usd: u64,
    since: Timestamp,
    /// The end of time: none.
    limit: Timestamp,
    requests: u32,
    /// How many were served after it had been refused, in the same look; as many as there is room
    /// for at the most.
    passed: u16,
    /// The class that it counts as.
    level: u8,
    /// The class that it came with.
    class: u8,
}

impl<T> Item<T> {
    fn place(&self, number: u64) -> Place {
        (self.due, number)
    }

    fn lane(&self) -> LaneKey {
        LaneKey {
            level: usize::from(self.level),
            tenant: self.tenant,
            line: self.line,
        }
    }

    fn class(&self) -> usize {
        usize::from(self.class)
    }

    fn cost(&self) -> Cost {
        Cost {
            requests: self.requests,
            tokens: self.tokens,
            micro_usd: self.micro_usd,
        }
    }

    fn limit(&self) -> Option<Timestamp> {
        (self.limit < Timestamp::MAX).then_some(self.limit)
    }
}

/// A class.
#[derive(Debug, Default)]
struct Level {
    pass: u64,
    waiting: usize,
}

/// A call for which others are held up.
#[derive(Debug)]
struct Held {
    number: u64,
    line: u64,
    until: Timestamp,
    /// What it was last refused with.
    time: Option<Timestamp>,
    /// The lines that are, beside its own: serving them made it wait longer.
    rivals: BTreeSet<u64>,
}

/// What a class's pass goes up by, over its weight.
const STRIDE: u64 = 1 << 24;

/// How many strides a class may be behind the others for what it could not use.
const BEHIND: u64 = 8;

impl<L: Clone + Eq + Hash, T: Clone> Queue<L, T> {
    /// Makes an empty queue.
    #[must_use]
    pub fn new(config: QueueConfig) -> Self {
        Self {
            tenants: Tenants::new(config.tenants),
            config,
            last: 0,
            items: HashMap::new(),
            classes: [0; LEVELS],
            levels: <_>::default(),
            floor: 0,
            lanes: HashMap::new(),
            lines: BTreeMap::new(),
            line_ids: HashMap::new(),
            parked: BTreeSet::new(),
            openings: BTreeSet::new(),
            ages: <_>::default(),
            limits: BTreeSet::new(),
            held: None,
            yardstick: Yardstick::default(),
            was_behind: false,
            stale: VecDeque::new(),
        }
    }

    /// Returns how many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns all who wait, in no particular order.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.items.values().map(|item| &item.item)
    }

    /// Returns how many wait in a line.
    #[must_use]
    pub fn waiting_in(&self, line: &L) -> usize {
        let line = self.line_ids.get(line).and_then(|id| self.lines.get(id));
        line.map_or(0, |line| line.by_size.len())
    }

    /// Returns whether somebody waits in a line.
    #[must_use]
    pub fn has_line(&self, line: &L) -> bool {
        // A line without anybody is removed.
        self.line_ids.contains_key(line)
    }

    /// Returns whether a call with a ticket waits.
    #[must_use]
    pub fn has(&self, ticket: Ticket) -> bool {
        self.items.contains_key(&ticket.number)
    }

    /// Returns who has the place of this number, where somebody has. A call that comes again has the
    /// place that it had: whoever was [asked about](Next::Ask) may have left it to itself meanwhile.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        self.items.get(&number).map(|item| &item.item)
    }

    /// Returns how many tenants are remembered.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// Gives out the place of a call that comes now and stops waiting at `limit`.
    pub fn ticket(&mut self, now: Timestamp, limit: Option<Timestamp>) -> Ticket {
        self.last += 1;
        Ticket::new(self.last, now, limit)
    }

    /// Puts a call in the queue, at the place that its ticket says.
    ///
    /// # Errors
    ///
    /// Says what is full, or that the call would wait for too long, and for how long.
    pub fn push(
        &mut self,
        entry: Entry<L>,
        ticket: Ticket,
        item: T,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.admit(&entry, ticket, now)?;
        let class = level_of(entry.class);
        let level = self.level_at(class, ticket.since, now);
        let line_id = self.line_of(entry.line, now);
        let tenant = self.tenants.enter(entry.tenant.as_ref(), level);
        let lane = LaneKey {
            level,
            tenant,
            line: line_id,
        };
        self.enter_class(level);
        self.classes[class] += 1;
        let (number, place) = (ticket.number, ticket.place());
        if let Some(line) = self.lines.get_mut(&line_id) {
            line.by_size.insert((Size::of(entry.cost), place));
        }
        let item = Item {
            item,
            due: ticket.due,
            tenant,
            line: line_id,
            tokens: entry.cost.tokens,
            micro_usd: entry.cost.micro_usd,
            since: ticket.since,
            limit: entry.limit.unwrap_or(Timestamp::MAX),
            requests: entry.cost.requests,
            passed: 0,
            level: level as u8,
            class: class as u8,
        };
        if let Some(limit) = item.limit() {
            self.limits.insert((limit, number));
        }
        self.items.insert(number, item);
        self.stand(lane, place);
        self.schedule_rise(number);
        Ok(())
    }

    /// Takes a call out; `None` where it waits no more.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.remove_number(ticket.number)
    }

    /// Does the same for the number of a ticket.
    pub fn remove_number(&mut self, number: u64) -> Option<T> {
        Some(self.take(number)?.item)
    }

    /// Takes out a call that is served, and charges its class, and its tenant with what it is
    /// expected to cost. `None` where it waits no more: then it must not be served.
    pub fn serve(&mut self, pass: &mut Pass, number: u64) -> Option<Charge> {
        let item = self.items.get(&number)?;
        let (
            LaneKey {
                level,
                tenant,
                line,
            },
            cost,
        ) = (item.lane(), item.cost());
        for passed in pass.note_served(line) {
            if let Some(item) = self.items.get_mut(passed) {
                item.passed = item.passed.saturating_add(1);
            }
        }
        self.unpark(line);
        if let Some(line) = self.lines.get_mut(&line) {
            line.rate.note(pass.now);
            self.was_behind = number <= line.behind_to;
        }
        let stride = STRIDE / weight_of(&self.config, level);
        let class = &mut self.levels[level];
        let before = class.pass;
        let behind = self.floor.saturating_sub(stride * BEHIND);
        class.pass = before.max(behind).saturating_add(stride);
        self.floor = self.floor.max(before);
        self.yardstick.note(cost);
        let estimated = self.yardstick.measure(cost);
        let units = self.yardstick.charge(estimated);
        // Before the tenant leaves: of what it has had, it depends whether it is remembered.
        let weight = self.tenants.charge(tenant, level, units);
        self.take(number)?;
        Some(Charge {
            tenant,
            level,
            weight,
            units,
            estimated,
        })
    }

    /// Corrects a charge when the call has ended, where it is known what it cost.
    #[expect(clippy::needless_pass_by_value, reason = "it is settled once")]
    pub fn settle(&mut self, charge: Charge, actual: Option<Cost>) {
        let Some(actual) = actual else { return };
        self.yardstick.note(actual);
        let units = self.yardstick.measure(actual);
        let Charge {
            tenant,
            level,
            weight,
            units: was,
            estimated,
        } = charge;
        self.yardstick.compare(estimated, units);
        self.tenants.correct(tenant, level, weight, was, units);
    }

    /// Returns when the queue is worth a look by the passing of time alone: when a line opens that
    /// was refused until then.
    #[must_use]
    pub fn next_opening(&self) -> Option<Timestamp> {
        self.openings.first().map(|(at, _)| *at)
    }

    /// Returns when the first call stops waiting.
    #[must_use]
    pub fn next_limit(&self) -> Option<Timestamp> {
        self.limits.first().map(|(at, _)| *at)
    }

    /// Takes out a call whose time is over, the one whose was over first.
    pub fn pop_late(&mut self, now: Timestamp) -> Option<T> {
        let (_, number) = *self.limits.first().filter(|(at, _)| *at <= now)?;
        self.remove_number(number)
    }

    /// Takes a call out of everything that it stands in.
    fn take(&mut self, number: u64) -> Option<Item<T>> {
        let item = self.items.remove(&number)?;
        if let Some(limit) = item.limit() {
            self.limits.remove(&(limit, number));
        }
        let (lane, place) = (item.lane(), item.place(number));
        self.classes[item.class()] -= 1;
        self.levels[lane.level].waiting -= 1;
        self.tenants.leave_level(lane.tenant, lane.level);
        self.leave(lane, place);
        if let Some(line) = self.lines.get_mut(&lane.line) {
            line.by_size.remove(&(Size::of(item.cost()), place));
            if line.by_size.is_empty() {
                self.remove_line(lane.line);
            }
        }
        self.tenants.leave(lane.tenant);
        self.ages[lane.level][item.class()].remove(&number);
        if self.held.as_ref().is_some_and(|held| held.number == number) {
            self.held = None;
        }
        Some(item)
    }

    fn line_of(&mut self, key: L, now: Timestamp) -> u64 {
        if let Some(id) = self.line_ids.get(&key) {
            return *id;
        }
        self.last += 1;
        self.line_ids.insert(key.clone(), self.last);
        self.lines.insert(self.last, Line::new(key, now));
        self.last
    }

    fn remove_line(&mut self, id: u64) {
        if let Some(line) = self.lines.remove(&id) {
            self.line_ids.remove(&line.key);
            self.parked.remove(&id);
            if let Some(opens) = line.opens {
                self.openings.remove(&(opens, id));
            }
        }
    }

    /// Puts a call in its lane.
    fn stand(&mut self, key: LaneKey, place: Place) {
        let Some(line) = self.lines.get_mut(&key.line) else {
            return;
        };
        let lane = self.lanes.entry(key).or_default();
        let head = lane.first().copied();
        if head.is_none() {
            line.lanes.insert((key.level, key.tenant));
        }
        lane.insert(place);
        if !line.parked && head.is_none_or(|head| place < head) {
            let LaneKey {
                level,
                tenant,
                line,
            } = key;
            if let Some(head) = head {
                self.tenants.remove_head(tenant, level, head, line);
            }
            self.tenants.add_head(tenant, level, place, line);
        }
    }

    /// Takes a call out of its lane.
    fn leave(&mut self, key: LaneKey, place: Place) {
        let (Some(line), Some(lane)) = (self.lines.get_mut(&key.line), self.lanes.get_mut(&key))
        else {
            return;
        };
        let was_head = lane.first() == Some(&place);
        lane.remove(&place);
        let head = lane.first().copied();
        if head.is_none() {
            self.lanes.remove(&key);
            line.lanes.remove(&(key.level, key.tenant));
        }
        if was_head && !line.parked {
            let LaneKey {
                level,
                tenant,
                line,
            } = key;
            self.tenants.remove_head(tenant, level, place, line);
            if let Some(head) = head {
                self.tenants.add_head(tenant, level, head, line);
            }
        }
    }

    /// Notes that somebody comes to wait in a class. Who comes back to it is lifted to those who
    /// wait, as tenants are.
    fn enter_class(&mut self, at: usize) {
        if self.levels[at].waiting == 0 {
            let waiting = self.levels.iter().filter(|level| level.waiting > 0);
            let lowest = waiting.map(|level| level.pass).min().unwrap_or(self.floor);
            self.levels[at].pass = self.levels[at].pass.max(lowest);
        }
        self.levels[at].waiting += 1;
    }

    /// Returns the class that a call of `class` counts as, by how long it has waited.
    fn level_at(&self, class: usize, since: Timestamp, now: Timestamp) -> usize {
        let Some(ageing) = self.config.ageing else {
            return class;
        };
        let rises = now.since(since).as_nanos() / ageing.max(YOUNGEST).as_nanos();
        let highest = class.saturating_sub(usize::try_from(rises).unwrap_or(usize::MAX));
        let mut level = class;
        while level > highest && self.may_rise(level) {
            level -= 1;
        }
        level
    }

    /// Whether somebody waits of a class above, before whom others may rise. Else there is nothing
    /// to rise for, and those who have waited long would only go before the other tenants of their
    /// own class.
    fn may_rise(&self, level: usize) -> bool {
        self.classes[..level].iter().any(|waiting| *waiting > 0)
    }

    /// Returns when a call rises from the class that it counts as.
    fn rises_at(&self, level: usize, class: usize, since: Timestamp) -> Option<Timestamp> {
        let ageing = self.config.ageing?.max(YOUNGEST);
        let rises = u32::try_from(class - level).ok()? + 1;
        (level > 0).then(|| since + ageing.saturating_mul(rises))
    }

    fn schedule_rise(&mut self, number: u64) {
        let Some(item) = self.items.get(&number) else {
            return;
        };
        let (level, class) = (item.lane().level, item.class());
        if self.rises_at(level, class, item.since).is_some() {
            self.ages[level][class].insert(number);
        }
    }

    /// Returns who of those who count as of a class rises first, and when.
    fn first_to_rise(&self, level: usize) -> Option<(Timestamp, u64)> {
        let firsts = self.ages[level].iter().filter_map(|ages| ages.first());
        let times = firsts.filter_map(|number| {
            let item = self.items.get(number)?;
            let at = self.rises_at(level, item.class(), item.since)?;
            Some((at, *number))
        });
        times.min()
    }

    /// Lets a call count as of the next class up.
    fn rise(&mut self, number: u64) {
        let Some(item) = self.items.get_mut(&number) else {
            return;
        };
        let (from, place, class) = (item.lane(), item.place(number), item.class());
        let to = LaneKey {
            level: from.level - 1,
            ..from
        };
        item.level -= 1;
        self.ages[from.level][class].remove(&number);
        self.enter_class(to.level);
        self.levels[from.level].waiting -= 1;
        self.tenants.enter_level(to.tenant, to.level);
        self.tenants.leave_level(from.tenant, from.level);
        self.leave(from, place);
        self.stand(to, place);
        self.schedule_rise(number);
    }
}

/// The shortest time after which calls rise.
const YOUNGEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
