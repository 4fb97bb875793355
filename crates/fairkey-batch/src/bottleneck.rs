//! What held a run back: [`Bottleneck`].

use std::collections::HashMap;
use std::fmt;

/// What holds a run back at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bottleneck {
    /// Rows wait for keys; for what, in words, where that is known: `account "acme": 600 requests a
    /// minute`.
    Keys(Option<String>),
    /// The money that is left is set aside for rows under way, until their cost is known.
    Money,
    /// As many rows are in flight as may be at most.
    Concurrency,
    /// More rows at a time are no faster: the upstream, the network or this machine does no more.
    Upstream,
    /// So much is in flight, or done and waiting to be written, that nothing more is held.
    Memory,
    /// Rows come slower than they are sent.
    Input,
    /// Results are not taken as fast as they come.
    Output,
}

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys(Some(what)) => what,
            Self::Keys(None) => "every key was busy or out",
            Self::Money => "the money that is set aside for rows under way",
            Self::Concurrency => "the most rows that may be in flight",
            Self::Upstream => "more at a time were no faster",
            Self::Memory => "what may be held in memory",
            Self::Input => "the input",
            Self::Output => "the output",
        })
    }
}

/// How many are told apart.
const MOST: usize = 64;

/// Counts what held a run back, moment by moment.
#[derive(Debug, Default)]
pub(crate) struct Bottlenecks {
    moments: u64,
    counts: HashMap<Bottleneck, u64>,
}

impl Bottlenecks {
    /// Notes what holds a run back at a moment; empty where it goes as it should. Several share the moment.
    pub(crate) fn note(&mut self, now: Vec<Bottleneck>) {
        self.moments += 1;
        for it in now {
            if self.counts.len() < MOST || self.counts.contains_key(&it) {
                *self.counts.entry(it).or_default() += 1;
            }
        }
    }

    /// Returns each with the share of the moments that it held the run back, the longest first.
    pub(crate) fn finish(self) -> Vec<(Bottleneck, f64)> {
        let mut all: Vec<(Bottleneck, u64)> = self.counts.into_iter().collect();
        all.sort_by_cached_key(|(it, count)| (std::cmp::Reverse(*count), it.to_string()));
        let share = |count| count as f64 / self.moments.max(1) as f64;
        all.into_iter()
            .map(|(it, count)| (it, share(count)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_held_back_for_longest_comes_first() {
        let mut all = Bottlenecks::default();
        let of = |what: &str| Bottleneck::Keys(Some(what.to_owned()));
        for moment in 0..10 {
            all.note(match moment {
                0..6 => vec![of("a"), of("b")],
                6 => vec![of("b")],
                7 => vec![Bottleneck::Input],
                _ => Vec::new(),
            });
        }
        let shares = [(of("b"), 0.7), (of("a"), 0.6), (Bottleneck::Input, 0.1)];
        assert_eq!(all.finish(), shares);
    }
}
