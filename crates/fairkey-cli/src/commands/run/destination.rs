//! Where results go: [`Destination`].

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(feature = "parquet")]
use fairkey_batch::ParquetOutput;
use fairkey_batch::{
    Continued, Journal, JournalConfig, JournalError, Known, OutputFormat, Parameters, Sink,
    SplitOutput, WriterThread,
};

use super::input::Inputs;
use super::is_dash;
use super::results::Results;
use crate::args::RunArgs;

/// How many result files of one input get a name by themselves.
const NAMES: u32 = 10_000;

/// What takes results.
pub(super) type Output = SplitOutput<Results, WriterThread>;

/// Where results go, and what keeps them meanwhile; open.
pub(super) struct Destination {
    name: String,
    answers: Option<File>,
    errors: Option<File>,
    journal: Option<Journal>,
    format: OutputFormat,
    begun: Begun,
    paths: Paths,
}

/// What was there before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Begun {
    pub(super) known: Known,
    pub(super) continued: Continued,
}

/// The files of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// None: standard output.
    answers: Option<PathBuf>,
    errors: Option<PathBuf>,
    journal: Option<PathBuf>,
    /// Whether the journal can be made small when all is done, and what is written can be gone on
    /// with: it is a file of batch results, with its journal beside it.
    can_shrink: bool,
}

impl Destination {
    /// Opens what the arguments name, or a file beside the input. Results that are there already
    /// are never lost, but with `--overwrite`.
    ///
    /// # Errors
    ///
    /// Says what is in the way, and what to do about it.
    pub(super) fn open(
        args: &RunArgs,
        inputs: &Inputs,
        parameters: &Parameters,
    ) -> Result<Self, String> {
        let paths = Paths::new(args, inputs)?;
        let name = match &paths.answers {
            Some(path) => path.display().to_string(),
            None => "standard output".to_owned(),
        };
        paths.check(inputs)?;
        let goes_on = !args.overwrite && paths.journal.as_deref().is_some_and(Path::exists);
        if goes_on || args.overwrite {
        } else if let Some(path) = &paths.answers
            && is_file(path)
        {
            let hint = match paths.journal {
                Some(_) => ", and has no journal to go on with",
                None => "",
            };
            return Err(format!(
                "{name} exists{hint}: name another file, or replace it with --overwrite"
            ));
        }
        let made = paths.made();
        let opened = paths.open_outputs(args, goes_on).and_then(|files| {
            let journal = paths.open_journal(args, parameters)?;
            Ok((files, journal))
        });
        let ((answers, errors), mut journal) = opened.inspect_err(|_| {
            // Whatever is in the way, no file is made for it.
            for path in &made {
                let _ = fs::remove_file(path);
            }
        })?;
        if !goes_on || !paths.can_shrink {
            // What cannot be continued is written anew, from the journal.
            for file in answers.iter().chain(&errors) {
                if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                    let emptied = file.set_len(0);
                    emptied
                        .map_err(|error| format!("results cannot be written to {name}: {error}"))?;
                }
            }
        }
        let mut destination = Self {
            name,
            answers,
            errors,
            begun: Begun::default(),
            journal: None,
            format: args.output_format(),
            paths,
        };
        if let Some(journal) = &mut journal {
            destination.begun.known = journal.known();
            if goes_on {
                destination.go_on(journal, !args.unordered)?;
            }
        }
        destination.journal = journal;
        Ok(destination)
    }

    /// Makes the files of results end where the journal can go on.
    fn go_on(&mut self, journal: &mut Journal, ordered: bool) -> Result<(), String> {
        let Some(answers) = self.answers.as_mut().filter(|_| self.paths.can_shrink) else {
            return Ok(());
        };
        let rescue = appended(self.paths.answers.as_deref(), ".rest");
        self.begun.continued = journal
            .continue_output(answers, self.errors.as_mut(), &rescue, ordered)
            .map_err(|error| {
                let name = &self.name;
                format!("{name} cannot be continued: {error}; begin anew with --overwrite")
            })?;
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.answers.is_none()
    }

    /// Returns what was there before.
    pub(super) fn begun(&self) -> Begun {
        self.begun
    }

    /// Returns what is to be known of the files when the run is over.
    pub(super) fn paths(&self) -> Paths {
        self.paths.clone()
    }

    /// Starts writing.
    ///
    /// # Errors
    ///
    /// Where no thread can be started, or no file be made.
    pub(super) fn start(self) -> io::Result<(Output, Option<Journal>)> {
        let errors = self.errors.map(|file| WriterThread::start(sink(file)));
        let errors = errors.transpose()?;
        #[cfg(feature = "parquet")]
        if self.format == OutputFormat::Parquet {
            // The name was taken for this run; it gets its file when that is whole.
            let _ = fs::remove_file(&self.name);
            let answers = Results::Parquet(Box::new(ParquetOutput::create(&self.name)?));
            return Ok((SplitOutput::new(answers, errors), self.journal));
        }
        let answers = match self.answers {
            Some(file) => sink(file),
            None => Sink::Stream(Box::new(io::stdout())),
        };
        let answers = Results::lines(answers, self.format)?;
        Ok((SplitOutput::new(answers, errors), self.journal))
    }
}

