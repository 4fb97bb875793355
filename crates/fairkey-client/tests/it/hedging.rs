//! A second attempt beside the first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairkey_client::{CallOptions, ChatStream, Client, ClientBuilder, HedgeConfig, RetryConfig};
use fairkey_core::{Class, Cost, Key};
use fairkey_openrouter::{Cause, ChatRequest};
use fairkey_strategy::{LimitSet, LimitsConfig};
use tokio::time::Instant;

use crate::scripted::{
    BAD, PROVIDER_FULL, REVOKED, Reply, Scripted, Seen, builder, delta, finish, prompt, settle,
};

const SOON: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(9);

fn anything_goes() -> HedgeConfig {
    HedgeConfig {
        max_share: 1.0,
        max_micro_usd: u64::MAX,
        any_provider: true,
        ..HedgeConfig::default()
    }
}

fn stream(after: Duration) -> Reply {
    let parts = [delta("x")].into_iter().chain(finish());
    Reply::stream(parts).after(after)
}

fn interactive(request: &ChatRequest) -> CallOptions {
    CallOptions {
        class: Class::Interactive,
        ..CallOptions::of_chat(request)
    }
}

async fn ask(client: &Client) -> ChatStream {
    let request = prompt("x");
    let stream = client
        .chat_stream_with(&request, interactive(&request))
        .await;
    stream.unwrap()
}

/// A client whose every stream begins after 300 ms; once `late` is set, `then` answers.
fn hedging(
    build: impl FnOnce(ClientBuilder) -> ClientBuilder,
    then: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Client, Arc<Scripted>, Arc<AtomicBool>) {
    let late = Arc::new(AtomicBool::new(false));
    let is_late = Arc::clone(&late);
    let transport = Scripted::new(move |seen| match is_late.load(Ordering::Relaxed) {
        false => stream(SOON),
        true => then(seen),
    });
    let client = build(builder(2, &transport)).build().unwrap();
    (client, transport, late)
}

/// Teaches the client what is usual, with twenty streams.
async fn teach(client: &Client, late: &AtomicBool) {
    for _ in 0..20 {
        let mut stream = ask(client).await;
        while let Some(chunk) = stream.next().await {
            chunk.unwrap();
        }
    }
    late.store(true, Ordering::Relaxed);
}

