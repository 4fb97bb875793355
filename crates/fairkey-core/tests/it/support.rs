//! What several tests use.

use std::fmt;
use std::sync::{Arc, Mutex};

use fairkey_core::{
    Ask, Candidate, Gate, Key, KeySet, Observer, Outcome, Pool, PoolBuilder, Report, Strategy,
    Turn, Unavailable,
};

/// A strategy made of a function.
pub(crate) struct With<F>(F);

/// Makes a strategy of a function.
pub(crate) fn strategy<F>(pick: F) -> With<F>
where
    F: for<'a> Fn(&mut Turn<'a>) -> Option<Candidate<'a>> + Send + Sync,
{
    With(pick)
}

impl<F> fmt::Debug for With<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("With")
    }
}

impl<F> Strategy for With<F>
where
    F: for<'a> Fn(&mut Turn<'a>) -> Option<Candidate<'a>> + Send + Sync,
{
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        (self.0)(turn)
    }
}

/// Picks the first key on offer.
pub(crate) fn first() -> impl Strategy {
    strategy(|turn| turn.nth(0))
}

/// Starts a pool of the keys `k0`, `k1` and so on.
pub(crate) fn pool_of(n: u16) -> PoolBuilder {
    Pool::builder().keys(keys(0..n)).seed(1)
}

/// Makes the keys `k` and each of `names`.
pub(crate) fn keys(names: impl IntoIterator<Item = u16>) -> Vec<Key> {
    let key = |n| Key::new(format!("k{n}"), format!("sk-test-{n}"));
    names.into_iter().map(key).collect()
}

/// Puts gates before the strategy of a pool.
pub(crate) fn behind(builder: PoolBuilder, gates: &[Arc<impl Gate + 'static>]) -> PoolBuilder {
    (gates.iter()).fold(builder, |builder, gate| {
        builder.shared_gate(Arc::clone(gate) as Arc<dyn Gate>)
    })
}

/// Selects, and returns the label of the key; the call is given up at once.
pub(crate) fn pick(pool: &Pool, ask: &Ask<'_>) -> Result<String, Unavailable> {
    pool.select(ask).map(|lease| lease.key().id().to_string())
}

/// Returns a key's calls in flight.
pub(crate) fn in_flight(pool: &Pool, id: &str) -> u32 {
    pool.with_keys(|keys| keys.find(id).expect("the key is there").in_flight())
}

/// What an observer heard, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Selected(String),
    Refused(Unavailable),
    Settled(String, Report),
    Reloaded(usize),
}

/// Notes everything an observer is told.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<Heard>>);

impl Notes {
    pub(crate) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Returns the reports of the calls that ended since the last time.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let settled = |heard| match heard {
            Heard::Settled(_, report) => Some(report),
            _ => None,
        };
        self.take().into_iter().filter_map(settled).collect()
    }

    /// Returns the outcomes of the calls that ended since the last time.
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.reports()
            .into_iter()
            .map(|report| report.outcome)
            .collect()
    }

    fn note(&self, heard: Heard) {
        self.0.lock().unwrap().push(heard);
    }
}

impl Observer for Notes {
    fn selected(&self, key: Candidate<'_>, _: &Ask<'_>) {
        self.note(Heard::Selected(key.id().to_string()));
    }

    fn refused(&self, _: &Ask<'_>, unavailable: &Unavailable) {
        self.note(Heard::Refused(*unavailable));
    }

    fn settled(&self, key: Candidate<'_>, report: &Report) {
        self.note(Heard::Settled(key.id().to_string(), *report));
    }

    fn reloaded(&self, keys: &KeySet) {
        self.note(Heard::Reloaded(keys.len()));
    }
}
