//! What holds whatever goes wrong, in whatever order.

use std::collections::HashSet;
use std::time::Duration;

use fairkey_client::{Call, CallOptions, Case, RetryConfig, Served, Spent, Verdict, verdict};
use fairkey_core::{Key, Scope};
use fairkey_openrouter::{Cause, Fault, RetryHint};
use fairkey_transport::TransportErrorKind;
use http::{HeaderMap, StatusCode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::scripted::{Part, Reply, Scripted, Seen, builder, data, good_body, prompt};
use crate::table::ROWS;

const WALL: Duration = Duration::from_secs(1_800_000_000);

/// Any fault: read from an answer, or made by who saw it, and then perhaps charged to another
/// scope by who knows more.
fn fault() -> impl Strategy<Value = Fault> {
    let causes: Vec<_> = Cause::all().collect();
    let made = prop::sample::select(causes).prop_map(|cause| Fault::new(cause, "x"));
    let row = (0..ROWS.len(), 200_u16..600).prop_map(|(at, status)| ROWS[at].fault(status));
    let bytes = (200_u16..600, vec(any::<u8>(), 0..64)).prop_map(|(status, body)| {
        let status = StatusCode::from_u16(status).unwrap();
        Fault::from_response(status, &HeaderMap::new(), &body)
    });
    let retry = prop_oneof![
        Just(RetryHint::Unknown),
        Just(RetryHint::Never),
        (0_u64..100_000_000).prop_map(|millis| RetryHint::After(Duration::from_millis(millis))),
        (1_700_000_000_u64..1_900_000_000).prop_map(|at| RetryHint::At(Duration::from_secs(at))),
    ];
    let scope = option::weighted(0.5, prop::sample::select(Scope::ALL.to_vec()));
    (prop_oneof![made, row, bytes], option::of(retry), scope).prop_map(|(fault, retry, scope)| {
        let fault = scope.into_iter().fold(fault, Fault::with_scope);
        retry.into_iter().fold(fault, Fault::with_retry)
    })
}

fn spent() -> impl Strategy<Value = Spent> {
    let counts = (0..6_u32, 0..4_u32, 0..6_u32, 0..3_u32, 0..3_u32);
    let left = option::of((0..100_000_u64).prop_map(Duration::from_millis));
    (counts, left, prop::bool::weighted(0.1)).prop_map(|(counts, left, committed)| {
        let mut spent = Spent::default();
        (spent.attempts, spent.attempts_on_model) = (counts.0, counts.1);
        (spent.failovers, spent.fallbacks) = (counts.2, counts.3);
        (spent.models_left, spent.left, spent.committed) = (counts.4, left, committed);
        spent
    })
}

fn policy() -> impl Strategy<Value = RetryConfig> {
    let counts = (0..5_u32, 0..4_u32, 0..5_u32, 0..4_u32);
    let times = (0..1_000_u64, 0..60_000_u64, 0..20_000_u64);
    (counts, times, any::<bool>()).prop_map(|(counts, times, resend_unknown)| RetryConfig {
        attempts: counts.0,
        attempts_per_model: counts.1,
        failovers: counts.2,
        fallbacks: counts.3,
        base: Duration::from_millis(times.0),
        cap: Duration::from_millis(times.1),
        patience: Duration::from_millis(times.2),
        resend_unknown,
        ..RetryConfig::default()
    })
}

proptest! {
    #[test]
    fn there_is_a_verdict_on_everything_and_it_keeps_to_its_scope_and_its_ledger(
        fault in fault(),
        may_run in any::<bool>(),
        spent in spent(),
        policy in policy(),
        chance in any::<f64>(),
    ) {
        let case = Case::of(&fault, WALL, may_run);
        let found = verdict(case, spent, &policy, chance);
        prop_assert_eq!(found, verdict(case, spent, &policy, chance), "pure");
        let scope = fault.scope();
        match found {
            Verdict::OtherKey | Verdict::OtherAccount => {
                prop_assert!(
                    !matches!(
                        scope,
                        Scope::Model | Scope::Provider | Scope::Service | Scope::Network
                            | Scope::Caller | Scope::Local
                    ),
                    "{} is nothing that a key cures", scope
                );
                prop_assert!(spent.failovers < policy.failovers);
            }
            Verdict::OtherModel => {
                prop_assert!(spent.models_left > 0 && spent.fallbacks < policy.fallbacks);
                prop_assert!(!matches!(scope, Scope::Caller | Scope::Local));
            }
            Verdict::SameAfter(wait) => {
                prop_assert!(spent.attempts < policy.attempts.max(1));
                prop_assert!(spent.left.is_none_or(|left| wait < left));
                prop_assert!(!wait.is_zero() && wait <= policy.cap.max(policy.hint_cap * 6 / 5).max(Duration::from_millis(1)));
                prop_assert!(policy.resend_unknown || !may_run);
                prop_assert!(!matches!(scope, Scope::Caller | Scope::Local));
            }
            Verdict::Return | Verdict::GiveUp(_) => {}
            _ => prop_assert!(false, "a verdict that nobody knows"),
        }
        if matches!(scope, Scope::Account | Scope::Budget) {
            prop_assert_ne!(found, Verdict::OtherKey, "keys of one account share it");
        }
        if spent.committed {
            prop_assert!(matches!(found, Verdict::Return | Verdict::GiveUp(_)));
        }
    }
}

/// What one attempt meets.
#[derive(Clone, Debug)]
enum Meets {
    /// A row of the table.
    Row(usize),
    /// A row of the table, inside a 200.
    InBody(usize),
    Error(TransportErrorKind),
    Broken,
    Nonsense(Vec<u8>),
    Good,
}

impl Meets {
    fn reply(&self) -> Reply {
        match self {
            Self::Row(at) => {
                let row = &ROWS[*at];
                let reply = Reply::status(row.status, &row.body(row.status));
                (row.headers.iter()).fold(reply, |reply, (name, value)| reply.header(name, value))
            }
            Self::InBody(at) => Reply::status(200, &ROWS[*at].body(ROWS[*at].status)),
            Self::Error(kind) => Reply::Error(*kind),
            Self::Broken => Reply::Answer {
                status: 200,
                headers: vec![("content-type", "application/json".to_owned())],
                body: vec![data("{"), Part::Break(TransportErrorKind::Reset)],
            },
            Self::Nonsense(bytes) => Reply::status(200, &String::from_utf8_lossy(bytes)),
            Self::Good => Reply::status(200, &good_body("x")),
        }
    }
}

fn meets() -> impl Strategy<Value = Meets> {
    use TransportErrorKind as Kind;
    prop_oneof![
        8 => (0..ROWS.len()).prop_map(Meets::Row),
        2 => (0..ROWS.len()).prop_map(Meets::InBody),
        1 => prop::sample::select(vec![Kind::Connect, Kind::Reset, Kind::Overloaded, Kind::TooLarge])
            .prop_map(Meets::Error),
        1 => Just(Meets::Broken),
        1 => vec(any::<u8>(), 0..20).prop_map(Meets::Nonsense),
        1 => Just(Meets::Good),
    ]
}

fn model(seen: &Seen) -> String {
    let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    body["model"].as_str().unwrap().to_owned()
}

proptest! {
    #[test]
    fn attempts_never_exceed_the_ledger_whatever_goes_wrong(
        script in vec(meets(), 1..40),
        accounts in 1..5_usize,
        keys in 1..4_usize,
        models in 0..4_u32,
        policy in policy(),
        passed in any::<bool>(),
        deadline in option::of(1..600_u64),
    ) {
        let ledger = policy.ledger_with(models);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async move {
            let transport = Scripted::new(move |seen| script[(seen.nth - 1) % script.len()].reply());
            let keys = (0..accounts).flat_map(|account| {
                (0..keys).map(move |key| {
                    let id = format!("k{account}{key}");
                    Key::new(id.clone(), format!("sk-{id}")).account(format!("a{account}"))
                })
            });
            let client = builder(0, &transport).keys(keys).retry(policy).build().unwrap();
            let mut call = Call::chat(&prompt("x")).fallbacks((0..models).map(|n| format!("m/{n}")));
            if let Some(secs) = deadline {
                call = call.deadline(Duration::from_secs(secs));
            }
            let began = tokio::time::Instant::now();
            let attempts = if passed {
                let body = prompt("x").to_bytes();
                let mut request = http::Request::post("/chat/completions").body(body).unwrap();
                let options = CallOptions {
                    model: Some("m/a".into()),
                    models: (0..models).map(|n| format!("m/{n}").into()).collect(),
                    deadline: deadline.map(Duration::from_secs),
                    ..CallOptions::default()
                };
                request.extensions_mut().insert(options);
                match client.send(request).await {
                    Ok(response) => {
                        let served = response.extensions().get::<Served>();
                        served.unwrap().attempts.clone()
                    }
                    Err(error) => error.attempts().to_vec(),
                }
            } else {
                match client.call(call).await {
                    Ok(answer) => answer.attempts,
                    Err(error) => error.attempts().to_vec(),
                }
            };
            let seen = transport.seen();
            assert!(seen.len() <= ledger as usize, "{} of {ledger}", seen.len());
            assert_eq!(attempts.len(), seen.len(), "every attempt is told of");
            if let Some(secs) = deadline {
                assert!(began.elapsed() <= Duration::from_secs(secs));
            }
            // A model that failed is not asked for again; one that was only passed over may be.
            let (mut failed, mut last) = (HashSet::new(), None::<(String, Option<Scope>)>);
            for (seen, attempt) in seen.iter().zip(&attempts) {
                let model = model(seen);
                assert_eq!(attempt.model.as_deref(), Some(&*model));
                if let Some((before, scope)) = last
                    && before != model
                    && matches!(scope, Some(Scope::Model | Scope::Provider))
                {
                    failed.insert(before);
                }
                assert!(!failed.contains(&model), "{model} again");
                last = Some((model, attempt.fault.map(|fault| fault.scope)));
            }
            assert_eq!(client.pool().in_flight(), 0);
            assert_eq!(client.stats().waiting, 0);
        });
    }
}
