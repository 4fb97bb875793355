//! How a run goes about it: [`RunConfig`].

use std::time::Duration;

use crate::concurrency::Concurrency;

/// How a run goes about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunConfig {
    /// How many rows are in flight at most. Default [`Concurrency::Auto`].
    pub concurrency: Concurrency,
    /// Whether results are written in the order of the rows; otherwise as they come. Default true.
    pub ordered: bool,
    /// How many rows may be begun and not written: those in flight, and those that are done and
    /// wait for a row before them. When there are so many, none is begun. At least twice the
    /// concurrency. Default 4,096.
    pub window_rows: usize,
    /// How many bytes of results may wait for a row before them. When there are so many, none is
    /// begun. Default 64 MiB.
    pub window_bytes: usize,
    /// How long rows in flight may go on when the run shall end. Default 10 s.
    pub drain: Duration,
    /// How long the run waits without a single answer while every key is barred upstream, before
    /// it ends with what it has. Default 5 min.
    pub patience: Duration,
    /// How often progress is told, and the state of the run looked at. Default 100 ms.
    pub tick: Duration,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            concurrency: Concurrency::default(),
            ordered: true,
            window_rows: 4_096,
            window_bytes: 64 << 20,
            drain: Duration::from_secs(10),
            patience: Duration::from_secs(300),
            tick: Duration::from_millis(100),
        }
    }
}
