#![doc = include_str!("../README.md")]

mod bottleneck;
mod caller;
mod client_caller;
mod concurrency;
mod defaults;
mod forecast;
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod journal;
mod money;
mod output;
mod progress;
mod reader;
mod render;
mod result;
mod row;
mod runner;
mod schema;
mod settings;
mod source;
mod stop;
mod summary;
mod upstream_batch;
mod via_caller;

pub use bottleneck::Bottleneck;
pub use caller::{
    Allowance, Attempt, AttemptCount, Bill, Caller, CallerState, Failure, KeyOut, KeyState,
    Refusal, Reply, Spend, Then,
};
pub use client_caller::ClientCaller;
pub use concurrency::Concurrency;
pub use defaults::Defaults;
pub use forecast::{Forecast, ModelForecast};
pub use history::{History, Step, Times};
pub use journal::{
    Continued, Journal, JournalConfig, JournalError, JournalFile, Known, Parameters, SyncPolicy,
};
pub use money::{Appraiser, Metered, OutOfMoney, Purse, PurseUse, Reservation, Unpriced};
pub use output::{MemoryOutput, Output, OutputError, ResultLine, Sink, SplitOutput, WriterThread};
pub use progress::{Lane, Notice, Progress, Snapshot};
pub use reader::{
    Endpoint, Format, Input, InputReader, ReadConfig, ReaderThread, RowReader, Template,
};
#[cfg(feature = "parquet")]
pub use render::ParquetOutput;
pub use render::{OutputFormat, Rendered};
pub use row::{BadLine, Place, Request, Row};
pub use runner::{InputChange, RunConfig, Stopped, run, run_with_journal};
pub use schema::{Checked, Schema, SchemaCheck, SchemaError, SchemaStats, Violation};
pub use settings::Settings;
pub use source::Source;
pub use stop::Stop;
pub use summary::{AccountSummary, AttemptsSummary, KeySummary, Rows, Summary};
pub use upstream_batch::{
    BatchConfig, BatchDriver, BatchKey, BatchReport, BatchState, BatchUpstream, ClientBatches,
    DoneRows, Fallback, Live, SubmitError, UpstreamBatches,
};
pub use via_caller::ViaCaller;
