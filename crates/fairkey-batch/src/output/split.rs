//! Answers to one place, failures to another: [`SplitOutput`].

use std::collections::VecDeque;

use super::{Output, OutputError, ResultLine};

/// Takes answers and failures apart, where there is a place for failures.
#[derive(Debug)]
pub struct SplitOutput<A, E = A> {
    answers: A,
    errors: Option<Errors<E>>,
}

#[derive(Debug)]
struct Errors<E> {
    output: E,
    /// Whether each result that is not written for sure is an answer, in the order in which they
    /// came.
    pending: VecDeque<bool>,
    /// The results that are written for sure, by where they went.
    written: (u64, u64),
}

impl<A: Output, E: Output> SplitOutput<A, E> {
    /// Hands answers to `answers`, and failures to `errors`, or to `answers`, too.
    pub fn new(answers: A, errors: Option<E>) -> Self {
        let errors = errors.map(|output| Errors {
            output,
            pending: VecDeque::new(),
            written: (0, 0),
        });
        Self { answers, errors }
    }
}

impl<A: Output, E: Output> Output for SplitOutput<A, E> {
    fn push(&mut self, line: ResultLine) {
        let Some(errors) = &mut self.errors else {
            return self.answers.push(line);
        };
        errors.pending.push_back(line.answered);
        // It stays as short as what waits to be written.
        errors.confirm(self.answers.written());
        if line.answered {
            self.answers.push(line);
        } else {
            errors.output.push(line);
        }
    }

    async fn ready(&mut self) -> Result<(), OutputError> {
        self.answers.ready().await?;
        match &mut self.errors {
            Some(errors) => errors.output.ready().await,
            None => Ok(()),
        }
    }

    fn is_ready(&self) -> bool {
        let errors = self.errors.as_ref();
        self.answers.is_ready() && errors.is_none_or(|errors| errors.output.is_ready())
    }

    async fn finish(&mut self) -> Result<(), OutputError> {
        let answers = self.answers.finish().await;
        match &mut self.errors {
            // Both, even where one cannot.
            Some(errors) => answers.and(errors.output.finish().await),
            None => answers,
        }
    }

    fn written(&self) -> u64 {
        let answers = self.answers.written();
        match &self.errors {
            Some(errors) => errors.count(answers),
            None => answers,
        }
    }
}

impl<E: Output> Errors<E> {
    /// Returns how many results are written, from the first on without a gap.
    fn count(&self, answers: u64) -> u64 {
        let (mut answers, mut failures) = (
            answers.saturating_sub(self.written.0),
            self.output.written().saturating_sub(self.written.1),
        );
        let mut written = self.written.0 + self.written.1;
        for answered in &self.pending {
            let left = if *answered {
                &mut answers
            } else {
                &mut failures
            };
            if *left == 0 {
                break;
            }
            *left -= 1;
            written += 1;
        }
        written
    }

    fn confirm(&mut self, answers: u64) {
        let failures = self.output.written();
        while let Some(answered) = self.pending.front() {
            let (count, written) = if *answered {
                (&mut self.written.0, answers)
            } else {
                (&mut self.written.1, failures)
            };
            if *count >= written {
                return;
            }
            *count += 1;
            self.pending.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryOutput;

    /// Has written as many lines as it is told.
    struct Told(MemoryOutput, u64);

    impl Output for Told {
        fn push(&mut self, line: ResultLine) {
            self.0.push(line);
        }

        async fn ready(&mut self) -> Result<(), OutputError> {
            Ok(())
        }

        fn is_ready(&self) -> bool {
            true
        }

        async fn finish(&mut self) -> Result<(), OutputError> {
            Ok(())
        }

        fn written(&self) -> u64 {
            self.1
        }
    }

    #[test]
    fn failures_go_elsewhere_and_what_is_written_is_counted_without_gaps() {
        let told = || Told(MemoryOutput::new(), 0);
        let mut output = SplitOutput::new(told(), Some(told()));
        let kinds = [true, false, true, true, false];
        for (index, answered) in (0_u64..).zip(kinds) {
            let bytes = format!("{index}\n").into_bytes();
            output.push(ResultLine::new(index, answered, bytes));
        }
        assert_eq!(output.answers.0.lines(), ["0", "2", "3"]);
        let errors = output.errors.as_ref().unwrap();
        assert_eq!(errors.output.0.lines(), ["1", "4"]);
        for (answers, failures, written) in [(0, 0, 0), (3, 0, 1), (1, 1, 2), (3, 1, 4), (3, 2, 5)]
        {
            output.answers.1 = answers;
            output.errors.as_mut().unwrap().output.1 = failures;
            assert_eq!(output.written(), written, "{answers} {failures}");
        }
        output.push(ResultLine::new(5, true, b"5\n".to_vec()));
        assert_eq!(output.written(), 5);
        assert_eq!(output.errors.unwrap().pending, [true]);
    }
}
