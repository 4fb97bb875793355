//! The command line.

mod catalog;
mod keep;
mod keys;
mod money;
mod run;
mod way;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use fairkey_gateway::ListenAddr;
use fairkey_mock::Timestamp;

pub(crate) use self::catalog::{CatalogArgs, ModelsArgs, ModelsCommand, RouteArgs, ShowArgs};
pub(crate) use self::keep::KeepArgs;
pub(crate) use self::keys::{
    AdminArgs, ChangeArgs, CreateArgs, KeysArgs, KeysCommand, ListArgs, RotateArgs,
};
pub(crate) use self::run::RunArgs;
pub(crate) use self::way::{Fallback, Mode, WayArgs};
use crate::exit::Exit;
use crate::{config, redaction, terminal};

const EXIT_CODES: &str = "\
Exit codes:
    0  everything was answered
    1  some rows failed, or the question did
    2  the command line, the configuration, the input or the output cannot be used
    3  the run stopped before its input was done
  130  interrupted

Keys come from the configuration, OPENROUTER_API_KEY, OPENROUTER_API_KEYS (separated by commas)
and OPENROUTER_KEY_1, OPENROUTER_KEY_2 and so on. --mock needs none.";

/// Spreads LLM requests over many OpenRouter keys.
#[derive(Debug, Parser)]
#[command(name = "fairkey", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send every line of a file, and write one result line for each.
    Run(Box<RunArgs>),
    /// Send one prompt, and print the answer as it comes.
    Ask(AskArgs),
    /// Serve OpenRouter's API to any client, with all keys behind it.
    Serve(ServeArgs),
    /// Show what every key may still do; make, rotate and delete keys.
    Keys(KeysArgs),
    /// Search the models, and show who serves them.
    Models(ModelsArgs),
    /// Say which endpoints may serve a request, and what it costs, without sending it.
    Route(RouteArgs),
    /// Serve a mock OpenRouter.
    Mock(MockArgs),
    /// Check the configuration, or show what holds.
    Config(ConfigArgs),
}

/// What `run`, `ask` and `keys` have in common.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct UpstreamArgs {
    /// Use an embedded mock OpenRouter: no key, no network, no cost.
    #[arg(long)]
    pub(crate) mock: bool,
    /// Read this configuration. Without it, fairkey.toml is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Talk to this upstream instead of OpenRouter.
    #[arg(long, value_name = "URL", conflicts_with = "mock")]
    pub(crate) base_url: Option<String>,
    /// Seed of all chance, the mock's included, so that a run can be repeated.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
    fairkey ask \"Why is the sky blue?\" --mock
    fairkey ask \"Summarize this:\" --model openai/gpt-4o-mini
    fairkey ask - < question.txt

