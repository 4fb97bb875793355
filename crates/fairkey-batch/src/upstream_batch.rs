//! Rows through OpenRouter's Batch API: half the price, within 24 hours.
//!
//! The rows of an input are grouped by what a batch must have in common (endpoint and model), cut
//! into batches, submitted with the keys of a pool, looked at from time to time, and collected. To a
//! run all this is one [`Caller`](crate::Caller), whose answers take long: [`UpstreamBatches`]. So
//! order, journal, output and summary are those of any run. The input is read twice: ahead of the
//! run, to submit it, and by the run.
//!
//! # What is remembered
//!
//! A folder beside the output, with up to three files for each batch: its record (`.json`), the
//! hashes of its rows (`.rows`), and the answer with its results (`.answers`). A record is written
//! before the batch is submitted, and again with the batch's name after it: so at most the one batch
//! whose answer did not come is in doubt when the process ends. Batches cannot be listed, so that
//! nobody can find out whether that one is there: its rows are left until they are submitted again on
//! demand ([`BatchConfig::resubmit`]).
//!
//! A row finds its batch by what it sends, not by its place: rows may be moved and added between two
//! runs. Rows that send the same are answered by each other's requests.

mod caller;
mod config;
mod done;
mod drive;
mod look;
mod shared;
mod store;
mod submit;
mod upstream;

use std::io;
use std::path::Path;
use std::sync::Arc;

use fairkey_openrouter::profile::Profiles;
use tokio::task::JoinHandle;

pub use self::caller::Fallback;
pub use self::config::BatchConfig;
pub use self::done::DoneRows;
pub use self::shared::{BatchReport, BatchState};
pub use self::upstream::{BatchKey, BatchUpstream, ClientBatches, SubmitError};

use self::drive::Driver;
use self::shared::Shared;
use self::store::Store;
use crate::source::Source;
use crate::stop::Stop;

/// The batches of a run: the [`Caller`](crate::Caller) that its rows are answered by.
#[derive(Debug)]
pub struct UpstreamBatches<F = ()> {
    shared: Arc<Shared>,
    profiles: Profiles,
    fallback: F,
}

/// What submits and looks at batches, on a task of its own.
#[derive(Debug)]
pub struct BatchDriver {
    task: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl UpstreamBatches {
    /// Opens the folder of a run's batches, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// Where the folder or a file in it cannot be read or written, or another run uses it.
    pub fn open(folder: &Path, config: BatchConfig) -> io::Result<Self> {
        let store = Store::open(folder)?;
        Ok(Self {
            shared: Arc::new(Shared::open(store, config)?),
            profiles: Profiles::default(),
            fallback: (),
        })
    }
}

impl<F> UpstreamBatches<F> {
    /// Sets what stands for the models that rows name. Default: nothing.
    #[must_use]
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.profiles = profiles;
        self
    }

    /// Sends the rows that no batch takes by `caller`. Default: they fail.
    #[must_use]
    pub fn fallback<C>(self, caller: C) -> UpstreamBatches<Live<C>> {
        UpstreamBatches {
            shared: self.shared,
            profiles: self.profiles,
            fallback: Live(caller),
        }
    }

    /// Starts to submit the rows of `source`, but those that are `done`, and to look at batches,
    /// those of earlier runs included. `stop` ends it: what is being submitted is still heard of.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start<S, U>(&self, source: S, done: DoneRows, upstream: U, stop: Stop) -> BatchDriver
    where
        S: Source + 'static,
        U: BatchUpstream,
    {
        let driver = Driver {
            shared: Arc::clone(&self.shared),
            profiles: self.profiles.clone(),
            upstream,
            stop,
        };
        BatchDriver {
            task: tokio::spawn(driver.drive(source, done)),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns every batch and how far it is, in the order of their making.
    #[must_use]
    pub fn batches(&self) -> Vec<BatchReport> {
        self.shared.reports()
    }

    /// Returns what is worth a line, and was not returned before.
    #[must_use]
    pub fn take_notices(&self) -> Vec<String> {
        self.shared.take_notices()
    }

    /// Returns why nothing more was submitted, where something was in the way.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        self.shared.halted()
    }

    /// Forgets everything about the batches, and removes their folder: when every row has its
    /// result elsewhere.
    ///
    /// # Errors
    ///
    /// Where something cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        self.shared.forget()
    }

    /// Returns whether some batch may still bring something, or nobody knows whether it was made.
    #[must_use]
    pub fn has_open(&self) -> bool {
        let open = |batch: &BatchReport| {
            matches!(batch.state, BatchState::Submitted | BatchState::InDoubt)
        };
        self.batches().iter().any(open)
    }
}

impl BatchDriver {
    /// Waits until nothing is being submitted: after a stop, as long as an answer takes.
    pub async fn finish(self) {
        self.shared.end();
        // A panic in it has left the rows that it was about.
        let _ = self.task.await;
    }
}

/// Sends rows that no batch takes by another caller.
#[derive(Debug)]
pub struct Live<C>(C);
