//! Which calls were refused, so that they do not count as accepted ones: [`RefusedCalls`].

use std::collections::VecDeque;

use super::{LOOKS, Seen, TOKENS};

/// Refused calls of the last windows: how many began when, and what they reserved. Those that began
/// within a 64th of a window are put together.
#[derive(Clone, Debug, Default)]
pub(super) struct RefusedCalls {
    /// Oldest first.
    parts: VecDeque<Part>,
    window: u64,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// When the first and the last of them began.
    first: u64,
    last: u64,
    calls: u64,
    tokens: u64,
}

impl RefusedCalls {
    pub(super) fn add(&mut self, seen: &Seen) {
        self.window = seen.window;
        // Twice the window: what began within it may end later.
        let from = seen.now.saturating_sub(2 * seen.window);
        while self.parts.front().is_some_and(|part| part.last <= from) {
            self.parts.pop_front();
        }
        let (begun, tokens) = (seen.begun, seen.need[TOKENS]);
        match self.parts.back_mut() {
            // Refusals may come in another order than their calls began.
            Some(part) if begun < part.first.saturating_add(seen.window / LOOKS) => {
                part.first = part.first.min(begun);
                part.last = part.last.max(begun);
                part.calls += 1;
                part.tokens += tokens;
            }
            _ => self.parts.push_back(Part {
                first: begun,
                last: begun,
                calls: 1,
                tokens,
            }),
        }
    }

    /// Returns the length of the window in which they were counted.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Returns how many refused calls, of how many tokens, began in the window that ends at `now`;
    /// rather too many than too few.
    pub(super) fn within(&self, now: u64, window: u64) -> (u64, u64) {
        let from = now.saturating_sub(window);
        let parts = self.parts.iter().rev();
        parts
            .skip_while(|part| part.first > now)
            .take_while(|part| part.last > from)
            .fold((0, 0), |(calls, tokens), part| {
                (calls + part.calls, tokens + part.tokens)
            })
    }
}
