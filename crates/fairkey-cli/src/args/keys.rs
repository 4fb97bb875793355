//! The command line of `fairkey keys`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use fairkey_openrouter::ResetInterval;

use super::UpstreamArgs;
use crate::config;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused upstream or not carried out, 2 usage, configuration, or a name that
is no key's or several keys', 130 interrupted.";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Caps, budgets and the free quota are read with each key itself. The balance of an account can only
be read with a management key: [[accounts]] management_key in the configuration.

The subcommands administer keys, with a management key only: that of [[accounts]] management_key, or
OPENROUTER_MANAGEMENT_KEY where the configuration has none. It is never used for inference.

Examples:
    fairkey keys --mock
    fairkey keys --json
    fairkey keys create --name search --limit 50 --reset monthly --out search.key
    fairkey keys rotate search --out search-2.key --drain 10m --yes

Exit codes: 0 every key can be used, 1 some cannot, 2 usage or configuration; those of the
subcommands are in their help.")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: Option<KeysCommand>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; its secret is shown once, or written to a file.
    Create(CreateArgs),
    /// List the keys of the account, those included that fairkey does not use.
    List(ListArgs),
    /// Turn a key off.
    Disable(ChangeArgs),
    /// Turn a key on again.
    Enable(ChangeArgs),
    /// Replace a key by a new one with the same name and cap, without a gap.
    Rotate(RotateArgs),
    /// Delete a key for good.
    Delete(ChangeArgs),
}

/// What all of them have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// The account, as [[accounts]] calls it. Needed where several have a management key.
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Use an embedded mock OpenRouter, with a management key of its own.
    #[arg(long)]
    pub(crate) mock: bool,
    /// Read this configuration. Without it, fairkey.toml is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Talk to this upstream instead of OpenRouter.
    #[arg(long, value_name = "URL", conflicts_with = "mock")]
    pub(crate) base_url: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Without --out the secret is the only line on standard output, and nobody can read it again.

Examples:
    fairkey keys create --name search --limit 50 --reset monthly --out search.key
    fairkey keys create --name trial --limit 1 --expires 2027-01-31 | pass insert -m trial

{EXIT_CODES}"))]
pub(crate) struct CreateArgs {
    /// What the key is called.
    #[arg(long)]
    pub(crate) name: String,
    /// The most that it may spend, in US dollars. Default: no cap.
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub(crate) limit: Option<f64>,
    /// How often the cap starts anew. Default: never.
    #[arg(long, value_name = "INTERVAL", requires = "limit")]
    pub(crate) reset: Option<Interval>,
    /// When the key ends, by UTC: 2027-12-31T23:59:59Z, or a date alone. Default: never.
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// Write the secret to this new file, which only you can read, and print it nowhere.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Without --account: the keys of every account that has a management key.

Examples:
    fairkey keys list
    fairkey keys list --all --json

{EXIT_CODES}"))]
pub(crate) struct ListArgs {
    /// List disabled and expired keys, too.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Where several keys have the name, they are listed, and nothing is done: give the hash of one, or the
first 8 characters of it or more.

Examples:
    fairkey keys disable search
    fairkey keys enable search
    fairkey keys delete 1f3a5b7c --yes

{EXIT_CODES}"))]
pub(crate) struct ChangeArgs {
    /// The key, by its name or its hash.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Do it without asking.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
The new key is made, tried and written first. The old one goes on serving, so that whoever uses it
has time to take the new one: restart it, or let it read its configuration again. What the new key
spends counts from zero.

--drain disables the old key after that time, --delete-old-after deletes it. Both leave it alone
where it still spends: then its calls are not done. Without either, the old key stays as it is.

With --json there is one line when the new key is there, and one when the old one is dealt with.

Examples:
    fairkey keys rotate search --out search-2.key
    fairkey keys rotate search --out search-2.key --drain 10m --yes
    fairkey keys rotate search --out search-2.key --delete-old-after 1d --yes

{EXIT_CODES}"))]
pub(crate) struct RotateArgs {
    /// The key, by its name or its hash.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Write the secret to this new file, which only you can read, and print it nowhere.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Disable the old key after this time, unless it is still in use.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) drain: Option<Duration>,
    /// Delete the old key after this time, unless it is still in use.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    #[arg(allow_hyphen_values = true, conflicts_with = "drain")]
    pub(crate) delete_old_after: Option<Duration>,
    /// Do it without asking.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// How often a cap starts anew.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Interval {
    /// At midnight UTC.
    Daily,
    /// On Mondays.
    Weekly,
    /// On the first of the month.
    Monthly,
}

impl From<Interval> for ResetInterval {
    fn from(interval: Interval) -> Self {
        match interval {
            Interval::Daily => Self::Daily,
            Interval::Weekly => Self::Weekly,
            Interval::Monthly => Self::Monthly,
        }
    }
}
