//! What the binary `fairkey` is made of: arguments, configuration, terminal, and the commands, which
//! wire the library crates together.
//!
//! For the binary's own `main` and its tests; what a program wants is in `fairkey` and the crates
//! under it.

mod args;
mod catalog;
mod commands;
#[doc(hidden)]
pub mod config;
mod exit;
mod files;
mod keyring;
mod redaction;
mod signals;
mod table;
mod terminal;
mod upstream;

use std::process::ExitCode;

use crate::args::{Args, Command};
use crate::exit::Exit;

/// Runs the program with the arguments of the process, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    terminal::install_panic_hook();
    let args = match Args::read() {
        Ok(args) => args,
        Err(exit) => return exit.into(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::error(&format!("no runtime can be started: {error}"));
            return Exit::Usage.into();
        }
    };
    let exit = runtime.block_on(async {
        match args.command {
            Command::Run(args) => commands::run::run(*args).await,
            Command::Ask(args) => commands::ask::ask(args).await,
            Command::Keys(args) => commands::keys::keys(args).await,
            Command::Models(args) => commands::models::models(args).await,
            Command::Route(args) => commands::route::route(args).await,
            Command::Serve(args) => commands::serve::serve(args).await,
            Command::Mock(args) => commands::mock::mock(args).await,
            Command::Config(args) => commands::config::config(&args),
        }
    });
    // A thread may sit in a read that never returns, such as that of a terminal.
    runtime.shutdown_background();
    exit.into()
}
