//! Sending messages to a collector: [`Exporter`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairkey_openrouter::{RetryHint, parse_retry_after};
use fairkey_transport::Transport;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode, Uri};
use tokio::time::{sleep, timeout};

use super::{OtlpConfig, Outgoing};

/// How long a collector may take for one message.
const TAKES: Duration = Duration::from_secs(10);
/// How long to wait before a message is sent again; after that it is lost.
const WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// The longest that a collector may ask to wait.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The most bytes of its answer that are read, so that the connection can serve again.
const ANSWER_BYTES: usize = 64 << 10;

type Log = Box<dyn Fn(&str) + Send + Sync>;

/// Sends messages of one kind.
pub(super) struct Exporter {
    url: String,
    headers: HeaderMap,
    transport: Arc<dyn Transport>,
    log: Log,
    /// Whether the last message was lost.
    fails: AtomicBool,
}

/// Why a message was not taken.
struct Refused {
    why: String,
    /// Whether it may be taken later; after that time, where one was named.
    again: Option<Option<Duration>>,
}

impl Exporter {
    pub(super) fn new(
        config: &OtlpConfig,
        signal: &str,
        transport: Arc<dyn Transport>,
        log: Log,
    ) -> Self {
        let mut headers = config.headers.clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, protobuf);
        let base = config.endpoint.to_string();
        Self {
            url: format!("{}/v1/{signal}", base.trim_end_matches('/')),
            headers,
            transport,
            log,
            fails: AtomicBool::new(false),
        }
    }

    /// Sends a message, and again where that makes sense. Returns whether it was taken.
    pub(super) async fn deliver(&self, message: Outgoing) -> bool {
        let mut waits = WAITS.into_iter();
        loop {
            let refused = match self.post(&message).await {
                Ok(()) => return self.taken(),
                Err(refused) => refused,
            };
            let Some((again, wait)) = refused.again.zip(waits.next()) else {
                return self.lost(&refused.why);
            };
            sleep(again.unwrap_or(wait).clamp(wait, MAX_WAIT)).await;
        }
    }

    /// Sends a message once. Returns whether it was taken.
    pub(super) async fn send(&self, message: Outgoing) -> bool {
        match self.post(&message).await {
            Ok(()) => self.taken(),
            Err(refused) => self.lost(&refused.why),
        }
    }

    fn taken(&self) -> bool {
        if self.fails.swap(false, Ordering::Relaxed) {
            (self.log)(&format!("{} takes telemetry again", self.url));
        }
        true
    }

    /// Told once, until one is taken again.
    fn lost(&self, why: &str) -> bool {
        if !self.fails.swap(true, Ordering::Relaxed) {
            (self.log)(&format!("telemetry is lost: {}: {why}", self.url));
        }
        false
    }

    async fn post(&self, message: &Outgoing) -> Result<(), Refused> {
        let later = |why: String| Refused {
            why,
            again: Some(None),
        };
        let url: Uri = self.url.parse().map_err(|_| Refused {
            why: "that is no URL".to_owned(),
            again: None,
        })?;
        let mut request = Request::post(url)
            .body(message.bytes.clone())
            .map_err(|error| Refused {
                why: error.to_string(),
                again: None,
            })?;
        *request.headers_mut() = self.headers.clone();
        let sent = async {
            let response = self.transport.send(request).await;
            let (parts, body) = response
                .map_err(|error| later(error.to_string()))?
                .into_parts();
            let _ = body.collect_bounded(ANSWER_BYTES).await;
            Ok((parts.status, parts.headers))
        };
        let sent = timeout(TAKES, sent).await;
        let (status, headers) =
            sent.unwrap_or_else(|_| Err(later(format!("no answer in {} s", TAKES.as_secs()))))?;
        if status.is_success() {
            return Ok(());
        }
        // These, and no others, by the protocol.
        let is_temporary = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let after = || {
            let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
            match parse_retry_after(value) {
                RetryHint::After(wait) => Some(wait),
                _ => None,
            }
        };
        Err(Refused {
            why: status.to_string(),
            again: is_temporary.then(after),
        })
    }
}
