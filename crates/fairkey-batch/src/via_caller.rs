//! A running gateway as a caller of rows: [`ViaCaller`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{CallError, Client};
use fairkey_core::{KeyId, Scope};
use fairkey_openrouter::{EventFormat, Fault, RetryHint, Usage, parse_retry_after};
use fairkey_transport::Body;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request as HttpRequest, StatusCode};
use serde::Deserialize;

use crate::bottleneck::Bottleneck;
use crate::caller::{
    Allowance, Attempt, AttemptCount, Bill, Caller, CallerState, Failure, KeyOut, KeyState,
    Refusal, Reply, Then,
};
use crate::row::Request;

/// The most bytes of an answer.
const ANSWER_BYTES: usize = 64 << 20;
/// How long to wait where the gateway says nothing of it.
const WAIT: Duration = Duration::from_secs(1);
/// What a gateway that asks to wait has for a reason, and whether that asks to slow down.
const WAITS: [(&str, bool); 7] = [
    ("over_rate", true),
    ("over_budget", false),
    ("too_many_in_flight", true),
    ("queue_full", true),
    ("no_key", false),
    ("overloaded", true),
    ("shutting_down", false),
];

/// Sends rows through a gateway that runs already, as calls of class batch: they stand behind what
/// its other callers wait for.
///
/// The gateway has the keys, makes the attempts and knows whom to blame; here a row is sent once,
/// and again when the gateway says that waiting cures it. To wait costs a row none of its attempts,
/// and is held against no key. The keys of the summary are those that the gateway names, as far as
/// it does.
#[derive(Debug)]
pub struct ViaCaller {
    client: Client,
    key: KeyId,
    in_flight: AtomicU64,
    made: AtomicU64,
    slow_downs: AtomicU64,
    /// How often the gateway asked to wait, by reason.
    waits: Mutex<BTreeMap<String, u64>>,
    /// Why rows are not answered now; gone with the next answer.
    trouble: Mutex<Option<String>>,
}

