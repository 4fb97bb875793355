//! What is read: files, patterns of files, standard input; and how.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fairkey_batch::{Defaults, Endpoint, Input, InputReader, ReadConfig, Settings};
use glob::MatchOptions;

use super::is_dash;
use crate::args::RunArgs;
use crate::table;
use crate::upstream::Upstream;

/// How names of files are matched: as a shell does.
const MATCHES: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The inputs of a run, found and not yet read.
pub(super) struct Inputs {
    inputs: Vec<Input>,
    /// The files among them.
    paths: Vec<PathBuf>,
    has_stdin: bool,
}

impl Inputs {
    /// Finds what is named. What is no file and has `*`, `?` or `[` in it is a pattern, for
    /// shells that do not expand them, and in quotes.
    ///
    /// # Errors
    ///
    /// Where one is not there, is a folder, or is named twice; where there are several, and no
    /// place for their results is named.
    pub(super) fn find(args: &RunArgs) -> Result<Self, String> {
        let mut found = Self {
            inputs: Vec::new(),
            paths: Vec::new(),
            has_stdin: false,
        };
        let mut seen = HashSet::new();
        for path in &args.inputs {
            if is_dash(path) {
                if found.has_stdin {
                    return Err("standard input is named twice".to_owned());
                }
                found.has_stdin = true;
                found
                    .inputs
                    .push(Input::stream("standard input", io::stdin()));
                continue;
            }
            for path in expand(path)? {
                // Pipes and devices are as many as they are named.
                let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
                if is_file
                    && let Ok(real) = fs::canonicalize(&path)
                    && !seen.insert(real)
                {
                    return Err(format!("{} is named twice", path.display()));
                }
                found.inputs.push(open(&path)?);
                found.paths.push(path);
            }
        }
        if found.inputs.len() > 1 && args.output.is_none() {
            return Err(format!(
                "say with -o where the results of {} go; -o - is standard output",
                found.name()
            ));
        }
        Ok(found)
    }

    /// Returns what they are called in messages.
    pub(super) fn name(&self) -> String {
        match &*self.inputs {
            [input] => input.name().to_owned(),
            inputs => table::count(inputs.len() as u64, "input"),
        }
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Returns those that are files.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Returns the only input, where it is a file.
    pub(super) fn only_path(&self) -> Option<&Path> {
        match &*self.paths {
            [path] if !self.has_stdin => Some(path),
            _ => None,
        }
    }

    /// Hands them over to be read, and looks at the beginning of each file.
    ///
    /// # Errors
    ///
    /// Where one cannot be read, or lacks a column.
    pub(super) fn open(&mut self, config: ReadConfig) -> Result<InputReader, String> {
        let reader = InputReader::new(std::mem::take(&mut self.inputs), config);
        reader.check().map_err(|error| error.to_string())?;
        Ok(reader)
    }
}

/// Returns the files that a name stands for.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    let pattern = match path.to_str() {
        Some(pattern) if pattern.contains(['*', '?', '[']) && !path.exists() => pattern,
        _ => return Ok(vec![path.to_owned()]),
    };
    let matches = glob::glob_with(pattern, MATCHES)
        .map_err(|error| format!("{pattern} is no pattern of files: {error}"))?;
    let mut paths = Vec::new();
    for path in matches {
        let path = path.map_err(|error| format!("{pattern}: {error}"))?;
        // A pattern means the files; a folder that is named is told.
        if !path.is_dir() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(format!("no file matches {pattern}"));
    }
    Ok(paths)
}

fn open(path: &Path) -> Result<Input, String> {
    let name = path.display();
    Input::file(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {name}"),
        io::ErrorKind::IsADirectory => {
            let files = path.join("*.jsonl");
            format!(
                "{name} is a folder: name its files, such as '{}'",
                files.display()
            )
        }
        _ => format!("{name} cannot be read: {error}"),
    })
}

/// Returns how inputs are read, by the arguments.
///
/// # Errors
///
/// Where the arguments do not fit together.
pub(super) fn read_config(args: &RunArgs, upstream: &Upstream) -> Result<ReadConfig, String> {
    let mut config = ReadConfig::default();
    config.format = args.format;
    config.template.clone_from(&args.template);
    config.delimiter = args.delimiter;
    if let Some(endpoint) = &args.endpoint {
        fits(args, endpoint)?;
        config.endpoint = endpoint.clone();
    }
    let mut defaults = Defaults::default();
    defaults.model = upstream.model(args.model.as_ref(), args.route.as_ref())?;
    defaults.system.clone_from(&args.system);
    defaults.max_tokens = args.max_tokens;
    defaults.settings = settings(args, upstream)?;
    config.defaults = defaults;
    Ok(config)
}

/// What an endpoint has no place for should not be said in vain.
fn fits(args: &RunArgs, endpoint: &Endpoint) -> Result<(), String> {
    let vain = if args.system.is_some() && !endpoint.has_system() {
        "--system: it has no system message"
    } else if args.max_tokens.is_some() && !endpoint.has_max_tokens() {
        "--max-tokens: its answers have no such bound"
    } else {
        return Ok(());
    };
    Err(format!("{endpoint} does not go with {vain}"))
}

fn settings(args: &RunArgs, upstream: &Upstream) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for setting in &args.set {
        let set = settings.fill(setting);
        set.map_err(|why| format!("--set: {why}"))?;
    }
    for setting in &args.overrides {
        let mut setting = setting.clone();
        // A model may be a route of the configuration here, too.
        if let Some(model) = setting.strip_prefix("model=") {
            let model = upstream.model(Some(&model.trim_matches('"').to_owned()), None)?;
            setting = format!("model={}", model.unwrap_or_default());
        }
        let set = settings.replace(&setting);
        set.map_err(|why| format!("--override: {why}"))?;
    }
    Ok(settings)
}

/// Reads what separates the cells of a table.
pub(crate) fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "\\t" | "tab" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [b'"' | b'\n' | b'\r'] => Err("it cannot be a quote or the end of a line".to_owned()),
            [byte] if byte.is_ascii() => Ok(*byte),
            _ => Err("it is one ASCII character, or \\t".to_owned()),
        },
    }
}
