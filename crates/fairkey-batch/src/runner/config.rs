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
    /// concurrency. Default 4,096; a run with a journal goes by `journal_rows` instead.
    pub window_rows: usize,
    /// How many bytes of results may wait in memory for a row before them. When there are so many,
    /// none is begun, or, in a run with a journal, those that come now wait there, and are read
    /// when it is their turn. Default 64 MiB.
    pub window_bytes: usize,
    /// How many bytes of requests may be in flight. When there are so many, no row is begun.
    /// Default 256 MiB.
    pub request_bytes: usize,
    /// How many rows of a run with a journal may be begun and not written; each takes eight bytes
    /// of memory. Default 4,194,304.
    pub journal_rows: usize,
    /// How long a row may keep results behind it waiting, from when it is sent first. Then it is
    /// given up, and fails. Default: as long as it takes.
    pub row_wait: Option<Duration>,
    /// How long rows in flight may go on when the run shall end. Default 10 s.
    pub drain: Duration,
    /// The most attempts of one row, over all calls that are made for it, those aside that count
    /// as `failovers`. A row that has made them, and has no answer, has failed. The client's own
    /// [`RetryConfig`](fairkey_client::RetryConfig) bounds each call, too. Zero counts as 1.
    /// Default 8.
    pub attempts: u32,
    /// The most attempts of one row that keys, budgets or accounts refuse: they cost nothing, and
    /// mean that a row waits. So `attempts + failovers` is the most that a row can make. Zero
    /// counts as 1. Default 16.
    pub failovers: u32,
    /// How long the run goes on without a single answer while attempts fail or every key is
    /// barred upstream, before it ends with what it has. A row that is at fault itself counts as
    /// answered, and a call that has been under way for half of this may still be. Default 5 min.
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
            request_bytes: 256 << 20,
            journal_rows: 4 << 20,
            row_wait: None,
            drain: Duration::from_secs(10),
            attempts: 8,
            failovers: 16,
            patience: Duration::from_secs(300),
            tick: Duration::from_millis(100),
        }
    }
}
