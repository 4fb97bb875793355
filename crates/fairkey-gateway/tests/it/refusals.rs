//! What a caller is told where there is no answer.

use std::time::Duration;

use fairkey_core::Scope;
use fairkey_mock::{Break, Fault, On, Reply, Step};
use serde_json::json;

use crate::world::*;

fn always(fault: Fault) -> fairkey_mock::Builder {
    mock().script(On::any(), [Step::reply(fault).forever()])
}

#[tokio::test]
async fn the_operator_s_keys_are_never_the_caller_s_fault() {
    within(async {
        for fault in [
            Fault::key_revoked(),
            Fault::credits_exhausted(),
            Fault::key_limit_spent(None),
            Fault::admission_control(Duration::from_secs(30)),
        ] {
            let name = fault.name();
            let world = start(always(fault)).await;
            for (path, body) in STREAMS {
                let answer = world.call(&format!("POST /v1{path}"), body).await;
                let status = answer.status.as_u16();
                assert!([503, 429].contains(&status), "{name}: {answer:?}");
                assert_eq!(answer.header("content-type"), "application/json");
                let is_told_when = answer.headers.contains_key("retry-after");
                assert_eq!(status == 429, is_told_when, "{name}: {answer:?}");
                assert!(!answer.text().contains("sk-or-"), "{answer:?}");
                assert!(["true", "false"].contains(&answer.header("x-should-retry")));
            }
            world.is_idle().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_the_request_is_to_blame_for_passes_as_it_came() {
    within(async {
        let fault = Fault::context_length_exceeded(8_192, 9_000);
        let world = start(always(fault)).await;
        for (path, body) in [("/chat/completions", CHAT), STREAMS[0]] {
            let answer = world.call(&format!("POST /v1{path}"), body).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            assert_eq!(answer.header("x-fairkey-attempts"), "1");
            assert_eq!(answer.header("x-should-retry"), "false");
            assert!(
                answer.json()["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("context")
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_long_refusal_is_the_requests_fault_and_passes_whole() {
    within(async {
        for length in [300 << 10, 2 << 20] {
            // The objects of `json!` are sorted: what the provider said stands before its name.
            let body = json!({"error": {
                "code": 400,
                "message": "Provider returned error",
                "metadata": {"raw": "é\"".repeat(length / 4), "zone": "eu"},
            }});
            let reply = Step::reply(Reply::json(400, &body)).forever();
            let world = start(mock().script(On::any(), [reply])).await;
            for (path, request) in [("/chat/completions", CHAT), STREAMS[0], STREAMS[1]] {
                let answer = world.call(&format!("POST /v1{path}"), request).await;
                assert_eq!(answer.status, 400, "{path}: {:?}", answer.headers);
                assert_eq!(answer.header("x-fairkey-attempts"), "1");
                assert_eq!(answer.header("x-should-retry"), "false");
                assert!(answer.json() == body, "{path}: {} bytes", answer.body.len());
            }
            let faults = world.client.stats().faults;
            let scopes: Vec<_> = faults.iter().map(|fault| fault.scope).collect();
            assert!(
                scopes.iter().all(|scope| *scope == Scope::Request),
                "{scopes:?}"
            );
            world.is_idle().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_one_key_is_served_by_the_other() {
    within(async {
        let script = [Step::reply(Fault::key_revoked()).forever()];
        let world = start(mock().script(On::key("a"), script)).await;
        for _ in 0..3 {
            let answer = world.call("POST /v1/chat/completions", CHAT).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("x-fairkey-key"), "b");
        }
    })
    .await;
}

#[tokio::test]
async fn a_failure_inside_a_200_is_tried_again_and_told_with_a_status_of_its_own() {
    within(async {
        let once = [Step::reply(Fault::error_in_200())];
        let world = start(mock().script(On::any(), once)).await;
        let answer = world.call("POST /v1/chat/completions", CHAT).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-fairkey-attempts"), "2");
        let world = start(always(Fault::error_in_200())).await;
        for (path, body) in [("/chat/completions", CHAT), STREAMS[0], STREAMS[1]] {
            let answer = world.call(&format!("POST /v1{path}"), body).await;
            assert!(answer.status.is_server_error(), "{path}: {answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502() {
    within(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api/v1", listener.local_addr().unwrap());
        drop(listener);
        let settings = fairkey_gateway::Settings::default();
        let world = World::start(mock(), settings, |it| it.base_url(base)).await;
        let answer = world.call("POST /v1/chat/completions", CHAT).await;
        let reason = &answer.json()["error"]["metadata"]["reason"];
        assert_eq!(
            (answer.status.as_u16(), reason.as_str()),
            (502, Some("upstream_unreachable"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_name_without_end_is_the_callers_fault_and_reaches_nobody() {
    within(async {
        let world = start(mock()).await;
        let name = "m".repeat(1 << 20);
        for (path, body) in [
            (
                "chat/completions",
                format!(r#"{{"model":"{name}","messages":[]}}"#),
            ),
            (
                "messages",
                format!(r#"{{"models":["a/b","{name}"],"messages":[]}}"#),
            ),
        ] {
            let answer = world.call(&format!("POST /v1/{path}"), body).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.text().contains("more than 1024 bytes"), "{answer:?}");
        }
        assert!(world.keys_at("/").is_empty());
        assert!(world.client.stats().faults.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_breaks_off_is_told_as_that_and_not_as_an_empty_one() {
    within(async {
        let told = json!({"error": {"code": 400, "message": "no such parameter: x"}});
        let script = |chunks| {
            let reply = Step::reply(Reply::json(400, &told)).dripping(20, Duration::ZERO);
            [reply.then_break(chunks, Break::Cut).forever()]
        };
        for chunks in [0, 1] {
            let world = start(mock().script(On::any(), script(chunks))).await;
            for (path, _) in STREAMS {
                let answer = world.call(&format!("POST /v1{path}"), CHAT).await;
                assert_eq!(answer.status, 502, "{path} {chunks}: {answer:?}");
                assert_eq!(answer.header("x-fairkey-error"), "upstream_failed");
                assert!(answer.text().contains("broke off"), "{path}: {answer:?}");
            }
            world.is_idle().await;
            assert_eq!(
                world.keys_at("/").len(),
                3,
                "another key would refuse it, too"
            );
        }
    })
    .await;
}
