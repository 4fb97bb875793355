//! What a collector of OpenTelemetry is told while the gateway serves.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::SystemWallClock;
use fairkey_gateway::{Gateway, Otlp, OtlpConfig};
use fairkey_transport::{Deadlines, HttpTransport, Transport};
use tokio::task::JoinHandle;

use crate::config;
use crate::terminal;

/// How long the end waits for the collector.
const LAST: Duration = Duration::from_secs(3);

/// Tells a collector, by a task of its own.
pub(super) struct Telling {
    otlp: Arc<Otlp>,
    task: JoinHandle<()>,
}

/// Makes what hears of requests, where a collector is configured.
///
/// # Errors
///
/// Says why it cannot be reached at all.
pub(super) fn open(
    configured: Option<&config::Otlp>,
    seed: u64,
) -> Result<Option<Arc<Otlp>>, String> {
    let Some(configured) = configured else {
        return Ok(None);
    };
    let mut config = OtlpConfig::new(configured.endpoint.clone());
    config.headers = configured.headers.clone();
    config.service.clone_from(&configured.service);
    config.traces = configured.traces;
    config.metrics = configured.metrics;
    config.sample = configured.sample;
    config.interval = configured.interval;
    config.seed = seed;
    let mut transport = HttpTransport::builder()
        .deadlines(Deadlines::default())
        .max_connections_per_origin(2)
        // A collector is a neighbour as a rule, and no key of the pool is sent to it.
        .danger_allow_plaintext(true);
    if let Some(ca) = &configured.ca {
        transport = transport.tls(ca.tls.clone());
    }
    let transport = transport
        .build()
        .map_err(|error| format!("[otlp]: {error}"))?;
    let transport: Arc<dyn Transport> = Arc::new(transport);
    let otlp = Otlp::new(
        config,
        &transport,
        Arc::new(SystemWallClock),
        terminal::warn,
    );
    Ok(Some(Arc::new(otlp)))
}

/// Begins to tell.
pub(super) fn start(otlp: Option<Arc<Otlp>>, gateway: &Gateway) -> Option<Telling> {
    let otlp = otlp?;
    let (running, gateway) = (Arc::clone(&otlp), gateway.clone());
    let task = tokio::spawn(async move { running.run(&gateway).await });
    Some(Telling { otlp, task })
}

impl Telling {
    /// Tells what is left, and ends.
    pub(super) async fn finish(self, gateway: &Gateway) {
        self.task.abort();
        self.otlp.flush(gateway, LAST).await;
        match self.otlp.lost() {
            0 => {}
            lost => terminal::warn(&format!("{lost} spans were lost")),
        }
    }
}
