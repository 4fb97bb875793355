//! The table of faults, row by row: every fixture names an answer and what is to be read from it.
//!
//! One file is one family of facts about the API: `levels` (every limit at its level), `free`,
//! `in_flight`, `credits`, `budgets`, `hints` (when to try again), `envelope`, `metadata`,
//! `statuses`, `error_types`, `availability`, `skins`, `in_band` (failures inside a 200),
//! `streams`, `edge`, `unknown`. A row is an answer (`status`, `headers`, `body`; `to`: the path
//! it answers) or an event of a stream (`event`, `frame`), and all of what is to be read from it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fairkey_core::{FaultKind, Outcome, Retry, Scope, Timestamp};
use fairkey_openrouter::{
    AvailabilityCode, Cause, ErrorType, Evidence, Fault, LimitSource, Phase, Remedy, RetryHint,
    parse_iso8601,
};
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value, json};

/// One row.
struct Case {
    name: String,
    json: Value,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/faults");
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let list: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        cases.extend(list.into_iter().map(|json| Case {
            name: format!("{file}: {}", json["name"].as_str().unwrap()),
            json,
        }));
    }
    assert!(cases.len() > 400, "only {} fixtures", cases.len());
    cases
}

impl Case {
    /// Reads the fault as a client would.
    fn fault(&self) -> Fault {
        let found = |fault: Option<Fault>| fault.unwrap_or_else(|| panic!("{}: none", self.name));
        if !self.json["frame"].is_null() {
            let frame = self.json["frame"].to_string();
            return found(match self.json["event"].as_str() {
                Some(name) => Fault::from_event(Some(name), frame.as_bytes()),
                None => Fault::from_frame(frame.as_bytes()),
            });
        }
        let body = match &self.json["body"] {
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let Some(status) = self.json["status"].as_u64() else {
            let path = self.json["to"].as_str().unwrap_or("/api/v1/generation");
            return found(Fault::in_answer(path, body.as_bytes()));
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.json["headers"].as_object().into_iter().flatten() {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.as_str().unwrap().parse().unwrap());
        }
        let status = StatusCode::from_u16(status as u16).unwrap();
        Fault::from_response(status, &headers, body.as_bytes())
    }
}

fn kind(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Throttled => "throttled",
        FaultKind::Exhausted => "exhausted",
        FaultKind::Refused => "refused",
        FaultKind::Failed => "failed",
        _ => "?",
    }
}

fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Typed => "typed",
        Evidence::Status => "status",
        Evidence::Phrase => "phrase",
        _ => "observed",
    }
}

fn helps(remedy: Remedy) -> Vec<&'static str> {
    [
        (remedy.same_account_key, "same_account_key"),
        (remedy.other_account, "other_account"),
        (remedy.richer_account, "richer_account"),
        (remedy.smaller_max_tokens, "smaller_max_tokens"),
        (remedy.other_model, "other_model"),
        (remedy.wait, "wait"),
    ]
    .into_iter()
    .filter_map(|(helps, name)| helps.then_some(name))
    .collect()
}

fn hint(text: &str) -> RetryHint {
    match text.split_once(' ') {
        Some(("after", seconds)) => {
            RetryHint::After(Duration::from_secs_f64(seconds.parse().unwrap()))
        }
        Some(("at", stamp)) => RetryHint::At(parse_iso8601(stamp).unwrap()),
        _ if text == "never" => RetryHint::Never,
        _ => RetryHint::Unknown,
    }
}

