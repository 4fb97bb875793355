//! Callers of all kinds: [`Caller`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::{HttpTransport, Transport};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Dice;
use super::stage::TOKENS;

/// What everybody waits for now, of whom each has a number; told when a round hangs.
static WAITS: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());

/// Says what somebody waits for.
pub(super) fn waits(who: u64, what: impl Into<String>) {
    WAITS.lock().unwrap().insert(who, what.into());
}

/// Returns what everybody waits for.
pub(super) fn all_waits() -> BTreeMap<u64, String> {
    WAITS.lock().unwrap().clone()
}

/// What callers have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The identifiers of requests that were answered.
    pub(super) answers: Vec<String>,
    /// Every text that came back.
    pub(super) texts: Vec<String>,
    /// What may not be.
    pub(super) wrong: Vec<String>,
    /// Calls that were left.
    pub(super) left: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.texts.extend(other.texts);
        self.wrong.extend(other.wrong);
        self.left += other.left;
    }
}

/// One caller, with a connection of HTTP/1.1 or HTTP/2.
pub(super) struct Caller {
    addr: SocketAddr,
    transport: Arc<HttpTransport>,
    dice: Dice,
    seen: Seen,
    number: u64,
}

/// Models, of which some always do the same.
const MODELS: [&str; 6] = [
    "openai/gpt-4o-mini",
    "anthropic/claude-sonnet-4.5",
    "chaos/malformed",
    "chaos/slow",
    "chaos/drip",
    "chaos/refused",
];

/// How a call goes on that was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// It reads to the end.
    Whole,
    /// It leaves before the answer begins, or soon after.
    Leaves(Duration),
    /// It leaves after so many pieces.
    LeavesAfter(u64),
}

impl Caller {
    pub(super) fn new(
        addr: SocketAddr,
        transport: Arc<HttpTransport>,
        dice: Dice,
        number: u64,
    ) -> Self {
        Self {
            number,
            addr,
            transport,
            dice,
            seen: Seen::default(),
        }
    }

    /// Makes calls, one after the other, until nobody listens any more.
    pub(super) async fn make(mut self, calls: u64) -> Seen {
        for call in 0..calls {
            waits(self.number, format!("call {call}"));
            let goes_on = match self.dice.below(20) {
                0 => self.half().await,
                1 => self.look().await,
                2 => self.upload().await,
                _ => self.call().await,
            };
            if !goes_on {
                break;
            }
        }
        waits(self.number, "nothing");
        self.seen
    }

    fn request(&mut self, line: &str, body: String) -> Request<Bytes> {
        let (method, path) = line.split_once(' ').unwrap();
        let token = match self.dice.percent(3) {
            true => "nobody's",
            false => self.dice.pick(&TOKENS),
        };
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(body.into())
            .unwrap()
    }

    /// Sends part of a request, and leaves.
    async fn half(&mut self) -> bool {
        let (path, media, body) = self.dice.pick(&[
            ("chat/completions", "application/json", "{\"model\":\"a/b\""),
            (
                "audio/transcriptions",
                "multipart/form-data; boundary=x",
                "--x\r\ncontent-disposition: form-data; name=\"file\"",
            ),
        ]);
        let text = format!(
            "POST /v1/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             content-type: {media}\r\ncontent-length: 200\r\n\r\n{body}",
            self.dice.pick(&TOKENS)
        );
        let part = self.dice.below(text.len() as u64) as usize;
        let Ok(mut stream) = TcpStream::connect(self.addr).await else {
            return false;
        };
        let _ = stream.write_all(&text.as_bytes()[..part]).await;
        if self.dice.percent(30) {
            // The gateway's patience ends first.
            waits(
                self.number,
                format!("the end, having sent {:?}", &text[..part]),
            );
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
            self.seen
                .texts
                .push(String::from_utf8_lossy(&said).into_owned());
        }
        self.seen.left += 1;
        true
    }

    /// Asks for something that is no call: models, paths that are not there, who is well.
    async fn look(&mut self) -> bool {
        let line = self.dice.pick(&[
            "GET /v1/models",
            "GET /healthz",
            "GET /metrics",
            "GET /v1/no/such/path",
            "GET /v1/keys",
            "GET /v1/generation?id=gen-of-nobody",
        ]);
        let request = self.request(line, String::new());
        self.send(request, false, Patience::Whole).await
    }

