//! What one group has used, of all dimensions together: [`State`].

use std::time::Duration;

use fairkey_core::{Cost, FaultKind, Outcome, Report};

use super::config::{DIMENSIONS, Dimension, Limit};
use super::log::Log;

/// No call is counted as more than this in any dimension: sums and products of it stay in range.
pub(super) const MOST: u64 = 1 << 40;

/// The ticket's bit of a call that was admitted, whatever it was counted in.
pub(super) const ENTERED: u8 = 1 << DIMENSIONS;

/// What a call needs, or has used, in every dimension.
pub(super) type Amounts = [u64; DIMENSIONS];

const REQUESTS: usize = Dimension::Requests as usize;
const TOKENS: usize = Dimension::Tokens as usize;
const IN_FLIGHT: usize = Dimension::InFlight as usize;
const IN_FLIGHT_USD: usize = Dimension::InFlightUsd as usize;
pub(super) const CREDIT: usize = Dimension::Credit as usize;
const QUOTA: usize = Dimension::Quota as usize;

/// What is counted in fixed periods: the last of the dimensions.
pub(super) const FIXED: [usize; 2] = [CREDIT, QUOTA];

/// Returns what a call of that cost needs. It is at least one request, and one call.
#[inline]
pub(super) fn amounts(cost: &Cost) -> Amounts {
    let micro_usd = cost.micro_usd.min(MOST);
    let requests = u64::from(cost.requests.max(1));
    [
        requests,
        cost.tokens.min(MOST),
        1,
        micro_usd,
        micro_usd,
        requests,
    ]
}

/// The least that any call needs.
pub(super) const LEAST: Amounts = [1, 0, 1, 0, 0, 1];

/// How a call ended, as far as limits are concerned.
pub(super) struct Settlement {
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) reserved: Amounts,
    /// What it is charged; of no meaning where it was never sent.
    pub(super) charged: Amounts,
    /// Whether it never was: everything goes back.
    pub(super) undone: bool,
}

impl Settlement {
    pub(super) fn of(report: &Report) -> Self {
        let reserved = amounts(&report.reserved);
        // What another gate refused is left in the same moment. A call that was sent and given up
        // takes longer than a tick of any clock but one that stands still.
        let undone = matches!(report.outcome, Outcome::Neutral)
            && report.actual.is_none()
            && report.first_content.is_none()
            && report.ended == report.begun;
        let refused = matches!(
            report.outcome,
            Outcome::Fault {
                kind: FaultKind::Throttled | FaultKind::Exhausted | FaultKind::Refused,
                ..
            }
        ) && report.first_content.is_none();
        let mut charged = match &report.actual {
            Some(actual) => amounts(actual),
            None if refused => LEAST,
            None => reserved,
        };
        // It was sent, so it was a request, whatever came of it.
        for at in [REQUESTS, QUOTA] {
            charged[at] = charged[at].max(reserved[at]);
        }
        Self {
            begun: report.begun.as_nanos(),
            ended: report.ended.as_nanos(),
            reserved,
            charged,
            undone,
        }
    }
}

/// Why a call does not fit, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// `u64::MAX` where only the end of a call, or a change, can help.
    pub(super) until: u64,
    pub(super) dimension: Dimension,
    /// Whether the end of a call may open it before.
    pub(super) or_sooner: bool,
}

/// The period of an allowance that starts anew as a whole: of credit, or of a quota.
#[derive(Clone, Copy, Debug)]
struct Fixed {
    /// Of what is used, what calls under way have reserved.
    pending: u64,
    /// When it is new again; `u64::MAX` for never, or not before the first call.
    resets: u64,
    /// Its length; 0 where it does not reset by itself.
    period: u64,
    /// A time at which one begins; `u64::MAX` where none is known.
    anchor: u64,
}

impl Fixed {
    const NEW: Self = Self {
        pending: 0,
        resets: u64::MAX,
        period: 0,
        anchor: u64::MAX,
    };

    /// Returns the first end of a period after `now`.
    fn next(&self, now: u64) -> u64 {
        let into = match (self.anchor, self.period) {
            (_, 0) => return u64::MAX,
            // The first period begins with the first call.
            (u64::MAX, _) => 0,
            (anchor, period) if anchor <= now => (now - anchor) % period,
            (anchor, period) => (period - (anchor - now) % period) % period,
        };
        now.saturating_add(self.period - into)
    }

