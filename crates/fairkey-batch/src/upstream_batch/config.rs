//! How batches are made and looked at: [`BatchConfig`].

use std::time::Duration;

/// How batches are made and looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchConfig {
    /// The most rows of a batch; zero counts as 1. OpenRouter documents no limit. Default 5,000.
    pub rows: usize,
    /// The most bytes of a batch's text, but for one row that is longer. OpenRouter documents no
    /// limit. Default 16 MiB.
    pub bytes: usize,
    /// The most bytes of batches that are still being filled, where rows of many models come in
    /// turn; above it the fullest is submitted as it is. Default 64 MiB.
    pub filling_bytes: usize,
    /// How soon a batch is looked at first. Each look that finds nothing new makes the next wait
    /// half as long again. Default 5 s.
    pub first_look: Duration,
    /// The longest time between two looks at a batch. Default 5 min.
    pub longest_look: Duration,
    /// How long submitting is tried, and a batch that cannot be looked at, before the run ends with
    /// what it has. Default 15 min.
    pub patience: Duration,
    /// How often a batch that is refused as a request is parted, to find the rows that are at
    /// fault. What is refused after that fails whole. Default 24.
    pub splits: u32,
    /// Whether rows of batches in doubt are submitted again, which may pay for them twice. Default
    /// false: they are left.
    pub resubmit: bool,
    /// Whether rows are submitted again that a batch has brought an error for. Default false.
    pub retry_failed: bool,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            rows: 5_000,
            bytes: 16 << 20,
            filling_bytes: 64 << 20,
            first_look: Duration::from_secs(5),
            longest_look: Duration::from_secs(300),
            patience: Duration::from_secs(900),
            splits: 24,
            resubmit: false,
            retry_failed: false,
        }
    }
}
