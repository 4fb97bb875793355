use std::sync::Arc;
use std::time::Duration;

use fairkey_core::Random;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::*;
use crate::Spend;

fn spend(micro_usd: u64, unknown: u64) -> Spend {
    Spend {
        byok_micro_usd: micro_usd,
        unknown,
        ..Spend::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_what_others_may_give_back_and_in_the_order_of_coming() {
    let purse = Arc::new(Purse::new(100, 0));
    let first = purse.reserve(None, 80).await.unwrap();
    let wait = Duration::from_secs(1);
    let later = |most| {
        let purse = Arc::clone(&purse);
        tokio::spawn(async move { purse.reserve(None, most).await.unwrap().micro_usd() })
    };
    let dear = later(60);
    sleep(Duration::from_millis(1)).await;
    // It would fit, but another one was there before.
    let cheap = later(10);
    assert!(timeout(wait, std::future::pending::<()>()).await.is_err());
    assert!(!dear.is_finished() && !cheap.is_finished());
    assert!(purse.is_awaited());
    first.settle(spend(5, 0));
    assert_eq!((dear.await.unwrap(), cheap.await.unwrap()), (60, 10));
    assert!(!purse.is_awaited());
}

#[tokio::test]
async fn what_does_not_fit_even_alone_ends_it_for_all_that_come_after() {
    let purse = Arc::new(Purse::new(100, 30));
    let held = purse.reserve(None, 50).await.unwrap();
    let out = purse.reserve(None, 71).await.unwrap_err();
    assert_eq!(
        out.to_string(),
        "the next row may cost $0.000071, and $0.000030 of $0.000100 is spent"
    );
    assert_eq!(purse.reserve(None, 1).await.unwrap_err(), out);
    held.settle(spend(50, 0));
    assert_eq!(purse.used().spent_micro_usd, 80);
}

#[tokio::test]
async fn what_costs_nothing_goes_when_all_is_spent() {
    let purse = Arc::new(Purse::new(100, 500));
    purse.reserve(None, 0).await.unwrap().settle(spend(0, 0));
    assert!(purse.reserve(None, 1).await.is_err());
}

#[tokio::test]
async fn after_an_answer_that_was_too_dear_more_is_set_aside_for_its_model() {
    let purse = Arc::new(Purse::new(10_000, 0));
    let (dear, other): (Arc<str>, Arc<str>) = ("a/dear".into(), "a/other".into());
    let first = purse.reserve(Some(&dear), 100).await.unwrap();
    first.settle(spend(200, 0));
    assert_eq!(purse.used().shortfall_micro_usd, 100);
    let next = purse.reserve(Some(&dear), 100).await.unwrap();
    assert_eq!(next.micro_usd(), 250);
    next.settle(spend(200, 0));
    assert_eq!(purse.used().shortfall_micro_usd, 100, "it was enough");
    let reserved = purse.reserve(Some(&other), 100).await.unwrap();
    assert_eq!(reserved.micro_usd(), 100);
    drop(reserved);
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It costs so many hundredths of its estimate.
    Costs(u64),
    /// So many attempts may be billed beside what it costs.
    Unknown(u64, u64),
    GivenUp,
    /// It stops waiting for money after so many milliseconds, if it has to.
    Impatient(u64),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => (0_u64..=100).prop_map(Fate::Costs),
        1 => (100_u64..400).prop_map(Fate::Costs),
        1 => (0_u64..=100, 1_u64..3).prop_map(|(cost, lost)| Fate::Unknown(cost, lost)),
        1 => Just(Fate::GivenUp),
        1 => (0_u64..40).prop_map(Fate::Impatient),
    ]
}

/// What was found out about one run of calls.
struct Seen {
    used: PurseUse,
    /// What was really spent, at the worst.
    really: u64,
}

async fn play(limit: u64, calls: Vec<(u64, u64, Fate)>, at_once: usize, seed: u64) -> Seen {
    let purse = Arc::new(Purse::new(limit, 0));
    let models: [Arc<str>; 2] = ["a/a".into(), "b/b".into()];
    let really = Arc::new(Mutex::new(0_u64));
    let mut random = Random::new(seed);
    let mut running = JoinSet::new();
    for (most, millis, fate) in calls {
        while running.len() >= at_once {
            running.join_next().await.unwrap().unwrap();
        }
        let (purse, really) = (Arc::clone(&purse), Arc::clone(&really));
        let model = Arc::clone(&models[random.below(2) as usize]);
        running.spawn(async move {
            let reserving = purse.reserve(Some(&model), most);
            let reserved = match fate {
                Fate::Impatient(millis) => {
                    match timeout(Duration::from_millis(millis), reserving).await {
                        Ok(reserved) => reserved,
                        Err(_) => return,
                    }
                }
                _ => reserving.await,
            };
            let Ok(reserved) = reserved else { return };
            {
                let used = purse.used();
                let all = used.gone() + used.reserved_micro_usd;
                let shortfall = used.shortfall_micro_usd;
                assert!(all <= limit + shortfall, "{used:?} of {limit}");
            }
            sleep(Duration::from_millis(millis)).await;
            let amount = reserved.micro_usd();
            let (cost, lost) = match fate {
                Fate::Costs(part) => (most * part / 100, 0),
                Fate::Unknown(part, lost) => (most * part / 100, lost),
                Fate::Impatient(_) => (most, 0),
                Fate::GivenUp => {
                    *really.lock().unwrap() += amount;
                    return drop(reserved);
                }
            };
            *really.lock().unwrap() += cost + lost * amount;
            reserved.settle(spend(cost, lost));
        });
    }
    let all = async { while running.join_next().await.is_some_and(|it| it.is_ok()) {} };
    timeout(Duration::from_secs(3_600), all)
        .await
        .expect("nobody waits for ever");
    assert!(running.is_empty(), "a call has panicked");
    let really = *really.lock().unwrap();
    Seen {
        used: purse.used(),
        really,
    }
}

proptest! {
    /// Whatever calls cost, however they end: what was set aside goes back, no call begins beyond
    /// the limit, and what is spent exceeds it by no more than what estimates fell short of.
    #[test]
    fn nothing_begins_beyond_the_limit_and_what_was_set_aside_goes_back(
        limit in 0_u64..3_000,
        calls in prop::collection::vec((0_u64..400, 0_u64..50, fate()), 1..60),
        at_once in 1_usize..12,
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let seen = runtime.block_on(play(limit, calls, at_once, seed));
        prop_assert_eq!(seen.used.reserved_micro_usd, 0);
        prop_assert_eq!(seen.used.gone(), seen.really);
        prop_assert!(seen.really <= limit + seen.used.shortfall_micro_usd);
    }
}