impl Paths {
    /// Returns where batches are remembered: beside a file of results.
    pub(super) fn batches(&self) -> Option<PathBuf> {
        let answers = self.answers.as_deref()?;
        (!is_special(answers)).then(|| appended(Some(answers), ".batches"))
    }

    fn new(args: &RunArgs, inputs: &Inputs) -> Result<Self, String> {
        let answers = match &args.output {
            Some(output) if is_dash(output) => None,
            Some(output) => Some(output.clone()),
            None => inputs
                .only_path()
                .map(|input| beside(input, args))
                .transpose()?,
        };
        let beside = answers
            .as_deref()
            .filter(|path| !is_special(path) && !args.keep.no_journal)
            .map(|path| appended(Some(path), ".journal"));
        Ok(Self {
            can_shrink: beside.is_some() && args.output_format() == OutputFormat::Batch,
            journal: args.keep.journal.clone().or(beside),
            answers,
            errors: args.keep.errors.clone(),
        })
    }

    /// Checks that no file is to be two things.
    ///
    /// # Errors
    ///
    /// Says which one is.
    fn check(&self, inputs: &Inputs) -> Result<(), String> {
        let named = [
            (&self.answers, "the results"),
            (&self.errors, "the errors"),
            (&self.journal, "the journal"),
        ];
        let named = named.map(|(path, what)| path.as_deref().map(|path| (path, what)));
        for (at, (path, what)) in named.into_iter().flatten().enumerate() {
            let name = path.display();
            if inputs.paths().iter().any(|input| is_same_file(input, path)) {
                return Err(format!("{name} is the input: name another file for {what}"));
            }
            let others = named.into_iter().flatten().take(at);
            for (other, it) in others.filter(|_| !is_special(path)) {
                if is_same_file(other, path) || is_same_name(other, path) {
                    return Err(format!(
                        "{name} is named for {it} and for {what}: name two files"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns the files that are not there yet.
    fn made(&self) -> Vec<PathBuf> {
        let all = [&self.answers, &self.errors, &self.journal];
        let missing = all.into_iter().flatten().filter(|path| !path.exists());
        missing.cloned().collect()
    }

    fn open_journal(
        &self,
        args: &RunArgs,
        parameters: &Parameters,
    ) -> Result<Option<Journal>, String> {
        let Some(path) = &self.journal else {
            return if args.keep.retry_failed {
                Err(
                    "--retry-failed needs a journal, and without a file for the results there is \
                     none: name one with --journal"
                        .to_owned(),
                )
            } else {
                Ok(None)
            };
        };
        let mut config = JournalConfig::default();
        config.sync = args.keep.sync;
        config.retry_failed = args.keep.retry_failed;
        config.fresh = args.overwrite;
        match Journal::open(path, parameters, config) {
            Ok(journal) => Ok(Some(journal)),
            Err(error) => Err(unusable(&path.display().to_string(), &error)),
        }
    }

    fn open_outputs(
        &self,
        args: &RunArgs,
        goes_on: bool,
    ) -> Result<(Option<File>, Option<File>), String> {
        let open = |path: &PathBuf| open_output(path, goes_on || args.overwrite);
        let answers = self.answers.as_ref().map(open).transpose()?;
        let errors = self.errors.as_ref().map(open).transpose()?;
        Ok((answers, errors))
    }

    /// Makes the journal small when every row has its line.
    ///
    /// # Errors
    ///
    /// Says why not; the journal is as it was.
    pub(super) fn shrink_journal(&self, ordered: bool) -> Result<(), String> {
        let (Some(journal), Some(answers)) = (&self.journal, &self.answers) else {
            return Ok(());
        };
        if !self.can_shrink {
            return Ok(());
        }
        match Journal::compact(journal, answers, self.errors.as_deref(), ordered) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{} stays as it is: {error}", journal.display())),
        }
    }
}

/// Opens a file, device or pipe for results.
fn open_output(path: &Path, may_exist: bool) -> Result<File, String> {
    let name = path.display().to_string();
    let mut options = OpenOptions::new();
    options.write(true);
    // Devices and pipes are there before, and nothing in them is lost.
    if !is_special(path) {
        options.read(true);
        if may_exist {
            options.create(true);
        } else {
            options.create_new(true);
        }
    }
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{name} exists: name another file, or replace it with --overwrite")
        }
        _ => format!("results cannot be written to {name}: {error}"),
    })?;
    if is_special(path) {
        return Ok(file);
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(format!(
                "another run is writing to {name}: wait for its end, or name another file"
            ));
        }
        // A file system that knows no locks is no reason to refuse it.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    Ok(file)
}

fn unusable(name: &str, error: &JournalError) -> String {
    let cure = match error {
        JournalError::Locked => {
            return format!(
                "another run is writing to {name} and its results: wait for its end, or name \
                 another file with -o"
            );
        }
        JournalError::NotAJournal => "name another one with --journal",
        JournalError::Newer { .. } => {
            "or begin anew with --overwrite, or name another file with -o"
        }
        JournalError::OtherParameters { .. } => {
            "go on with the same, begin anew with --overwrite, or name another file with -o"
        }
        _ => "free some room or name another file with -o",
    };
    format!("the journal {name} cannot be used: {error}; {cure}")
}

fn sink(file: File) -> Sink {
    // Only a regular file can be cut back to its last whole line.
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        Sink::File(file)
    } else {
        Sink::Stream(Box::new(file))
    }
}

/// Returns `prompts.results.jsonl` beside `prompts.jsonl`; where that has no journal to go on with,
/// `prompts.results-2.jsonl`.
fn beside(input: &Path, args: &RunArgs) -> Result<PathBuf, String> {
    for n in 1..=NAMES {
        let path = result_name(input, n, args.output_format().extension());
        let goes_on = appended(Some(&path), ".journal").exists() && !args.keep.no_journal;
        if args.overwrite || goes_on || !path.exists() {
            return Ok(path);
        }
    }
    Err(format!(
        "{NAMES} results lie beside {} already: name one with -o",
        input.display()
    ))
}

/// Looks whether results can be written in their shape at all.
///
/// # Errors
///
/// Says what is in the way.
pub(super) fn check(args: &RunArgs) -> Result<(), String> {
    if args.output_format() != OutputFormat::Parquet {
        return Ok(());
    }
    if cfg!(not(feature = "parquet")) {
        return Err(
            "this build writes no Parquet: build it with the feature parquet (cargo install \
             fairkey-cli --features parquet), or write json or csv"
                .to_owned(),
        );
    }
    let is_stream = |path: &PathBuf| {
        is_dash(path) || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
    };
    let from_stdin = args.output.is_none() && args.inputs.iter().any(|input| is_dash(input));
    if from_stdin || args.output.as_ref().is_some_and(is_stream) {
        return Err("Parquet goes to a file: name one with -o".to_owned());
    }
    Ok(())
}

fn result_name(input: &Path, n: u32, extension: &str) -> PathBuf {
    let packed = ["gz", "gzip", "zst", "zstd"];
    let stem = input.file_stem().map(Path::new);
    let stem = match (input.extension().and_then(|end| end.to_str()), stem) {
        (Some(end), Some(stem)) if packed.contains(&end) => stem.file_stem(),
        _ => input.file_stem(),
    };
    let mut name = stem.unwrap_or_default().to_owned();
    name.push(".results");
    if n > 1 {
        name.push(format!("-{n}"));
    }
    name.push(".");
    name.push(extension);
    input.with_file_name(name)
}

fn appended(path: Option<&Path>, what: &str) -> PathBuf {
    let mut name = path.map_or_else(OsString::new, |path| path.as_os_str().to_owned());
    name.push(what);
    name.into()
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Returns whether it is a device or a pipe.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}
/// Returns whether both are one existing file, by whatever names.
pub(super) fn is_same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        let identity = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
        };
        identity(a).is_some_and(|a| identity(b) == Some(a))
    }
    #[cfg(not(unix))]
    {
        let real = |path: &Path| fs::canonicalize(path).ok();
        real(a).is_some_and(|a| real(b) == Some(a))
    }
}

/// Returns whether two names are one, of files that need not be there.
fn is_same_name(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| std::path::absolute(path).ok();
    whole(a).is_some_and(|a| whole(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_lie_beside_the_input() {
        let name = |input: &str, n| {
            let name = result_name(Path::new(input), n, "jsonl");
            name.display().to_string()
        };
        assert_eq!(name("a/prompts.jsonl", 1), "a/prompts.results.jsonl");
        assert_eq!(name("a/prompts.jsonl", 3), "a/prompts.results-3.jsonl");
        assert_eq!(name("prompts", 1), "prompts.results.jsonl");
        assert_eq!(name("a.b.txt", 1), "a.b.results.jsonl");
        assert_eq!(name("a.jsonl.gz", 1), "a.results.jsonl");
        assert_eq!(name("a.zst", 1), "a.results.jsonl");
    }
}