impl ViaCaller {
    /// Sends through the gateway at the base URL of `client`, whose key `key` is the token there.
    #[must_use]
    pub fn new(client: Client, key: impl Into<KeyId>) -> Self {
        Self {
            client,
            key: key.into(),
            in_flight: AtomicU64::new(0),
            made: AtomicU64::new(0),
            slow_downs: AtomicU64::new(0),
            waits: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    fn waits(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: &Request) -> Result<(StatusCode, HeaderMap, Bytes), Broken> {
        let mut http = HttpRequest::new(Body::full(request.body.clone()));
        *http.method_mut() = Method::POST;
        *http.uri_mut() = (request.path.parse()).map_err(|_| Broken {
            fault: Fault::local("the path is none"),
            may_run: false,
        })?;
        let headers = http.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-fairkey-class", HeaderValue::from_static("batch"));
        let sent = self.client.send_by(self.key.as_str(), http).await;
        let (parts, body) = sent.map_err(|error| Broken::of(&error))?.into_parts();
        let body = body.collect_bounded(ANSWER_BYTES).await;
        let body = body.map_err(|error| Broken {
            fault: Fault::network(&error.to_string()),
            may_run: true,
        })?;
        Ok((parts.status, parts.headers, body))
    }

    /// The way to the gateway broke.
    fn broken(&self, broken: &Broken) -> Failure {
        let fault = &broken.fault;
        let then = match fault.scope() {
            Scope::Request | Scope::Local => Then::Fail,
            _ => {
                let trouble = format!("the gateway cannot be reached: {}", fault.message());
                *self.trouble() = Some(trouble);
                self.wait(WAIT, Scope::Network, fault.message())
            }
        };
        let attempts = match broken.may_run {
            // Nothing went out: it costs the row nothing.
            false => Vec::new(),
            true => vec![Attempt {
                bill: Bill {
                    is_unknown: true,
                    ..Bill::default()
                },
                ..self.refused(fault, None)
            }],
        };
        failure(fault, attempts, then)
    }

    /// The gateway answers with something else than a success.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let fault = Fault::from_response(status, headers, body);
        let reason = text(headers, "x-fairkey-error");
        if status == StatusCode::UNAUTHORIZED {
            let message = match reason {
                Some(_) => format!("the gateway refuses the token: {}", fault.message()),
                None => "401, and not from a fairkey gateway: is the address right?".to_owned(),
            };
            let keys = vec![self.out(Scope::Key, &message)];
            let refused = vec![self.refused(&fault, reason)];
            return Failure {
                message,
                ..failure(&fault, refused, Then::Stop { keys })
            };
        }
        let after = retry_after(headers);
        if let Some((reason, is_slow_down)) = WAITS.iter().find(|(name, _)| reason == Some(*name)) {
            if *is_slow_down {
                self.slow_downs.fetch_add(1, Ordering::Relaxed);
            }
            *self.waits().entry((*reason).to_owned()).or_default() += 1;
            let why = format!("the gateway asks to wait: {reason}");
            *self.trouble() = Some(why.clone());
            let then = self.wait(after.unwrap_or(WAIT), Scope::Service, &why);
            return failure(&fault, Vec::new(), then);
        }
        let again = text(headers, "x-should-retry") == Some("true");
        let then = match again {
            // It has tried, and knows when it makes sense again.
            true => Then::Wait {
                after: Some(after.unwrap_or(WAIT)),
                barred: Vec::new(),
            },
            false => Then::Fail,
        };
        failure(&fault, vec![self.refused(&fault, reason)], then)
    }

    fn reply(&self, path: &str, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Reply {
        let key = text(headers, "x-fairkey-key").map_or_else(|| self.key.clone(), Into::into);
        let waited = text(headers, "x-fairkey-queue-ms").and_then(|ms| ms.parse().ok());
        Reply {
            status: status.as_u16(),
            request_id: text(headers, "x-generation-id").map(ToOwned::to_owned),
            cost: usage(path, &body).map(|usage| usage.cost()),
            attempts: vec![Attempt::good(key.clone(), None)],
            waited: Duration::from_millis(waited.unwrap_or(0)),
            key,
            body,
        }
    }

    fn wait(&self, after: Duration, by: Scope, why: &str) -> Then {
        Then::Wait {
            after: Some(after),
            barred: vec![self.out(by, why)],
        }
    }

    fn out(&self, by: Scope, why: &str) -> KeyOut {
        KeyOut {
            key: self.key.clone(),
            by,
            why: why.to_owned(),
        }
    }

    fn refused(&self, fault: &Fault, reason: Option<&str>) -> Attempt {
        let cause = match reason {
            Some(reason) => Cow::Owned(reason.to_owned()),
            None => Cow::Borrowed(fault.cause().as_str()),
        };
        Attempt {
            refusal: Some(Refusal {
                scope: fault.scope(),
                kind: fault.kind(),
                cause,
                status: fault.status(),
            }),
            ..Attempt::good(self.key.clone(), None)
        }
    }
}

impl Caller for ViaCaller {
    async fn call(&self, request: &Request, _: Allowance) -> Result<Reply, Failure> {
        let _under_way = UnderWay::new(&self.in_flight);
        self.made.fetch_add(1, Ordering::Relaxed);
        let (status, headers, body) = match self.send(request).await {
            Ok(answer) => answer,
            Err(broken) => return Err(self.broken(&broken)),
        };
        if !status.is_success() {
            return Err(self.refusal(status, &headers, &body));
        }
        match Fault::in_answer(&request.path, &body) {
            // The gateway looks for these, and tries again: what is left stands.
            Some(fault) => {
                let attempts = vec![self.refused(&fault, None)];
                Err(failure(&fault, attempts, Then::Fail))
            }
            None => {
                *self.trouble() = None;
                Ok(self.reply(&request.path, status, &headers, body))
            }
        }
    }

    fn state(&self) -> &dyn CallerState {
        self
    }
}

impl CallerState for ViaCaller {
    fn in_flight(&self) -> Option<u64> {
        Some(self.in_flight.load(Ordering::Relaxed))
    }

    fn attempts(&self) -> Option<AttemptCount> {
        Some(AttemptCount {
            made: self.made.load(Ordering::Relaxed),
            slow_downs: self.slow_downs.load(Ordering::Relaxed),
        })
    }

    fn bars(&self) -> Vec<Bottleneck> {
        let trouble = self.trouble().clone();
        let named = |what| Bottleneck::Keys(Some(what));
        trouble.into_iter().map(named).collect()
    }

    fn keys(&self) -> Vec<KeyState> {
        let trouble = self.trouble().clone();
        let waits = self.waits();
        let each: Vec<String> = (waits.iter())
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let state = match (trouble, each.is_empty()) {
            (Some(trouble), true) => trouble,
            (None, true) => "ok".to_owned(),
            (_, false) => format!("the gateway asked to wait: {}", each.join(", ")),
        };
        vec![KeyState {
            key: self.key.clone(),
            account: None,
            state,
        }]
    }
}

/// A request without an answer.
struct Broken {
    fault: Fault,
    /// Whether the gateway may have got it.
    may_run: bool,
}

impl Broken {
    fn of(error: &CallError) -> Self {
        let fault = error.fault().cloned();
        Self {
            fault: fault.unwrap_or_else(|| Fault::local(&error.to_string())),
            may_run: error.may_run(),
        }
    }
}

/// Counts a request until it is dropped.
struct UnderWay<'a>(&'a AtomicU64);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn failure(fault: &Fault, attempts: Vec<Attempt>, then: Then) -> Failure {
    let cause = fault.cause().as_str();
    Failure {
        code: Cow::Borrowed(cause),
        message: fault.to_string(),
        scope: fault.scope(),
        cause: Some(Cow::Borrowed(cause)),
        status: fault.status(),
        attempts,
        then,
        answer: None,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns how long the gateway asks to wait; to the millisecond where it says so.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let ms = text(headers, "retry-after-ms").and_then(|ms| ms.parse().ok());
    if let Some(ms) = ms {
        return Some(Duration::from_millis(ms));
    }
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match parse_retry_after(value) {
        RetryHint::After(wait) => Some(wait),
        _ => None,
    }
}

/// Returns what an answer says it used, in whichever words its endpoint has for it.
fn usage(path: &str, body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Probe {
        usage: Option<Usage>,
    }
    let probe: Option<Probe> = serde_json::from_slice(body).ok();
    let usage = probe.and_then(|probe| probe.usage);
    // A cost alone is no usage of a format whose words are others.
    usage
        .filter(|usage| usage.cost().tokens > 0)
        .or_else(|| EventFormat::of_path(path).usage(body))
}
