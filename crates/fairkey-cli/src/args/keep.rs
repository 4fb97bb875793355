//! The arguments of `run` about its journal, and about what fails.

use std::path::PathBuf;
use std::time::Duration;

use fairkey_batch::SyncPolicy;

use crate::config;

#[derive(Debug, clap::Args)]
pub(crate) struct KeepArgs {
    /// Where failures go, instead of among the results: lines with fault, scope and attempts.
    #[arg(long, value_name = "FILE")]
    pub(crate) errors: Option<PathBuf>,
    /// Send rows again that have failed; their lines are replaced.
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) retry_failed: bool,
    /// Where the journal is. Default: OUT.journal where the results go to a file, else none.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Keep no journal: a run that ends early cannot be continued.
    #[arg(long, conflicts_with_all = ["journal", "retry_failed"])]
    pub(crate) no_journal: bool,
    /// When the journal is synced to the disk: always (each answer before it counts), never (when
    /// the system sees fit), or so often. Answers survive the end of the process in any case; what
    /// is synced survives a loss of power.
    #[arg(long, value_name = "WHEN", default_value = "1s", value_parser = sync)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) sync: SyncPolicy,
    /// How long a row may keep the results behind it waiting; then it fails. Default: as long as
    /// it takes, while the others wait in the journal.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    #[arg(allow_hyphen_values = true, conflicts_with = "unordered")]
    pub(crate) row_wait: Option<Duration>,
}

/// Reads when a journal is synced.
fn sync(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "always" => Ok(SyncPolicy::Always),
        "never" => Ok(SyncPolicy::Never),
        _ => match config::duration(text) {
            Ok(interval) if interval.is_zero() => Ok(SyncPolicy::Always),
            Ok(interval) => Ok(SyncPolicy::Every(interval)),
            Err(error) => Err(format!("neither always nor never, and {error}")),
        },
    }
}
