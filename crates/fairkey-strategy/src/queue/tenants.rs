//! Who has had how much: [`Tenants`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fairkey_core::Timestamp;

use super::Tenant;
use super::entry::{LEVELS, Place};

/// How many of the largest charges a tenant may be behind the others, for what it could not use,
/// such as while its model was out. Nobody saves up more than that.
const BEHIND: u64 = 8;

/// A weight divides the charge, which is scaled so that little is lost by that.
const SCALE: u64 = 64;

/// Virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024):
/// each tenant's counter goes up by what its calls cost, divided by its weight, and the tenant
/// with the lowest is served first. Whoever comes back is lifted to the lowest counter of those who
/// wait, so that nobody saves up by being idle.
#[derive(Debug)]
pub(super) struct Tenants {
    /// By number. Numbers are not used again: a late settlement cannot hit somebody else.
    all: HashMap<u64, State>,
    names: HashMap<Option<Arc<str>>, u64>,
    last: u64,
    /// Those of whom nobody waits, in the order in which they left.
    idle: BTreeSet<(u64, u64)>,
    levels: [Level; LEVELS],
    remembered: usize,
    /// Whether who comes back is lifted: always, but in the test that shows why.
    pub(super) lifts: bool,
}

#[derive(Debug)]
struct State {
    name: Option<Arc<str>>,
    weight: u64,
    waiting: usize,
    idle_since: u64,
    shares: [Share; LEVELS],
}

/// What a tenant has in one class.
#[derive(Debug, Default)]
struct Share {
    counter: u64,
    waiting: usize,
    /// The first of each line that may be asked about, by place.
    heads: BTreeSet<(Place, u64)>,
}

#[derive(Debug, Default)]
struct Level {
    /// Those with heads, by counter.
    order: BTreeSet<(u64, u64)>,
    /// The highest counter with which somebody was served.
    floor: u64,
    largest: u64,
    /// Of those of whom somebody waits.
    weights: u64,
}

impl Tenants {
    pub(super) fn new(remembered: usize) -> Self {
        Self {
            all: HashMap::new(),
            names: HashMap::new(),
            last: 0,
            idle: BTreeSet::new(),
            levels: <_>::default(),
            remembered,
            lifts: true,
        }
    }

    /// Returns how many are remembered.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns how many calls of a tenant wait.
    pub(super) fn waiting(&self, tenant: Option<&Tenant>) -> usize {
        let state = self.find(tenant).and_then(|id| self.all.get(&id));
        state.map_or(0, |state| state.waiting)
    }

    pub(super) fn find(&self, tenant: Option<&Tenant>) -> Option<u64> {
        // A lookup by what is borrowed: the name is shared, so that this copies a pointer.
        let name = tenant.map(Tenant::shared_name);
        self.names.get(&name).copied()
    }

    /// Notes that a call of `tenant` waits in a class; returns the tenant's number.
    pub(super) fn enter(&mut self, tenant: Option<&Tenant>, level: usize) -> u64 {
        let id = self.find(tenant).unwrap_or_else(|| self.meet(tenant));
        let Some(state) = self.all.get_mut(&id) else {
            return id;
        };
        if state.waiting == 0 {
            self.idle.remove(&(state.idle_since, id));
        }
        state.waiting += 1;
        let weight = tenant.map_or(1, |tenant| u64::from(tenant.weight_value().get()));
        if state.weight != weight {
            for (share, level) in state.shares.iter().zip(&mut self.levels) {
                if share.waiting > 0 {
                    level.weights = level.weights - state.weight + weight;
                }
            }
            state.weight = weight;
        }
        self.enter_level(id, level);
        id
    }

    fn meet(&mut self, tenant: Option<&Tenant>) -> u64 {
        self.last += 1;
        let name = tenant.map(Tenant::shared_name);
        self.names.insert(name.clone(), self.last);
        let state = State {
            name,
            weight: tenant.map_or(1, |tenant| u64::from(tenant.weight_value().get())),
            waiting: 0,
            idle_since: 0,
            shares: <_>::default(),
        };
        self.all.insert(self.last, state);
        self.last
    }

    /// Notes that one call more of `id` waits in a class, such as one that has aged.
    pub(super) fn enter_level(&mut self, id: u64, at: usize) {
        let (Some(state), level) = (self.all.get_mut(&id), &mut self.levels[at]) else {
            return;
        };
        let share = &mut state.shares[at];
        share.waiting += 1;
        if share.waiting == 1 {
            level.weights += state.weight;
            let lowest = level.order.first().map(|(counter, _)| *counter);
            if self.lifts {
                share.counter = share.counter.max(lowest.unwrap_or(level.floor));
            }
        }
    }

    pub(super) fn leave_level(&mut self, id: u64, at: usize) {
        if let Some(state) = self.all.get_mut(&id) {
            let share = &mut state.shares[at];
            share.waiting -= 1;
            if share.waiting == 0 {
                self.levels[at].weights -= state.weight;
            }
        }
    }

