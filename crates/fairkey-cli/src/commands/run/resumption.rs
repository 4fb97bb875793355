//! How going on with a run is told.

use fairkey_batch::{Parameters, ReadConfig, Stopped, Summary};

use super::destination::Begun;
use crate::args::RunArgs;
use crate::table::{count, thousands};
use crate::terminal;
use crate::upstream::Upstream;

/// Returns what determines what is sent, besides the rows.
pub(super) fn parameters(args: &RunArgs, read: &ReadConfig, upstream: &Upstream) -> Parameters {
    let mut parameters = Parameters::new();
    parameters.set("upstream", upstream.name());
    if let Some(model) = &read.defaults.model {
        parameters.set("model", model);
    }
    if let Some(max_tokens) = read.defaults.max_tokens {
        parameters.set("max-tokens", max_tokens);
    }
    parameters.set("output-format", args.output_format());
    if let Some(endpoint) = &args.endpoint {
        parameters.set("endpoint", endpoint);
    }
    // What may hold prompts is not repeated.
    if let Some(system) = &read.defaults.system {
        parameters.set_hashed("system", system);
    }
    if let Some(template) = &args.template {
        parameters.set_hashed("template", &format!("{template:?}"));
    }
    if !args.set.is_empty() {
        parameters.set_hashed("set", &args.set.join("\n"));
    }
    if !args.overrides.is_empty() {
        parameters.set_hashed("override", &args.overrides.join("\n"));
    }
    if !upstream.profiles.is_empty() {
        parameters.set_hashed("routes", &format!("{:?}", upstream.profiles));
    }
    parameters
}

/// Says what is there already, if anything is.
pub(super) fn explain_start(begun: &Begun, args: &RunArgs) {
    let (known, continued) = (&begun.known, &begun.continued);
    if known.damaged_bytes > 0 {
        terminal::warn(&format!(
            "the journal is damaged: {} count for nothing, and what they said is sent again, \
             unless the results have it",
            count(known.damaged_bytes, "byte")
        ));
    }
    if continued.adopted > 0 {
        terminal::warn(&format!(
            "{} stood among the results without being in the journal, and were taken from there",
            count(continued.adopted, "answer")
        ));
    }
    if continued.rescued > 0 {
        terminal::warn(&format!(
            "there was something else among the results: {} from there on were moved to a file \
             whose name ends with .rest",
            count(continued.rescued, "byte")
        ));
    }
    let done = known.answered + known.failed;
    if done > 0 && !args.quiet {
        let failed = match (known.failed, args.keep.retry_failed) {
            (0, _) => String::new(),
            (failed, true) => format!(", {} failed and sent again", thousands(failed)),
            (failed, false) => format!(
                ", {} failed (--retry-failed sends them again)",
                thousands(failed)
            ),
        };
        terminal::say(&format!("going on: {} done{failed}", count(done, "row")));
    }
}

/// Says how to go on, or that there is nothing to go on with.
pub(super) fn explain_end(summary: &Summary, args: &RunArgs) {
    let rows = &summary.rows;
    match &summary.stopped {
        Some(Stopped::InputChanged(_)) => {
            terminal::say(
                "what was done is kept: put the input back as it was, begin anew with \
                 --overwrite, or name another file with -o; a row that has failed may change with \
                 --retry-failed",
            );
        }
        Some(Stopped::OutOfMoney(_)) => {
            terminal::say(
                "the same command with a higher --max-cost goes on where it ended; what was spent \
                 counts",
            );
        }
        Some(why) => {
            let room = match why {
                Stopped::OutputFailed(error) | Stopped::JournalFailed(error) if error.is_full() => {
                    "free some room; "
                }
                _ => "",
            };
            terminal::say(&format!("{room}the same command goes on where it ended"));
        }
        None if rows.read > 0 && rows.read == rows.kept && !args.quiet => {
            terminal::say("nothing was left to do: every row has its result");
        }
        None => {}
    }
}
