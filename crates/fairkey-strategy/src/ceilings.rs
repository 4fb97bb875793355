//! Limits that nobody told of, learned from refusals: [`Ceilings`].

mod config;
mod hold;
mod learner;
mod levels;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Mutex, Ordering, lock};
use fairkey_core::{
    At, Candidate, Denied, Detail, Gate, KeySet, Outcome, Report, Scope, Scopes, SlotBits, Slots,
    Ticket, Timestamp, Turn,
};

use crate::limits::learned::LEARNED;
use crate::{Group, LimitGroup, LimitOwner, LimitUse, Limits, is_free_model};
use hold::Hold;
use learner::{CALLS, DIMENSIONS, LOOKS, Learner, MONEY, REQUESTS, Seen};
use levels::{levels_of, ticket_of};

pub use config::{CeilingsConfig, Excess, Learned, LearnedGroup, Refusal};

/// So many groups are remembered at the most; more are not learned of.
const MOST_GROUPS: usize = 16_384;
/// Where there are more accounts, what they use is counted from their first refusal on.
const COUNTED_FROM_THE_START: usize = 1_024;

/// Learns limits that nobody told of from refusals that mean "slow down", never from latency, and
/// sets them in [`Limits`], where every strategy that looks at limits sees them.
///
/// It is told of refusals by whoever reads them ([`refused`](Self::refused)), since a report says
/// neither whose limit it was nor which. Successes it hears as a gate. It stands behind the limits
/// that it sets, in the same pool.
///
/// # What is learned
///
/// - What a limiter of calls in a window accepted before it refused *is* its limit, or more. The
///   ceiling is that count. It is taken down once for a wave of refusals: those of calls that
///   began before it was known only make the count more exact.
/// - A refusal that does not say what was too much is blamed on what was never so high before:
///   calls at a time, then requests and tokens in the window.
/// - A ceiling that is used up grows: after [`CeilingsConfig::patience`] windows of full use it is
///   twice what was refused, near it for most of that time, and steep at its end. One that is not
///   used up stays as it is.
/// - A limit that the other side names is taken at once. A configured limit is an upper bound.
/// - No ceiling is below [`CeilingsConfig::least_requests`] a window, one call at a time, or one
///   call of whatever size: nobody is locked out.
///
/// # Holding back
///
/// After a refusal of a window nothing is sent for the time that it names; where it names none,
/// for a 64th of the window, and twice as long each time in a row, up to a quarter of it.
///
/// # Cost
///
/// While nothing was refused a call costs a few loads. Accounts are counted from the start (of
/// more than 1,024, from their first refusal on), which is what [`Limits`] cost.
#[derive(Debug)]
pub struct Ceilings {
    config: CeilingsConfig,
    limits: Arc<Limits>,
    table: Mutex<Table>,
    accounts: Slots<Account>,
    /// Of accounts, and of their free models.
    holds: [Hold; 2],
    /// A bit for each of them that holds anything back.
    shown: Arc<SlotBits>,
}

/// What calls read and write of an account.
#[derive(Debug)]
struct Account {
    /// When its ceilings are to be looked at; [`u64::MAX`] while it has none.
    next_look: AtomicU64,
    /// The most requests, tokens and calls of accepted calls since somebody looked last.
    peak: [AtomicU64; 3],
    /// What calls that begin before this time count may be calls that were refused.
    blurred_until: AtomicU64,
}

impl Account {
    fn new() -> Self {
        Self {
            next_look: AtomicU64::new(u64::MAX),
            peak: std::array::from_fn(|_| AtomicU64::new(0)),
            blurred_until: AtomicU64::new(0),
        }
    }
}

impl Account {
    fn take_peak(&self) -> [u64; 3] {
        std::array::from_fn(|at| self.peak[at].swap(0, Ordering::Relaxed))
    }
}

/// What is learned, by account.
#[derive(Debug, Default)]
struct Table {
    accounts: HashMap<usize, Vec<(LearnedGroup, Learner)>>,
    groups: usize,
}

impl Table {
    /// Finds or makes a learner; `None` where there are too many.
    fn learner(&mut self, account: usize, group: LearnedGroup) -> Option<&mut Learner> {
        let groups = self.accounts.entry(account).or_default();
        let at = match groups.iter().position(|(known, _)| *known == group) {
            Some(at) => at,
            None if self.groups >= MOST_GROUPS => return None,
            None => {
                self.groups += 1;
                groups.push((group, Learner::new()));
                groups.len() - 1
            }
        };
        groups.get_mut(at).map(|(_, learner)| learner)
    }
}

