//! What each subcommand does.

pub(crate) mod ask;
pub(crate) mod config;
pub(crate) mod keys;
pub(crate) mod mock;
pub(crate) mod models;
pub(crate) mod route;
pub(crate) mod run;
pub(crate) mod serve;
