//! The way to the upstream: [`Network`], a transport on which requests take their time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fairkey_core::Random;
use fairkey_transport::{Body, Transport, TransportError};
use http::{Request, Response};

/// A transport that holds every request back for as long as networks do: 10 ms and an
/// exponential tail with a mean of 10 ms, and for one in fifty two round trips more, as where a
/// connection is opened or a packet was lost. So requests arrive in another order, and at other
/// distances, than they were sent.
#[derive(Clone, Debug)]
pub struct Network {
    inner: Arc<dyn Transport>,
    chance: Arc<Mutex<Random>>,
}

const LEAST: Duration = Duration::from_millis(10);
const TAIL: Duration = Duration::from_millis(10);
const ANEW: Duration = Duration::from_millis(60);

impl Network {
    /// Puts a network before a transport.
    #[must_use]
    pub fn before(inner: impl Transport + 'static, seed: u64) -> Self {
        Self {
            inner: Arc::new(inner),
            chance: Arc::new(Mutex::new(Random::new(seed))),
        }
    }

    fn delay(&self) -> Duration {
        let mut chance = self.chance.lock().expect("no panic while it is held");
        let tail = TAIL.mul_f64(-(1.0 - chance.unit()).ln());
        let anew = if chance.below(50) == 0 {
            ANEW
        } else {
            Duration::ZERO
        };
        LEAST + tail + anew
    }
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        tokio::time::sleep(self.delay()).await;
        self.inner.send(request).await
    }
}
