//! Calls in line: [`Lines`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fairkey_core::Class;

use super::waiter::Waiter;

/// What calls of one line have in common: a model that is out holds up no other line.
pub(super) type Line = (Option<Arc<str>>, Class);

/// How many calls that exclude keys of their own are asked about in a pass before the others of
/// their line that do are left alone: a bound on the work of one release. The first that excludes
/// none is asked about all the same, since what they refuse may be what it waits for.
const OWN_EXCLUSIONS: usize = 16;

/// All who wait, by line, in the order they came.
///
/// Whatever is done for one who waits costs a logarithm of how many there are: a lock is held
/// meanwhile, and calls may name a thousand models.
#[derive(Debug, Default)]
pub(super) struct Lines {
    tickets: u64,
    len: usize,
    lines: HashMap<Line, Waiting>,
    /// The head of each line, by ticket.
    heads: BTreeMap<u64, Line>,
}

/// Those in one line.
#[derive(Debug, Default)]
struct Waiting {
    all: BTreeMap<u64, Arc<Waiter>>,
    /// Those that exclude no key of their own.
    plain: BTreeSet<u64>,
}

impl Waiting {
    fn head(&self) -> Option<u64> {
        self.all.keys().next().copied()
    }
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty_line(&self, line: &Line) -> bool {
        // A line without anybody is removed.
        self.len == 0 || !self.lines.contains_key(line)
    }

    /// Returns whether more than one waits in `line`.
    pub(super) fn has_others(&self, line: &Line) -> bool {
        let waiting = self.lines.get(line);
        waiting.is_some_and(|waiting| waiting.all.len() > 1)
    }

    /// Gives out the next place in line.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Puts somebody in line, at the place that their ticket says.
    pub(super) fn push(&mut self, waiter: Waiter) -> Arc<Waiter> {
        self.len += 1;
        let waiter = Arc::new(waiter);
        let waiting = self.lines.entry(waiter.line.clone()).or_default();
        let before = waiting.head();
        waiting.all.insert(waiter.ticket, Arc::clone(&waiter));
        if waiter.wish.tried.is_empty() {
            waiting.plain.insert(waiter.ticket);
        }
        let after = waiting.head();
        self.move_head(&waiter.line, before, after);
        waiter
    }

    /// Takes somebody out of line; tells whether they stood there.
    pub(super) fn remove(&mut self, line: &Line, ticket: u64) -> bool {
        let Some(waiting) = self.lines.get_mut(line) else {
            return false;
        };
        let before = waiting.head();
        if waiting.all.remove(&ticket).is_none() {
            return false;
        }
        waiting.plain.remove(&ticket);
        self.len -= 1;
        let after = waiting.head();
        if after.is_none() {
            self.lines.remove(line);
        }
        self.move_head(line, before, after);
        true
    }

    fn move_head(&mut self, line: &Line, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.heads.remove(&before);
        }
        if let Some(after) = after {
            self.heads.insert(after, line.clone());
        }
    }

    /// Returns whoever came first among those that `pass` has not dealt with.
    ///
    /// Who comes into a line before the place where the pass is, with a ticket from before, is
    /// left to the next pass, which their coming asks for.
    pub(super) fn next(&self, pass: &mut Pass) -> Option<Arc<Waiter>> {
        loop {
            #[cfg(test)]
            {
                pass.looks += 1;
            }
            let head = self.heads.range(pass.heads_after + 1..).next();
            let head = head.map(|(ticket, line)| (*ticket, line));
            let again = pass.again.first_key_value();
            match (head, again) {
                (Some((ticket, line)), again) if again.is_none_or(|(first, _)| ticket < *first) => {
                    pass.heads_after = ticket;
                    // Of a line that the pass has begun with, it knows where to go on.
                    if !pass.begun.contains_key(line) {
                        return self.waiter(line, ticket);
                    }
                }
                (_, Some(_)) => {
                    let (ticket, line) = pass.again.pop_first()?;
                    if let Some(waiter) = self.waiter(&line, ticket) {
                        return Some(waiter);
                    }
                    // It has left meanwhile; those behind it have not.
                    pass.go_on(self, &line, ticket);
                }
                _ => return None,
            }
        }
    }

    fn waiter(&self, line: &Line, ticket: u64) -> Option<Arc<Waiter>> {
        self.lines.get(line)?.all.get(&ticket).cloned()
    }

    /// Returns the first in `line` after a place; `plain`: that excludes no key of its own.
    fn first_after(&self, line: &Line, ticket: u64, plain: bool) -> Option<u64> {
        let waiting = self.lines.get(line)?;
        if plain {
            waiting.plain.range(ticket + 1..).next().copied()
        } else {
            let next = waiting.all.range(ticket + 1..).next();
            next.map(|(ticket, _)| *ticket)
        }
    }
}

