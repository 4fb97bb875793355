//! Calls of administration: what is sent, what is refused unsent, and how answers are read.

use fairkey_core::Scope;
use fairkey_openrouter::management::{
    InvalidCall, KeyChange, KeyFilter, ManagementCall, NewKey, create_key, credits, delete_key,
    get_key, list_keys, update_key,
};
use fairkey_openrouter::{Cause, Evidence, Fault, ResetInterval};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

const SECRET: &str = "sk-or-v1-canary0123456789abcdef";

fn body<T>(call: &ManagementCall<T>) -> Value {
    serde_json::from_slice(call.body().expect("a body")).unwrap()
}

fn read<T: fairkey_openrouter::management::ManagementAnswer>(
    call: &ManagementCall<T>,
    status: u16,
    body: &str,
) -> Result<T, Fault> {
    let status = StatusCode::from_u16(status).unwrap();
    call.read(status, &HeaderMap::new(), body.as_bytes())
}

#[track_caller]
fn check<T>(call: Result<ManagementCall<T>, InvalidCall>, method: &str, path: &str) {
    let call = call.unwrap();
    assert_eq!((call.method().as_str(), call.path()), (method, path));
}

#[test]
fn every_call_has_its_method_and_its_path() {
    let change = KeyChange::new().disabled(true);
    check(list_keys(&KeyFilter::new()), "GET", "/keys");
    check(create_key(&NewKey::new("a")), "POST", "/keys");
    check(get_key("f01d"), "GET", "/keys/f01d");
    check(update_key("f01d", &change), "PATCH", "/keys/f01d");
    check(delete_key("f01d"), "DELETE", "/keys/f01d");
    check(Ok(credits()), "GET", "/credits");
}

#[test]
fn a_new_key_is_sent_with_what_was_said_and_nothing_else() {
    assert_eq!(
        body(&create_key(&NewKey::new(" search ")).unwrap()),
        json!({"name": "search"})
    );
    let whole = NewKey::new("search")
        .limit(50.0)
        .limit_reset(ResetInterval::Monthly)
        .include_byok_in_limit(true)
        .expires_at("2027-12-31T23:59:59Z")
        .creator_user_id("user_1")
        .workspace_id("w-1");
    assert_eq!(
        body(&create_key(&whole).unwrap()),
        json!({
            "name": "search", "limit": 50.0, "limit_reset": "monthly",
            "include_byok_in_limit": true, "expires_at": "2027-12-31T23:59:59Z",
            "creator_user_id": "user_1", "workspace_id": "w-1",
        })
    );
}

#[test]
fn an_expiry_is_sent_in_utc_whatever_its_offset() {
    for (time, sent) in [
        ("2027-12-31T23:59:59Z", "2027-12-31T23:59:59Z"),
        ("2027-12-31T23:59:59+02:00", "2027-12-31T21:59:59Z"),
        ("2027-12-31T23:59:59.9-0130", "2028-01-01T01:29:59Z"),
        ("2027-12-31", "2027-12-31T00:00:00Z"),
        ("2027-12-31 12:00", "2027-12-31T12:00:00Z"),
    ] {
        let call = create_key(&NewKey::new("a").expires_at(time)).unwrap();
        assert_eq!(body(&call)["expires_at"], sent, "{time}");
    }
}

#[test]
fn what_the_service_would_refuse_is_not_sent() {
    let new = || NewKey::new("a");
    for (key, error) in [
        (NewKey::new(""), InvalidCall::Name),
        (NewKey::new(" \n"), InvalidCall::Name),
        (new().limit(-0.01), InvalidCall::Limit),
        (new().limit(f64::NAN), InvalidCall::Limit),
        (new().limit(f64::INFINITY), InvalidCall::Limit),
        (new().limit_reset("hourly".into()), InvalidCall::LimitReset),
        (new().expires_at("tomorrow"), InvalidCall::ExpiresAt),
        (new().expires_at("2027-02-30"), InvalidCall::ExpiresAt),
        (
            new().workspace_id(" "),
            InvalidCall::Identifier("workspace_id"),
        ),
        (
            new().creator_user_id(""),
            InvalidCall::Identifier("creator_user_id"),
        ),
    ] {
        assert_eq!(create_key(&key).unwrap_err(), error, "{key:?}");
    }
    for (change, error) in [
        (KeyChange::new(), InvalidCall::NoChange),
        (KeyChange::new().name(""), InvalidCall::Name),
        (KeyChange::new().limit(-1.0), InvalidCall::Limit),
        (
            KeyChange::new().limit_reset(ResetInterval::from("x")),
            InvalidCall::LimitReset,
        ),
    ] {
        assert_eq!(
            update_key("f01d", &change).unwrap_err(),
            error,
            "{change:?}"
        );
    }
    for hash in ["", ".", ".."] {
        assert_eq!(get_key(hash).unwrap_err(), InvalidCall::Hash, "{hash:?}");
        assert_eq!(delete_key(hash).unwrap_err(), InvalidCall::Hash, "{hash:?}");
    }
    // Zero is a limit: the key may spend nothing.
    assert_eq!(
        body(&create_key(&new().limit(-0.0)).unwrap())["limit"].to_string(),
        "0.0"
    );
}

