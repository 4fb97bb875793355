//! A hand-written key pool, as many programs have one: [`ThreeStrikes`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fairkey_openrouter::ChatRequest;
use fairkey_transport::Transport;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;

use crate::caller::{Caller, End, body, secret};
use crate::load::PATIENCE;
use crate::world::World;

/// Round robin with three strikes: whatever goes wrong is the key's fault. The next key is tried
/// at once, each key once per call; a key that fails three times in a row is out for a minute;
/// when all are out, all are used. A status of 200 is an answer.
#[derive(Debug)]
pub struct ThreeStrikes {
    transport: Arc<dyn Transport>,
    url: String,
    keys: Mutex<Rotation>,
    out_for: Duration,
}

#[derive(Debug)]
struct Rotation {
    keys: Vec<Strikes>,
    next: usize,
}

#[derive(Debug)]
struct Strikes {
    secret: String,
    in_a_row: u32,
    out_until: Option<Instant>,
}

const STRIKES: u32 = 3;
const OUT: Duration = Duration::from_secs(60);

impl ThreeStrikes {
    /// Makes a pool of `keys` of label and account; it knows nothing of accounts.
    #[must_use]
    pub fn new(world: &World, keys: &[(&str, &str)]) -> Self {
        let keys = keys.iter().map(|(label, _)| Strikes {
            secret: secret(label),
            in_a_row: 0,
            out_until: None,
        });
        Self {
            transport: Arc::new(world.transport()),
            out_for: OUT,
            url: format!("{}/chat/completions", world.mock().base_url()),
            keys: Mutex::new(Rotation {
                keys: keys.collect(),
                next: 0,
            }),
        }
    }

    /// Sets for how long three failures in a row put a key out. Default: a minute.
    #[must_use]
    pub fn out_for(mut self, time: Duration) -> Self {
        self.out_for = time;
        self
    }

    /// Sets what sends requests.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    fn with<R>(&self, f: impl FnOnce(&mut Rotation) -> R) -> R {
        f(&mut self.keys.lock().expect("no panic while it is held"))
    }

    async fn attempt(&self, key: usize, request: &ChatRequest) -> Option<End> {
        let secret = self.with(|rotation| rotation.keys[key].secret.clone());
        let bearer = HeaderValue::from_str(&format!("Bearer {secret}")).ok()?;
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, bearer)
            .body(body(request))
            .ok()?;
        let response = self.transport.send(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let body = response.into_body().collect_bounded(1 << 20).await.ok()?;
        Some(End::of_body(&body))
    }
}

impl Rotation {
    fn pick(&mut self) -> usize {
        let now = Instant::now();
        for _ in 0..self.keys.len() {
            let at = self.next % self.keys.len();
            self.next += 1;
            if self.keys[at].out_until.is_none_or(|until| until <= now) {
                return at;
            }
        }
        // All are out: any key is better than none.
        self.next += 1;
        self.next % self.keys.len()
    }

    fn strike(&mut self, key: usize, out_for: Duration) {
        let key = &mut self.keys[key];
        key.in_a_row += 1;
        if key.in_a_row >= STRIKES {
            key.in_a_row = 0;
            key.out_until = Some(Instant::now() + out_for);
        }
    }
}

#[async_trait]
impl Caller for ThreeStrikes {
    async fn call(&self, request: &ChatRequest) -> End {
        let attempts = self.with(|rotation| rotation.keys.len());
        let all = async {
            for _ in 0..attempts {
                let key = self.with(Rotation::pick);
                match self.attempt(key, request).await {
                    Some(end) => {
                        self.with(|rotation| rotation.keys[key].in_a_row = 0);
                        return end;
                    }
                    None => self.with(|rotation| rotation.strike(key, self.out_for)),
                }
            }
            End::Failed
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .unwrap_or(End::Failed)
    }
}