/// What one pass through the lines has found.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The heads up to this ticket were dealt with.
    heads_after: u64,
    /// The lines in which somebody was refused, with how many were for reasons of their own.
    begun: HashMap<Line, usize>,
    /// Who is next in those lines that are not blocked, by ticket.
    again: BTreeMap<u64, Line>,
    /// How many entries the pass has looked at.
    #[cfg(test)]
    looks: usize,
}

impl Pass {
    /// Notes a refusal. Of a call that excludes no key, it holds for its whole line: nobody in it
    /// gets anything. One that excludes keys says nothing about those behind it.
    pub(super) fn refused(&mut self, lines: &Lines, waiter: &Waiter) {
        let own = self.begun.entry(waiter.line.clone()).or_default();
        *own += 1;
        if !waiter.wish.tried.is_empty() {
            self.go_on(lines, &waiter.line, waiter.ticket);
        }
    }

    /// Notes that somebody was served; whoever is behind them is next in their line.
    pub(super) fn served(&mut self, lines: &Lines, waiter: &Waiter) {
        if self.begun.contains_key(&waiter.line) {
            self.go_on(lines, &waiter.line, waiter.ticket);
        }
    }

    fn go_on(&mut self, lines: &Lines, line: &Line, after: u64) {
        let own = self.begun.get(line).copied().unwrap_or_default();
        if let Some(ticket) = lines.first_after(line, after, own >= OWN_EXCLUSIONS) {
            self.again.insert(ticket, line.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use fairkey_core::{Cost, Tried};

    use super::super::Wish;
    use super::*;

    fn stand(lines: &mut Lines, model: usize) -> Arc<Waiter> {
        let wish = Wish {
            model: Some(format!("m/{model}").into()),
            class: Class::Normal,
            cost: Cost::ONE,
            affinity: None,
            deadline: None,
            tried: Tried::new(),
            providers: Arc::default(),
            patience: None,
        };
        let ticket = lines.ticket();
        lines.push(Waiter::new(ticket, wish.line(), wish))
    }

    #[test]
    fn a_pass_looks_at_each_line_once_however_many_there_are() {
        for many in [100, 1_000, 10_000] {
            let mut lines = Lines::default();
            for model in 0..many {
                // Two in each line, the second not to be asked about where the first is refused.
                stand(&mut lines, model);
            }
            for model in 0..many {
                stand(&mut lines, model);
            }
            let (mut pass, mut asked) = (Pass::default(), 0);
            while let Some(waiter) = lines.next(&mut pass) {
                asked += 1;
                assert_eq!(waiter.ticket, asked, "in the order they came");
                pass.refused(&lines, &waiter);
            }
            assert_eq!(asked, many as u64);
            assert!(
                pass.looks <= many + 1,
                "{} looks for {many} lines",
                pass.looks
            );
        }
    }

    #[test]
    fn those_behind_one_who_is_served_are_next_and_in_order() {
        let mut lines = Lines::default();
        for n in 0..50 {
            stand(&mut lines, n % 5);
        }
        let mut pass = Pass::default();
        for expected in 1..=50 {
            let waiter = lines.next(&mut pass).unwrap();
            assert_eq!(waiter.ticket, expected);
            assert!(lines.remove(&waiter.line, waiter.ticket));
            pass.served(&lines, &waiter);
        }
        assert!(lines.next(&mut pass).is_none());
        assert!(lines.heads.is_empty() && lines.lines.is_empty() && lines.len() == 0);
    }
}
