//! The load: keep-alive connections, each with one call at a time.
//!
//! Where two programs are compared, one load takes turns between them every [`TURN`]: how fast a
//! machine is may change from one second to the next, more than the programs differ.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Result;
use crate::process::{self, TOKEN};

/// What the calls are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// 1 kB there, an answer in one piece.
    Whole,
    /// A stream of 50 chunks.
    Stream,
    /// A short stream with a pause before each chunk.
    Paced,
    /// One stream to nine whole ones.
    Mixed,
    /// A stream that begins and is held open.
    Hold,
    /// A form of 1 MB there, an answer in one piece.
    Upload,
    /// The same of 32 MB.
    LargeUpload,
}

const SHAPES: [(Shape, &str); 7] = [
    (Shape::Whole, "whole"),
    (Shape::Stream, "stream"),
    (Shape::Paced, "paced"),
    (Shape::Mixed, "mixed"),
    (Shape::Hold, "hold"),
    (Shape::Upload, "upload"),
    (Shape::LargeUpload, "large-upload"),
];

impl Shape {
    /// Returns how many bytes go up, where that is what counts.
    fn upload(self) -> Option<usize> {
        match self {
            Self::Upload => Some(1 << 20),
            Self::LargeUpload => Some(32 << 20),
            _ => None,
        }
    }
}

/// How long one of several programs has the load before it is the next one's turn.
const TURN: Duration = Duration::from_millis(50);

/// How much.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    /// To each program.
    pub(crate) connections: usize,
    /// For each program.
    pub(crate) span: Duration,
    /// In all.
    pub(crate) calls: u64,
}

impl Load {
    pub(crate) fn one(shape: Shape) -> Self {
        Self {
            shape,
            connections: 1,
            span: Duration::from_secs(30),
            calls: 1,
        }
    }
}

/// What was seen of one program.
pub(crate) struct Told {
    pub(crate) calls: u64,
    pub(crate) median_us: f64,
    pub(crate) first_us: f64,
}

/// Runs a load on programs in turns, as a process of its own, to its end.
pub(crate) fn run<const N: usize>(addrs: [SocketAddr; N], load: &Load) -> Result<[Told; N]> {
    let output = command(&addrs, load)?.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Vec<Told> = text.lines().filter_map(Told::read).collect();
    match <[Told; N]>::try_from(told) {
        Ok(told) if output.status.success() => Ok(told),
        _ => Err(format!("the load failed: {text}").into()),
    }
}

impl Told {
    fn read(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(|it| it.parse().ok());
        let mut next = || numbers.next()?;
        let (calls, median_us, first_us): (f64, f64, f64) = (next()?, next()?, next()?);
        Some(Self {
            calls: calls as u64,
            median_us,
            first_us,
        })
    }
}

/// Streams that are held open; until this is dropped.
pub(crate) struct Held {
    child: Child,
    pub(crate) count: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens streams, and returns when each has begun.
pub(crate) fn hold(addr: SocketAddr, count: usize) -> Result<Held> {
    let load = Load {
        shape: Shape::Hold,
        connections: count,
        span: Duration::from_secs(600),
        calls: u64::MAX,
    };
    let mut child = command(&[addr], &load)?.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let held = Held { child, count };
    match line.trim() {
        "held" => Ok(held),
        other => Err(format!("the streams were not held: {other}").into()),
    }
}

fn command(addrs: &[SocketAddr], load: &Load) -> Result<std::process::Command> {
    let mut command = process::load()?;
    let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
    let name = SHAPES.iter().find(|(shape, _)| *shape == load.shape);
    command
        .arg(addrs.join(","))
        .arg(name.map_or("whole", |(_, name)| name))
        .arg(load.connections.to_string())
        .arg(
            load.span
                .min(Duration::from_secs(86_400))
                .as_millis()
                .to_string(),
        )
        .arg(load.calls.to_string());
    Ok(command)
}

/// The load's own process. Prints a line for each program: calls, their median and that of their
/// first contents in microseconds.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let [addrs, shape, connections, millis, calls] = args else {
        return Err("a load needs five arguments".into());
    };
    let addrs = addrs.split(',').map(str::parse);
    let addrs: Vec<SocketAddr> = addrs.collect::<std::result::Result<_, _>>()?;
    let shape = SHAPES.iter().find(|(_, name)| name == shape);
    let load = Load {
        shape: shape.ok_or("no such shape")?.0,
        connections: connections.parse()?,
        span: Duration::from_millis(millis.parse()?),
        calls: calls.parse()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for lanes in runtime.block_on(drive(&addrs, load))? {
        let mut all: Vec<u32> = lanes.iter().flat_map(|lane| &lane.all).copied().collect();
        let mut first: Vec<u32> = lanes.iter().flat_map(|lane| &lane.first).copied().collect();
        println!("{} {} {}", all.len(), median(&mut all), median(&mut first));
    }
    Ok(())
}

fn median(of: &mut [u32]) -> f64 {
    of.sort_unstable();
    of.get(of.len() / 2)
        .map_or(0.0, |nanos| f64::from(*nanos) / 1e3)
}

