//! The arguments of `run` about the way that rows take.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::config;

/// Which way rows take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Each by a call of its own.
    #[default]
    Live,
    /// Many at once, by OpenRouter's Batch API: half the price, within 24 hours.
    UpstreamBatch,
}

/// What becomes of rows that no batch takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fallback {
    /// They fail, and the result says why.
    #[default]
    Fail,
    /// They are sent by calls of their own.
    Live,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WayArgs {
    /// How rows are sent: each by a call of its own, or many at once by OpenRouter's Batch API.
    #[arg(long, value_name = "MODE", value_enum, default_value = "live")]
    pub(crate) mode: Mode,
    /// With upstream-batch: what becomes of rows that no batch takes, such as those with pictures.
    #[arg(long, value_name = "WHAT", value_enum, default_value = "fail")]
    pub(crate) fallback: Fallback,
    /// With upstream-batch: the most rows of a batch. OpenRouter documents no limit.
    #[arg(long, value_name = "N", default_value = "5000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub(crate) batch_rows: u32,
    /// With upstream-batch: the most bytes of a batch. Default: 16 MiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "16777216",
        hide_default_value = true
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..), allow_negative_numbers = true)]
    pub(crate) batch_bytes: u64,
    /// With upstream-batch: the longest time between two looks at a batch.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::duration)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) look_every: Duration,
    /// With upstream-batch: submit rows again of which nobody knows whether they were submitted.
    /// They may be paid for twice.
    #[arg(long)]
    pub(crate) resubmit: bool,
    /// Send through a gateway that runs already (http://HOST:PORT, https://HOST or unix:PATH), as
    /// calls that yield to its others. No keys are needed here; a token for it, if it wants one, is
    /// in FAIRKEY_TOKEN or in the file of --via-token.
    #[arg(long, value_name = "URL", conflicts_with_all = ["mock", "base_url"])]
    pub(crate) via: Option<String>,
    /// The file that holds the token for the gateway.
    #[arg(long, value_name = "FILE", requires = "via")]
    pub(crate) via_token: Option<PathBuf>,
    /// Certificates in PEM that are trusted besides those of well-known authorities: of a gateway at
    /// https:// that has one of your own.
    #[arg(long, value_name = "FILE", requires = "via")]
    pub(crate) ca: Option<PathBuf>,
}
