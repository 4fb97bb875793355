//! The programs under test, each a process of its own: [`Server`].

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::secured::Certificate;

/// The core of the program under test, and that of everything else.
const TESTED: &str = "0";
const OTHERS: &str = "1";
/// The token that the load shows, and that the gateway's configuration knows.
pub(crate) const TOKEN: &str = "team-a-token-of-the-bench";

/// Returns now. A bench measures the real time.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// What a process is.
pub(crate) enum Role {
    Upstream,
    Bare {
        upstream: SocketAddr,
    },
    Gateway {
        program: PathBuf,
        upstream: SocketAddr,
    },
}

/// How the programs under test speak with the upstream.
pub(crate) enum Wire {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/2 over TLS.
    Secured(Certificate),
}

impl Wire {
    /// Returns what is behind the name of a row.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Secured(_) => ", TLS + HTTP/2",
        }
    }

    fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Plain => None,
            Self::Secured(certificate) => Some(certificate),
        }
    }
}

/// A process that listens; it ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// Removed with it.
    files: Vec<PathBuf>,
}

impl Server {
    /// Starts a process and waits for the line that says where it listens.
    pub(crate) fn start(role: &Role, wire: &Wire) -> Result<Self> {
        let this = std::env::current_exe()?;
        let mut command = match role {
            Role::Upstream => on_core(OTHERS, this.as_os_str()),
            Role::Bare { .. } => on_core(TESTED, this.as_os_str()),
            Role::Gateway { program, .. } => on_core(TESTED, program.as_os_str()),
        };
        let mut files = Vec::new();
        match role {
            Role::Upstream => command.arg("upstream"),
            Role::Bare { upstream } => command.arg("bare").arg(upstream.to_string()),
            Role::Gateway { upstream, .. } => {
                let path = std::env::temp_dir()
                    .join(format!("fairkey-gateway-bench-{}.toml", std::process::id()));
                let log = path.with_extension("log");
                let text = configuration(*upstream, wire, &log.display().to_string());
                std::fs::File::create(&path)?.write_all(text.as_bytes())?;
                files.extend([path.clone(), log]);
                command.arg("serve").arg("--config").arg(path)
            }
        };
        if let (Role::Upstream | Role::Bare { .. }, Some(certificate)) = (role, wire.certificate())
        {
            command.arg(certificate.folder());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let outputs = [
            child
                .stdout
                .take()
                .map(|out| Box::new(out) as Box<dyn std::io::Read + Send>),
            child
                .stderr
                .take()
                .map(|out| Box::new(out) as Box<dyn std::io::Read + Send>),
        ];
        let (tell, hear) = std::sync::mpsc::channel();
        for output in outputs.into_iter().flatten() {
            let tell = tell.clone();
            // Read to its end, so that the process never waits for us.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
                    let addr = line.split_once("listening on http://").map(|(_, rest)| {
                        rest.split(['/', ' ']).next().unwrap_or_default().to_owned()
                    });
                    let _ = tell.send(addr.ok_or(line));
                }
            });
        }
        let mut said = Vec::new();
        loop {
            match hear.recv_timeout(Duration::from_secs(30)) {
                Ok(Ok(addr)) => {
                    let addr = addr.parse()?;
                    return Ok(Self { child, addr, files });
                }
                Ok(Err(line)) => said.push(line),
                Err(_) => {
                    let _ = child.kill();
                    return Err(format!("a program does not listen: {}", said.join("\n")).into());
                }
            }
        }
    }

    /// Returns the processor time of all threads that it has.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut nanos = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // Its time on a processor, in nanoseconds, is the first number. A thread may have ended.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let first = text.split(' ').next().ok_or("schedstat is empty")?;
            nanos += first.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(number.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Returns a command that runs on one core, where `taskset` is there to say so.
pub(crate) fn on_core(core: &str, program: &std::ffi::OsStr) -> Command {
    let there = Command::new("taskset")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        eprintln!("no taskset: programs share the cores, and ratios are less sharp");
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core).arg(program);
    command
}

/// Returns a command of this program as the load.
pub(crate) fn load() -> Result<Command> {
    let this = std::env::current_exe()?;
    let mut command = on_core(OTHERS, this.as_os_str());
    command.arg("load");
    Ok(command)
}

/// Everything on: a client with limits of its own, limits of the account, the queue, metrics, the
/// access log in a file.
fn configuration(upstream: SocketAddr, wire: &Wire, log: &str) -> String {
    let (scheme, ca) = match wire.certificate() {
        None => ("http", String::new()),
        Some(it) => ("https", format!("ca = \"{}\"\n", it.cert().display())),
    };
    format!(
        r#"[upstream]
base_url = "{scheme}://{upstream}/api/v1"
{ca}[gateway]
listen = "127.0.0.1:0"
metrics = true
access_log = "{log}"
[queue]
length = 10_000
[[accounts]]
id = "acme"
limits = {{ requests_per_minute = 100_000_000, tokens_per_minute = 1_000_000_000_000, in_flight = 100_000 }}
[[keys]]
id = "a"
account = "acme"
secret = "sk-or-v1-aaaaaaaaaaaaaaaa"
[[keys]]
id = "b"
account = "acme"
secret = "sk-or-v1-bbbbbbbbbbbbbbbb"
[[clients]]
id = "team-a"
token = "{TOKEN}"
limits = {{ requests_per_minute = 100_000_000, tokens_per_minute = 1_000_000_000_000, usd_per_day = 100_000, in_flight = 100_000 }}
"#
    )
}
