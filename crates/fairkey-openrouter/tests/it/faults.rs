//! The table of faults, row by row: every fixture names an answer and what is to be read from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fairkey_core::{FaultKind, Outcome, Retry, Scope, Timestamp};
use fairkey_openrouter::{
    AvailabilityCode, Cause, ErrorType, Evidence, Fault, LimitSource, Phase, Remedy, RetryHint,
    parse_iso8601,
};
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::Value;

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
    assert!(cases.len() > 100, "only {} fixtures", cases.len());
    cases
}

impl Case {
    /// Reads the fault as a client would.
    fn fault(&self) -> Fault {
        if !self.json["frame"].is_null() {
            let frame = self.json["frame"].to_string();
            return Fault::from_frame(frame.as_bytes())
                .unwrap_or_else(|| panic!("{}: no fault", self.name));
        }
        let body = match &self.json["body"] {
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let Some(status) = self.json["status"].as_u64() else {
            return Fault::in_body(body.as_bytes())
                .unwrap_or_else(|| panic!("{}: no fault", self.name));
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

#[test]
fn every_row_is_charged_to_whoever_caused_it() {
    for case in cases() {
        let fault = case.fault();
        let (name, expect) = (&case.name, &case.json["expect"]);
        assert_eq!(fault.cause().as_str(), expect["cause"], "{name}: {fault:?}");
        assert_eq!(fault.scope().as_str(), expect["scope"], "{name}");
        assert_eq!(kind(fault.kind()), expect["kind"], "{name}");
        assert_eq!(
            fault.retry(),
            hint(expect["retry"].as_str().unwrap()),
            "{name}"
        );
        let wanted: Vec<&str> = expect["helps"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(helps(fault.remedy()), wanted, "{name}");
        assert_eq!(fault.provider(), expect["provider"].as_str(), "{name}");
        assert_eq!(
            fault.resets().map(|r| r.as_str()),
            expect["resets"].as_str(),
            "{name}"
        );
        assert_eq!(
            fault.affordable_tokens(),
            expect["affordable"].as_u64(),
            "{name}"
        );
        if let Some(wanted) = expect["evidence"].as_str() {
            assert_eq!(evidence(fault.evidence()), wanted, "{name}");
        }
        let status = case.json["status"].as_u64().filter(|status| *status >= 400);
        let status = status.or(expect["status"].as_u64());
        assert_eq!(fault.status().map(u64::from), status, "{name}");
        let suggests = expect["suggests"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        assert_eq!(fault.suggested_models(), suggests, "{name}");
    }
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