    /// Sends a form, whole or not.
    async fn upload(&mut self) -> bool {
        let form = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n\
                    sound\r\n--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n\
                    openai/whisper-1\r\n--x--\r\n";
        let path = self
            .dice
            .pick(&["audio/transcriptions", "files", "images/edits"]);
        let mut request = self.request(&format!("POST /v1/{path}"), form.to_owned());
        let media = "multipart/form-data; boundary=x".parse().unwrap();
        request.headers_mut().insert("content-type", media);
        let patience = match self.dice.below(4) {
            0 => Patience::Leaves(Duration::from_micros(self.dice.below(5_000))),
            _ => Patience::Whole,
        };
        self.send(request, false, patience).await
    }

    async fn call(&mut self) -> bool {
        let model = match self.dice.percent(40) {
            true => format!("chaos/model-{}", self.dice.below(1_000_000)),
            false => self.dice.pick(&MODELS).to_owned(),
        };
        let stream = self.dice.percent(70);
        let (path, rest) = self.dice.pick(&[
            (
                "chat/completions",
                r#""messages":[{"role":"user","content":"Hi"}]"#,
            ),
            (
                "messages",
                r#""max_tokens":90,"messages":[{"role":"user","content":"Hi"}]"#,
            ),
            ("responses", r#""input":"Hi""#),
            ("embeddings", r#""input":"Hi""#),
        ]);
        let stream = stream && path != "embeddings";
        let body = format!(r#"{{"model":"{model}","stream":{stream},{rest}}}"#);
        let request = self.request(&format!("POST /v1/{path}"), body);
        let patience = match self.dice.below(10) {
            0 | 1 => Patience::Leaves(Duration::from_micros(self.dice.below(15_000))),
            2 | 3 => Patience::LeavesAfter(self.dice.below(6)),
            _ => Patience::Whole,
        };
        self.send(request, stream, patience).await
    }

    /// Sends a request. Returns whether anybody listens.
    async fn send(&mut self, request: Request<Bytes>, stream: bool, patience: Patience) -> bool {
        let what = format!("{} {:?}", request.uri().path(), request.body());
        let is_known = request.headers()["authorization"] != "Bearer nobody's";
        waits(self.number, format!("the head of {what}"));
        let sent = self.transport.send(request);
        let sent = match patience {
            Patience::Leaves(after) => match tokio::time::timeout(after, sent).await {
                Ok(sent) => sent,
                Err(_) => {
                    self.seen.left += 1;
                    return true;
                }
            },
            _ => sent.await,
        };
        let Ok(response) = sent else { return false };
        let (head, mut body) = response.into_parts();
        let mut text = format!("{head:?}\n");
        if let Some(id) = head.headers.get("x-fairkey-request-id")
            && !["/healthz", "/metrics"]
                .iter()
                .any(|path| what.starts_with(path))
        {
            self.seen.answers.push(id.to_str().unwrap().to_owned());
        }
        if is_known && matches!(head.status.as_u16(), 401 | 402) {
            self.seen.wrong.push(format!("{} for {what}", head.status));
        }
        let (mut frames, mut is_cut) = (0, false);
        let mut said = Vec::new();
        loop {
            if let Patience::LeavesAfter(pieces) = patience
                && frames >= pieces
            {
                self.seen.left += 1;
                return true;
            }
            waits(self.number, format!("frame {frames} of {what}, {head:?}"));
            match body.frame().await {
                Some(Ok(frame)) => {
                    said.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                    frames += 1;
                }
                Some(Err(_)) => {
                    is_cut = true;
                    break;
                }
                None => break,
            }
        }
        let said = String::from_utf8_lossy(&said);
        let media = head
            .headers
            .get("content-type")
            .map_or("", |it| it.to_str().unwrap());
        if stream && media.starts_with("text/event-stream") && !is_cut {
            let ends = ["data: [DONE]", "\"message_stop\"", "\"response.completed\""];
            let is_whole = ends.iter().any(|end| said.contains(end));
            let is_failed = said.contains("\"error\"") || said.contains("\"response.failed\"");
            // Chat that has said why it finished is whole without a mark, too.
            let is_finished = said.contains("\"finish_reason\":\"");
            if !is_whole && !is_failed && !is_finished {
                self.seen
                    .wrong
                    .push(format!("a stream without an end: {what}\n{said}"));
            }
        }
        text.push_str(&said);
        self.seen.texts.push(text);
        true
    }
}
