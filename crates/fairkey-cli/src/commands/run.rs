//! `fairkey run`.

mod caller;
mod destination;
mod dry_run;
pub(crate) mod input;
mod money;
mod report;
mod results;
mod resumption;
mod schema;
mod way;

use std::io;
use std::path::Path;
use std::sync::Arc;

use fairkey_batch::{
    Checked, Metered, ReaderThread, RunConfig, SchemaCheck, Stop, Stopped, Summary,
};

use self::destination::Destination;
use self::input::{Inputs, read_config};
use self::way::Batches;
use crate::args::{Mode, RunArgs};
use crate::exit::Exit;
use crate::terminal::Reporter;
use crate::upstream::{Purpose, Upstream};
use crate::{files, signals, terminal};

/// Sends a file.
pub(crate) async fn run(args: RunArgs) -> Exit {
    if args.json {
        terminal::speak_json();
    }
    match prepare_and_run(&args).await {
        Ok(exit) => exit,
        Err(message) => {
            terminal::error(&message);
            Exit::Usage
        }
    }
}

async fn prepare_and_run(args: &RunArgs) -> Result<Exit, String> {
    let stop = Stop::new();
    signals::stop_on_signal(&stop).map_err(|error| format!("signals cannot be heard: {error}"))?;
    let mut inputs = Inputs::find(args)?;
    if let Some(path) = &args.report {
        report::check_page(path, inputs.paths())?;
    }
    destination::check(args)?;
    let files = files::raise_limit(args.concurrency.max());
    let concurrency = args.concurrency.within(files);
    if concurrency.max() > files {
        terminal::warn(&format!(
            "the system lets this process have about {files} connections; --concurrency {} may \
             fail (ulimit -n)",
            args.concurrency
        ));
    }
    let purpose = if args.money.dry_run {
        Purpose::Look
    } else {
        Purpose::Batch {
            in_flight: concurrency.max(),
            patience: args.patience,
        }
    };
    let schema = schema::open(args)?;
    way::check(args, &inputs)?;
    let upstream = match &args.way.via {
        Some(url) => Upstream::via(url, &args.way, &args.upstream, concurrency.max())?,
        None => Upstream::open(&args.upstream, purpose).await?,
    };
    let name = inputs.name();
    let read = read_config(args, &upstream)?;
    let mut parameters = resumption::parameters(args, &read, &upstream);
    if let Some(schema) = &schema {
        schema::note(args, schema, &mut parameters);
    }
    let reader = inputs.open(read)?;
    let mut rows = ReaderThread::start_inputs(reader)
        .map_err(|error| format!("no thread can be started: {error}"))?;
    let has_rows = tokio::select! {
        biased;
        has_rows = rows.has_rows() => has_rows,
        () = stop.stopping() => {
            terminal::say("interrupted before anything was sent");
            return Ok(Exit::Interrupted);
        }
    };
    match has_rows {
        Ok(true) => {}
        Ok(false) => return Err(format!("{name} is empty: there is nothing to send")),
        Err(error) => return Err(error.to_string()),
    }
    if args.money.dry_run {
        return dry_run::run(args, rows, upstream, &stop, concurrency.max()).await;
    }
    let bounds = tokio::select! {
        money = money::open(args, &upstream) => Bounds { money: money?, schema },
        () = stop.stopping() => {
            terminal::say("interrupted before anything was sent");
            return Ok(Exit::Interrupted);
        }
    };
    // The last thing before the first request: whatever else is wrong, no file is made for it.
    let destination = Destination::open(args, &inputs, &parameters)?;
    if !args.quiet {
        terminal::say(&format!(
            "sending {name} to {}; results go to {}",
            upstream.describe(),
            destination.name()
        ));
    }
    let begun = destination.begun();
    resumption::explain_start(&begun, args);
    if let Some((_, purse)) = &bounds.money {
        purse.spent_before(begun.known.cost.micro_usd);
    }
    let name_of_output = destination.name().to_owned();
    let to_stdout = destination.is_stdout();
    let paths = destination.paths();
    let (output, journal) = destination
        .start()
        .map_err(|error| format!("results cannot be written to {name_of_output}: {error}"))?;
    let mut config = RunConfig::default();
    config.concurrency = concurrency;
    config.ordered = !args.unordered;
    config.patience = args.patience;
    config.row_wait = args.keep.row_wait;
    config.attempts = upstream.retry.attempts;
    config.failovers = upstream.retry.failovers;
    upstream.warn();
    let is_via = args.way.via.is_some();
    let watch = (!is_via).then(|| upstream.watch());
    let mut reporter = Reporter::new(args.quiet, args.json, upstream.keys);
    let has_journal = journal.is_some();
    let to = way::To {
        output,
        journal,
        config,
        stop,
    };
    let (summary, batches) = match args.way.mode {
        Mode::Live => {
            let summary = way::send(args, &upstream, &bounds, rows, to, &mut reporter).await;
            (summary, None)
        }
        Mode::UpstreamBatch => {
            let folder = paths.batches().ok_or(NO_FOLDER)?;
            let sent =
                way::batches(args, &upstream, &folder, &bounds, rows, to, &mut reporter).await?;
            (sent.0, Some(sent.1))
        }
    };
    drop(watch);
    reporter.finish();
    let unknown = upstream.client.stats().unknown;
    upstream.close();
    if let Some(path) = &args.report {
        match report::write_page(path, &summary, &name, &name_of_output) {
            Ok(()) if args.quiet => {}
            Ok(()) => terminal::say(&format!("report    {}", path.display())),
            Err(error) => terminal::error(&format!(
                "the report cannot be written to {}: {error}",
                path.display()
            )),
        }
    }
    let printed = if args.json {
        let batches = batches.as_ref().map(Batches::to_json);
        report::print_json(
            &summary,
            &unknown,
            batches,
            &name_of_output,
            to_stdout,
            &bounds,
        )
    } else {
        if !args.quiet {
            let width = terminal::width(io::stderr());
            terminal::say(&report::table(&summary, &name_of_output, width));
            bounds.lines().iter().for_each(|line| terminal::say(line));
            if let Some(batches) = &batches {
                terminal::say(&batches.lines());
            }
            report::unknown_words(&unknown)
                .iter()
                .for_each(|text| terminal::warn(text));
        }
        Ok(())
    };
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        terminal::error(&format!("the summary cannot be written: {error}"));
    }
    report::explain_end(&summary, &name_of_output);
    if let Some(batches) = &batches {
        batches.explain(&summary);
    }
    if has_journal {
        resumption::explain_end(&summary, args);
        let is_over = summary.stopped.is_none() && summary.rows.unwritten + summary.rows.left == 0;
        if is_over && let Err(why) = paths.shrink_journal(!args.unordered) {
            terminal::warn(&why);
        }
    }
    Ok(exit(&summary))
}

