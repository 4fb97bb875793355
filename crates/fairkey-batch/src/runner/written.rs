//! Which results were handed to the output, and which of them it has written: [`Written`].

use std::collections::VecDeque;

use crate::summary::Rows;

/// Follows results until they are written. An output writes them in the order in which it got
/// them, so that their number tells which they are.
#[derive(Debug, Default)]
pub(super) struct Written {
    answered: u64,
    failed: u64,
    /// Those that an earlier run has written.
    before: (u64, u64),
    /// Whether each result has an answer, of those that are not written for sure. As many as the
    /// output holds.
    pending: VecDeque<bool>,
}

impl Written {
    /// A result goes to the output.
    pub(super) fn push(&mut self, answered: bool) {
        self.pending.push_back(answered);
    }

    /// The output had a result already.
    pub(super) fn was_written(&mut self, answered: bool) {
        if answered {
            self.before.0 += 1;
        } else {
            self.before.1 += 1;
        }
    }

    /// So many results are written by this run.
    pub(super) fn confirm(&mut self, written: u64) {
        while self.answered + self.failed < written
            && let Some(answered) = self.pending.pop_front()
        {
            let count = if answered {
                &mut self.answered
            } else {
                &mut self.failed
            };
            *count += 1;
        }
    }

    /// Puts every row into one place, once nothing more is written.
    pub(super) fn close(&self, rows: &mut Rows) {
        rows.answered = self.answered + self.before.0;
        rows.failed = self.failed + self.before.1;
        rows.written = rows.answered + rows.failed;
        rows.unwritten = self.pending.len() as u64;
        rows.unwritten_answers = self.pending.iter().filter(|answered| **answered).count() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_is_in_one_place() {
        let mut written = Written::default();
        for answered in [true, false, true, true, false] {
            written.push(answered);
        }
        written.confirm(2);
        written.confirm(1);
        written.confirm(3);
        let mut rows = Rows::default();
        written.close(&mut rows);
        assert_eq!((rows.answered, rows.failed), (2, 1));
        assert_eq!((rows.unwritten, rows.unwritten_answers), (2, 1));
    }
}
