//! The fault suite: for each thing that goes wrong, what the caller sees, what reached the upstream,
//! and who was blamed. `cargo test -p fairkey-gateway --test it faults -- --nocapture` prints it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use fairkey_client::{ClientBuilder, RetryConfig};
use fairkey_gateway::Settings;
use fairkey_mock::{Builder, Fault, On, Reply, Step, Timestamp};
use fairkey_transport::Deadlines;

use crate::world::*;

/// What one row of the suite does, and what must come of it.
struct Case {
    name: &'static str,
    mock: Builder,
    /// The bodies of the calls, one after the other.
    bodies: Vec<&'static str>,
    must: Report,
}

/// What a row is judged by, in words.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    sees: String,
    upstream: String,
    charged: String,
    held: u64,
}

const ROLE: &str = "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const WORD: &str = "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const STOP: &str =
    "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const FREE: &str =
    r#"{"model":"openai/gpt-oss-20b:free","messages":[{"role":"user","content":"Hi"}]}"#;

fn case(
    name: &'static str,
    mock: Builder,
    bodies: impl IntoIterator<Item = &'static str>,
    must: [&str; 3],
) -> Case {
    let [sees, upstream, charged] = must.map(str::to_owned);
    Case {
        name,
        mock,
        bodies: bodies.into_iter().collect(),
        must: Report {
            sees,
            upstream,
            charged,
            held: 0,
        },
    }
}

/// The next call meets `step`, whichever key serves it.
fn once(step: Step) -> Builder {
    mock().script(On::any(), [step])
}

fn always(fault: Fault) -> Builder {
    mock().script(On::any(), [Step::reply(fault).forever()])
}

/// Every call by the key `a` meets `fault`.
fn by_a(fault: Fault) -> Builder {
    mock().script(On::key("a"), [Step::reply(fault).forever()])
}