impl Ceilings {
    /// Makes a gate that has learned nothing. `limits` must stand before it in the same pool.
    #[must_use]
    pub fn new(config: CeilingsConfig, limits: Arc<Limits>) -> Self {
        let shown = Arc::new(SlotBits::new());
        Self {
            config: config.sound(),
            limits,
            table: Mutex::new(Table::default()),
            accounts: Slots::new(),
            holds: std::array::from_fn(|bit| Hold::new(&shown, bit)),
            shown,
        }
    }

    /// Learns from a refusal, at `now`. To be told before the call's lease ends, so that what it
    /// reserved is still counted.
    ///
    /// Returns until when it holds back calls of the account or its free models, or the ceiling
    /// of a model lets none through: nobody else has to. `None` where it learned nothing, since
    /// the group is a key's or there are too many.
    pub fn refused(
        &self,
        key: Candidate<'_>,
        refusal: &Refusal<'_>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (index, name) = (key.account().index(), LearnedGroup::of(refusal.group)?);
        let account = self.accounts.get(index)?;
        let mut table = lock(&self.table);
        let learner = table.learner(index, name)?;
        if refusal.group == LimitGroup::Account {
            learner.prove(account.take_peak());
        }
        let window = self.window(key, refusal.group);
        let used = (self.limits).used(key, refusal.group, now);
        let used = used.unwrap_or_else(|| {
            // Nothing was counted of it: from now on it is.
            for dimension in LEARNED {
                (self.limits).learn(key, refusal.group, dimension, None, self.config.window);
            }
            Default::default()
        });
        let cost = refusal.cost;
        let seen = Seen {
            used: std::array::from_fn(|at| used[at]),
            need: [1, cost.tokens, 1, cost.micro_usd],
            begun: refusal.begun.as_nanos(),
            now: now.as_nanos(),
            window,
            ratio: if refusal.token_ratio.is_finite() {
                refusal.token_ratio.clamp(0.125, 8.0)
            } else {
                1.0
            },
        };
        if refusal.group == LimitGroup::Account {
            let until = seen.begun.saturating_add(window);
            account.blurred_until.fetch_max(until, Ordering::Relaxed);
        }
        let before = learner.ceilings;
        let hold = if used[REQUESTS] == 0 && refusal.told.is_none() {
            // It was not counted when it was refused: there is nothing to learn from but the time.
            refusal
                .wait
                .map_or(Duration::from_nanos(window / LOOKS), |wait| {
                    wait.min(self.config.hint_cap)
                })
        } else {
            learner.refused(
                &seen,
                refusal.excess,
                refusal.told,
                refusal.wait,
                &self.config,
            )
        };
        let after = learner.ceilings;
        drop(table);
        self.apply(key, refusal.group, &before, &after);
        // Not before the hold is over: looks count the time in which the ceiling is used up.
        account.next_look.store(
            now.as_nanos().saturating_add(window / LOOKS),
            Ordering::Relaxed,
        );
        let until = now + hold;
        match refusal.group {
            LimitGroup::FreeModels => self.holds[1].close(index, until),
            LimitGroup::Account => self.holds[0].close(index, until),
            LimitGroup::Key | LimitGroup::Model(_) => {}
        }
        Some(until)
    }

    /// Returns until when the account of `key` is held back as a whole, where it is.
    #[must_use]
    pub fn held_until(&self, key: Candidate<'_>, now: Timestamp) -> Option<Timestamp> {
        self.holds[0].until(key.account().index(), now)
    }

    /// Returns what is learned of the account of `key`.
    #[must_use]
    pub fn learned(&self, key: Candidate<'_>, now: Timestamp) -> Vec<Learned> {
        let table = lock(&self.table);
        let groups = table.accounts.get(&key.account().index());
        let mut learned = Vec::new();
        for (group, learner) in groups.into_iter().flatten() {
            for (dimension, ceiling) in LEARNED.into_iter().zip(&learner.ceilings) {
                let Some(ceiling) = ceiling else { continue };
                learned.push(Learned {
                    group: group.clone(),
                    dimension,
                    amount: ceiling.amount,
                    per: self.config.window,
                    is_told: ceiling.is_told,
                    age: now.since(Timestamp::from_nanos(ceiling.refused)),
                });
            }
        }
        drop(table);
        for learned in &mut learned {
            let limit = (self.limits).configured(key, learned.group.as_group(), learned.dimension);
            if let Some(limit) = limit {
                learned.per = limit.per;
                learned.amount = learned.amount.min(limit.amount);
            }
        }
        learned
    }

