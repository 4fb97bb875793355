//! Accounts that are held back for a while after they have asked to slow down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fairkey_client::TokioClock;
use fairkey_core::{Candidate, Clock, Key, Observer, Outcome, Report, Timestamp};
use tokio::time::Instant;

use crate::scripted::{REVOKED, Reply, Scripted, builder, prompt};

/// The runtime's clock, and ahead of it by two seconds for each refusal: as if it took that long to
/// look at one.
#[derive(Clone, Debug, Default)]
struct Slow {
    clock: TokioClock,
    refusals: Arc<AtomicU32>,
}

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        self.clock.now() + Duration::from_secs(2) * self.refusals.load(Ordering::Relaxed)
    }
}

impl Observer for Slow {
    fn settled(&self, _: Candidate<'_>, report: &Report) {
        if matches!(report.outcome, Outcome::Fault { .. }) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_held_back_for_less_time_than_it_took_to_hear_of_it_is_tried_at_once() {
    const SLOW_DOWN: &str = r#"{"error":{"code":429,"message":"Too many requests"}}"#;
    let calls = AtomicU32::new(0);
    let transport = Scripted::new(move |seen| match seen.key.as_str() {
        "sk-revoked" => Reply::status(401, REVOKED),
        _ if calls.fetch_add(1, Ordering::Relaxed) == 0 => Reply::status(429, SLOW_DOWN),
        _ => Reply::good("hi"),
    });
    let slow = Slow::default();
    let client = builder(0, &transport)
        .keys([
            Key::new("well", "sk-well").account("rich"),
            Key::new("revoked", "sk-revoked").account("gone"),
        ])
        .clock(slow.clone())
        .observer(Arc::new(slow))
        .build()
        .unwrap();
    let began = Instant::now();
    client.chat(&prompt("x")).await.unwrap();
    // It is held back for a 64th of a minute, which is less than two seconds.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let seen = transport.keys();
    let refused = seen.iter().filter(|key| *key == "sk-well").count();
    assert_eq!(refused, 2, "{seen:?}");
}
