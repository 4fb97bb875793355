//! What is learned of one group: [`Learner`]. Pure: it is told what was used, and says what the
//! ceilings are.
//!
//! A limiter of calls in a window refuses the call after the last one that fits. So the calls that
//! were accepted in the window before a refusal *are* the limit, or more than it: nothing has to
//! be searched, and nothing has to be taken back by a factor, as it must where all that is known
//! is that a rate was too high. What the factor of other rules is for, probing, is a curve here:
//! near the amount that was refused for long, then steeply up (the shape of CUBIC, RFC 9438).

mod refused;

use std::cmp::Ordering;
use std::time::Duration;

use self::refused::RefusedCalls;
use super::config::{CeilingsConfig, Excess};

/// How many dimensions are learned: requests, tokens, calls at a time, money at a time.
pub(super) const DIMENSIONS: usize = 4;
pub(super) const REQUESTS: usize = 0;
pub(super) const TOKENS: usize = 1;
pub(super) const CALLS: usize = 2;
pub(super) const MONEY: usize = 3;

/// No refusal takes a ceiling below this part of what it was: the factor of AWS's clients.
const BACK: f64 = 0.7;
/// Where a ceiling that did not grow is refused again, it was too high by more than was seen: of
/// requests, which are counted, by little.
const AGAIN: [f64; DIMENSIONS] = [0.985, 0.95, 0.95, 0.95];
/// So near to the most that was ever accepted, calls at a time are suspect: what ended while the
/// refusal was on its way is not known, a few calls or a few per cent.
const NEAR: f64 = 0.85;
const A_FEW: f64 = 2.0;
/// How far an amount in a window may be off: the other side's window begins and ends a little
/// elsewhere, and of tokens only estimates are known while calls are under way.
const BLUR: [f64; 2] = [1.0 / 32.0, 1.0 / 8.0];
/// A ceiling is doubted where another one alone was blamed so many times as often.
const MORE_LIKELY: u32 = 4;
/// More than so often need not be counted.
const OFTEN: u32 = 32;
/// So often in a row a ceiling on calls at a time is refused that did not grow before it is given
/// up: then it was something else.
const MISSES: u32 = 3;
/// What no refusal explains was accepted when somebody else used less: it counts so much less.
const FADE: f64 = 0.85;
/// Requests and tokens, as bits.
const BOTH: u8 = 1 << REQUESTS | 1 << TOKENS;
/// Into so many parts of a window its looks are divided.
pub(super) const LOOKS: u64 = 64;

/// One ceiling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ceiling {
    pub(super) amount: u64,
    /// What was accepted when it was refused last.
    pub(super) base: u64,
    /// When it was refused last.
    pub(super) refused: u64,
    /// For how long it has been used up since then.
    used_up: u64,
    /// How many waves of refusals it explained.
    waves: u32,
    pub(super) is_told: bool,
    /// How often a wave was blamed on it alone, with good reason.
    alone: u32,
}

/// What was used when a call was refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// In the window that ends now, or at a time; the refused call is part of it.
    pub(super) used: [u64; DIMENSIONS],
    /// What the call needed.
    pub(super) need: [u64; DIMENSIONS],
    pub(super) begun: u64,
    pub(super) now: u64,
    pub(super) window: u64,
    /// What calls have used of the tokens that were reserved for them, of late.
    pub(super) ratio: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Learner {
    pub(super) ceilings: [Option<Ceiling>; DIMENSIONS],
    /// The most of each that was used by calls that were accepted.
    pub(super) proven: [u64; DIMENSIONS],
    refused: RefusedCalls,
    /// When the last wave of refusals was taken note of, and which ceilings it was blamed on.
    wave: u64,
    blamed: u8,
    /// Whether nothing explained the wave, so that whom it was blamed on is a guess.
    is_guess: bool,
    /// Whether one of requests and tokens explained it, and the other did not.
    is_clear: bool,
    /// What the ceilings were when the wave came.
    wave_base: [u64; DIMENSIONS],
    /// Waves without a success in between.
    in_a_row: u32,
    /// When its ceilings were looked at last.
    looked: u64,
    /// When anything was refused first.
    first: u64,
    /// Refusals in a row that a ceiling on calls at a time did not keep away.
    misses: u32,
    /// With so many calls at a time and fewer, something else was refused.
    innocent: u64,
    /// What calls used of the tokens that were reserved for them, when one was refused last.
    ratio: f64,
}

