//! Who is turned away at the door of the queue, what it is told, and who shares what behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairkey_client::{Call, CallError, CallErrorKind, Client, Full, PerClass, QueueConfig, Tenant};
use fairkey_core::{Ask, Class, Observer, Random, Unavailable};
use fairkey_openrouter::ChatRequest;
use fairkey_strategy::{Limit, LimitSet, LimitsConfig, MaxInFlight};
use fairkey_transport::TransportErrorKind;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::scripted::{Reply, Scripted, Seen, builder, prompt, settle};

const MINUTE: Duration = Duration::from_secs(60);

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

/// Good, after a second.
fn slow(_: &Seen) -> Reply {
    Reply::good("x").after(secs(0.9))
}

/// Makes a call in a task of its own.
fn spawn(client: &Client, call: Call) -> JoinHandle<Result<(), CallError>> {
    let client = client.clone();
    tokio::spawn(async move { client.call(call).await.map(drop) })
}

fn call() -> Call {
    Call::chat(&prompt("x"))
}

/// A client that makes one call at a time, which takes a second.
fn narrow(queue: QueueConfig) -> Client {
    let builder = builder(1, &Scripted::new(slow)).max_in_flight(1);
    builder.queue(queue).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn so_many_wait_of_each_class_each_tenant_and_in_all() {
    let client = narrow(QueueConfig {
        length: 5,
        length_per_class: PerClass {
            batch: Some(1),
            ..PerClass::default()
        },
        length_per_tenant: Some(2),
        ..QueueConfig::default()
    });
    let batch = || call().class(Class::Batch);
    let of = |name: &str| call().tenant(name);
    let waiting: Vec<_> = [call(), batch(), of("a"), of("a"), of("b"), call()]
        .into_iter()
        .map(|call| spawn(&client, call))
        .collect();
    settle().await;
    assert_eq!(client.stats().waiting, 5);
    // Nobody else for want of room; nothing was served, so that no time is known.
    for call in [call(), batch(), of("a"), of("c")] {
        let error = client.call(call).await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Overloaded);
        assert_eq!(error.queue().unwrap().why, Full::Queue);
        assert_eq!((error.retry_after(), error.attempts().len()), (None, 0));
    }
    // When one has left, there is room: not for a class or a tenant that has its part.
    sleep(secs(1.0)).await;
    settle().await;
    assert_eq!(client.stats().waiting, 4);
    for (refused, why) in [(of("b").class(Class::Batch), Full::Class)] {
        let error = client.call(refused).await.unwrap_err();
        assert_eq!(error.queue().unwrap().why, why, "{error}");
        assert!(error.to_string().contains("of this class"), "{error}");
    }
    let error = client.call(of("a")).await;
    let full = error.as_ref().err().and_then(CallError::queue);
    assert!(
        full.is_none_or(|full| full.why == Full::Tenant),
        "{error:?}"
    );
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_fills_its_part_does_not_shut_out_another_one() {
    let client = narrow(QueueConfig {
        length_per_tenant: Some(3),
        ..QueueConfig::default()
    });
    let calls: Vec<_> = (0..6).map(|_| spawn(&client, call().tenant("a"))).collect();
    settle().await;
    let other = spawn(&client, call().tenant("b"));
    settle().await;
    assert_eq!(client.stats().waiting, 4);
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap().map_err(|error| {
            assert_eq!(error.kind(), CallErrorKind::Overloaded);
            assert!(error.to_string().contains("of this tenant"), "{error}");
            error.queue().unwrap().why
        }));
    }
    let full = Err(Full::Tenant);
    assert_eq!(ends, [Ok(()), Ok(()), Ok(()), Ok(()), full, full]);
    other.await.unwrap().unwrap();
}

/// Calls at a rate, until a time; those that are told to come again do so, one in four of the last.
struct Overload {
    /// Requests a minute that the key may make.
    limit: u64,
    /// Calls for each that may be made.
    load: f64,
    lasts: Duration,
    max_wait: Duration,
}

