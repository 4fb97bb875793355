//! The real transport and the mock on virtual time, without a socket.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fairkey_client::Client;
use fairkey_core::WallClock;
use fairkey_mock::{Account, Fault, MockOpenRouter, On, Step};
use fairkey_openrouter::ChatRequest;
use fairkey_transport::{ByteStream, Dial, HttpTransport};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Arc<MockOpenRouter>);

#[async_trait::async_trait]
impl Dial for InMemory {
    async fn dial(&self, _: &str, _: u16) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(self.0.connect()))
    }
}

/// The time of day where the mock is: its stamps mean what they say.
#[derive(Debug)]
pub(crate) struct MocksTime(pub(crate) Arc<MockOpenRouter>);

impl WallClock for MocksTime {
    fn since_epoch(&self) -> Duration {
        SystemTime::from(self.0.now())
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_every_four_minutes_takes_no_time() {
    let window = Duration::from_secs(240);
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").requests_per_window(1, window))
        .key(
            fairkey_mock::Key::new("sk-or-v1-a")
                .label("a")
                .account("acme"),
        )
        .script(
            On::any(),
            [
                Step::reply(Fault::provider_error_502("Acme")),
                Step::reset_before_head(),
            ],
        )
        .start_in_memory()
        .unwrap();
    let mock = Arc::new(mock);
    let transport = HttpTransport::builder()
        .dialer(Arc::new(InMemory(Arc::clone(&mock))))
        .build()
        .unwrap();
    let client = Client::builder()
        .key("a", "sk-or-v1-a")
        .wall_clock(MocksTime(Arc::clone(&mock)))
        .base_url(mock.base_url())
        .transport(Arc::new(transport))
        .max_wait(Duration::from_secs(3600))
        .build()
        .unwrap();
    let began = Instant::now();
    for n in 0..6 {
        let request = ChatRequest::new("openai/gpt-4o-mini").user(format!("{n}"));
        let answer = client.chat(&request).await.unwrap();
        // The provider's failure, the reset, then the answer; afterwards one refusal at most for
        // each that is answered.
        assert!(answer.attempts.len() <= 3, "{:?}", answer.attempts);
    }
    let took = began.elapsed();
    assert!(
        took >= 5 * window && took < 7 * window,
        "the windows pass on the same clock: {took:?}"
    );
    assert_eq!(mock.counters().total.status(200), 6);
    assert_eq!(client.pool().in_flight(), 0);
}