    /// Returns the ceiling behind one limit of a group of `key`, as
    /// [`Limits::uses`] tells of it. `None` where it was configured, and no lower one learned.
    #[must_use]
    pub fn behind(&self, key: Candidate<'_>, limit: &LimitUse, now: Timestamp) -> Option<Learned> {
        let is_it = |learned: &Learned| {
            let group = learned.group.as_group();
            limit.owner == LimitOwner::of(key, group) && limit.dimension == learned.dimension
        };
        let learned = self.learned(key, now).into_iter().find(is_it)?;
        let configured = (self.limits).configured(key, learned.group.as_group(), limit.dimension);
        let is_less = configured.is_none_or(|configured| learned.amount < configured.amount);
        is_less.then_some(learned)
    }

    /// Takes over what was known before, of the account of `key`, unless it knows better already
    /// or it is older than [`CeilingsConfig::forget`]. Returns whether it has.
    pub fn restore(&self, key: Candidate<'_>, learned: &Learned, now: Timestamp) -> bool {
        let at = LEARNED.iter().position(|known| *known == learned.dimension);
        let (Some(at), Some(account)) = (at, self.accounts.get(key.account().index())) else {
            return false;
        };
        if learned.age > self.config.forget || learned.amount == 0 {
            return false;
        }
        let mut table = lock(&self.table);
        let Some(learner) = table.learner(key.account().index(), learned.group.clone()) else {
            return false;
        };
        let before = learner.ceilings;
        learner.restore(
            at,
            learned.amount,
            learned.is_told,
            (now - learned.age).as_nanos(),
        );
        let after = learner.ceilings;
        drop(table);
        self.apply(key, learned.group.as_group(), &before, &after);
        account.next_look.store(now.as_nanos(), Ordering::Relaxed);
        before != after
    }

    /// Hears that the last refusal was not the account's of `key` after all: it is held back no
    /// longer, and what only that refusal taught is forgotten.
    pub fn acquit(&self, key: Candidate<'_>) {
        let index = key.account().index();
        let mut table = lock(&self.table);
        let mut groups = table.accounts.get_mut(&index).into_iter().flatten();
        if let Some((group, learner)) = groups.find(|(group, _)| *group == LearnedGroup::Account) {
            let before = learner.ceilings;
            learner.acquit();
            self.apply(key, group.as_group(), &before, &learner.ceilings);
        }
        drop(table);
        self.holds.iter().for_each(|hold| hold.open(index));
    }

    /// Forgets what was learned of the account of `key`, and holds nothing back.
    pub fn clear(&self, key: Candidate<'_>) {
        let index = key.account().index();
        let mut table = lock(&self.table);
        let groups = table.accounts.remove(&index).unwrap_or_default();
        table.groups -= groups.len();
        drop(table);
        for (group, learner) in &groups {
            self.apply(
                key,
                group.as_group(),
                &learner.ceilings,
                &[None; DIMENSIONS],
            );
        }
        self.make_new(index);
    }

    fn make_new(&self, index: usize) {
        if let Some(account) = self.accounts.get(index) {
            account.next_look.store(u64::MAX, Ordering::Relaxed);
            account.take_peak();
            account.blurred_until.store(0, Ordering::Relaxed);
        }
        self.holds.iter().for_each(|hold| hold.open(index));
    }

    /// Returns the window of a group, in nanoseconds.
    fn window(&self, key: Candidate<'_>, group: LimitGroup<'_>) -> u64 {
        let configured = (self.limits).configured(key, group, crate::Dimension::Requests);
        let window = configured.map_or(self.config.window, |limit| limit.per);
        u64::try_from(window.as_nanos())
            .unwrap_or(u64::MAX)
            .max(LOOKS)
    }

    /// Sets what has changed.
    fn apply(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        before: &[Option<learner::Ceiling>; DIMENSIONS],
        after: &[Option<learner::Ceiling>; DIMENSIONS],
    ) {
        let amount = |ceiling: &Option<learner::Ceiling>| ceiling.map(|ceiling| ceiling.amount);
        for (at, dimension) in LEARNED.into_iter().enumerate() {
            let (was, is) = (amount(&before[at]), amount(&after[at]));
            if was != is {
                (self.limits).learn(key, group, dimension, is, self.config.window);
            }
        }
    }

    /// Returns what was used when a call began, without calls that were refused by now.
    #[cold]
    fn without_refused(&self, key: Candidate<'_>, levels: [u64; 3], begun: Timestamp) -> [u64; 3] {
        let table = lock(&self.table);
        let groups = table.accounts.get(&key.account().index());
        let mut groups = groups.into_iter().flatten();
        let learner = groups.find(|(group, _)| *group == LearnedGroup::Account);
        learner.map_or(levels, |(_, learner)| {
            learner.without_refused(levels, begun.as_nanos())
        })
    }