/// Returns how many were turned away, and how many of them came again when nobody else did.
async fn overload(how: Overload, chance: &mut Random) -> (usize, usize) {
    let limits = LimitSet {
        requests: Some(Limit::per(how.limit, MINUTE)),
        ..LimitSet::NONE
    };
    let client = builder(1, &Scripted::new(|_| Reply::good("x")))
        .limits(LimitsConfig::default().key("k0", limits))
        .max_wait(how.max_wait)
        .build()
        .unwrap();
    let (began, mut calls) = (Instant::now(), JoinSet::new());
    let mean = MINUTE.as_secs_f64() / how.limit as f64 / how.load;
    let ends = began + how.lasts;
    let (refused, returned) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    while Instant::now() < ends {
        let (client, returns) = (client.clone(), chance.below(4) == 0);
        let (refused, returned) = (Arc::clone(&refused), Arc::clone(&returned));
        calls.spawn(async move {
            let Err(error) = client.call(call()).await else {
                return;
            };
            let Some(door) = error.queue() else { return };
            assert_eq!(door.why, Full::TooLate);
            refused.fetch_add(1, Ordering::Relaxed);
            let wait = error.retry_after().expect("the time is known");
            let again = Instant::now() + wait;
            if returns && Instant::now() + secs(10.0) >= ends {
                sleep_until(again).await;
                returned.fetch_add(1, Ordering::Relaxed);
                let end = client.call(call()).await;
                assert!(end.is_ok(), "told to come again in {wait:?}: {end:?}");
            }
        });
        sleep(secs(mean * 2.0 * chance.unit())).await;
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    (
        refused.load(Ordering::Relaxed),
        returned.load(Ordering::Relaxed),
    )
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_from_an_overload_is_served_at_the_time_that_it_is_told() {
    let (mut refused, mut returned) = (0, 0);
    for seed in 0..10 {
        let mut chance = Random::new(seed);
        let how = Overload {
            limit: 60 + u64::from(chance.below(200)),
            load: 1.3 + 1.5 * chance.unit(),
            lasts: MINUTE * (3 + chance.below(2)),
            max_wait: secs(20.0 + 80.0 * chance.unit()),
        };
        let (away, again) = overload(how, &mut chance).await;
        refused += away;
        returned += again;
    }
    assert!(refused > 500 && returned > 20, "{refused}, {returned}");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_nobody_is_turned_away_for_how_slow_it_was() {
    let began = Instant::now();
    let outage = move || (10.0..30.0).contains(&began.elapsed().as_secs_f64());
    let transport = Scripted::new(move |_| match outage() {
        true => Reply::Error(TransportErrorKind::Connect),
        false => Reply::good("x").after(secs(0.9)),
    });
    let client = builder(4, &transport)
        .gate(MaxInFlight::per_key(5))
        .build()
        .unwrap();
    let mut calls = Vec::new();
    // Five a second, where twenty can be served.
    for n in 0..300 {
        sleep_until(began + secs(0.2) * n).await;
        calls.push(spawn(&client, call().class(Class::Interactive)));
        if n == 149 {
            assert!(client.stats().waiting >= 90, "{:?}", client.stats().waiting);
        }
    }
    let mut errors = Vec::new();
    for call in calls {
        errors.extend(call.await.unwrap().err());
    }
    let away = errors.iter().filter(|error| error.queue().is_some());
    assert_eq!(away.count(), 0, "{:?}", errors.first());
    // Those that were under way, and had used up their attempts before anything was known.
    assert!(
        errors.len() <= 5,
        "{} failed: {:?}",
        errors.len(),
        errors[0]
    );
}

/// Two tenants with calls of the same cost: what each had of the answers between two times.
fn shares(ends: &[(Duration, usize)], from: f64, to: f64) -> [usize; 2] {
    let within = |at: &Duration| (secs(from)..secs(to)).contains(at);
    let mut had = [0; 2];
    for (_, tenant) in ends.iter().filter(|(at, _)| within(at)) {
        had[*tenant] += 1;
    }
    had
}

/// Makes so many calls of each tenant, which come at a time, and tells when they were answered.
async fn tenants(plan: [(&str, u32, f64, usize); 2]) -> Vec<(Duration, usize)> {
    let transport = Scripted::new(slow);
    let client = builder(2, &transport)
        .max_in_flight(10)
        .max_wait(MINUTE * 60)
        .build()
        .unwrap();
    let (began, mut calls) = (Instant::now(), JoinSet::new());
    for (n, (name, weight, at, count)) in plan.into_iter().enumerate() {
        let tenant = Tenant::new(name).weight(weight);
        for _ in 0..count {
            let (client, tenant) = (client.clone(), tenant.clone());
            calls.spawn(async move {
                sleep_until(began + secs(at)).await;
                client.call(call().tenant(tenant)).await.unwrap();
                (began.elapsed(), n)
            });
        }
    }
    let mut ends = Vec::new();
    while let Some(end) = calls.join_next().await {
        ends.push(end.unwrap());
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn two_backlogged_tenants_share_by_their_weights() {
    let ends = tenants([("a", 1, 0.0, 600), ("b", 3, 0.0, 1_200)]).await;
    // Ten a second, so that both wait for more than two minutes.
    let [a, b] = shares(&ends, 5.0, 105.0);
    assert_eq!(a + b, 1_000);
    assert!((238..=262).contains(&a), "{a} of 250");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_was_idle_gets_its_share_and_no_more() {
    let ends = tenants([("a", 1, 0.0, 1_500), ("b", 1, 60.0, 500)]).await;
    let [a, b] = shares(&ends, 0.0, 60.5);
    assert!(a >= 590 && b <= 10, "{a}, {b}");
    // From then on each has a half: at once, and not what it has not used before.
    for second in [62.0, 72.0, 82.0, 132.0] {
        let [a, b] = shares(&ends, second, second + 10.0);
        assert!((47..=53).contains(&a), "{a} and {b} from {second} s on");
    }
}

/// Counts what the pool was asked in vain.
#[derive(Debug, Default)]
struct Looks(AtomicUsize);

impl Observer for Looks {
    fn refused(&self, _: &Ask<'_>, _: &Unavailable) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets a thousand calls for so many models wait for a limit that is used up for a minute;
/// returns how often the pool was asked in vain while they came, and while they waited.
async fn looks(models: usize) -> (usize, usize) {
    let looks = Arc::new(Looks::default());
    let limits = LimitSet {
        requests: Some(Limit::per(2_000, MINUTE)),
        ..LimitSet::NONE
    };
    let client = builder(1, &Scripted::new(|_| Reply::good("x")))
        .limits(LimitsConfig::default().key("k0", limits))
        .observer(Arc::<Looks>::clone(&looks))
        .build()
        .unwrap();
    let began = Instant::now();
    let used: Vec<_> = (0..2_000).map(|_| spawn(&client, call())).collect();
    for call in used {
        call.await.unwrap().unwrap();
    }
    let ask = |n: usize| ChatRequest::new(format!("m/{}", n % models)).user("x");
    let calls: Vec<_> = (0..1_000)
        .map(|n| spawn(&client, Call::chat(&ask(n))))
        .collect();
    settle().await;
    assert_eq!(client.stats().waiting, 1_000);
    let before = looks.0.load(Ordering::Relaxed);
    sleep_until(began + secs(59.0)).await;
    assert_eq!(client.stats().waiting, 1_000);
    let during = looks.0.load(Ordering::Relaxed) - before;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    (before, during)
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_known_time_ask_for_nothing_until_then() {
    for models in [1, 10, 500] {
        let (before, during) = looks(models).await;
        // The first of each model looks before and after it stands in line; the others need not.
        assert!(before <= 2 * models, "{models} models: {before}");
        assert!(during <= models.div_ceil(10), "{models} models: {during}");
    }
}
