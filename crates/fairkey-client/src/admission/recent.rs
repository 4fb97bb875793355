//! Which models calls were for of late: [`Recent`].

use std::sync::Arc;

/// What the last calls asked for, as far as it matters whether they all asked for the same.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The model of the last call.
    last: Option<Arc<str>>,
    /// How many calls there were.
    calls: u64,
    /// Which was the last that asked for another model than the last call.
    other: Option<u64>,
}

/// So many calls back is of late.
const LATE: u64 = 256;

impl Recent {
    /// Hears of a call.
    pub(super) fn note(&mut self, model: Option<&Arc<str>>) {
        self.calls += 1;
        if self.last.as_ref() != model {
            self.other = (self.calls > 1).then_some(self.calls - 1);
            self.last = model.cloned();
        }
    }

    /// Returns whether of the last calls any asked for another model than this one.
    pub(super) fn has_others(&self, model: Option<&Arc<str>>) -> bool {
        if self.last.as_ref() != model {
            return self.calls > 0;
        }
        self.other.is_some_and(|other| self.calls - other < LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_known_for_some_hundred_calls() {
        let models: [Arc<str>; 2] = ["m/a", "m/b"].map(Into::into);
        let [a, b] = [Some(&models[0]), Some(&models[1])];
        let mut recent = Recent::default();
        assert!(!recent.has_others(a));
        recent.note(a);
        assert!(!recent.has_others(a));
        assert!(recent.has_others(b));
        recent.note(b);
        assert!(recent.has_others(a) && recent.has_others(b));
        for _ in 0..LATE {
            recent.note(b);
        }
        assert!(recent.has_others(a) && !recent.has_others(b));
    }
}