Exit codes: 0 answered, 1 not answered, 2 usage or configuration, 130 interrupted.")]
pub(crate) struct AskArgs {
    /// The prompt; - reads it from standard input.
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: String,
    /// The model, or a route of the configuration. Default: what the account's settings say.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// The route of the configuration.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    pub(crate) route: Option<String>,
    /// The system message.
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// The most tokens of the answer.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) max_tokens: Option<u64>,
    /// Print the answer as JSON, when it is whole, with what it took.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Clients of OpenAI and of OpenRouter take http://127.0.0.1:4210/api/v1 as their base URL, those of
Anthropic http://127.0.0.1:4210/api, with any key; where the configuration has [[clients]], with the
token of one of them. When it accepts, it prints \"listening on http://ADDR\" to standard output, and
answers GET /healthz and /readyz. SIGHUP reads the configuration again, and so does a change of one
of its files. On Ctrl-C and SIGTERM it takes no more calls, and ends when those under way have; the
second signal leaves at once, and says what was cut off.

Examples:
    fairkey serve --mock
    fairkey serve --config fairkey.toml --listen 127.0.0.1:8000
    curl http://127.0.0.1:4210/api/v1/models

Exit codes: 0 ended on a signal, 2 usage, configuration or address, 3 calls were cut off.")]
pub(crate) struct ServeArgs {
    /// The address to listen on, or unix:PATH; one of this machine only, unless the configuration
    /// has [[clients]]; port 0 picks a free one. Default: the configuration's, else 127.0.0.1:4210.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<ListenAddr>,
    /// Pass paths that are not known on with a key, instead of answering 404.
    #[arg(long)]
    pub(crate) pass_unknown_paths: bool,
    /// Read the rest of an answer whose caller has left, for at most a minute and 16 MiB, so that
    /// its usage is known. Default: leave the upstream at once, which stops most bills.
    #[arg(long)]
    pub(crate) drain: bool,
    /// How long calls under way may take to end after the first signal.
    /// Default: what the configuration says, else 30s.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a scenario any bearer key is good, and there are no limits, no latency and no faults. When
it accepts, it prints \"listening on http://ADDR/api/v1\" to standard output. It ends on Ctrl-C and on
SIGTERM.

Examples:
    fairkey mock --listen 127.0.0.1:8080
    fairkey mock --latency 250ms --seed 7
    fairkey mock --scenario bad-day.toml --now 2026-10-01T23:59:00Z

Exit codes: 0 ended on a signal, 2 usage, scenario or address.")]
pub(crate) struct MockArgs {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Accounts, keys, limits and faults, from a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// Seed of all chance.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// How long an answer takes to its first token.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) latency: Option<Duration>,
    /// Where its clock starts, such as 2026-10-01T12:00:00Z. Default: the scenario's, else the real
    /// time.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(crate) now: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is sent anywhere. Without --config, fairkey.toml is read if it is there; keys of the
environment count, too. No secret is shown.

Examples:
    fairkey config check
    fairkey config show --json
    fairkey config schema > fairkey.schema.json

Exit codes: 0 the configuration can be used, 2 it cannot.")]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration can be used, and what is odd about it.
    Check(ConfigFileArgs),
    /// Show every value that holds, and where it comes from.
    Show(ConfigFileArgs),
    /// Print the JSON Schema of the file, for editors.
    Schema,
}

/// What `config check` and `config show` have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFileArgs {
    /// Read this configuration. Without it, fairkey.toml is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Talk to this upstream instead of OpenRouter.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a time of day and a date.
fn time(text: &str) -> Result<Timestamp, String> {
    let example = "write it like 2026-10-01T12:00:00Z";
    text.parse().map_err(|_| {
        // As long as a time, and nothing but what one is made of.
        let looks_right = text.len() >= "2026-10-01T12:00:00Z".len()
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || "-+:.TtZz ".contains(c));
        if looks_right {
            format!("there is no such time, or it is not in the years 1970 to 9999; {example}")
        } else {
            format!("a time has a date, an hour and a zone; {example}")
        }
    })
}

/// Reads an address to listen on. A name could be several.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address is an IP address with a port: 127.0.0.1:8080".to_owned())
}

impl Args {
    /// Reads the command line; where there is nothing to do but to end, says how.
    pub(crate) fn read() -> Result<Self, Exit> {
        Self::try_parse().map_err(|error| {
            // An argument that is repeated in an error may be a key.
            let text = redaction::clean(&error.render().to_string());
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    let _ = terminal::print(&text);
                    Exit::Done
                }
                _ => {
                    terminal::say(text.trim_end());
                    Exit::Usage
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_value_that_cannot_be_is_named_with_what_can() {
        for (line, what) in [
            (
                "run in --concurrency -1",
                "neither a number above 0 nor auto",
            ),
            ("run in --max-tokens -1", "'-1' for '--max-tokens"),
            ("ask hi --max-tokens -1", "'-1' for '--max-tokens"),
            ("run in --seed -1", "'-1' for '--seed"),
            ("mock --seed -1", "'-1' for '--seed"),
            (
                "run in --patience 5",
                "a duration is a number with its unit",
            ),
            ("run in --patience -5s", "not negative"),
            ("mock --listen localhost:8080", "an IP address with a port"),
            ("mock --latency -1s", "not negative"),
            ("mock --latency 99999999d", "at most 366d"),
            ("mock --now 1969-01-01T00:00:00Z", "years 1970 to 9999"),
            ("mock --now 2026-02-30T00:00:00Z", "no such time"),
            ("mock --now -5", "a date, an hour and a zone"),
            ("mock --now noon", "2026-10-01T12:00:00Z"),
        ] {
            let args = ["fairkey"].into_iter().chain(line.split(' '));
            let error = Args::try_parse_from(args).unwrap_err();
            assert!(error.to_string().contains(what), "{line}: {error}");
        }
    }

    #[test]
    fn every_subcommand_has_an_example_and_exit_codes() {
        for command in Args::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
            assert!(help.contains("Exit codes"), "{}", command.get_name());
        }
    }
}
