//! `fairkey run`.

mod caller;
mod destination;
mod report;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use fairkey_batch::{
    ClientCaller, Defaults, Format, ReadConfig, ReaderThread, RunConfig, Stop, Stopped, Summary,
    WriterThread, run as run_rows,
};

use self::caller::Cleaned;
use self::destination::Destination;
use crate::args::RunArgs;
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
    if let Some(path) = &args.report {
        report::check_page(path, &args.input)?;
    }
    files::raise_limit(args.concurrency.max());
    let (input, total_bytes) = open_input(&args.input)?;
    let purpose = Purpose::Batch {
        in_flight: args.concurrency.max(),
        patience: args.patience,
    };
    let upstream = Upstream::open(&args.upstream, purpose).await?;
    let model = upstream.model(args.model.as_ref(), args.route.as_ref())?;
    let name = input_name(&args.input);
    let mut rows = ReaderThread::start(input, read_config(args, model), total_bytes)
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
        Err(error) => return Err(format!("{name} cannot be read: {error}")),
    }
    // The last thing before the first request: whatever else is wrong, no file is made for it.
    let destination = Destination::open(args)?;
    if !args.quiet {
        terminal::say(&format!(
            "sending {name} to {}; results go to {}",
            upstream.describe(),
            destination.name()
        ));
    }
    let name_of_output = destination.name().to_owned();
    let to_stdout = destination.is_stdout();
    let output = WriterThread::start(destination.into_sink())
        .map_err(|error| format!("no thread can be started: {error}"))?;
    let mut config = RunConfig::default();
    config.concurrency = args.concurrency;
    config.ordered = !args.unordered;
    config.patience = args.patience;
    config.attempts = upstream.retry.attempts;
    config.failovers = upstream.retry.failovers;
    let caller = Arc::new(Cleaned(
        ClientCaller::new(upstream.client.clone()).profiles(upstream.profiles.clone()),
    ));
    upstream.warn();
    let watch = upstream.watch();
    let mut reporter = Reporter::new(args.quiet, args.json, upstream.keys);
    let summary = run_rows(rows, caller, output, config, stop, &mut reporter).await;
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
        report::print_json(&summary, &unknown, &name_of_output, to_stdout)
    } else {
        if !args.quiet {
            let width = terminal::width(io::stderr());
            terminal::say(&report::table(&summary, &name_of_output, width));
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
    Ok(exit(&summary))
}

fn exit(summary: &Summary) -> Exit {
    match &summary.stopped {
        Some(Stopped::Interrupted) => Exit::Interrupted,
        Some(_) => Exit::Stopped,
        None if summary.rows.failed > 0 || summary.rows.lost > 0 => Exit::Failed,
        None => Exit::Done,
    }
}

fn input_name(input: &Path) -> String {
    if is_dash(input) {
        "standard input".to_owned()
    } else {
        input.display().to_string()
    }
}

/// Opens the input; says how long it is, where that is known.
fn open_input(input: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), String> {
    if is_dash(input) {
        return Ok((Box::new(io::stdin()), None));
    }
    let name = input.display();
    let wrong = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {name}"),
        _ => format!("{name} cannot be read: {error}"),
    };
    let file = File::open(input).map_err(wrong)?;
    let metadata = file.metadata().map_err(wrong)?;
    if metadata.is_dir() {
        return Err(format!("{name} is a folder; name a file of prompts"));
    }
    let total_bytes = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), total_bytes))
}

fn read_config(args: &RunArgs, model: Option<String>) -> ReadConfig {
    let extension = args
        .input
        .extension()
        .and_then(|extension| extension.to_str());
    let mut config = ReadConfig::default();
    config.format = match (args.format, extension) {
        (Format::Auto, Some("jsonl" | "ndjson")) => Format::Jsonl,
        (Format::Auto, Some("txt")) => Format::Text,
        (format, _) => format,
    };
    let mut defaults = Defaults::default();
    defaults.model = model;
    defaults.system.clone_from(&args.system);
    defaults.max_tokens = args.max_tokens;
    config.defaults = defaults;
    config
}

/// Returns whether a path stands for a standard stream.
fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
