//! Who may wait, and for how long that would be.

use std::hash::Hash;
use std::time::Duration;

use fairkey_core::{Class, Timestamp};

use super::entry::{Entry, Full, LEVELS, Refused, Ticket, level_of, weight_of};
use super::{LaneKey, Queue};

/// A call is let in only where a wait that is longer than forecast by this part of it is in time,
/// too: what is free comes in waves where limits are counted in windows, and half of those whose
/// time is just enough would wait in vain to its end.
const SLACK: u32 = 16;

impl<L: Clone + Eq + Hash, T: Clone> Queue<L, T> {
    /// Returns how long a call would wait, as far as it can be told from how fast its line was
    /// served in the last minute; `None` where that is not known: fewer than ten were, or within
    /// less than a second, or failures have barred it ([`note_bar`](Self::note_bar)).
    ///
    /// After failures it starts anew, after eight seconds, and not while the line is served ever
    /// faster: in the first minute, a quarter more in the second half of the time than in the first.
    ///
    /// The line is served at a rate of `r`. The call's class gets its part `c` of that by weight,
    /// among classes of which somebody waits, and its tenant the part `t`, among tenants of whom
    /// somebody waits in that class. With `n` calls of its own line, class and tenant that are due
    /// before it, the call waits for `(n + 1) / (r c t)`; but since others may leave more than their
    /// part, no longer than it takes to serve the whole line, `(m + 1) / r` with `m` in the line.
    pub fn forecast(
        &mut self,
        entry: &Entry<L>,
        ticket: Ticket,
        now: Timestamp,
    ) -> Option<Duration> {
        let id = *self.line_ids.get(&entry.line)?;
        let line = self.lines.get_mut(&id)?;
        let rate = line.rate.per_second(now)?;
        let all = line.by_size.len();
        let level = self.level_at(level_of(entry.class), ticket.since, now);
        let tenant = self.tenants.find(entry.tenant.as_ref());
        let lane = tenant.map(|tenant| LaneKey {
            level,
            tenant,
            line: id,
        });
        let before = lane.map_or(0.0, |lane| self.before(lane, ticket.due));
        let weights = |at: usize| weight_of(&self.config, at);
        let waiting = (0..LEVELS).filter(|at| *at == level || self.levels[*at].waiting > 0);
        let class_part = weights(level) as f64 / waiting.map(weights).sum::<u64>() as f64;
        let part = class_part * self.tenants.part(entry.tenant.as_ref(), level);
        let own = (before + 1.0) / (rate * part);
        let whole = (all as f64 + 1.0) / rate;
        Duration::try_from_secs_f64(own.min(whole)).ok()
    }

    /// About how many of a lane are due before a time: in between, as if due times lay evenly.
    fn before(&self, lane: LaneKey, due: Timestamp) -> f64 {
        let lane = self.lanes.get(&lane);
        let Some((lane, first, last)) =
            lane.and_then(|lane| Some((lane, lane.first()?.0, lane.last()?.0)))
        else {
            return 0.0;
        };
        if due >= last {
            lane.len() as f64
        } else {
            let part = due.since(first).as_secs_f64() / last.since(first).as_secs_f64();
            lane.len() as f64 * part
        }
    }

    /// Says whether a call may wait.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub(super) fn admit(
        &mut self,
        entry: &Entry<L>,
        ticket: Ticket,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let config = &self.config;
        let class = config.length_per_class.of(entry.class);
        let tenant = config.length_per_tenant.filter(|_| entry.tenant.is_some());
        let waiting = self.classes[level_of(entry.class)];
        let full = if self.items.len() >= config.length {
            Some(Full::Queue)
        } else if class.is_some_and(|length| waiting >= length) {
            Some(Full::Class)
        } else if tenant.is_some_and(|n| self.tenants.waiting(entry.tenant.as_ref()) >= n) {
            Some(Full::Tenant)
        } else {
            None
        };
        let early = config.refuse_early;
        if let Some(why) = full {
            let wait = self.forecast(entry, ticket, now);
            return Err(Refused { why, wait });
        }
        let Some(limit) = entry.limit.filter(|_| early) else {
            return Ok(());
        };
        match self.forecast(entry, ticket, now) {
            Some(wait) if now + wait + wait / SLACK > limit => Err(Refused {
                why: Full::TooLate,
                wait: Some(wait),
            }),
            _ => Ok(()),
        }
    }

    /// Returns how many wait of a class, aged ones as what they were.
    #[must_use]
    pub fn waiting_of(&self, class: Class) -> usize {
        self.classes[level_of(class)]
    }
}
