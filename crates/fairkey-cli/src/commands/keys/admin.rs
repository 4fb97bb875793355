//! Administration of keys, with a management key: `fairkey keys create`, `list` and so on.

mod change;
mod create;
mod list;
mod lookup;
mod office;
mod rotate;
mod secret_file;

use std::io::{self, BufRead, IsTerminal, Write};

use fairkey_client::CallError;
use fairkey_openrouter::management::{KeyFilter, ManagedKey};
use serde_json::{Value, json};

use self::change::Change;
use crate::args::KeysCommand;
use crate::exit::Exit;
use crate::{redaction, terminal};

/// How a command ends that was not carried out, and what is said about it.
#[derive(Debug)]
struct Stop {
    exit: Exit,
    message: String,
}

impl Stop {
    /// The command line, the configuration or a name cannot be used.
    fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
        }
    }

    /// Something did not work out.
    fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
        }
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Carries out a command.
pub(super) async fn administer(command: &KeysCommand) -> Exit {
    let done = match command {
        KeysCommand::Create(args) => create::create(args).await,
        KeysCommand::List(args) => list::list(args).await,
        KeysCommand::Disable(args) => change::change(args, Change::Disable).await,
        KeysCommand::Enable(args) => change::change(args, Change::Enable).await,
        KeysCommand::Delete(args) => change::change(args, Change::Delete).await,
        KeysCommand::Rotate(args) => rotate::rotate(args).await,
    };
    match done {
        Ok(()) => Exit::Done,
        Err(Stop { exit, message }) => {
            terminal::error(&message);
            exit
        }
    }
}

/// Every key of an account.
fn everything() -> KeyFilter {
    KeyFilter::new()
        .include_disabled(true)
        .include_expired(true)
}

/// Asks before something cannot be taken back, where somebody is there to answer.
fn confirm(yes: bool, question: &str) -> Result<(), Stop> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Stop::usage(format!(
            "{question} Nobody is there to answer: say --yes"
        )));
    }
    let _ = write!(io::stderr().lock(), "{} [y/N] ", redaction::clean(question));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Stop::failed("nothing was changed")),
    }
}

/// Prints what a program may read. Whoever reads it may have seen enough.
fn print_json(value: &Value) {
    let _ = terminal::print(&redaction::clean(&format!("{value:#}\n")));
}

/// Returns a key for programs. Its label is a part of the secret: it stays here.
fn to_json(key: &ManagedKey) -> Value {
    let mut value = json!(key);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("label");
    }
    value
}

/// Returns the beginning of a hash, which is enough to name a key.
fn short(hash: &str) -> &str {
    hash.get(..lookup::SHORTEST_HASH).unwrap_or(hash)
}

/// `key "search" (hash 1f3a5b7c)`
fn named(key: &ManagedKey) -> String {
    format!("key {:?} (hash {})", key.name, short(&key.hash))
}
