//! The load: keep-alive connections, each with one call at a time.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
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
    /// One stream to nine whole ones.
    Mixed,
    /// A stream that begins and is held open.
    Hold,
}

const SHAPES: [(Shape, &str); 4] = [
    (Shape::Whole, "whole"),
    (Shape::Stream, "stream"),
    (Shape::Mixed, "mixed"),
    (Shape::Hold, "hold"),
];

/// How much.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    pub(crate) connections: usize,
    pub(crate) span: Duration,
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

/// What was seen.
pub(crate) struct Told {
    pub(crate) calls: u64,
    pub(crate) median_us: f64,
    pub(crate) first_us: f64,
}

/// Runs a load as a process of its own, to its end.
pub(crate) fn run(addr: SocketAddr, load: &Load) -> Result<Told> {
    let output = command(addr, load)?.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || numbers.next()?.ok();
    match (next(), next(), next()) {
        (Some(calls), Some(median_us), Some(first_us)) if output.status.success() => Ok(Told {
            calls: calls as u64,
            median_us,
            first_us,
        }),
        _ => Err(format!("the load failed: {text}").into()),
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
    let mut child = command(addr, &load)?.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let held = Held { child, count };
    match line.trim() {
        "held" => Ok(held),
        other => Err(format!("the streams were not held: {other}").into()),
    }
}

fn command(addr: SocketAddr, load: &Load) -> Result<std::process::Command> {
    let mut command = process::load()?;
    let name = SHAPES.iter().find(|(shape, _)| *shape == load.shape);
    command
        .arg(addr.to_string())
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

/// The load's own process.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let [addr, shape, connections, millis, calls] = args else {
        return Err("a load needs five arguments".into());
    };
    let addr: SocketAddr = addr.parse()?;
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
    let (mut all, mut first) = runtime.block_on(drive(addr, load))?;
    let calls = all.len();
    println!("{calls} {} {}", median(&mut all), median(&mut first));
    Ok(())
}

fn median(of: &mut [u32]) -> f64 {
    of.sort_unstable();
    of.get(of.len() / 2)
        .map_or(0.0, |nanos| f64::from(*nanos) / 1e3)
}

async fn drive(addr: SocketAddr, load: Load) -> Result<(Vec<u32>, Vec<u32>)> {
    let left = Arc::new(AtomicU64::new(load.calls));
    let begun = Arc::new(AtomicU64::new(0));
    let end = process::now() + load.span;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..load.connections {
        let (left, begun) = (Arc::clone(&left), Arc::clone(&begun));
        tasks.spawn(async move { connection(addr, load, end, &left, &begun).await });
        if load.shape == Shape::Hold {
            // Few at a time: the listener's backlog is short.
            tokio::task::yield_now().await;
        }
    }
    let (mut all, mut first) = (Vec::new(), Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (one, first_one) = ended??;
        all.extend(one);
        first.extend(first_one);
    }
    Ok((all, first))
}

async fn connection(
    addr: SocketAddr,
    load: Load,
    end: std::time::Instant,
    left: &AtomicU64,
    begun: &AtomicU64,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let (mut all, mut first) = (Vec::new(), Vec::new());
    while process::now() < end {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        let Ok(number) = taken else { break };
        let streams = match load.shape {
            Shape::Whole => false,
            Shape::Mixed => number % 10 == 0,
            Shape::Stream | Shape::Hold => true,
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/chat/completions")
            .header(header::HOST, addr.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .body(Full::new(body(streams, load.shape == Shape::Hold)))?;
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
                    && begun.fetch_add(1, Ordering::Relaxed) + 1 == load.connections as u64
                {
                    println!("held");
                }
            }
        }
        all.push(began.elapsed().as_nanos() as u32);
        first.extend(seen.map(|seen| seen.as_nanos() as u32));
    }
    Ok((all, first))
}

/// A request of 1 kB.
fn body(streams: bool, holds: bool) -> Bytes {
    let text = "Which key pays for this? ".repeat(36);
    let (streams, holds) = (
        if streams { r#","stream":true"# } else { "" },
        if holds { r#","hold":true"# } else { "" },
    );
    format!(
        r#"{{"model":"openai/gpt-4o-mini","max_tokens":64{streams}{holds},"messages":[{{"role":"user","content":"{text}"}}]}}"#
    )
    .into()
}
