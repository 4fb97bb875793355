//! The parts of a stage, as they are set up.

use std::time::Duration;

use fairkey_client::{Client, HedgeConfig, RetryConfig};
use fairkey_core::Key;
use fairkey_gateway::{Departure, Rate, Settings, TenantConfig, TokenHash};
use fairkey_mock::{Account, FaultKind, Latency, MockOpenRouter, On, Reply, Step};
use fairkey_strategy::{BreakerConfig, CooldownConfig, Limit, LimitSet, LimitsConfig};
use fairkey_transport::Deadlines;

/// The tokens of the tenants.
pub(crate) const TOKENS: [&str; 3] = ["tok-canary-one", "tok-canary-two", "tok-canary-three"];
const TENANTS: [&str; 3] = ["team-1", "team-2", "team-3"];
pub(super) const ACCOUNTS: [&str; 3] = ["one", "two", "three"];
pub(super) const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn secret(key: &str, is_next: bool) -> String {
    let next = if is_next { "-next" } else { "" };
    format!("sk-or-v1-canary-{key}{next}")
}

pub(super) fn account(key: usize) -> &'static str {
    ACCOUNTS[key / 2]
}

/// A mock that fails in every way it can.
pub(super) async fn mock(seed: u64) -> MockOpenRouter {
    let malformed = Reply::sse([
        "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"id\":\"gen-1\",\"cho\n\n",
        "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
    ]);
    let mut mock = MockOpenRouter::builder()
        .seed(seed)
        .any_model(true)
        .latency(Latency::new(millis(2), millis(1)))
        .answer_tokens(5..=40)
        .settlement(Duration::ZERO)
        // What the mock keeps is soon as much as it ever is.
        .log_capacity(0)
        .generations(300)
        .script(
            On::model("chaos/malformed"),
            [Step::reply(malformed).forever()],
        )
        .script(On::model("chaos/slow"), [Step::delay(millis(40)).forever()])
        .script(
            On::model("chaos/drip"),
            [Step::drip(7, millis(1)).forever()],
        )
        .script(
            On::model("chaos/refused"),
            [
                Step::reply(fairkey_mock::Fault::credits_exhausted()),
                Step::pass(),
            ],
        );
    for kind in FaultKind::ALL {
        mock = mock.fault_rate(kind, 0.01);
    }
    for name in ACCOUNTS {
        let account = Account::new(name)
            .balance_usd(1e6)
            .admission_control_above(12);
        mock = mock.account(account.requests_per_window(400, millis(500)));
    }
    for (at, key) in KEYS.iter().enumerate() {
        for is_next in [false, true] {
            let known = fairkey_mock::Key::new(secret(key, is_next)).account(account(at));
            mock = mock.key(known);
        }
    }
    mock.start().await.unwrap()
}

pub(super) fn client(mock: &MockOpenRouter, seed: u64) -> Client {
    let cooldown = CooldownConfig {
        throttled: millis(20),
        throttled_longest: millis(100),
        throttled_cap: millis(100),
        exhausted: millis(20),
        exhausted_longest: millis(100),
        exhausted_cap: millis(100),
        refused: Some(millis(50)),
        failed_cap: millis(100),
        probe_timeout: millis(200),
        ..CooldownConfig::DEFAULT
    };
    let breaker = BreakerConfig {
        window: millis(1_000),
        open_for: millis(20),
        open_cap: millis(100),
        probe_timeout: millis(200),
        ..BreakerConfig::default()
    };
    let deadlines = Deadlines {
        head: millis(200),
        first_content: millis(200),
        idle: millis(200),
        total: millis(2_000),
        ..Deadlines::default()
    };
    let retry = RetryConfig {
        base: millis(1),
        cap: millis(10),
        hint_cap: millis(50),
        ..RetryConfig::default()
    };
    let hedge = HedgeConfig {
        at_least: millis(5),
        min_streams: 5,
        max_share: 0.2,
        max_micro_usd: u64::MAX,
        any_provider: true,
        ..HedgeConfig::default()
    };
    let keys = KEYS.iter().enumerate();
    Client::builder()
        .keys(keys.map(|(at, key)| Key::new(*key, secret(key, false)).account(account(at))))
        .default_gates(true)
        .cooldown(cooldown)
        .breaker(breaker)
        .deadlines(deadlines)
        .retry(retry)
        .hedge(hedge)
        .limits(limits(8))
        .max_in_flight(40)
        .max_wait(millis(300))
        .base_url(mock.base_url())
        .seed(seed)
        .build()
        .unwrap()
}

pub(super) fn limits(in_flight: u64) -> LimitsConfig {
    let every_account = LimitSet {
        requests: Some(Limit::per(300, millis(500))),
        in_flight: Some(in_flight),
        in_flight_micro_usd: Some(1_000_000),
        ..LimitSet::NONE
    };
    LimitsConfig {
        every_account,
        ..LimitsConfig::default()
    }
}

/// The tenants, each of which may have so many calls under way.
pub(super) fn tenants(in_flight: [u32; 3]) -> Vec<TenantConfig> {
    let all = TENANTS.iter().zip(TOKENS).zip(in_flight);
    all.map(|((id, token), in_flight)| {
        let mut tenant = TenantConfig::new(*id);
        tenant.tokens = vec![TokenHash::of(token)];
        tenant.limits.in_flight = Some(in_flight);
        tenant.limits.tokens = Some(Rate {
            limit: 1_000_000,
            per: millis(1_000),
        });
        tenant
    })
    .collect()
}

pub(super) fn settings(comment_after: Duration, departure: Departure) -> Settings {
    let mut settings = Settings::default();
    settings.comment_after = comment_after;
    settings.departure = departure;
    settings.metrics = true;
    settings.remembered = 100;
    // All callers of HTTP/2 share a connection, and many leave.
    settings.limits.cancels = 10_000;
    settings.limits.head_time = millis(300);
    settings.limits.body_time = millis(300);
    settings.limits.idle_time = millis(2_000);
    settings
}