    /// Notes that a call of `id` waits no more; `leave_level` is for its class.
    pub(super) fn leave(&mut self, id: u64) {
        let Some(state) = self.all.get_mut(&id) else {
            return;
        };
        state.waiting -= 1;
        if state.waiting > 0 {
            return;
        }
        self.last += 1;
        state.idle_since = self.last;
        self.idle.insert((self.last, id));
        // A counter that is no higher than the floor says nothing: whoever comes is lifted there.
        let ahead = |(share, level): (&Share, &Level)| share.counter > level.floor;
        if !state.shares.iter().zip(&self.levels).any(ahead) {
            self.forget(id);
        }
        while self.idle.len() > self.remembered {
            let Some((_, oldest)) = self.idle.first().copied() else {
                break;
            };
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(state) = self.all.remove(&id) {
            self.idle.remove(&(state.idle_since, id));
            self.names.remove(&state.name);
        }
    }

    /// Puts the head of a line where it may be asked about.
    pub(super) fn add_head(&mut self, id: u64, at: usize, place: Place, line: u64) {
        if let Some(state) = self.all.get_mut(&id) {
            let share = &mut state.shares[at];
            share.heads.insert((place, line));
            self.levels[at].order.insert((share.counter, id));
        }
    }

    pub(super) fn remove_head(&mut self, id: u64, at: usize, place: Place, line: u64) {
        if let Some(state) = self.all.get_mut(&id) {
            let share = &mut state.shares[at];
            share.heads.remove(&(place, line));
            if share.heads.is_empty() {
                self.levels[at].order.remove(&(share.counter, id));
            }
        }
    }

    /// Charges a tenant that is served; returns its weight.
    pub(super) fn charge(&mut self, id: u64, at: usize, units: u64) -> u64 {
        let (Some(state), level) = (self.all.get_mut(&id), &mut self.levels[at]) else {
            return 1;
        };
        let (share, weight) = (&mut state.shares[at], state.weight);
        let charge = scaled(units, weight);
        level.largest = level.largest.max(charge);
        let before = share.counter;
        let behind = level
            .floor
            .saturating_sub(level.largest.saturating_mul(BEHIND));
        let behind = if self.lifts { behind } else { 0 };
        share.counter = before.max(behind).saturating_add(charge);
        level.floor = level.floor.max(before);
        // It fades, in a few hundred calls: one huge call does not set the measure for ever.
        level.largest -= level.largest / 256;
        reorder(level, share, id, before);
        weight
    }

    /// Corrects what was charged before.
    pub(super) fn correct(&mut self, id: u64, at: usize, weight: u64, was: u64, is: u64) {
        // Gone: forgotten together with what it had.
        let (Some(state), level) = (self.all.get_mut(&id), &mut self.levels[at]) else {
            return;
        };
        let share = &mut state.shares[at];
        let before = share.counter;
        let (was, is) = (scaled(was, weight), scaled(is, weight));
        share.counter = before.saturating_sub(was.saturating_sub(is));
        share.counter = share.counter.saturating_add(is.saturating_sub(was));
        reorder(level, share, id, before);
    }

    /// Returns the tenants of a class that may be asked about, by counter.
    pub(super) fn in_order(&self, at: usize) -> impl Iterator<Item = u64> {
        self.levels[at].order.iter().map(|(_, id)| *id)
    }

    /// Returns the heads of a class that may be asked about: tenants by counter, and those of each
    /// by when they are due, those last that `is_last` names by line and number. Of each tenant
    /// about as many as `most`.
    pub(super) fn heads(
        &self,
        at: usize,
        most: usize,
        is_last: impl Fn(u64, u64) -> bool + Copy,
    ) -> impl Iterator<Item = (Timestamp, u64, u64)> {
        let order = self.levels[at].order.iter();
        let shares = order.filter_map(move |(_, id)| Some(&self.all.get(id)?.shares[at]));
        shares.flat_map(move |share| {
            let heads = move || {
                let heads = share.heads.iter().take(most);
                heads.map(|((due, n), line)| (*due, *n, *line))
            };
            let first = heads().filter(move |(_, n, line)| !is_last(*line, *n));
            first.chain(heads().filter(move |(_, n, line)| is_last(*line, *n)))
        })
    }

    /// Returns which part of what a class gets is a tenant's, if it comes to wait.
    pub(super) fn part(&self, tenant: Option<&Tenant>, at: usize) -> f64 {
        let id = self.find(tenant);
        let state = id.and_then(|id| self.all.get(&id));
        let weight = tenant.map_or(1, |tenant| u64::from(tenant.weight_value().get()));
        let counted = state.filter(|state| state.shares[at].waiting > 0);
        let all = self.levels[at].weights - counted.map_or(0, |state| state.weight) + weight;
        weight as f64 / all as f64
    }
}

fn scaled(units: u64, weight: u64) -> u64 {
    (units.saturating_mul(SCALE) / weight.max(1)).max(1)
}

fn reorder(level: &mut Level, share: &Share, id: u64, before: u64) {
    if before != share.counter && level.order.remove(&(before, id)) {
        level.order.insert((share.counter, id));
    }
}