/// Answers the first of two attempts with one reply, and the second with another.
fn first_and_second(
    first: impl Fn() -> Reply + Send + Sync + 'static,
    second: impl Fn() -> Reply + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    move |seen| match seen.nth % 2 {
        1 => first(),
        _ => second(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_stream_is_asked_for_at_another_key_and_the_first_is_given_up() {
    let then = first_and_second(|| stream(LATE), || stream(SOON));
    let (client, transport, late) = hedging(|it| it.hedge(anything_goes()), then);
    teach(&client, &late).await;
    let began = Instant::now();
    let mut answer = ask(&client).await;
    assert_eq!(
        began.elapsed(),
        2 * SOON,
        "one wait until it is late, one for the second"
    );
    assert_eq!(client.pool().in_flight(), 1, "the loser is over");
    let attempts = answer.attempts().to_vec();
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        attempts[0].fault.map(|fault| fault.cause),
        Some(Cause::Canceled)
    );
    assert_eq!(attempts[1].fault, None);
    assert_ne!(attempts[0].key, attempts[1].key);
    assert_eq!(answer.key(), &attempts[1].key);
    while let Some(chunk) = answer.next().await {
        chunk.unwrap();
    }
    let stats = client.stats();
    assert_eq!((stats.hedges, stats.hedges_won), (1, 1));
    assert_eq!(stats.faults, [], "nobody is blamed");
    assert_eq!((stats.attempts, transport.seen().len()), (22, 22));
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_may_still_win() {
    let then = first_and_second(|| stream(SOON + SOON / 2), || stream(LATE));
    let (client, _, late) = hedging(|it| it.hedge(anything_goes()), then);
    teach(&client, &late).await;
    let answer = ask(&client).await;
    let causes: Vec<_> = answer
        .attempts()
        .iter()
        .map(|it| it.fault.is_some())
        .collect();
    assert_eq!(causes, [true, false]);
    assert_eq!(client.pool().in_flight(), 1);
    let stats = client.stats();
    assert_eq!((stats.hedges, stats.hedges_won), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_fails_beside_another_is_charged_and_the_other_goes_on() {
    for second_fails in [false, true] {
        let refuse = || Reply::status(401, REVOKED).after(SOON);
        let then = move |seen: &Seen| match seen.nth.is_multiple_of(2) == second_fails {
            true => refuse(),
            false => stream(LATE),
        };
        let (client, transport, late) = hedging(|it| it.hedge(anything_goes()), then);
        teach(&client, &late).await;
        let answer = ask(&client).await;
        let causes: Vec<_> = (answer.attempts().iter())
            .map(|it| it.fault.map(|fault| fault.cause))
            .collect();
        if second_fails {
            assert_eq!(causes, [Some(Cause::KeyInvalid), None]);
            assert_eq!(transport.seen().len(), 22);
        } else {
            // It failed as soon as the second would have begun, or before.
            assert_eq!(causes.first(), Some(&Some(Cause::KeyInvalid)));
        }
        assert_eq!(client.pool().in_flight(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_request_ends_both() {
    let then = first_and_second(
        || stream(LATE),
        || Reply::status(400, BAD).after(Duration::from_millis(10)),
    );
    let (client, transport, late) = hedging(|it| it.hedge(anything_goes()), then);
    teach(&client, &late).await;
    let request = prompt("x");
    let error = client
        .chat_stream_with(&request, interactive(&request))
        .await;
    let error = error.unwrap_err();
    assert_eq!(
        error.fault().map(|fault| fault.cause()),
        Some(Cause::BadRequest)
    );
    assert_eq!((error.attempts().len(), transport.seen().len()), (2, 22));
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn both_may_fail_and_the_call_goes_on_within_its_attempts() {
    let retry = RetryConfig {
        attempts: 3,
        ..RetryConfig::default()
    };
    let full = || Reply::status(429, PROVIDER_FULL).after(LATE);
    let build = move |it: ClientBuilder| it.hedge(anything_goes()).retry(retry);
    let (client, transport, late) = hedging(build, move |_| full());
    teach(&client, &late).await;
    let request = prompt("x");
    let error = client
        .chat_stream_with(&request, interactive(&request))
        .await;
    let attempts = error.unwrap_err().attempts().len();
    assert_eq!(
        (attempts, transport.seen().len()),
        (3, 23),
        "the ledger's three"
    );
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_or_out_of_time_lets_both_go() {
    let (client, transport, late) = hedging(|it| it.hedge(anything_goes()), |_| stream(LATE));
    teach(&client, &late).await;
    let request = prompt("x");
    let mut options = interactive(&request);
    options.deadline = Some(3 * SOON);
    let error = client
        .chat_stream_with(&request, options)
        .await
        .unwrap_err();
    assert_eq!((error.attempts().len(), client.pool().in_flight()), (2, 0));
    let call = tokio::spawn({
        let client = client.clone();
        async move { ask(&client).await }
    });
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(client.pool().in_flight(), 2);
    call.abort();
    settle().await;
    assert_eq!((client.pool().in_flight(), transport.seen().len()), (0, 24));
    assert_eq!(client.stats().faults, []);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_share_is_hedged() {
    let then = |_: &Seen| stream(Duration::from_secs(2));
    let config = HedgeConfig {
        max_share: 0.1,
        ..anything_goes()
    };
    let (client, _, late) = hedging(|it| it.hedge(config), then);
    teach(&client, &late).await;
    for _ in 0..20 {
        drop(ask(&client).await);
    }
    let hedges = client.stats().hedges;
    assert!((1..=4).contains(&hedges), "{hedges} of 40 calls");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hedged_that_should_not_be() {
    let limits = |in_flight| LimitsConfig {
        every_key: LimitSet {
            in_flight: Some(in_flight),
            ..LimitSet::NONE
        },
        ..LimitsConfig::default()
    };
    type Build = Box<dyn Fn(ClientBuilder) -> ClientBuilder>;
    type Alter = fn(&mut ChatRequest, &mut CallOptions);
    let with = |config: HedgeConfig| -> Build { Box::new(move |it| it.hedge(config.clone())) };
    let stopping = HedgeConfig {
        any_provider: false,
        ..anything_goes()
    };
    let cheap = HedgeConfig {
        max_micro_usd: 50,
        ..anything_goes()
    };
    let cases: Vec<(&str, u64, Build, Alter)> = vec![
        ("as it should be", 1, with(anything_goes()), |_, _| {}),
        ("not asked for", 0, Box::new(|it| it), |_, _| {}),
        (
            "of another class",
            0,
            with(anything_goes()),
            |_, options| {
                options.class = Class::Normal;
            },
        ),
        ("of any provider", 0, with(stopping), |_, _| {}),
        ("too dear", 0, with(cheap.clone()), |_, options| {
            options.cost = Some(Cost {
                micro_usd: 51,
                ..Cost::ONE
            });
        }),
        ("cheap enough", 1, with(cheap.clone()), |_, options| {
            options.cost = Some(Cost {
                micro_usd: 50,
                ..Cost::ONE
            });
        }),
        ("of unknown cost", 0, with(cheap), |_, _| {}),
        (
            "one attempt only",
            0,
            with(anything_goes()),
            |_, options| {
                options.attempts = Some(1);
            },
        ),
        (
            "short of headroom",
            0,
            Box::new(move |it| it.hedge(anything_goes()).limits(limits(1))),
            |_, _| {},
        ),
        (
            "with headroom",
            1,
            Box::new(move |it| it.hedge(anything_goes()).limits(limits(10))),
            |_, _| {},
        ),
        (
            "of one key",
            0,
            Box::new(move |it| it.hedge(anything_goes()).max_in_flight(1)),
            |_, _| {},
        ),
    ];
    for (what, hedges, build, alter) in cases {
        let then = first_and_second(|| stream(LATE), || stream(SOON));
        let (client, _, late) = hedging(build, then);
        teach(&client, &late).await;
        let mut request = prompt("x");
        let mut options = interactive(&request);
        alter(&mut request, &mut options);
        drop(client.chat_stream_with(&request, options).await.unwrap());
        assert_eq!(client.stats().hedges, hedges, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_is_not_hedged() {
    let then = |_: &Seen| Reply::good("x").after(LATE);
    let (client, _, late) = hedging(|it| it.hedge(anything_goes()), then);
    teach(&client, &late).await;
    let request = prompt("x");
    client
        .chat_with(&request, interactive(&request))
        .await
        .unwrap();
    assert_eq!(client.stats().hedges, 0);
}

#[tokio::test(start_paused = true)]
async fn another_account_is_asked_first() {
    let late = Arc::new(AtomicBool::new(false));
    let is_late = Arc::clone(&late);
    let transport = Scripted::new(move |seen| match is_late.load(Ordering::Relaxed) {
        true if seen.nth % 2 == 1 => stream(LATE),
        _ => stream(SOON),
    });
    let keys = ["a", "a", "b"].into_iter().enumerate();
    let keys =
        keys.map(|(n, account)| Key::new(format!("x{n}"), format!("sx-{n}")).account(account));
    let client = builder(0, &transport).keys(keys).hedge(anything_goes());
    let client = client.build().unwrap();
    teach(&client, &late).await;
    for _ in 0..8 {
        let answer = ask(&client).await;
        let accounts: Vec<_> = answer
            .attempts()
            .iter()
            .map(|it| it.account.clone())
            .collect();
        assert_ne!(accounts[0], accounts[1]);
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let refused = |config: HedgeConfig, what: &str| {
        let error = builder(1, &transport).hedge(config).build().unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    let sound = HedgeConfig::default;
    refused(
        HedgeConfig {
            quantile: f64::NAN,
            ..sound()
        },
        "quantile",
    );
    refused(
        HedgeConfig {
            min_streams: 0,
            ..sound()
        },
        "min_streams",
    );
    refused(
        HedgeConfig {
            max_share: 1.5,
            ..sound()
        },
        "max_share",
    );
    refused(
        HedgeConfig {
            min_headroom: -0.1,
            ..sound()
        },
        "min_headroom",
    );
}
