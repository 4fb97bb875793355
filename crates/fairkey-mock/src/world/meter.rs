//! Limits while the mock runs: what was used of them, and when there is room again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::limit::{Limit, Measure, OfModel};

/// Models that a limit counts one by one; when there are more, counting starts over.
const MAX_MODELS: usize = 4096;

/// All limits of one owner.
#[derive(Debug, Default)]
pub(crate) struct Limits(Vec<LimitState>);

/// A call as limits see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) model: &'a Arc<str>,
    pub(crate) prompt_tokens: u64,
    pub(crate) now: Timestamp,
}

/// Why a call was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whose limit, and which: for the log.
    pub(crate) by: String,
    pub(crate) measure: Measure,
    pub(crate) limit: u64,
    /// When it reopens, where that is known.
    pub(crate) reset: Option<Timestamp>,
    pub(crate) hidden: bool,
}

#[derive(Debug)]
struct LimitState {
    limit: Limit,
    by: String,
    one: Meter,
    each: HashMap<Arc<str>, Meter>,
}

#[derive(Debug)]
enum Meter {
    Window(Rolling),
    InFlight(u64),
}

impl Limits {
    /// `owner` is how the log names whose they are.
    pub(crate) fn new(owner: &str, limits: Vec<Limit>) -> Self {
        let state = |limit: Limit| LimitState {
            by: format!("{owner}: {}", described(&limit)),
            one: Meter::new(&limit),
            each: HashMap::new(),
            limit,
        };
        Self(limits.into_iter().map(state).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a call fits into all of them; takes nothing.
    pub(crate) fn check(&mut self, load: Load<'_>) -> Result<(), Refusal> {
        self.0.iter_mut().try_for_each(|limit| limit.check(load))
    }

    /// Counts a call that was let in.
    pub(crate) fn take(&mut self, load: Load<'_>) {
        for limit in &mut self.0 {
            limit.take(load);
        }
    }

    /// Counts a call that was refused, where refused calls count.
    pub(crate) fn count_refused(&mut self, load: Load<'_>) {
        let counts = |limit: &&mut LimitState| {
            limit.limit.counts_refused && limit.limit.measure != Measure::InFlight
        };
        for limit in self.0.iter_mut().filter(counts) {
            limit.take(load);
        }
    }

    /// Ends a call that was let in.
    pub(crate) fn end(&mut self, model: &Arc<str>, completion_tokens: u64, now: Timestamp) {
        for limit in &mut self.0 {
            limit.end(model, completion_tokens, now);
        }
    }
}

impl LimitState {
    /// The meter for calls of `model`; none where they are not counted.
    fn meter(&mut self, model: &Arc<str>) -> Option<&mut Meter> {
        match &self.limit.of {
            OfModel::All => Some(&mut self.one),
            OfModel::Only(name) => (**name == **model).then_some(&mut self.one),
            OfModel::Each => {
                if self.each.len() >= MAX_MODELS && !self.each.contains_key(model) {
                    self.each.clear();
                }
                let new = || Meter::new(&self.limit);
                Some(self.each.entry(Arc::clone(model)).or_insert_with(new))
            }
        }
    }

    fn check(&mut self, load: Load<'_>) -> Result<(), Refusal> {
        let (limit, measure) = (self.limit.limit, self.limit.measure);
        let amount = amount(measure, load.prompt_tokens);
        let reset = match self.meter(load.model) {
            None => return Ok(()),
            Some(Meter::InFlight(running)) if *running < limit => return Ok(()),
            Some(Meter::InFlight(_)) => None,
            Some(Meter::Window(window)) => match window.admit(amount, load.now) {
                Ok(()) => return Ok(()),
                Err(reset) => Some(reset),
            },
        };
        Err(Refusal {
            by: self.by.clone(),
            measure,
            limit,
            reset,
            hidden: self.limit.hidden,
        })
    }

    fn take(&mut self, load: Load<'_>) {
        let amount = amount(self.limit.measure, load.prompt_tokens);
        match self.meter(load.model) {
            Some(Meter::Window(window)) => window.add(amount, load.now),
            Some(Meter::InFlight(running)) => *running += 1,
            None => {}
        }
    }

    fn end(&mut self, model: &Arc<str>, completion_tokens: u64, now: Timestamp) {
        let counts_tokens = matches!(self.limit.measure, Measure::Tokens(_));
        match self.meter(model) {
            Some(Meter::Window(window)) if counts_tokens => window.add(completion_tokens, now),
            // Less than none only after the models were counted anew.
            Some(Meter::InFlight(running)) => *running = running.saturating_sub(1),
            Some(Meter::Window(_)) | None => {}
        }
    }
}

impl Meter {
    fn new(limit: &Limit) -> Self {
        match limit.measure.window() {
            Some(per) => Self::Window(Rolling::new(limit.limit, per)),
            None => Self::InFlight(0),
        }
    }
}

fn amount(measure: Measure, prompt_tokens: u64) -> u64 {
    match measure {
        Measure::Tokens(_) => prompt_tokens,
        Measure::Requests(_) | Measure::InFlight => 1,
    }
}

/// `60 requests in 6s`, `8 in flight, each model`
fn described(limit: &Limit) -> String {
    let what = match limit.measure {
        Measure::Requests(per) => format!("{} requests in {per:?}", limit.limit),
        Measure::Tokens(per) => format!("{} tokens in {per:?}", limit.limit),
        Measure::InFlight => format!("{} in flight", limit.limit),
    };
    match &limit.of {
        OfModel::All => what,
        OfModel::Each => format!("{what}, each model"),
        OfModel::Only(model) => format!("{what}, {model}"),
    }
}

/// Amounts in a rolling window, to the millisecond.
#[derive(Debug)]
pub(crate) struct Rolling {
    limit: u64,
    per: Duration,
    entries: VecDeque<(Timestamp, u64)>,
    sum: u64,
}

impl Rolling {
    pub(crate) fn new(limit: u64, per: Duration) -> Self {
        Self {
            limit,
            per,
            entries: VecDeque::new(),
            sum: 0,
        }
    }

    /// Whether `amount` fits now; if not, when it will.
    pub(crate) fn admit(&mut self, amount: u64, now: Timestamp) -> Result<(), Timestamp> {
        while let Some((at, entry)) = self.entries.front().copied() {
            if at.plus(self.per) > now {
                break;
            }
            self.entries.pop_front();
            self.sum -= entry;
        }
        let mut sum = self.sum;
        if sum.saturating_add(amount) <= self.limit {
            return Ok(());
        }
        for (at, entry) in &self.entries {
            sum -= entry;
            if sum.saturating_add(amount) <= self.limit {
                return Err(at.plus(self.per));
            }
        }
        // Larger than the window: it never fits.
        Err(now.plus(self.per))
    }

    pub(crate) fn add(&mut self, amount: u64, now: Timestamp) {
        // Entries of one millisecond share a slot: a window holds at most as many as it has
        // milliseconds.
        match self.entries.back_mut() {
            Some((at, entry)) if *at == now => *entry = entry.saturating_add(amount),
            _ => self.entries.push_back((now, amount)),
        }
        self.sum = self.sum.saturating_add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_millis(millis)
    }

    fn window(limit: u64) -> Rolling {
        Rolling::new(limit, Duration::from_millis(100))
    }

    fn load(model: &Arc<str>, prompt_tokens: u64, millis: u64) -> Load<'_> {
        Load {
            model,
            prompt_tokens,
            now: at(millis),
        }
    }

    #[test]
    fn a_window_reopens_exactly_when_it_said() {
        let mut rolling = window(2);
        for now in [at(0), at(40)] {
            assert_eq!(rolling.admit(1, now), Ok(()));
            rolling.add(1, now);
        }
        assert_eq!(rolling.admit(1, at(50)), Err(at(100)));
        assert_eq!(rolling.admit(1, at(99)), Err(at(100)));
        assert_eq!(rolling.admit(1, at(100)), Ok(()));
        rolling.add(1, at(100));
        assert_eq!(rolling.admit(1, at(100)), Err(at(140)));
    }

    #[test]
    fn a_large_amount_waits_until_enough_has_rolled_off() {
        let mut rolling = window(10);
        for now in [at(0), at(10), at(20)] {
            assert_eq!(rolling.admit(3, now), Ok(()));
            rolling.add(3, now);
        }
        assert_eq!(rolling.admit(1, at(30)), Ok(()));
        assert_eq!(rolling.admit(5, at(30)), Err(at(110)));
        assert_eq!(rolling.admit(11, at(30)), Err(at(130)));
    }

    #[test]
    fn each_model_has_the_whole_limit_and_one_model_alone_is_counted() {
        let per = Duration::from_millis(100);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut each = Limits::new("x", vec![Limit::requests(1, per).each_model()]);
        for model in [&a, &b] {
            assert_eq!(each.check(load(model, 0, 0)), Ok(()));
            each.take(load(model, 0, 0));
            let refusal = each.check(load(model, 0, 1)).unwrap_err();
            assert_eq!(refusal.by, "x: 1 requests in 100ms, each model");
            assert_eq!(refusal.reset, Some(at(100)));
        }
        let mut only = Limits::new("x", vec![Limit::tokens(5, per).of_model("a")]);
        only.take(load(&a, 5, 0));
        assert!(only.check(load(&a, 1, 1)).is_err());
        assert_eq!(only.check(load(&b, 1_000, 1)), Ok(()));
    }

    #[test]
    fn what_is_under_way_counts_until_it_ends() {
        let a: Arc<str> = "a".into();
        let mut limits = Limits::new("x", vec![Limit::in_flight(1).counts_refused()]);
        limits.take(load(&a, 0, 0));
        let refusal = limits.check(load(&a, 0, 0)).unwrap_err();
        assert_eq!(refusal.reset, None);
        limits.count_refused(load(&a, 0, 0));
        limits.end(&a, 7, at(1));
        assert_eq!(
            limits.check(load(&a, 0, 1)),
            Ok(()),
            "the refused call never ran"
        );
    }

    #[test]
    fn refused_calls_keep_a_window_closed_where_they_count() {
        let per = Duration::from_millis(100);
        let a: Arc<str> = "a".into();
        for counts in [false, true] {
            let limit = Limit::requests(1, per);
            let limit = if counts {
                limit.counts_refused()
            } else {
                limit
            };
            let mut limits = Limits::new("x", vec![limit]);
            limits.take(load(&a, 0, 0));
            assert!(limits.check(load(&a, 0, 50)).is_err());
            limits.count_refused(load(&a, 0, 50));
            assert_eq!(limits.check(load(&a, 0, 100)).is_ok(), !counts);
        }
    }
}