    /// Looks at the ceilings of an account, after a call that succeeded.
    #[cold]
    fn look(&self, key: Candidate<'_>, begun: Timestamp, now: Timestamp) {
        let index = key.account().index();
        let Some(account) = self.accounts.get(index) else {
            return;
        };
        let mut table = lock(&self.table);
        let Some(groups) = table.accounts.get_mut(&index) else {
            return;
        };
        let mut next = u64::MAX;
        for (group, learner) in groups.iter_mut() {
            learner.succeeded(begun.as_nanos());
            if learner.has_none() {
                continue;
            }
            let window = self.window(key, group.as_group());
            let used = (self.limits).used(key, group.as_group(), now);
            let used = used.unwrap_or_default();
            let mut used: [u64; DIMENSIONS] = std::array::from_fn(|at| used[at]);
            // The call that has just ended was one of them.
            used[CALLS] += 1;
            used[MONEY] += used[MONEY] / used[CALLS];
            if *group == LearnedGroup::Account {
                // Whole bursts leave the window at once: what was used before counts.
                let levels = account.take_peak();
                learner.prove(levels);
                for (used, level) in used.iter_mut().zip(levels) {
                    *used = level.max(*used);
                }
            }
            let before = learner.ceilings;
            if learner.look(&used, now.as_nanos(), window, &self.config) != 0 {
                self.apply(key, group.as_group(), &before, &learner.ceilings);
            }
            next = next.min(now.as_nanos().saturating_add(window / LOOKS));
        }
        account.next_look.store(next, Ordering::Relaxed);
    }
}

impl Gate for Ceilings {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let index = at.key.account().index();
        let of_account = self.holds[0].until(index, at.now);
        let of_free = if at.ask.model.is_some_and(is_free_model) {
            self.holds[1].until(index, at.now)
        } else {
            None
        };
        match of_account.max(of_free) {
            Some(until) => Err(Denied::until(Scope::Account, until).of_limit()),
            None => Ok(()),
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        for (at, hold) in self.holds.iter().enumerate() {
            let concerns = || at == 0 || turn.ask().model.is_some_and(is_free_model);
            if !hold.closed().is_empty() && concerns() {
                let now = turn.now();
                Group::Account.narrow(
                    turn,
                    |word| hold.closed().word(word),
                    |index| match hold.look(index, now) {
                        Some(until) => Err(Denied::until(Scope::Account, until).of_limit()),
                        None => Ok(()),
                    },
                );
            }
        }
    }

    #[inline]
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        if !self.shown.is_empty() {
            self.check(at)?;
        }
        let levels = self.limits.levels(at.key.account().index());
        Ok(ticket_of(levels))
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.shown))
    }

    #[inline]
    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        if report.outcome != Outcome::Success {
            return;
        }
        let Some(account) = self.accounts.get(key.account().index()) else {
            return;
        };
        // Relaxed: what was most is advisory, and who looks takes a lock.
        let mut levels = levels_of(ticket);
        if report.begun.as_nanos() < account.blurred_until.load(Ordering::Relaxed) {
            levels = self.without_refused(key, levels, report.begun);
        }
        for (most, level) in account.peak.iter().zip(levels) {
            if level > most.load(Ordering::Relaxed) {
                most.fetch_max(level, Ordering::Relaxed);
            }
        }
        if report.ended.as_nanos() >= account.next_look.load(Ordering::Relaxed) {
            self.look(key, report.begun, report.ended);
        }
    }

    /// None: it is told of refusals.
    fn hears(&self) -> Scopes {
        Scopes::NONE
    }

    fn rekey(&self, keys: &KeySet) {
        let len = keys.account_slots();
        self.accounts.grow(len, Account::new);
        self.holds.iter().for_each(|hold| hold.grow(len));
        let mut table = lock(&self.table);
        for account in keys.fresh_accounts() {
            let groups = table.accounts.remove(&account.index());
            table.groups -= groups.map_or(0, |groups| groups.len());
            self.make_new(account.index());
        }
        drop(table);
        if len <= COUNTED_FROM_THE_START {
            let fresh = keys.fresh_accounts().iter();
            let keys = fresh.filter_map(|slot| Group::Account.representative(keys, slot.index()));
            self.limits.count(keys, self.config.window);
        }
    }

    fn detail(&self, at: &At<'_>) -> Detail {
        let what = self.check(at).err().map(|_| "it asked to slow down");
        Detail { since: None, what }
    }
}
