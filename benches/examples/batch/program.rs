//! The programs: [`Mock`], a run ([`Ran`]), and the plain way ([`plain`]).

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Result, Settings};

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A folder that goes when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("fairkey-batch-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Writes so many short prompts.
    pub(crate) fn prompts(&self, name: &str, rows: u64) -> Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = BufWriter::new(File::create(&path)?);
        for row in 0..rows {
            writeln!(
                file,
                "{{\"custom_id\":\"row-{row}\",\"prompt\":\"Say {row}\"}}"
            )?;
        }
        file.flush()?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A mock of the same program; it ends when this is dropped.
pub(crate) struct Mock {
    child: Child,
    url: String,
}

impl Mock {
    pub(crate) fn start(program: &Path, latency: Option<&str>) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["mock", "--listen", "127.0.0.1:0"]);
        if let Some(latency) = latency {
            command.args(["--latency", latency]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        Ok(Self {
            child,
            url: url.ok_or_else(|| format!("the mock does not listen: {line}"))?,
        })
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) processor_seconds: f64,
    pub(crate) in_flight: u64,
    /// Resident memory in bytes: the most, and what it was when half of the input was read, and
    /// nearly all.
    pub(crate) peak: u64,
    pub(crate) early: u64,
    pub(crate) late: u64,
}

impl Ran {
    /// Runs `input` on the mock, whole.
    pub(crate) fn of(
        settings: &Settings,
        folder: &Folder,
        mock: &Mock,
        input: &Path,
        more: &[&str],
    ) -> Result<Self> {
        let output = folder.0.join("out.jsonl");
        let mut child = Command::new(&settings.program)
            .arg("run")
            .arg(input)
            .arg("-o")
            .arg(&output)
            .args(["--overwrite", "--json", "--base-url", &mock.url])
            .args(["--model", "openai/gpt-4o-mini"])
            .args(more)
            .current_dir(&folder.0)
            .env("OPENROUTER_API_KEY", "sk-or-v1-any")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let size = fs::metadata(input)?.len();
        let (mut peak, mut early, mut late, mut processor_seconds) = (0, 0, 0, 0.0);
        while child.try_wait()?.is_none() {
            let process = PathBuf::from(format!("/proc/{}", child.id()));
            if let Ok(status) = fs::read_to_string(process.join("status")) {
                peak = memory(&status, "VmHWM:").unwrap_or(peak);
                let now = memory(&status, "VmRSS:").unwrap_or_default();
                let read = read_of(&process, input).unwrap_or_default();
                if early == 0 && read * 2 >= size {
                    early = now;
                }
                if late == 0 && read * 20 >= size * 19 {
                    late = now;
                }
            }
            if let Ok(stat) = fs::read_to_string(process.join("stat")) {
                processor_seconds = processor_time(&stat).unwrap_or(processor_seconds);
            }
            std::thread::sleep(LOOK);
        }
        let told = child.wait_with_output()?;
        let _ = fs::remove_file(&output);
        let summary: Value = serde_json::from_slice(&told.stdout)?;
        let rows = summary["rows"]["answered"].as_u64().unwrap_or_default();
        if rows == 0 || !told.status.success() {
            return Err(format!("the run failed: {summary}").into());
        }
        Ok(Self {
            rows,
            seconds: summary["elapsed_seconds"]
                .as_f64()
                .ok_or("no elapsed_seconds")?,
            processor_seconds,
            in_flight: summary["peak_in_flight"].as_u64().unwrap_or_default(),
            peak,
            early: early.max(1),
            late,
        })
    }
}

/// Returns how much of a file a process has read.
fn read_of(process: &Path, file: &Path) -> Option<u64> {
    let file = fs::canonicalize(file).ok()?;
    let all = fs::read_dir(process.join("fd")).ok()?;
    let mut all = all.filter_map(|entry| entry.ok());
    let open = all.find(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == file))?;
    let info = fs::read_to_string(process.join("fdinfo").join(open.file_name())).ok()?;
    let position = info.lines().find_map(|line| line.strip_prefix("pos:"))?;
    position.trim().parse().ok()
}

fn memory(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// User and system time: fields 14 and 15, in hundredths of a second.
fn processor_time(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

/// Sends rows the plain way; returns how many per second.
pub(crate) fn plain(settings: &Settings, mock: &Mock, rows: u64, at_a_time: usize) -> Result<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/batch/plain.py");
    let has_it = Command::new(&settings.python)
        .args(["-c", "import openai"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_it {
        return Err("no Python with the openai package: --python".into());
    }
    let told = Command::new(&settings.python)
        .arg(script)
        .arg(&mock.url)
        .args([rows.to_string(), at_a_time.to_string()])
        .output()?;
    if !told.status.success() {
        return Err(String::from_utf8_lossy(&told.stderr).into_owned().into());
    }
    let told: Value = serde_json::from_slice(&told.stdout)?;
    let number = |name: &str| told[name].as_f64().ok_or("no number");
    Ok(number("rows")? / number("seconds")?)
}