/// What holds for every row of a run: money, and what answers shall look like.
pub(crate) struct Bounds {
    money: Option<money::Money>,
    schema: Option<Arc<SchemaCheck>>,
}

impl Bounds {
    /// Puts them around what sends.
    fn around<C>(&self, caller: C) -> Checked<Metered<C>> {
        Checked::new(
            Metered::new(caller, self.money.clone()),
            self.schema.clone(),
        )
    }

    /// Returns what became of them, for people.
    fn lines(&self) -> Vec<String> {
        let money = self.money.iter().map(|(_, purse)| money::line(purse));
        let schema = self.schema.iter().flat_map(|it| schema::lines(&it.stats()));
        money.chain(schema).collect()
    }

    /// Adds what became of them to a summary.
    fn add_to(&self, summary: &mut serde_json::Value) {
        if let Some((_, purse)) = &self.money {
            summary["money"] = money::to_json(purse);
        }
        if let Some(check) = &self.schema {
            summary["schema"] = schema::to_json(&check.stats());
        }
    }
}

fn exit(summary: &Summary) -> Exit {
    match &summary.stopped {
        Some(Stopped::Interrupted) => Exit::Interrupted,
        Some(Stopped::InputChanged(_)) => Exit::Usage,
        Some(_) => Exit::Stopped,
        // In batches that brought nothing.
        None if summary.rows.left > 0 => Exit::Stopped,
        None if summary.rows.failed > 0 || summary.rows.lost > 0 => Exit::Failed,
        None => Exit::Done,
    }
}

/// What is missing where batches cannot be remembered.
const NO_FOLDER: &str = "--mode upstream-batch remembers its batches beside the results: name a \
    file for them with -o";

/// Returns whether a path stands for a standard stream.
fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