/// Drives each program in turns; returns the lanes of each.
async fn drive(addrs: &[SocketAddr], load: Load) -> Result<Vec<Vec<Lane>>> {
    let left = Arc::new(Left {
        calls: AtomicU64::new(load.calls),
        to_begin: AtomicU64::new(load.connections as u64),
    });
    let (turn, turns) = match addrs {
        [_] => (load.span, 1),
        _ => (TURN, load.span.div_duration_f64(TURN).ceil() as usize),
    };
    let lanes = |addr: &SocketAddr| (0..load.connections).map(|_| Lane::new(*addr)).collect();
    let mut sides: Vec<Vec<Lane>> = addrs.iter().map(lanes).collect();
    for _ in 0..turns {
        for side in &mut sides {
            let end = process::now() + turn;
            let mut tasks = tokio::task::JoinSet::new();
            for mut lane in side.drain(..) {
                let left = Arc::clone(&left);
                tasks.spawn(async move {
                    lane.drive(load, end, &left).await?;
                    Result::Ok(lane)
                });
                if load.shape == Shape::Hold {
                    // Few at a time: the listener's backlog is short.
                    tokio::task::yield_now().await;
                }
            }
            while let Some(ended) = tasks.join_next().await {
                side.push(ended??);
            }
        }
    }
    Ok(sides)
}

/// What is still to do.
struct Left {
    calls: AtomicU64,
    /// Streams that are to be held and have not begun.
    to_begin: AtomicU64,
}

/// A connection, and what its calls took in nanoseconds.
struct Lane {
    addr: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// What is sent up each time, where that is large.
    upload: Option<Bytes>,
    all: Vec<u32>,
    /// To the first content of streams.
    first: Vec<u32>,
}

impl Lane {
    fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            sender: None,
            upload: None,
            all: Vec::new(),
            first: Vec::new(),
        }
    }

    /// One call after the other, until `end`.
    async fn drive(&mut self, load: Load, end: std::time::Instant, left: &Left) -> Result<()> {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => connect(self.addr).await?,
        };
        while process::now() < end {
            let calls = &left.calls;
            let taken =
                calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            let Ok(number) = taken else { break };
            let streams = match load.shape {
                Shape::Whole | Shape::Upload | Shape::LargeUpload => false,
                Shape::Mixed => number % 10 == 0,
                Shape::Stream | Shape::Paced | Shape::Hold => true,
            };
            let (path, kind) = match load.shape.upload() {
                None => ("/api/v1/chat/completions", "application/json"),
                Some(_) => (
                    "/api/v1/audio/transcriptions",
                    "multipart/form-data; boundary=x",
                ),
            };
            let body = match &mut self.upload {
                Some(form) => form.clone(),
                none => match load.shape.upload() {
                    Some(bytes) => none.insert(form(bytes)).clone(),
                    None => body(streams, load.shape),
                },
            };
            let request = Request::builder()
                .method(Method::POST)
                .uri(path)
                .header(header::HOST, self.addr.to_string())
                .header(header::CONTENT_TYPE, kind)
                .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
                .body(Full::new(body))?;
            let began = process::now();
            sender.ready().await?;
            let mut response = sender.send_request(request).await?;
            let status = response.status();
            let mut seen = None;
            while let Some(frame) = response.body_mut().frame().await {
                let frame = frame?;
                let Some(data) = frame.data_ref() else {
                    continue;
                };
                let content = data.windows(5).any(|window| window == b" word");
                if !status.is_success() {
                    return Err(format!("{status}: {}", String::from_utf8_lossy(data)).into());
                }
                if streams && seen.is_none() && content {
                    seen = Some(began.elapsed());
                    if load.shape == Shape::Hold
                        && left.to_begin.fetch_sub(1, Ordering::Relaxed) == 1
                    {
                        println!("held");
                    }
                }
            }
            self.all.push(began.elapsed().as_nanos() as u32);
            self.first.extend(seen.map(|seen| seen.as_nanos() as u32));
        }
        self.sender = Some(sender);
        Ok(())
    }
}

async fn connect(addr: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A request of 1 kB.
fn body(streams: bool, shape: Shape) -> Bytes {
    let text = "Which key pays for this? ".repeat(36);
    let streams = if streams { r#","stream":true"# } else { "" };
    let how = match shape {
        Shape::Hold => r#","hold":true"#,
        Shape::Paced => r#","paced":true"#,
        _ => "",
    };
    format!(
        r#"{{"model":"openai/gpt-4o-mini","max_tokens":64{streams}{how},"messages":[{{"role":"user","content":"{text}"}}]}}"#
    )
    .into()
}

/// A form with a file of this size in it.
fn form(bytes: usize) -> Bytes {
    let head = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper-1\r\n--x\r\n\
                content-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let mut form = head.as_bytes().to_vec();
    form.resize(form.len() + bytes, b'w');
    form.extend_from_slice(b"\r\n--x--\r\n");
    form.into()
}
