//! Starting the program, feeding it, and hearing what it says.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairkey_mock::{Builder, Event, EventKind, MockOpenRouter};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// No test takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder of its own, and the program to be run in it.
pub(crate) struct Stage {
    dir: TempDir,
    env: Vec<(String, String)>,
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            env: Vec::new(),
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// So many prompts, each in a line of JSON.
    pub(crate) fn prompts(&self, name: &str, n: usize) -> PathBuf {
        let line = |n| format!("{{\"custom_id\":\"q{n}\",\"prompt\":\"Question {n}\"}}\n");
        self.write(name, (0..n).map(line).collect::<String>())
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairkey"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        Running::start(&mut self.command(args)).end()
    }

    /// Runs it to its end, with something to read.
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: impl AsRef<[u8]>,
    ) -> Said {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        let mut stdin = running.child.stdin.take().unwrap();
        stdin.write_all(input.as_ref()).unwrap();
        drop(stdin);
        running.end()
    }
}

/// A program that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().map(|out| tee(out, sender.clone()));
        let stderr = child.stderr.take().map(|err| tee(err, sender));
        Self {
            child,
            stdout,
            stderr,
            lines,
        }
    }

    /// Waits for a line that contains `text`, on either stream, and returns it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(LIMIT)
                .unwrap_or_else(|_| panic!("no {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn end(mut self) -> Said {
        let status = self.wait();
        let text = |thread: Option<JoinHandle<String>>| {
            thread
                .map(|thread| thread.join().unwrap())
                .unwrap_or_default()
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        Said {
            code: status.code(),
            stdout,
            stderr,
        }
    }

    /// Waits for the end, and kills it when that takes too long.
    fn wait(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let (sender, ended) = mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &id]).status();
                panic!("it did not end");
            }
        });
        let status = self.child.wait().unwrap();
        drop(sender);
        watchdog.join().expect("it ends in time");
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tee(stream: impl Read + Send + 'static, lines: mpsc::Sender<String>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match stream.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return text,
                Ok(_) => {
                    let line = String::from_utf8(line).expect("it says text");
                    text.push_str(&line);
                    let _ = lines.send(line);
                }
            }
        }
    })
}

impl Said {
    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn does_not_say(&self, text: &str) -> &Self {
        assert!(!self.stderr.contains(text), "{text:?} in {self:#?}");
        self
    }
}

/// The lines of a result file.
pub(crate) fn results(text: &str) -> Vec<Value> {
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line is whole"
    );
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a whole line"))
        .collect()
}

pub(crate) fn answer(result: &Value) -> &str {
    result["response"]["body"]["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default()
}

/// A mock OpenRouter in this process.
pub(crate) struct Mock {
    pub(crate) server: MockOpenRouter,
    pub(crate) runtime: Runtime,
}

impl Mock {
    pub(crate) fn start(builder: Builder) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(builder.start()).unwrap();
        Self { server, runtime }
    }

    pub(crate) fn url(&self) -> String {
        self.server.base_url()
    }

    /// How many calls came that may cost something: not those that read the catalogue.
    pub(crate) fn posts(&self) -> u64 {
        let events = self.server.log().events();
        events.iter().filter(|event| is_post(event)).count() as u64
    }
}

/// Whether a call begins that may cost something.
pub(crate) fn is_post(event: &Event) -> bool {
    matches!(&event.kind, EventKind::Received { method, .. } if method == "POST")
}

/// A file of the repository.
pub(crate) fn in_repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}