/// What was read, in the form of `expect`, with the members that it has.
fn read(case: &Case) -> Value {
    let fault = case.fault();
    let mut read = json!({
        "cause": fault.cause().as_str(),
        "scope": fault.scope().as_str(),
        "kind": kind(fault.kind()),
        "evidence": evidence(fault.evidence()),
        "helps": helps(fault.remedy()),
    });
    // The status of a refusal is that of the answer, and not repeated in the row.
    let status = fault
        .status()
        .filter(|status| case.json["status"] != *status);
    let unknown = fault.unknown_words().iter();
    let unknown: Vec<_> = unknown.map(|u| format!("{} {}", u.field, u.word)).collect();
    for (member, value) in [
        ("status", json!(status)),
        ("provider", json!(fault.provider())),
        ("provider_code", json!(fault.provider_code())),
        (
            "resets",
            json!(fault.resets().map(|interval| interval.as_str())),
        ),
        ("affordable", json!(fault.affordable_tokens())),
        ("generation", json!(fault.generation_id())),
        ("suggests", json!(fault.suggested_models())),
        ("previous", json!(fault.previous_errors().len())),
        ("unknown", json!(unknown)),
    ] {
        if !(value.is_null() || value == json!([]) || value == json!(0)) {
            read[member] = value;
        }
    }
    // Compared as times: one may be written in many ways.
    let wanted = &case.json["expect"]["retry"];
    read["retry"] = if fault.retry() == hint(wanted.as_str().unwrap_or_default()) {
        wanted.clone()
    } else {
        json!(format!("{:?}", fault.retry()))
    };
    read
}

