//! Where results go: [`Destination`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fairkey_batch::Sink;

use super::input::Inputs;
use super::is_dash;
use crate::args::RunArgs;

/// How many result files of one input get a name by themselves.
const NAMES: u32 = 10_000;

/// Where results go, open.
pub(super) struct Destination {
    name: String,
    file: Option<File>,
}

impl Destination {
    /// Opens what the arguments name, or a new file beside the input. Results that are there
    /// already are never touched, but with `--overwrite`.
    ///
    /// # Errors
    ///
    /// Says what is in the way, and what to do about it.
    pub(super) fn open(args: &RunArgs, inputs: &Inputs) -> Result<Self, String> {
        match (&args.output, inputs.only_path()) {
            (Some(output), _) if is_dash(output) => Ok(Self::stdout()),
            (Some(output), _) => Self::named(output, inputs.paths(), args.overwrite),
            (None, None) => Ok(Self::stdout()),
            (None, Some(input)) => Self::beside(input, args.output_format().extension()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.file.is_none()
    }

    pub(super) fn into_sink(self) -> Sink {
        match self.file {
            // Only a regular file can be cut back to its last whole line.
            Some(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => {
                Sink::File(file)
            }
            Some(file) => Sink::Stream(Box::new(file)),
            None => Sink::Stream(Box::new(io::stdout())),
        }
    }

    fn stdout() -> Self {
        Self {
            name: "standard output".to_owned(),
            file: None,
        }
    }

    fn named(output: &Path, inputs: &[PathBuf], overwrite: bool) -> Result<Self, String> {
        let name = output.display().to_string();
        if inputs.iter().any(|input| is_same_file(input, output)) {
            return Err(format!(
                "{name} is the input: name another file for the results"
            ));
        }
        // Devices and pipes are there before, and nothing in them is lost.
        let special = fs::metadata(output).is_ok_and(|metadata| !metadata.is_file());
        let mut options = OpenOptions::new();
        options.write(true);
        if special {
        } else if overwrite {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        match options.open(output) {
            Ok(file) => Ok(Self {
                name,
                file: Some(file),
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(format!(
                "{name} exists: name another file, or replace it with --overwrite"
            )),
            Err(error) => Err(unwritable(&name, &error)),
        }
    }

    /// Makes `prompts.results.jsonl` beside `prompts.jsonl`, or `prompts.results-2.jsonl`.
    fn beside(input: &Path, extension: &str) -> Result<Self, String> {
        for n in 1..=NAMES {
            let path = result_name(input, n, extension);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        name: path.display().to_string(),
                        file: Some(file),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let name = path.display().to_string();
                    return Err(format!(
                        "{}; name another place with -o",
                        unwritable(&name, &error)
                    ));
                }
            }
        }
        Err(format!(
            "{NAMES} results lie beside {} already: name one with -o",
            input.display()
        ))
    }
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

fn unwritable(name: &str, error: &io::Error) -> String {
    format!("results cannot be written to {name}: {error}")
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
