//! A scripted caller, and sources and outputs that can be broken.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fairkey_batch::{
    Allowance, Attempt, AttemptCount, BadLine, Bill, Bottleneck, Caller, CallerState, Failure,
    KeyOut, Output, OutputError, Place, Refusal, Reply, Request, ResultLine, Row, Source, Then,
};
use fairkey_core::{Cost, FaultKind, Scope};
use tokio::time::{Instant, sleep};

/// What one call of a row does: how long it takes, and what comes of it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) takes: Duration,
    pub(crate) ends: End,
}

#[derive(Clone, Debug)]
pub(crate) enum End {
    Answer,
    /// Some twenty thousand bytes.
    Long,
    Fail,
    /// Nothing is wrong with the row, but there is no key.
    Wait(Option<Duration>, Vec<KeyOut>),
    /// The same, but the row was refused by a key itself.
    Refused(&'static str, FaultKind),
    /// A provider failed so often, or as often as the row allows, and the row shall come back.
    Failing(u32),
    /// The row itself is refused.
    Bad,
    Dead,
    Panic,
}

pub(crate) fn answer(millis: u64) -> Step {
    Step {
        takes: Duration::from_millis(millis),
        ends: End::Answer,
    }
}

pub(crate) fn step(ends: End) -> Step {
    Step {
        takes: Duration::from_millis(1),
        ends,
    }
}

pub(crate) fn barred() -> Vec<KeyOut> {
    vec![KeyOut {
        key: "a".into(),
        by: Scope::Account,
        why: "balance_exhausted (402)".to_owned(),
    }]
}

type Plan = Box<dyn Fn(u64, u64) -> Step + Send + Sync>;

/// Does what its plan says: of a row's index, and of how many calls the row has made before.
pub(crate) struct Fake {
    plan: Plan,
    calls: Mutex<HashMap<u64, u64>>,
    /// When each call began, and of which row.
    pub(crate) begun: Mutex<Vec<(Instant, u64)>>,
    now: AtomicUsize,
    pub(crate) peak: AtomicUsize,
    /// What the caller says of attempts before their rows end, if it does.
    pub(crate) attempts: Mutex<Option<AttemptCount>>,
    /// What the caller says is under way upstream; `usize::MAX`: it does not know.
    pub(crate) upstream: AtomicUsize,
}

impl Fake {
    pub(crate) fn new(plan: impl Fn(u64, u64) -> Step + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            plan: Box::new(plan),
            calls: Mutex::default(),
            begun: Mutex::default(),
            now: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            attempts: Mutex::default(),
            upstream: AtomicUsize::new(usize::MAX),
        })
    }

    pub(crate) fn calls(&self) -> usize {
        self.begun.lock().unwrap().len()
    }
}

