//! What is kept of a model between two runs: [`ModelMemory`].

use serde::{Deserialize, Serialize};

use super::learned::RATIOS;
use super::table::LONGEST_NAME;

/// What is kept of a model between two runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelMemory {
    pub(crate) model: String,
    pub(crate) tokens_per_byte: f64,
    /// Of its prompts.
    pub(crate) mean_bytes: f64,
    pub(crate) output_p50: u64,
    pub(crate) output_p90: u64,
    pub(crate) answers: u64,
    /// When it was last told of, in seconds since 1970.
    pub(crate) at: u64,
}

/// Half of what is known is forgotten in this time: models change, and so does what is asked of
/// them.
const HALF_LIFE_DAYS: f64 = 7.0;
/// After this, all of it is.
const OLDEST_DAYS: f64 = 32.0;
const DAY: f64 = 86_400.0;
/// As how many answers a memory counts at most: twenty new ones make up the larger part.
const MOST_WEIGHT: f64 = 20.0;
/// The longest answer that is believed.
const LONGEST_OUTPUT: u64 = 1 << 24;

impl ModelMemory {
    /// Returns this as it can be believed at so many seconds since 1970; `Ok(None)`: it is too old.
    pub(crate) fn believed(mut self, now: u64) -> Result<Option<Self>, String> {
        let is_sound = !self.model.is_empty()
            && self.model.len() <= LONGEST_NAME
            && RATIOS.contains(&self.tokens_per_byte)
            && (1.0..=1e9).contains(&self.mean_bytes)
            && self.output_p50 <= self.output_p90
            && self.output_p90 <= LONGEST_OUTPUT;
        if !is_sound {
            return Err("what a model's answers were like".to_owned());
        }
        self.at = self.at.min(now);
        Ok(Some(self).filter(|memory| memory.weight(now) > 0.0 && memory.answers > 0))
    }

    /// Returns as how many answers it counts: fewer with age.
    pub(crate) fn weight(&self, now: u64) -> f64 {
        let days = now.saturating_sub(self.at) as f64 / DAY;
        if days > OLDEST_DAYS {
            return 0.0;
        }
        let weight = (self.answers as f64).min(MOST_WEIGHT);
        (weight * (-days / HALF_LIFE_DAYS).exp2()).max(1.0)
    }
}