    fn is_new(&self, now: u64) -> bool {
        now >= self.resets
    }

    /// Begins the period that `now` is in.
    fn roll(&mut self, now: u64) {
        self.resets = match (now - self.resets).checked_div(self.period) {
            Some(over) => (self.resets).saturating_add((over + 1).saturating_mul(self.period)),
            None => u64::MAX,
        };
    }
}

/// What one group has used, and may. Everything is nanoseconds, tokens and micro-dollars, whole.
#[derive(Debug)]
pub(super) struct State {
    /// `u64::MAX` where there is none.
    pub(super) limits: Amounts,
    pub(super) used: Amounts,
    /// What may be used before the group is tight: see [`State::room`].
    pub(super) lines: Amounts,
    /// 2^64 / limit, and 0 where there is none: a multiplication instead of a division.
    pub(super) inverse: Amounts,
    /// Whether a limit is zero.
    pub(super) shut: bool,
    /// What is counted: every dimension that ever had a limit, so that one that is lifted and
    /// set again has lost nothing.
    counted: u8,
    /// Limits that the other side has told.
    told: u8,
    /// Windows with their margin, of requests and of tokens.
    windows: [u64; 2],
    margin: u64,
    logs: [Option<Box<Log>>; 2],
    /// Calls under way, limited or not.
    calls: u64,
    fixed: [Fixed; 2],
    /// Before this time nothing that is used passes with time: it may be sooner than the first
    /// that does, and is never later.
    next: u64,
    /// Whether its bit in the set of the tight is set.
    pub(super) tight: bool,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            limits: [u64::MAX; DIMENSIONS],
            used: [0; DIMENSIONS],
            lines: [u64::MAX; DIMENSIONS],
            inverse: [0; DIMENSIONS],
            shut: false,
            counted: 0,
            told: 0,
            windows: [1; 2],
            margin: 0,
            logs: [None, None],
            calls: 0,
            fixed: [Fixed::NEW; 2],
            next: u64::MAX,
            tight: false,
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limits != [u64::MAX; DIMENSIONS]
    }

    /// Returns the limit of a dimension as it was set, if there is one.
    pub(super) fn limit(&self, at: usize) -> Option<Limit> {
        let nanos = match at {
            REQUESTS | TOKENS => self.windows[at].saturating_sub(self.margin),
            CREDIT | QUOTA => self.fixed[at - CREDIT].period,
            _ => 0,
        };
        let amount = self.limits[at];
        (amount != u64::MAX).then(|| Limit::per(amount, Duration::from_nanos(nanos)))
    }

    /// Returns whether the limit of a dimension is one that the other side has told.
    pub(super) fn is_told(&self, at: usize) -> bool {
        self.told & 1 << at != 0
    }

    pub(super) fn note_told(&mut self, at: usize) {
        self.told |= 1 << at;
    }

    /// Returns how much room a dimension has in a group that is not tight: enough for one more
    /// call of usual size, so that a selection looks closely only at what is tight.
    pub(super) fn room(&self, at: usize) -> u64 {
        match self.limits[at] {
            u64::MAX => u64::MAX,
            limit if at == REQUESTS || at == IN_FLIGHT || at == QUOTA => limit.min(1),
            limit => limit / 16,
        }
    }

    /// Sets or lifts a limit. What was counted stays counted.
    pub(super) fn set(
        &mut self,
        dimension: Dimension,
        limit: Option<Limit>,
        margin: Duration,
        anchor: u64,
    ) {
        let at = dimension as usize;
        self.told &= !(1 << at);
        let Some(limit) = limit else {
            (self.limits[at], self.lines[at], self.inverse[at]) = (u64::MAX, u64::MAX, 0);
            self.shut = self.limits.contains(&0);
            // From now on it counts any number of calls, which a log made for a few cannot tell
            // apart: all of them would count from the last.
            if let Some(Some(log)) = self.logs.get_mut(at) {
                log.fit(MOST, self.windows[at], at == REQUESTS);
            }
            return;
        };
        self.limits[at] = limit.amount.min(MOST);
        self.lines[at] = self.limits[at] - self.room(at);
        self.inverse[at] = u64::MAX.checked_div(self.limits[at]).unwrap_or(u64::MAX);
        self.shut = self.limits.contains(&0);
        self.counted |= 1 << at;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match dimension {
            Dimension::Requests | Dimension::Tokens => {
                let window = nanos(limit.per.saturating_add(margin)).max(1);
                let calls = dimension == Dimension::Requests;
                self.windows[at] = window;
                self.margin = nanos(margin);
                match &mut self.logs[at] {
                    Some(log) => log.fit(limit.amount, window, calls),
                    none => *none = Some(Box::new(Log::new(limit.amount, window, calls))),
                }
            }
            Dimension::Credit | Dimension::Quota => {
                let fixed = &mut self.fixed[at - CREDIT];
                let period = nanos(limit.per);
                if fixed.period != period {
                    fixed.resets = u64::MAX;
                }
                (fixed.period, fixed.anchor) = (period, anchor);
            }
            Dimension::InFlight | Dimension::InFlightUsd => {}
        }
        self.look_ahead();
    }

    /// Takes note that the other side says so much is left, of requests or tokens for the next
    /// window, of credit until `resets`.
    pub(super) fn told(&mut self, dimension: Dimension, left: u64, now: u64, resets: Option<u64>) {
        let at = dimension as usize;
        if self.limits[at] == u64::MAX {
            return;
        }
        self.roll(now);
        let theirs = self.limits[at].saturating_sub(left);
        match dimension {
            Dimension::Requests | Dimension::Tokens => {
                // Calls under way may not have arrived there: more than they say may be used,
                // and not less.
                let more = theirs.saturating_sub(self.used[at]);
                self.log_add(at, now, more);
            }
            Dimension::Credit | Dimension::Quota => {
                let fixed = &mut self.fixed[at - CREDIT];
                self.used[at] = theirs.saturating_add(fixed.pending);
                fixed.resets = resets.unwrap_or_else(|| fixed.next(now));
                self.look_ahead();
            }
            Dimension::InFlight | Dimension::InFlightUsd => {}
        }
    }

    /// Brings what passes with time up to `now`.
    #[inline]
    pub(super) fn roll(&mut self, now: u64) {
        if now >= self.next {
            self.pass(now);
        }
    }

    #[inline(never)]
    fn pass(&mut self, now: u64) {
        for at in [REQUESTS, TOKENS] {
            if let Some(log) = &mut self.logs[at] {
                log.forget(now, self.windows[at]);
                self.used[at] = log.used();
            }
        }
        for at in FIXED {
            let fixed = &mut self.fixed[at - CREDIT];
            if self.counted & 1 << at != 0 && fixed.is_new(now) {
                self.used[at] = fixed.pending;
                fixed.roll(now);
            }
        }
        self.look_ahead();
    }

    /// Finds out anew when something that is used passes with time.
    fn look_ahead(&mut self) {
        self.next = u64::MAX;
        for at in [REQUESTS, TOKENS] {
            if let Some(log) = &self.logs[at] {
                self.next = self.next.min(log.next_change(self.windows[at]));
            }
        }
        for fixed in &self.fixed {
            self.next = self.next.min(fixed.resets);
        }
    }

    /// Returns when something that is used passes with time, at the soonest.
    #[inline]
    pub(super) fn next_change(&self) -> u64 {
        self.next
    }

    /// Reserves `need` in all dimensions or in none. Wants to have been rolled. Returns the
    /// ticket's bits.
    #[inline]
    pub(super) fn reserve(&mut self, now: u64, need: &Amounts) -> Option<u8> {
        // All six without a branch; that what is too large may go alone is the exception.
        let mut over = self.shut;
        for ((used, need), limit) in self.used.iter().zip(need).zip(&self.limits) {
            over |= used.saturating_add(*need) > *limit;
        }
        if over && !self.goes_alone(need) {
            return None;
        }
        for at in [REQUESTS, TOKENS] {
            self.log_add(at, now, need[at]);
        }
        if self.counted & 1 << IN_FLIGHT != 0 {
            self.used[IN_FLIGHT] += 1;
        }
        if self.counted & 1 << IN_FLIGHT_USD != 0 {
            self.used[IN_FLIGHT_USD] += need[IN_FLIGHT_USD];
        }
        for at in FIXED {
            if self.counted & 1 << at != 0 {
                let fixed = &mut self.fixed[at - CREDIT];
                self.used[at] += need[at];
                fixed.pending += need[at];
                if fixed.resets == u64::MAX {
                    fixed.resets = fixed.next(now);
                    self.next = self.next.min(fixed.resets);
                }
            }
        }
        self.calls += 1;
        Some(self.counted | ENTERED)
    }

    /// Returns whether what is more than a limit is so only where nothing is used.
    #[cold]
    fn goes_alone(&self, need: &Amounts) -> bool {
        let mut limits = self.used.iter().zip(need).zip(&self.limits);
        limits.all(|((used, need), limit)| fits(*used, *need, *limit))
    }

    /// Ends a call that was counted in the dimensions of `bits`. Wants to have been rolled.
    pub(super) fn settle(&mut self, bits: u8, call: &Settlement) {
        for at in [REQUESTS, TOKENS] {
            if bits & 1 << at == 0 {
                continue;
            }
            let (reserved, charged) = (call.reserved[at], call.charged[at]);
            let charged = if call.undone { 0 } else { charged };
            if charged > reserved {
                // It counts from now on: the other side may see it as late as this.
                self.log_add(at, call.ended, charged - reserved);
            } else if charged < reserved
                && let Some(log) = &mut self.logs[at]
            {
                log.take_back(call.begun, reserved - charged);
                self.used[at] = log.used();
            }
        }
        let less = |used: &mut u64, by: u64| *used = used.saturating_sub(by);
        if bits & 1 << IN_FLIGHT != 0 {
            less(&mut self.used[IN_FLIGHT], 1);
        }
        if bits & 1 << IN_FLIGHT_USD != 0 {
            less(&mut self.used[IN_FLIGHT_USD], call.reserved[IN_FLIGHT_USD]);
        }
        for at in FIXED {
            if bits & 1 << at != 0 {
                less(&mut self.fixed[at - CREDIT].pending, call.reserved[at]);
                less(&mut self.used[at], call.reserved[at]);
                if !call.undone {
                    self.used[at] = self.used[at].saturating_add(call.charged[at]);
                }
            }
        }
        less(&mut self.calls, 1);
    }

    #[inline]
    fn log_add(&mut self, at: usize, now: u64, amount: u64) {
        if let Some(log) = &mut self.logs[at] {
            if self.used[at] == 0 {
                // It may be the first that the log has, and so the next that leaves.
                self.next = (self.next).min(now.saturating_add(self.windows[at]));
            }
            log.add(now, amount);
            self.used[at] = log.used();
        }
    }

    /// Returns what is used at `now`, without an effect.
    pub(super) fn used_at(&self, at: usize, now: u64) -> u64 {
        match at {
            REQUESTS | TOKENS => {
                let log = self.logs[at].as_deref();
                log.map_or(0, |log| log.used_at(now, self.windows[at]))
            }
            CREDIT | QUOTA if self.fixed[at - CREDIT].is_new(now) => {
                self.fixed[at - CREDIT].pending
            }
            _ => self.used[at],
        }
    }

    /// Returns what bars `need` at `now`, if anything does: of several the one that ends last.
    /// Without an effect, and for any `now`.
    pub(super) fn bar(&self, now: u64, need: &Amounts) -> Option<Bar> {
        let mut last: Option<Bar> = None;
        for (at, dimension) in Dimension::ALL.into_iter().enumerate() {
            let (need, limit) = (need[at], self.limits[at]);
            if fits(self.used_at(at, now), need, limit) {
                continue;
            }
            // More than the limit goes when nothing else does.
            let most = limit.saturating_sub(need);
            let until = match dimension {
                _ if limit == 0 => u64::MAX,
                Dimension::Requests | Dimension::Tokens => self.logs[at]
                    .as_deref()
                    .map_or(u64::MAX, |log| log.at_most(most, now, self.windows[at])),
                Dimension::Credit | Dimension::Quota => {
                    let fixed = &self.fixed[at - CREDIT];
                    if fixed.is_new(now) || fixed.pending > most {
                        u64::MAX
                    } else {
                        fixed.resets
                    }
                }
                Dimension::InFlight | Dimension::InFlightUsd => u64::MAX,
            };
            // What was sent stays a request.
            let is_sent = matches!(dimension, Dimension::Requests | Dimension::Quota);
            let or_sooner = self.calls > 0 && !is_sent;
            if last.is_none_or(|last| until >= last.until) {
                last = Some(Bar {
                    until,
                    dimension,
                    or_sooner,
                });
            }
        }
        last
    }
}

/// Returns whether `need` goes on top of what is used. More than the limit goes only where
/// nothing is, and nothing at all where the limit is zero.
#[inline]
fn fits(used: u64, need: u64, limit: u64) -> bool {
    limit > 0 && (used == 0 || used.saturating_add(need) <= limit)
}