/// Counts a call as under way until it ends or is dropped.
struct UnderWay<'a>(&'a Fake);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn attempt(refusal: Option<(Scope, FaultKind, &'static str)>) -> Attempt {
    Attempt {
        key: "a".into(),
        account: Some("acme".into()),
        refusal: refusal.map(|(scope, kind, cause)| Refusal {
            scope,
            kind,
            cause: cause.into(),
            status: Some(429),
        }),
        bill: Bill::default(),
    }
}

impl Caller for Fake {
    async fn call(&self, request: &Request, left: Allowance) -> Result<Reply, Failure> {
        let index: u64 = std::str::from_utf8(&request.body).unwrap().parse().unwrap();
        let before = {
            let mut calls = self.calls.lock().unwrap();
            let calls = calls.entry(index).or_default();
            *calls += 1;
            *calls - 1
        };
        self.begun.lock().unwrap().push((Instant::now(), index));
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        let _under_way = UnderWay(self);
        let step = (self.plan)(index, before);
        if !step.takes.is_zero() {
            sleep(step.takes).await;
        }
        let failure = |attempts, then| Failure {
            code: "failed".into(),
            message: format!("row {index} failed"),
            scope: Scope::Provider,
            cause: Some("provider_error".into()),
            status: Some(502),
            attempts,
            then,
            answer: None,
        };
        let provider = || attempt(Some((Scope::Provider, FaultKind::Failed, "provider_error")));
        match step.ends {
            End::Answer | End::Long => Ok(Reply {
                waited: Duration::ZERO,
                status: 200,
                request_id: Some(format!("gen-{index}")),
                body: match step.ends {
                    End::Long => Bytes::from(format!("\"{}\"", "long".repeat(5_000))),
                    _ => Bytes::from(format!("{{\"n\":{index}}}")),
                },
                key: "a".into(),
                cost: Some(Cost {
                    requests: 1,
                    tokens: 10,
                    micro_usd: 5,
                }),
                attempts: vec![attempt(None)],
            }),
            End::Fail => Err(failure(vec![provider(), provider()], Then::Fail)),
            End::Wait(after, barred) => Err(failure(Vec::new(), Then::Wait { after, barred })),
            End::Refused(cause, kind) => {
                let scope = match cause {
                    "provider_pool" => Scope::Provider,
                    _ => Scope::Account,
                };
                let refused = attempt(Some((scope, kind, cause)));
                Err(failure(
                    vec![refused],
                    Then::Wait {
                        after: None,
                        barred: Vec::new(),
                    },
                ))
            }
            End::Failing(n) => {
                let attempts = (0..n.min(left.attempts)).map(|_| provider()).collect();
                let barred = Vec::new();
                Err(failure(
                    attempts,
                    Then::Wait {
                        after: None,
                        barred,
                    },
                ))
            }
            End::Bad => {
                let refused = attempt(Some((Scope::Request, FaultKind::Refused, "bad_request")));
                Err(Failure {
                    scope: Scope::Request,
                    ..failure(vec![refused], Then::Fail)
                })
            }
            End::Dead => Err(failure(Vec::new(), Then::Stop { keys: barred() })),
            End::Panic => panic!("as planned"),
        }
    }

    fn state(&self) -> &dyn CallerState {
        self
    }
}

impl CallerState for Fake {
    fn in_flight(&self) -> Option<u64> {
        match self.upstream.load(Ordering::SeqCst) {
            usize::MAX => None,
            n => Some(n as u64),
        }
    }

    fn bars(&self) -> Vec<Bottleneck> {
        let limit = "account \"acme\": 60 requests a minute".to_owned();
        vec![Bottleneck::Keys(Some(limit))]
    }

    fn attempts(&self) -> Option<AttemptCount> {
        *self.attempts.lock().unwrap()
    }
}

/// So many rows, each with its index as body.
pub(crate) fn rows(n: u64) -> Rows {
    Rows {
        rows: (0..n).map(row).collect(),
        ..Rows::default()
    }
}

pub(crate) fn row(index: u64) -> Row {
    Row {
        index,
        file: None,
        line: index + 1,
        end_byte: (index + 1) * 10,
        custom_id: Some(format!("id-{index}")),
        request: Ok(Request {
            path: "/chat/completions".into(),
            model: None,
            body: Bytes::from(index.to_string()),
        }),
    }
}

pub(crate) fn bad_row(index: u64) -> Row {
    let bad = BadLine {
        place: place(index + 1),
        column: Some(3),
        message: "bad".to_owned(),
    };
    Row {
        request: Err(bad),
        custom_id: None,
        ..row(index)
    }
}

pub(crate) fn place(line: u64) -> Place {
    Place { file: None, line }
}

/// Rows that are there, and how many were taken.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) rows: VecDeque<Row>,
    pub(crate) taken: Arc<AtomicUsize>,
    /// Breaks instead of ending.
    pub(crate) breaks: bool,
    pub(crate) total_bytes: Option<u64>,
}

impl Source for Rows {
    async fn next(&mut self) -> io::Result<Option<Row>> {
        match self.rows.pop_front() {
            Some(row) => {
                self.taken.fetch_add(1, Ordering::SeqCst);
                Ok(Some(row))
            }
            None if self.breaks => Err(io::Error::other("the disk is gone")),
            None => Ok(None),
        }
    }

    fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }
}

/// Takes so many lines, then fails, or blocks for ever.
pub(crate) struct Limited {
    pub(crate) lines: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(crate) room: usize,
    pub(crate) fails: bool,
    pub(crate) waiting: VecDeque<Vec<u8>>,
}

impl Limited {
    pub(crate) fn new(room: usize, fails: bool) -> Self {
        Self {
            lines: Arc::default(),
            room,
            fails,
            waiting: VecDeque::new(),
        }
    }

    fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    async fn full(&self) -> Result<(), OutputError> {
        if !self.is_full() {
            return Ok(());
        }
        if self.fails {
            return Err((&io::Error::from(io::ErrorKind::BrokenPipe)).into());
        }
        std::future::pending().await
    }
}

impl Output for Limited {
    fn push(&mut self, line: ResultLine) {
        let line = line.bytes;
        let mut lines = self.lines.lock().unwrap();
        if lines.len() < self.room {
            lines.push(line);
        } else {
            drop(lines);
            self.waiting.push_back(line);
        }
    }

    async fn ready(&mut self) -> Result<(), OutputError> {
        self.full().await
    }

    fn is_ready(&self) -> bool {
        !self.is_full()
    }

    async fn finish(&mut self) -> Result<(), OutputError> {
        self.full().await
    }

    fn written(&self) -> u64 {
        self.lines.lock().unwrap().len() as u64
    }
}

/// The indexes of the rows that results are for.
pub(crate) fn indexes(lines: &[String]) -> Vec<u64> {
    let index = |line: &String| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = value["id"].as_str().unwrap().strip_prefix("row-").unwrap();
        id.parse::<u64>().unwrap() - 1
    };
    lines.iter().map(index).collect()
}
