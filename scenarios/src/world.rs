//! A mock without a socket, and what reaches it: [`World`].

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fairkey_core::WallClock;
use fairkey_mock::{Builder, MockOpenRouter};
use fairkey_transport::{ByteStream, Deadlines, Dial, HttpTransport};

/// A mock OpenRouter without a socket, and a transport into it.
///
/// Made inside a tokio runtime whose time is paused: every wait then takes no time, and the mock's
/// windows and resets pass on the same clock as the client's.
#[derive(Clone, Debug)]
pub struct World {
    mock: Arc<MockOpenRouter>,
    transport: HttpTransport,
}

impl World {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If the builder's parts contradict each other: a scenario is code of this crate.
    #[must_use]
    pub fn start(builder: Builder) -> Self {
        let mock = Arc::new(builder.start_in_memory().expect("a scenario that starts"));
        let transport = HttpTransport::builder()
            .dialer(Arc::new(Pipes(Arc::clone(&mock))))
            .deadlines(DEADLINES)
            .max_connections_per_origin(4096)
            .build()
            .expect("a transport without TLS builds");
        Self { mock, transport }
    }

    /// Returns the mock: to script it, and to read what reached it.
    #[must_use]
    pub fn mock(&self) -> &MockOpenRouter {
        &self.mock
    }

    /// Returns the transport.
    #[must_use]
    pub fn transport(&self) -> HttpTransport {
        self.transport.clone()
    }

    /// Returns the mock's time of day: against it, its stamps mean what they say.
    #[must_use]
    pub fn wall_clock(&self) -> MocksTime {
        MocksTime(Arc::clone(&self.mock))
    }
}

/// The deadlines of everybody in these scenarios.
pub const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_secs(5),
    head: Duration::from_secs(10),
    first_content: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    total: Duration::from_secs(60),
};

/// The mock's time of day.
#[derive(Clone, Debug)]
pub struct MocksTime(Arc<MockOpenRouter>);

impl WallClock for MocksTime {
    fn since_epoch(&self) -> Duration {
        SystemTime::from(self.0.now())
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// Connections in memory.
#[derive(Debug)]
struct Pipes(Arc<MockOpenRouter>);

#[async_trait::async_trait]
impl Dial for Pipes {
    async fn dial(&self, _: &str, _: u16) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(self.0.connect()))
    }
}