fn sse(pieces: &[&'static str]) -> Step {
    Step::reply(Reply::sse(pieces.iter().copied()))
}

/// Faults that any OpenAI-compatible upstream has.
fn of_any_upstream() -> Vec<Case> {
    let later = Duration::from_secs(30);
    let flapping = (0..5).flat_map(|_| [Step::reply(Fault::internal_500()), Step::pass()]);
    vec![
        case(
            "429 with a hint",
            by_a(Fault::admission_control(later)),
            [CHAT; 4],
            ["4 × whole", "a 1, b 4", "account/admission_control 1"],
        ),
        case(
            "429 without a hint",
            by_a(Fault::silent_rate_limit()),
            [CHAT; 4],
            ["4 × whole", "a 1, b 4", "account/account_rate_limited 1"],
        ),
        case(
            "429 everywhere",
            always(Fault::admission_control(later)),
            [STREAM],
            [
                "429 no_key, in 30 s, retry true",
                "a 1, b 1",
                "account/admission_control 2",
            ],
        ),
        case(
            "500",
            once(Step::reply(Fault::internal_500())),
            [CHAT],
            ["whole", "2", "service/server_error 1"],
        ),
        case(
            "500 for good",
            always(Fault::internal_500()),
            [CHAT],
            ["500 as it came, retry false", "4", "service/server_error 4"],
        ),
        case(
            "503",
            once(Step::reply(Fault::overloaded_503("Acme"))),
            [STREAM],
            ["whole", "2", "provider/overloaded 1"],
        ),
        case(
            "reset before the head",
            once(Step::reset_before_head()),
            [CHAT],
            ["whole", "2", "network/network 1"],
        ),
        case(
            "silent upstream",
            once(Step::stall_before_head()),
            [CHAT],
            ["whole", "2", "provider/provider_timeout 1"],
        ),
        case(
            "slow first content",
            once(Step::stall_after_chunks(0)),
            [STREAM],
            ["whole", "2", "provider/provider_timeout 1"],
        ),
        case(
            "cut",
            once(Step::cut_after_chunks(2)),
            [STREAM],
            ["content, then an error", "1", "network/network 1"],
        ),
        case(
            "stall",
            once(Step::stall_after_chunks(2)),
            [STREAM],
            ["content, then an error", "1", "provider/provider_timeout 1"],
        ),
        case(
            "malformed chunk",
            once(sse(&[
                ROLE,
                WORD,
                "data: {\"id\":\"gen-1\",\"cho\n\n",
                STOP,
            ])),
            [STREAM],
            ["content, then an error", "1", "provider/malformed 1"],
        ),
        case(
            "malformed first chunk",
            once(sse(&[
                ROLE,
                "data: {\"id\":\"gen-1\",\"cho\n\n",
                WORD,
                STOP,
            ])),
            [STREAM],
            ["whole", "2", "provider/malformed 1"],
        ),
        case(
            "no finish and no [DONE]",
            once(Step::truncate_after_chunks(2)),
            [STREAM],
            ["content, then an error", "1", "provider/truncated 1"],
        ),
        case(
            "a finish, but no [DONE]",
            once(sse(&[ROLE, WORD, STOP])),
            [STREAM],
            ["content and a finish, as it came", "1", "nobody"],
        ),
        case(
            "context-length 400",
            always(Fault::context_length_exceeded(8_192, 9_000)),
            [CHAT],
            [
                "400 as it came, retry false",
                "1",
                "request/context_too_long 1",
            ],
        ),
        case(
            "content-filter 400",
            always(Fault::provider_bad_request_400("Azure").message("content_filter")),
            [STREAM],
            [
                "400 as it came, retry false",
                "1",
                "request/rejected_by_provider 1",
            ],
        ),
        case(
            "a fallback that refuses",
            by_a(Fault::admission_control(later)).script(
                On::key("b"),
                [Step::reply(Fault::credits_exhausted()).forever()],
            ),
            [CHAT; 3],
            [
                "3 × 429 no_key, in 30 s, retry true",
                "a 1, b 1",
                "account/balance_exhausted 1, account/admission_control 1",
            ],
        ),
        case(
            "a flapping primary",
            mock().script(On::key("a"), flapping),
            [CHAT; 10],
            ["10 × whole", "at most 15", "service/server_error"],
        ),
    ]
}

/// Faults that OpenRouter alone has.
fn of_openrouter() -> Vec<Case> {
    // In 2100.
    let far = Timestamp::from_unix_millis(4_102_444_800_000);
    let accounts = || {
        mock().key(
            fairkey_mock::Key::new("sk-or-v1-a2")
                .label("a2")
                .account("one"),
        )
    };
    let first = |fault: Fault| accounts().script(On::key("a"), [Step::reply(fault).forever()]);
    let broke = first(Fault::credits_exhausted()).script(
        On::key("a2"),
        [Step::reply(Fault::credits_exhausted()).forever()],
    );
    vec![
        case(
            "error inside a 200",
            once(Step::reply(Fault::error_in_200())),
            [CHAT],
            ["whole", "2", "provider/provider_error 1"],
        ),
        case(
            "first frame an error",
            once(Step::reply(Fault::error_in_200())),
            [STREAM],
            ["whole", "2", "provider/provider_error 1"],
        ),
        case(
            "guardrail 403",
            always(Fault::guardrail_403()),
            [CHAT],
            [
                "403 as it came, retry false",
                "1",
                "request/guardrail_content 1",
            ],
        ),
        case(
            "a key's cap: its account still serves",
            first(Fault::key_limit_spent(None)),
            [CHAT; 6],
            ["6 × whole", "a 1, a2 3, b 3", "key/key_cap_spent 1"],
        ),
        case(
            "an account's balance: none of its keys serves",
            broke,
            [CHAT; 6],
            ["6 × whole", "one 1, b 6", "account/balance_exhausted 1"],
        ),
        case(
            "free daily cap",
            by_a(Fault::free_tier_daily(far)),
            [FREE, FREE, FREE],
            ["3 × whole", "a 1, b 3", "account/free_daily 1"],
        ),
        case(
            "capacity_exhausted",
            always(Fault::capacity_exhausted(later())),
            [CHAT; 2],
            [
                "429 as it came, in 30 s, retry true; 429 no_key, in 30 s, retry true",
                "1",
                "model/capacity_exhausted 1",
            ],
        ),
        case(
            "role only, then a failure",
            once(sse(&[
                ROLE,
                "data: {\"error\":{\"code\":502,\"message\":\"x\"}}\n\n",
            ])),
            [STREAM],
            ["whole", "2", "provider/provider_error 1"],
        ),
        case(
            "role only, then the end",
            once(sse(&[ROLE])),
            [STREAM],
            ["whole", "2", "provider/truncated 1"],
        ),
    ]
}

fn later() -> Duration {
    Duration::from_secs(30)
}

/// A fleet whose deadlines are a hundredth of the usual ones.
fn scaled(client: ClientBuilder) -> ClientBuilder {
    let deadlines = Deadlines {
        head: Duration::from_millis(600),
        first_content: Duration::from_millis(600),
        idle: Duration::from_millis(600),
        ..Deadlines::default()
    };
    let retry = RetryConfig {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(5),
        hint_cap: Duration::from_millis(20),
        ..RetryConfig::default()
    };
    client.deadlines(deadlines).retry(retry)
}

/// What a caller sees, in words.
fn seen(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    if status == 200 {
        let text = answer.text();
        let is_stream = answer.header("content-type").starts_with("text/event");
        let is_failed = text.contains("\"error\"");
        let has_end = !is_stream || text.ends_with("data: [DONE]\n\n");
        let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut events = events.filter(|data| *data != "[DONE]");
        let is_json = events.all(|data| serde_json::from_str::<serde_json::Value>(data).is_ok());
        let has_content = text.contains("\"content\":\"");
        return match (has_content, is_failed, has_end) {
            _ if is_stream && !is_json => format!("a chunk that is no JSON: {text}"),
            (true, false, true) => "whole".to_owned(),
            (true, true, false) => "content, then an error".to_owned(),
            (true, false, false) if text.contains("\"stop\"") => {
                "content and a finish, as it came".to_owned()
            }
            _ => format!("neither an answer nor a failure: {text}"),
        };
    }
    let header = |name: &str| answer.headers.get(name).map(|it| it.to_str().unwrap());
    let mut words = format!(
        "{status} {}",
        header("x-fairkey-error").unwrap_or("as it came")
    );
    if let Some(seconds) = header("retry-after") {
        // What is left of the time that was told a moment ago.
        let seconds: u64 = seconds.parse().unwrap();
        let told = if (25..=60).contains(&seconds) {
            30
        } else {
            seconds
        };
        write!(words, ", in {told} s").unwrap();
    }
    write!(words, ", retry {}", header("x-should-retry").unwrap_or("?")).unwrap();
    words
}

/// `4 × whole, 503 …`: what was seen, each thing once, in the order in which it came first.
fn counted(words: Vec<String>) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for word in words {
        match counts.iter_mut().find(|(seen, _)| *seen == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let words = counts.into_iter().map(|(word, count)| match count {
        1 => word,
        _ => format!("{count} × {word}"),
    });
    words.collect::<Vec<_>>().join("; ")
}

/// How many requests came in, said as coarsely as `must` says it: by key, in all, or a bound. `one`
/// are the keys of the account with that name.
fn received(keys: &[String], must: &str) -> String {
    if let Some(bound) = must.strip_prefix("at most ") {
        let bound: usize = bound.parse().unwrap();
        let is_kept = keys.len() <= bound;
        return if is_kept {
            must.to_owned()
        } else {
            keys.len().to_string()
        };
    }
    if must.parse::<usize>().is_ok() {
        return keys.len().to_string();
    }
    let mut counts = BTreeMap::new();
    for key in keys {
        let is_of_one = must.contains("one ") && key.starts_with('a');
        let name = if is_of_one { "one" } else { key };
        *counts.entry(name.to_owned()).or_insert(0) += 1;
    }
    let order = |name: &String| must.find(&format!("{name} ")).unwrap_or(usize::MAX);
    let mut counts: Vec<(String, i32)> = counts.into_iter().collect();
    counts.sort_by_key(|(name, _)| order(name));
    let words = counts.iter().map(|(name, count)| format!("{name} {count}"));
    words.collect::<Vec<_>>().join(", ")
}

async fn run(case: Case) -> (&'static str, Report, Report) {
    let has_third = case.name.contains("account");
    let world = World::start(case.mock, Settings::default(), |client| {
        let client = scaled(client);
        if has_third {
            client.keys([fairkey_core::Key::new("a2", "sk-or-v1-a2").account("one")])
        } else {
            client
        }
    });
    let world = world.await;
    let mut words = Vec::new();
    for body in case.bodies {
        let answer = world.call("POST /v1/chat/completions", body).await;
        assert!(!format!("{answer:?}").contains("sk-or-v1"), "{answer:?}");
        words.push(seen(&answer));
    }
    world.is_idle().await;
    let stats = world.client.stats();
    let faults = stats.faults.iter().map(|fault| {
        let blamed = format!("{}/{}", fault.scope.as_str(), fault.cause);
        // How often a key that flaps is asked is the breaker's business.
        if case.must.charged == blamed {
            blamed
        } else {
            format!("{blamed} {}", fault.count)
        }
    });
    let is = Report {
        sees: counted(words),
        upstream: received(&world.keys_at("/chat/completions"), &case.must.upstream),
        charged: match faults.collect::<Vec<_>>() {
            faults if faults.is_empty() => "nobody".to_owned(),
            faults => faults.join(", "),
        },
        held: stats.in_flight,
    };
    (case.name, is, case.must)
}

#[tokio::test]
async fn every_fault_is_told_charged_and_cured_as_it_should_be() {
    within(async {
        let mut score = 0;
        let mut rows = Vec::new();
        let mut wrong = String::new();
        for case in of_any_upstream().into_iter().chain(of_openrouter()) {
            let (name, is, must) = run(case).await;
            let mark = if is == must { "ok" } else { "WRONG" };
            score += usize::from(is == must);
            if is != must {
                write!(wrong, "\n{name}:\n  is   {is:?}\n  must {must:?}").unwrap();
            }
            rows.push(format!(
                "| {name} | {} | {} | {} | {mark} |",
                is.sees, is.upstream, is.charged
            ));
        }
        println!("| fault | the caller sees | requests upstream | blamed | |");
        println!("| --- | --- | --- | --- | --- |");
        println!("{}", rows.join("\n"));
        println!("{score} of {} as they should be", rows.len());
        assert!(wrong.is_empty(), "{wrong}");
    })
    .await;
}

#[tokio::test]
async fn what_is_billed_is_what_is_accounted_for_whatever_goes_wrong() {
    within(async {
        let steps = [
            Step::reply(Fault::internal_500()),
            Step::pass(),
            Step::reply(Fault::overloaded_503("Acme")),
            Step::pass(),
            Step::reset_before_head(),
            Step::pass(),
        ];
        let settings = Settings::default();
        let mut world = World::start(mock().script(On::any(), steps), settings, scaled).await;
        for body in [CHAT, STREAM, CHAT, STREAM, CHAT] {
            let answer = world.call("POST /v1/chat/completions", body).await;
            assert_eq!(seen(&answer), "whole");
        }
        world.is_idle().await;
        let mut by_key = BTreeMap::new();
        for _ in 0..5 {
            let ended = world.ended.recv().await.unwrap();
            let cost = ended.cost.expect("a whole answer says what it used");
            *by_key.entry(ended.key.to_string()).or_insert(0) += cost.micro_usd;
        }
        let billed = world.mock.counters();
        for (key, accounted) in by_key {
            #[expect(clippy::cast_precision_loss, reason = "cents")]
            let off = (billed.key(&key).cost_usd() - accounted as f64 / 1e6).abs();
            // Each call is accounted for in whole millionths of a dollar, rounded up.
            assert!(off <= 5e-6, "{key}: {accounted}, off by {off}");
        }
    })
    .await;
}
