//! The batch runner from outside: readers, runner, and a client behind it.

mod client;
mod fake;
mod fuzz_seeds;
mod journal;
mod laws;
#[cfg(feature = "parquet")]
mod parquet;
mod reader;
mod runner;
mod stopping;
mod tables;
mod upstream_batch;