impl Learner {
    pub(super) fn new() -> Self {
        Self {
            ceilings: [None; DIMENSIONS],
            proven: [0; DIMENSIONS],
            refused: RefusedCalls::default(),
            wave: 0,
            blamed: 0,
            is_guess: false,
            is_clear: false,
            wave_base: [0; DIMENSIONS],
            in_a_row: 0,
            looked: 0,
            first: u64::MAX,
            misses: 0,
            innocent: 0,
            ratio: 1.0,
        }
    }

    pub(super) fn has_none(&self) -> bool {
        self.ceilings.iter().all(Option::is_none)
    }

    /// Learns from a refusal. Returns for how long to hold back all calls.
    pub(super) fn refused(
        &mut self,
        seen: &Seen,
        excess: Excess,
        told: Option<u64>,
        wait: Option<Duration>,
        config: &CeilingsConfig,
    ) -> Duration {
        self.ratio = seen.ratio;
        let accepted = self.accepted(seen);
        self.refused.add(seen);
        // Of a wave, each call that began before it was taken note of says that one fewer was
        // accepted.
        let is_straggler = self.wave > 0 && seen.begun < self.wave;
        if is_straggler {
            for (at, accepted) in accepted.into_iter().enumerate() {
                if self.blamed & 1 << at != 0 {
                    self.lower(at, accepted, config);
                }
            }
            return self.hold(seen, wait, config);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.wave = seen.now.max(1);
        self.looked = seen.now;
        self.first = self.first.min(seen.now);
        (self.is_guess, self.is_clear) = (false, false);
        self.blamed = match excess {
            Excess::Money if seen.need[MONEY] > 0 => 1 << MONEY,
            Excess::Money | Excess::Calls => 1 << CALLS,
            Excess::Unsaid => match told {
                Some(limit) => self.take(limit, &accepted, seen),
                None => self.blame(&accepted, seen),
            },
        };
        for (at, accepted) in accepted.into_iter().enumerate() {
            if self.blamed & 1 << at != 0 && told.is_none() {
                self.decrease(at, accepted, seen.now, config);
            }
        }
        for at in [CALLS, MONEY] {
            // Those calls were. In a window that is known only once it was heard of all of them.
            self.proven[at] = accepted[at].max(self.proven[at]);
        }
        for at in 0..DIMENSIONS {
            let Some(ceiling) = &self.ceilings[at] else {
                continue;
            };
            if self.blamed & 1 << at != 0 {
                self.wave_base[at] = ceiling.base;
                // What was accepted of calls at a time, and what was before a limit shrank, says
                // no more.
                if at >= CALLS || self.is_guess {
                    self.proven[at] = ceiling.base;
                }
            }
        }
        self.hold(seen, wait, config)
    }

    /// Returns what was used by accepted calls when the refused one came.
    fn accepted(&self, seen: &Seen) -> [u64; DIMENSIONS] {
        let refused = self.refused.within(seen.now, seen.window).0;
        let less = |at: usize, by: u64| seen.used[at].saturating_sub(by + seen.need[at]);
        // A refused request counts in its window all the same. Of calls that are under way some
        // will be refused: the last refusal of a wave says it best.
        let (requests, calls) = (less(REQUESTS, refused), less(CALLS, 0));
        let tokens = really(less(TOKENS, 0), requests, calls, self.ratio);
        [requests, tokens, calls, less(MONEY, 0)]
    }

    /// Says what a refusal that does not say it is to be blamed on, as bits.
    ///
    /// A dimension explains a refusal if more of it was wanted than was ever accepted. Calls at a
    /// time are suspected first: whether they are it shows at once, since a ceiling that is right
    /// keeps refusals away, where to be wrong about a window costs a window.
    fn blame(&mut self, accepted: &[u64; DIMENSIONS], seen: &Seen) -> u8 {
        let calls = self.suspects_calls(accepted[CALLS] + seen.need[CALLS]);
        let mut proven = self.proven;
        // What was accepted before a refusal was, whether or not those calls have ended by now. Of
        // tokens that is an estimate.
        let base = self.ceilings[REQUESTS].map_or(0, |ceiling| ceiling.base);
        proven[REQUESTS] = proven[REQUESTS].max(base);
        let explains =
            |at: usize| seen.need[at] > 0 && reaches(at, accepted[at] + seen.need[at], proven[at]);
        let windows = [REQUESTS, TOKENS].into_iter();
        let windows = windows.fold(0, |blamed, at| blamed | u8::from(explains(at)) << at);
        if calls {
            // In the first window all counts only grow, and every one is the most there ever was.
            let is_known = seen.now.saturating_sub(self.first) > seen.window;
            return 1 << CALLS | if is_known { windows } else { 0 };
        }
        if windows == BOTH {
            return self.settle(accepted, seen);
        }
        if windows != 0 {
            self.is_clear = true;
            return windows;
        }
        // As much was accepted before: the limit has shrunk, or somebody else uses it too.
        self.is_guess = true;
        let off = |at: usize| {
            let of = self.ceilings[at].map_or(self.proven[at], |ceiling| ceiling.base);
            ((accepted[at] + seen.need[at]) as f64 / of.max(1) as f64)
                .ln()
                .abs()
                / BLUR[at]
        };
        let nearest = if seen.need[TOKENS] > 0 && off(TOKENS) < off(REQUESTS) {
            TOKENS
        } else {
            REQUESTS
        };
        for proven in &mut self.proven {
            *proven = (*proven as f64 * FADE) as u64;
        }
        1 << nearest
    }

    /// Of requests and tokens that both explain a refusal, returns the one that was clearly to blame
    /// more often; else requests, where as many were refused before, since they are counted and not
    /// estimated. Else it is both, and one may show to have been no limit: see
    /// [`is_doubtful`](Self::is_doubtful).
    fn settle(&self, accepted: &[u64; DIMENSIONS], seen: &Seen) -> u8 {
        let met = |at: usize| {
            let ceiling = self.ceilings[at].as_ref();
            ceiling.is_some_and(|it| reaches(at, accepted[at] + seen.need[at], it.base))
        };
        let alone = |at: usize| self.ceilings[at].map_or(0, |ceiling| ceiling.alone);
        match alone(REQUESTS).cmp(&alone(TOKENS)) {
            Ordering::Greater if met(REQUESTS) => 1 << REQUESTS,
            Ordering::Less if met(TOKENS) => 1 << TOKENS,
            _ if met(REQUESTS) => 1 << REQUESTS,
            _ => BOTH,
        }
    }

    /// Returns whether a ceiling was blamed alone much more rarely than another one, or never: it
    /// is tried soon. Of two of which nothing else is known, those on requests are likelier.
    fn is_doubtful(&self, at: usize) -> bool {
        let alone = |at: usize| self.ceilings[at].map(|ceiling| ceiling.alone);
        match (at, alone(REQUESTS), alone(TOKENS)) {
            (TOKENS, Some(requests), Some(tokens)) => tokens * MORE_LIKELY <= requests,
            (REQUESTS, Some(requests), Some(tokens)) => requests * MORE_LIKELY < tokens,
            _ => false,
        }
    }

    /// Returns whether a refusal at so many calls at a time may be because of them.
    fn suspects_calls(&mut self, level: u64) -> bool {
        let near = |most: u64| level as f64 + A_FEW >= most as f64 * NEAR;
        let Some(ceiling) = self.ceilings[CALLS] else {
            return level > self.innocent && near(self.proven[CALLS]);
        };
        if ceiling.amount > ceiling.base && near(ceiling.amount) {
            self.misses = 0;
            return true;
        }
        self.misses += if near(ceiling.amount) { 1 } else { MISSES };
        if self.misses < MISSES {
            return true;
        }
        self.ceilings[CALLS] = None;
        self.misses = 0;
        self.innocent = level.max(self.proven[CALLS]) * 3 / 2 + 2;
        false
    }

    /// Takes the limit that the other side names: of requests or of tokens, whichever is nearer to
    /// what was used.
    fn take(&mut self, limit: u64, accepted: &[u64; DIMENSIONS], seen: &Seen) -> u8 {
        let off = |at: usize| {
            let used = (accepted[at] + seen.need[at]).max(1) as f64;
            (used / limit.max(1) as f64).ln().abs()
        };
        let at = if seen.need[TOKENS] > 0 && off(TOKENS) < off(REQUESTS) {
            TOKENS
        } else {
            REQUESTS
        };
        self.ceilings[at] = Some(Ceiling {
            amount: limit.max(1),
            base: limit.max(1),
            refused: seen.now,
            used_up: 0,
            waves: 2,
            is_told: true,
            alone: 1,
        });
        1 << at
    }

    /// Takes a ceiling down to what was accepted.
    fn decrease(&mut self, at: usize, accepted: u64, now: u64, config: &CeilingsConfig) {
        let before = self.ceilings[at];
        let mut amount = accepted;
        if let Some(before) = before {
            if before.amount <= before.base {
                // It did not grow, and was refused again.
                amount = amount.min((before.base as f64 * AGAIN[at]) as u64);
            }
            amount = amount.max((before.amount as f64 * BACK) as u64);
        }
        let amount = amount.max(least(at, config));
        self.ceilings[at] = Some(Ceiling {
            amount,
            base: amount,
            refused: now,
            used_up: 0,
            waves: before.map_or(1, |before| before.waves.saturating_add(1)),
            is_told: false,
            alone: (before.map_or(0, |before| before.alone) + u32::from(self.is_clear)).min(OFTEN),
        });
    }

    /// Lowers a ceiling that has just been learned: a call that began before says that it is less.
    fn lower(&mut self, at: usize, accepted: u64, config: &CeilingsConfig) {
        if let Some(ceiling) = &mut self.ceilings[at]
            && !ceiling.is_told
            && accepted < ceiling.base
        {
            let amount = accepted
                .max((self.wave_base[at] as f64 * BACK) as u64)
                .max(least(at, config));
            (ceiling.amount, ceiling.base) = (amount, amount);
            if at >= CALLS {
                self.proven[at] = amount;
            }
        }
    }

    /// Returns for how long nothing is sent: as long as was told, or a little longer each time
    /// that nothing was accepted in between.
    fn hold(&self, seen: &Seen, wait: Option<Duration>, config: &CeilingsConfig) -> Duration {
        let doublings = self.in_a_row.saturating_sub(1).min(4);
        let ours = Duration::from_nanos((seen.window / LOOKS) << doublings);
        let is_rate = self.blamed & BOTH != 0;
        match wait {
            Some(wait) if is_rate => {
                wait.min(config.hint_cap)
                    .max(if doublings > 0 { ours } else { Duration::ZERO })
            }
            // What ends when calls end needs no time to be told: the ceiling is what helps.
            Some(wait) => ours.min(wait),
            None => ours,
        }
    }

    /// Forgets what one refusal alone has taught.
    pub(super) fn acquit(&mut self) {
        for ceiling in &mut self.ceilings {
            *ceiling = ceiling.filter(|ceiling| ceiling.waves > 1);
        }
        self.in_a_row = 0;
    }

    /// Returns what `levels`, which were reached when a call began that was accepted, were without
    /// calls that were refused.
    pub(super) fn without_refused(&self, mut levels: [u64; 3], begun: u64) -> [u64; 3] {
        let (calls, tokens) = self.refused.within(begun, self.refused.window());
        levels[REQUESTS] = levels[REQUESTS].saturating_sub(calls);
        levels[TOKENS] = levels[TOKENS].saturating_sub(tokens);
        levels
    }

    /// Hears that so many requests, tokens and calls were accepted.
    pub(super) fn prove(&mut self, mut levels: [u64; 3]) {
        levels[TOKENS] = really(levels[TOKENS], levels[REQUESTS], levels[CALLS], self.ratio);
        for (proven, level) in self.proven.iter_mut().zip(levels) {
            *proven = level.max(*proven);
        }
    }

    /// Hears that a call succeeded that began at `begun`.
    pub(super) fn succeeded(&mut self, begun: u64) {
        if begun >= self.wave {
            self.in_a_row = 0;
        }
    }

    /// Looks at the ceilings at `now`, with what is used, and raises those that are used up.
    /// Returns which have changed, as bits.
    pub(super) fn look(
        &mut self,
        used: &[u64; DIMENSIONS],
        now: u64,
        window: u64,
        config: &CeilingsConfig,
    ) -> u8 {
        let passed = now.saturating_sub(self.looked).min(window / 4);
        self.looked = now;
        let forget = u64::try_from(config.forget.as_nanos()).unwrap_or(u64::MAX);
        let mut changed = 0;
        let doubtful: [bool; DIMENSIONS] = std::array::from_fn(|at| self.is_doubtful(at));
        for (at, place) in self.ceilings.iter_mut().enumerate() {
            let Some(ceiling) = place else { continue };
            let is_used_up = used[at] + (ceiling.amount / 16).max(1) >= ceiling.amount;
            if !is_used_up {
                continue;
            }
            if now.saturating_sub(ceiling.refused) > forget {
                *place = None;
                changed |= 1 << at;
                continue;
            }
            ceiling.used_up += passed;
            let windows = ceiling.used_up as f64 / window as f64;
            let slow = if ceiling.is_told {
                // It is no guess, and rarely tried.
                4.0
            } else if doubtful[at] || at == CALLS && ceiling.waves <= 1 {
                // It is nothing but a guess, and soon tried.
                0.125
            } else {
                1.0
            };
            let cubic = (windows / (config.patience * slow)).powi(3);
            let grown = ceiling.base as f64 * (1.0 + cubic) + windows / (2.0 * slow);
            // No further than a look can see: it grows again where that is used up, too.
            let grown = (grown as u64).min(ceiling.amount + ceiling.amount / 4 + 1);
            if grown > ceiling.amount {
                ceiling.amount = grown;
                changed |= 1 << at;
            }
        }
        changed
    }

    /// Takes over a ceiling that was known before: as old as it is.
    pub(super) fn restore(&mut self, at: usize, amount: u64, is_told: bool, refused: u64) {
        if self.ceilings[at].is_none() {
            self.ceilings[at] = Some(Ceiling {
                amount: amount.max(1),
                base: amount.max(1),
                refused,
                used_up: 0,
                waves: 2,
                is_told,
                alone: 1,
            });
        }
    }
}

/// Returns how many tokens are used where `tokens` are counted: of calls under way, those that were
/// reserved for them.
fn really(tokens: u64, requests: u64, calls: u64, ratio: f64) -> u64 {
    let (requests, calls) = (requests as f64, calls.min(requests) as f64);
    let reserved = requests - calls + calls / ratio;
    if reserved > 0.0 {
        (tokens as f64 * requests / reserved) as u64
    } else {
        tokens
    }
}

/// Returns whether an amount of requests or tokens may be as much as another one, as far as that can
/// be told.
fn reaches(at: usize, amount: u64, other: u64) -> bool {
    amount as f64 + other as f64 * BLUR[at] + A_FEW >= other as f64
}

/// Returns the least that a ceiling can be.
fn least(at: usize, config: &CeilingsConfig) -> u64 {
    if at == REQUESTS {
        config.least_requests
    } else {
        1
    }
}

#[cfg(test)]
mod tests;