#[test]
fn a_change_tells_taking_away_from_leaving_alone() {
    let change = KeyChange::new().limit(None).limit_reset(None);
    assert_eq!(
        body(&update_key("f01d", &change).unwrap()),
        json!({"limit": null, "limit_reset": null})
    );
    let change = KeyChange::new()
        .name("b")
        .disabled(false)
        .limit(7.5)
        .limit_reset(ResetInterval::Daily)
        .include_byok_in_limit(false);
    assert_eq!(
        body(&update_key("f01d", &change).unwrap()),
        json!({"name": "b", "disabled": false, "limit": 7.5, "limit_reset": "daily",
            "include_byok_in_limit": false})
    );
}

#[test]
fn paths_and_queries_are_encoded() {
    for (hash, path) in [
        ("a/b", "/keys/a%2Fb"),
        ("../credits", "/keys/..%2Fcredits"),
        ("a?b=c#d", "/keys/a%3Fb%3Dc%23d"),
        ("a b%é", "/keys/a%20b%25%C3%A9"),
    ] {
        let call = get_key(hash).unwrap();
        assert_eq!(call.path(), path);
        let request = call.to_request("http://127.0.0.1:1/api/v1/").unwrap();
        assert_eq!(request.uri().path(), format!("/api/v1{path}"));
    }
    let filter = KeyFilter::new()
        .offset(20)
        .include_disabled(true)
        .include_expired(false)
        .workspace_id("w&x=1");
    assert_eq!(
        list_keys(&filter).unwrap().path(),
        "/keys?offset=20&include_disabled=true&include_expired=false&workspace_id=w%26x%3D1"
    );
    let empty = KeyFilter::new().workspace_id("");
    assert_eq!(
        list_keys(&empty).unwrap_err(),
        InvalidCall::Identifier("workspace_id")
    );
}

#[test]
fn a_request_carries_its_body_and_no_authorization() {
    let request = create_key(&NewKey::new("a"))
        .unwrap()
        .to_request("http://127.0.0.1:1")
        .unwrap();
    assert_eq!(request.headers()["content-type"], "application/json");
    assert!(!request.headers().contains_key("authorization"));
    assert_eq!(&request.body()[..], br#"{"name":"a"}"#);
    let request = credits().to_request("http://127.0.0.1:1").unwrap();
    assert!(request.body().is_empty() && !request.headers().contains_key("content-type"));
    assert!(credits().to_request("ftp://x").is_err());
}

#[test]
fn a_page_of_keys_is_read_whatever_else_is_in_it() {
    let call = list_keys(&KeyFilter::new()).unwrap();
    let page = read(
        &call,
        200,
        r#"{"data":[
        {"hash":"h1","name":"a","label":"sk-or-v1-0e6...1c96","disabled":false,"limit":100,
         "limit_remaining":"74.5","limit_reset":"monthly","include_byok_in_limit":true,
         "usage":25.5,"usage_daily":1,"usage_weekly":2,"usage_monthly":3,"byok_usage":4,
         "byok_usage_daily":5,"byok_usage_weekly":6,"byok_usage_monthly":7,
         "created_at":"2026-08-24T10:30:00Z","updated_at":null,"expires_at":"2027-12-31T23:59:59Z",
         "creator_user_id":"user_1","workspace_id":"w-1","later":{"a":1}},
        {"hash":"h2","name":7,"disabled":"no","limit":null,"limit_reset":"fortnightly"},
        {"name":"no hash"}, 7],"total_count":4}"#,
    )
    .unwrap();
    assert_eq!((page.keys.len(), page.unreadable), (2, 2));
    let [first, second] = &page.keys[..] else {
        panic!("two keys")
    };
    assert_eq!((first.hash.as_str(), first.name.as_str()), ("h1", "a"));
    assert_eq!(
        (first.limit, first.limit_remaining),
        (Some(100.0), Some(74.5))
    );
    assert_eq!(first.limit_reset, Some(ResetInterval::Monthly));
    assert!(first.include_byok_in_limit && !first.disabled);
    let spent = [
        first.usage,
        first.usage_daily,
        first.usage_weekly,
        first.usage_monthly,
    ];
    assert_eq!(spent, [Some(25.5), Some(1.0), Some(2.0), Some(3.0)]);
    let byok = [
        first.byok_usage,
        first.byok_usage_daily,
        first.byok_usage_weekly,
        first.byok_usage_monthly,
    ];
    assert_eq!(byok, [Some(4.0), Some(5.0), Some(6.0), Some(7.0)]);
    assert!(first.expires_at().is_some() && first.updated_at.is_none());
    assert_eq!(first.creator_user_id.as_deref(), Some("user_1"));
    assert_eq!(first.workspace_id.as_deref(), Some("w-1"));
    assert_eq!(
        (second.name.as_str(), second.limit, second.disabled),
        ("", None, false)
    );
    assert_eq!(second.limit_reset, Some(ResetInterval::from("fortnightly")));
}