#[test]
fn every_row_is_charged_to_whoever_caused_it() {
    let mut wrong = String::new();
    for case in cases() {
        let (read, expected) = (read(&case), &case.json["expect"]);
        assert!(expected["retry"].is_string(), "{}: no retry", case.name);
        let members = |json: &Value| -> BTreeSet<String> {
            json.as_object().unwrap().keys().cloned().collect()
        };
        for member in &members(&read) | &members(expected) {
            let (found, wanted) = (&read[&member], &expected[&member]);
            if found != wanted {
                let _ = writeln!(wrong, "{}: {member} is {found}, not {wanted}", case.name);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_fixtures_leave_no_word_and_no_cause_out() {
    let cases = cases();
    let text: String = cases.iter().map(|case| case.json.to_string()).collect();
    let words = LimitSource::KNOWN.iter().map(LimitSource::as_str);
    let words = words.chain(ErrorType::KNOWN.iter().map(ErrorType::as_str));
    for word in words.chain(AvailabilityCode::KNOWN.iter().map(AvailabilityCode::as_str)) {
        assert!(
            text.contains(&format!("\"{word}\"")),
            "no fixture has {word}"
        );
    }
    let seen: BTreeSet<Cause> = cases.iter().map(|case| case.fault().cause()).collect();
    // Those that no answer has: a client sees them itself.
    let own = [
        Cause::NoContent,
        Cause::Truncated,
        Cause::Network,
        Cause::Canceled,
        Cause::Local,
        Cause::Unknown,
    ];
    for cause in Cause::all().filter(|cause| !own.contains(cause)) {
        assert!(seen.contains(&cause), "no fixture has the cause {cause}");
    }
    for status in [
        400, 401, 402, 403, 404, 408, 409, 410, 412, 413, 422, 429, 500, 502, 503, 504, 524, 529,
    ] {
        let has = |case: &Case| case.json["status"] == status;
        assert!(cases.iter().any(has), "no fixture has the status {status}");
    }
}

#[test]
fn a_fault_reaches_the_pool_with_its_scope_and_its_kind() {
    for case in cases() {
        let fault = case.fault();
        let outcome = fault.outcome(Timestamp::ZERO, Duration::from_secs(1_791_900_000));
        let Outcome::Fault { scope, kind, retry } = outcome else {
            panic!("{}", case.name)
        };
        assert_eq!(
            (scope, kind),
            (fault.scope(), fault.kind()),
            "{}",
            case.name
        );
        if let Some(at) = retry.at(Timestamp::ZERO) {
            assert!(
                at.since(Timestamp::ZERO) <= fault.max_wait(),
                "{}",
                case.name
            );
        }
    }
}

/// A fault with the hint `retry`.
fn hinted(cause: Cause, retry: RetryHint) -> Fault {
    Fault::new(cause, "x").with_retry(retry)
}

#[track_caller]
fn check_outcome(fault: &Fault, expected: Retry) {
    let now = Timestamp::ZERO + Duration::from_secs(7);
    let wall = parse_iso8601("2026-10-13T14:00:00Z").unwrap();
    let Outcome::Fault { retry, .. } = fault.outcome(now, wall) else {
        panic!("{fault}")
    };
    assert_eq!(retry, expected, "{fault:?}");
}

#[test]
fn hints_are_bounded_by_what_they_can_mean() {
    let secs = Duration::from_secs;
    let at = |seconds| Retry::At(Timestamp::ZERO + secs(7) + secs(seconds));
    let stamp = |text| RetryHint::At(parse_iso8601(text).unwrap());

    let after = |seconds| RetryHint::After(secs(seconds));
    check_outcome(
        &hinted(Cause::InFlightBudget, after(120)),
        Retry::After(secs(120)),
    );
    check_outcome(
        &hinted(Cause::InFlightBudget, after(86_400)),
        Retry::After(secs(300)),
    );
    check_outcome(
        &hinted(Cause::ProviderPool, after(u64::MAX)),
        Retry::After(secs(300)),
    );
    // A stamp is converted to the pool's clock, and bounded like a wait.
    check_outcome(
        &hinted(Cause::FreePerMinute, stamp("2026-10-13T14:00:30Z")),
        at(30),
    );
    check_outcome(
        &hinted(Cause::FreePerMinute, stamp("2026-10-13T18:00:00Z")),
        at(300),
    );
    check_outcome(
        &hinted(Cause::FreeDaily, stamp("2026-10-14T00:00:00Z")),
        at(36_000),
    );
    check_outcome(
        &hinted(Cause::FreeDaily, stamp("2027-10-14T00:00:00Z")),
        at(25 * 3600),
    );
    check_outcome(
        &hinted(Cause::KeyCapSpent, stamp("2026-11-01T00:00:00Z")),
        at(18 * 86_400 + 36_000),
    );
    check_outcome(
        &hinted(Cause::KeyCapSpent, stamp("2036-11-01T00:00:00Z")),
        at(32 * 86_400),
    );
    // What passed while the answer was on its way means soon.
    check_outcome(
        &hinted(Cause::FreeDaily, stamp("2026-10-13T13:59:59Z")),
        Retry::At(Timestamp::ZERO + secs(7) + Duration::from_millis(100)),
    );
    // What passed long ago, and a wait of nothing, say nothing.
    check_outcome(
        &hinted(Cause::FreeDaily, stamp("2026-10-12T00:00:00Z")),
        Retry::Unknown,
    );
    check_outcome(&hinted(Cause::ProviderPool, after(0)), Retry::Unknown);
    check_outcome(&hinted(Cause::KeyInvalid, RetryHint::Never), Retry::Never);
}

#[test]
fn the_calendar_speaks_where_no_stamp_does() {
    let wall = parse_iso8601("2026-10-13T14:00:00Z").unwrap();
    for (message, until) in [
        ("Key limit exceeded (daily limit).", "2026-10-14"),
        ("Key limit exceeded (weekly limit).", "2026-10-19"),
        ("Key limit exceeded (monthly limit).", "2026-11-01"),
    ] {
        let body = serde_json::json!({"error": {"code": 403, "message": message}}).to_string();
        let fault = Fault::from_response(StatusCode::FORBIDDEN, &HeaderMap::new(), body.as_bytes());
        assert_eq!(
            fault.wait(wall),
            Some(parse_iso8601(until).unwrap() - wall),
            "{message}"
        );
    }
}

#[test]
fn what_a_client_sees_itself_has_a_scope_too() {
    let second = Duration::from_secs(1);
    for (fault, scope) in [
        (Fault::network("connection refused"), Scope::Network),
        (Fault::timeout(Phase::Connect, second), Scope::Network),
        (Fault::timeout(Phase::Head, second), Scope::Provider),
        (Fault::timeout(Phase::FirstContent, second), Scope::Provider),
        (Fault::timeout(Phase::Idle, second), Scope::Provider),
        (Fault::timeout(Phase::Total, second), Scope::Caller),
        (Fault::canceled(), Scope::Caller),
        (Fault::local("the queue is full"), Scope::Local),
        (Fault::truncated(), Scope::Provider),
        (Fault::malformed("x"), Scope::Provider),
        (Fault::no_content("x"), Scope::Provider),
    ] {
        assert_eq!(fault.scope(), scope, "{fault}");
        assert_eq!(fault.evidence(), Evidence::Observed, "{fault}");
    }
}

#[test]
fn good_answers_of_every_endpoint_are_no_faults() {
    for body in [
        r#"{"id":"gen-1","choices":[{"finish_reason":"stop","message":{"content":"a"}}]}"#,
        concat!(
            r#"{"id":"gen-1","choices":[{"finish_reason":null,"error":null,"#,
            r#""message":{"content":"a"}}],"error":null}"#,
        ),
        "\n\n  {\"choices\":[{\"finish_reason\":\"length\",\"message\":{\"content\":\"error\"}}]}",
        r#"{"id":"resp_1","status":"completed","error":null,"output":[]}"#,
        r#"{"id":"msg_1","type":"message","content":[{"type":"text","text":"a"}]}"#,
        r#"{"object":"list","data":[{"embedding":[0.5]}]}"#,
        r#"{"data":{"label":"x"}}"#,
        r#"{"results":[{"index":0,"relevance_score":0.5}]}"#,
        // Repeated members make the quick look fail, and the thorough one finds nothing.
        r#"{"id":"a","id":"b","choices":[{"finish_reason":"stop"}]}"#,
    ] {
        assert_eq!(Fault::in_body(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn good_events_are_no_faults() {
    for frame in [
        r#"{"choices":[{"delta":{"content":"error"},"finish_reason":null}],"error":null}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"error"}}"#,
        r#"{"type":"response.output_text.delta","delta":"error"}"#,
        r#"{"type":"response.completed","response":{"status":"completed","error":null}}"#,
        r#"{"type":"response.incomplete","response":{"status":"incomplete","error":null}}"#,
        // One model of several failed, and the response goes on.
        r#"{"type":"response.fusion_call.panel.failed","error":"broken","status_code":502}"#,
    ] {
        assert_eq!(Fault::from_frame(frame.as_bytes()), None, "{frame}");
        let named = Fault::from_event(Some("message"), frame.as_bytes());
        assert_eq!(named, None, "{frame}");
    }
}

#[test]
fn a_chat_answer_needs_choices_and_something_in_them() {
    let cause = |body: &str| Fault::in_chat_body(body.as_bytes()).map(|fault| fault.cause());
    assert_eq!(cause(r#"{"id":"gen-1"}"#), Some(Cause::Malformed));
    assert_eq!(
        cause(r#"{"id":"gen-1","choices":[]}"#),
        Some(Cause::Malformed)
    );
    for silent in [
        r#"{"choices":[{"message":{"content":""},"finish_reason":null}]}"#,
        r#"{"choices":[{"message":{"content":null},"finish_reason":""}]}"#,
        r#"{"choices":[{}]}"#,
    ] {
        assert_eq!(cause(silent), Some(Cause::NoContent), "{silent}");
    }
    for whole in [
        // An empty answer that says why it ended is one.
        r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"message":{"content":"a"},"finish_reason":null}]}"#,
        r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"c"}]}}]}"#,
    ] {
        assert_eq!(cause(whole), None, "{whole}");
    }
}

#[test]
fn one_line_says_it_all() {
    let body =
        br#"{"error":{"code":429,"message":"Slow\ndown","metadata":{"provider_name":"Acme"}}}"#;
    let mut headers = HeaderMap::new();
    headers.insert("x-generation-id", "gen-7".parse().unwrap());
    let fault = Fault::from_response(StatusCode::TOO_MANY_REQUESTS, &headers, body);
    assert_eq!(
        fault.to_string(),
        "provider_rate_limited (provider Acme, 429): Slow down"
    );
    assert_eq!(fault.generation_id(), Some("gen-7"));
    assert_eq!(
        Fault::canceled().to_string(),
        "canceled (caller): the caller left"
    );
}

#[test]
fn a_refusal_that_was_cut_is_still_the_apis() {
    let mut looked = 0;
    for case in cases() {
        let (Some(status), body @ Value::Object(_)) =
            (case.json["status"].as_u64(), &case.json["body"])
        else {
            continue;
        };
        let status = StatusCode::from_u16(status as u16).unwrap();
        let is_edge = |fault: &Fault| {
            let cause = fault.cause();
            cause == Cause::EdgeBlocked || cause == Cause::EdgeFailed
        };
        let body = body.to_string();
        let read = |body: &str| {
            let headers = HeaderMap::new();
            Fault::from_cut_response(status, &headers, body.as_bytes())
        };
        let whole = Fault::from_response(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(read(&body), whole, "{}", case.name);
        if status.as_u16() < 400 || is_edge(&whole) || (520..=530).contains(&status.as_u16()) {
            continue;
        }
        looked += 1;
        for cut in (0..body.len()).filter(|cut| body.is_char_boundary(*cut)) {
            let fault = read(&body[..cut]);
            assert!(!is_edge(&fault), "{}: {}", case.name, &body[..cut]);
        }
    }
    assert!(looked > 100, "{looked}");
    // A page is one, however much of it came.
    let page = Fault::from_cut_response(StatusCode::BAD_REQUEST, &HeaderMap::new(), b"<html>{");
    assert_eq!(page.cause(), Cause::EdgeBlocked);
}

#[test]
fn a_refusal_that_was_cut_before_it_named_a_provider_blames_no_key() {
    let long = "x".repeat(1_000);
    let key = r#""limit_source":"openrouter_key_limit""#;
    let credits = r#""limit_source":"openrouter_credits""#;
    let provider = r#""provider_name":"Acme","raw":"x""#;
    for (status, metadata, proven) in [
        (401, provider, Scope::Provider),
        (402, provider, Scope::Provider),
        (403, provider, Scope::Provider),
        (402, key, Scope::Key),
        (403, key, Scope::Key),
        (402, credits, Scope::Account),
    ] {
        let body = format!(
            r#"{{"error":{{"message":"Invalid key, limit exceeded. {long}","code":{status},"metadata":{{"error_type":"authentication",{metadata},"more":"{long}"#
        );
        let status = StatusCode::from_u16(status).unwrap();
        let headers = HeaderMap::new();
        let read = |body: &str| Fault::from_cut_response(status, &headers, body.as_bytes());
        let told = body.find(metadata).unwrap() + metadata.len();
        for cut in (0..body.len()).filter(|cut| body.is_char_boundary(*cut)) {
            let fault = read(&body[..cut]);
            if cut >= told {
                assert_eq!(fault.scope(), proven, "{}", &body[..cut]);
            } else {
                let is_blamed =
                    matches!(fault.scope(), Scope::Key | Scope::Account | Scope::Budget);
                let is_proven = fault.limit_source().is_some();
                assert!(!is_blamed || is_proven, "{}: {fault}", &body[..cut]);
            }
            assert_eq!(fault.status(), Some(status.as_u16()));
        }
    }
    // Of one that is whole, the status counts.
    let whole = br#"{"error":{"message":"User not found.","code":401}}"#;
    let fault = Fault::from_cut_response(StatusCode::UNAUTHORIZED, &HeaderMap::new(), whole);
    assert_eq!(fault.cause(), Cause::KeyInvalid);
}