#[test]
fn pages_follow_each_other_until_an_empty_one() {
    let filter = KeyFilter::new().workspace_id("w");
    let call = list_keys(&filter).unwrap();
    let page = read(&call, 200, r#"{"data":[{"hash":"a"},{"hash":"b"},{}]}"#).unwrap();
    let next = filter.next(&page).unwrap();
    assert_eq!(
        list_keys(&next).unwrap().path(),
        "/keys?offset=3&workspace_id=w"
    );
    let page = read(&call, 200, r#"{"data":[]}"#).unwrap();
    assert_eq!(next.next(&page), None);
}

#[test]
fn the_secret_of_a_new_key_is_read_and_never_shown() {
    let call = create_key(&NewKey::new("a")).unwrap();
    let answer = json!({"data": {"hash": "h1", "name": "a"}, "key": SECRET}).to_string();
    let created = read(&call, 201, &answer).unwrap();
    assert_eq!(created.secret.expose(), SECRET);
    assert_eq!(created.key.hash, "h1");
    assert!(!format!("{created:?}{call:?}").contains("canary"));
    // Whatever else is wrong with the answer, the error says nothing of the secret.
    for broken in [
        json!({"key": SECRET}),
        json!({"data": [SECRET], "key": [SECRET]}),
        json!({"data": {"hash": "h1"}, "key": [SECRET]}),
        json!({"data": {"hash": "h1"}, "key": ""}),
        json!({"data": {"hash": "h1"}}),
        json!([SECRET]),
    ] {
        let fault = read(&call, 201, &broken.to_string()).unwrap_err();
        assert_eq!(fault.cause(), Cause::Malformed, "{broken}");
        assert!(!format!("{fault:?}{fault}").contains("canary"), "{fault:?}");
        if broken["data"]["hash"] == "h1" {
            assert!(fault.to_string().contains("h1"), "{fault}");
        }
    }
    for cut in 1..answer.len() {
        let fault = read(&call, 201, &answer[..cut]).unwrap_err();
        assert!(!format!("{fault:?}{fault}").contains("canary"), "{fault:?}");
    }
}

#[test]
fn one_key_a_deletion_and_the_balance_are_read() {
    let get = get_key("h1").unwrap();
    for answer in [
        r#"{"data":{"hash":"h1","disabled":true}}"#,
        r#"{"hash":"h1","disabled":true}"#,
    ] {
        assert!(read(&get, 200, answer).unwrap().disabled, "{answer}");
    }
    let delete = delete_key("h1").unwrap();
    assert_eq!(read(&delete, 200, r#"{"deleted":true}"#), Ok(true));
    assert_eq!(
        read(&delete, 200, r#"{"data":{"deleted":false}}"#),
        Ok(false)
    );
    assert_eq!(read(&delete, 204, ""), Ok(true));
    let balance = read(
        &credits(),
        200,
        r#"{"data":{"total_credits":10,"total_usage":2.5}}"#,
    );
    assert_eq!(balance.unwrap().balance(), 7.5);
    for (status, answer) in [
        (200, ""),
        (200, "{}"),
        (200, "[]"),
        (200, "<html>"),
        (204, ""),
    ] {
        assert!(read(&get, status, answer).is_err(), "{answer}");
        assert!(read(&credits(), status, answer).is_err(), "{answer}");
    }
}

#[test]
fn a_refused_call_of_administration_is_a_fault_like_any_other() {
    let call = list_keys(&KeyFilter::new()).unwrap();
    for (status, answer, cause, scope) in [
        (
            401,
            r#"{"error":{"code":401,"message":"Missing Authentication header"}}"#,
            Cause::KeyInvalid,
            Scope::Key,
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"Only management keys can perform this operation"}}"#,
            Cause::ManagementKeyRequired,
            Scope::Request,
        ),
        (
            404,
            r#"{"error":{"code":404,"message":"Resource not found"}}"#,
            Cause::NotFound,
            Scope::Request,
        ),
        (
            409,
            r#"{"error":{"code":409,"message":"Conflict"}}"#,
            Cause::Conflict,
            Scope::Request,
        ),
        (
            200,
            r#"{"error":{"code":500,"message":"Internal Server Error"}}"#,
            Cause::ServerError,
            Scope::Service,
        ),
    ] {
        let fault = read(&call, status, answer).unwrap_err();
        assert_eq!((fault.cause(), fault.scope()), (cause, scope), "{answer}");
        assert_ne!(fault.evidence(), Evidence::Observed, "{answer}");
    }
}
