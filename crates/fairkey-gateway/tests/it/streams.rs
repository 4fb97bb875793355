//! Streams: what passes, what is held, and how they end.

use std::time::Duration;

use fairkey_gateway::{End, Settings};
use fairkey_mock::{Fault, Latency, On, Reply, Step};
use http::HeaderValue;
use serde_json::json;

use crate::world::*;

fn scripted(step: Step) -> fairkey_mock::Builder {
    mock().script(On::any(), [step])
}

#[tokio::test]
async fn a_stream_passes_byte_for_byte_in_every_format() {
    within(async {
        let mut world = start(mock().script(On::any(), [Step::crlf().times(2)])).await;
        for (path, body) in STREAMS.iter().chain(&STREAMS) {
            let mut request = world.request(&format!("POST /v1{path}"), *body);
            let through = world.fetch(request.clone()).await;
            assert_eq!(through.status, 200, "{through:?}");
            assert_eq!(
                through.header("content-type").split(';').next(),
                Some("text/event-stream")
            );
            // The same of the mock itself, whose answers follow from the prompt.
            *request.uri_mut() = format!("{}{path}", world.mock.base_url()).parse().unwrap();
            let key = HeaderValue::from_static("Bearer sk-or-v1-a");
            request.headers_mut().insert("authorization", key);
            let direct = world.fetch(request).await;
            let shape = |text: String| {
                let lines = text
                    .lines()
                    .map(|line| line.split("\"id\"").next().unwrap().to_owned());
                lines.collect::<Vec<_>>()
            };
            assert_eq!(
                shape(through.text()).len(),
                shape(direct.text()).len(),
                "{path}"
            );
            let ended = world.ended.recv().await.unwrap();
            assert_eq!(ended.end, End::Whole);
            assert!(
                ended
                    .cost
                    .is_some_and(|cost| cost.tokens > 0 && cost.micro_usd > 0)
            );
        }
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn what_comes_in_passes_as_it_is_cut_at_whole_events() {
    within(async {
        let pieces = [
            ": hold\n\n",
            "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\nda",
            "ta: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_",
            "reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ];
        let world = start(scripted(Step::reply(Reply::sse(pieces)))).await;
        let answer = world.call("POST /v1/chat/completions", STREAM).await;
        assert_eq!(answer.text(), pieces.concat());
    })
    .await;
}

#[tokio::test]
async fn before_the_first_content_another_key_takes_over_and_nothing_is_seen_of_it() {
    within(async {
        let role =
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
        let error = "data: {\"error\":{\"code\":502,\"message\":\"x\"}}\n\n";
        for step in [
            Step::reply(Reply::sse([role, error])),
            Step::reply(Reply::sse([error])),
            Step::reply(Reply::sse([role])),
            Step::reset_before_head(),
            Step::reply(Fault::overloaded_503("Acme")),
        ] {
            let world = start(scripted(step)).await;
            let answer = world.call("POST /v1/chat/completions", STREAM).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("x-fairkey-attempts"), "2");
            assert!(answer.text().ends_with("data: [DONE]\n\n"), "{answer:?}");
            assert!(!answer.text().contains("error"), "{answer:?}");
            world.is_idle().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_tool_call_and_reasoning_count_as_content() {
    within(async {
        for delta in [
            r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}"#,
            r#"{"reasoning":"hm"}"#,
        ] {
            let chunk = format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
            let world = start(scripted(Step::reply(Reply::sse([chunk.clone()])))).await;
            let answer = world.call("POST /v1/chat/completions", STREAM).await;
            assert_eq!(answer.header("x-fairkey-attempts"), "1");
            assert!(answer.text().starts_with(&chunk), "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_of_its_format_and_no_end() {
    within(async {
        for step in [
            Step::truncate_after_chunks(4),
            Step::cut_after_chunks(4),
            Step::reset_after_chunks(4),
        ] {
            for (path, body) in STREAMS {
                let mut world = start(scripted(step.clone())).await;
                let answer = world.call(&format!("POST /v1{path}"), body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let text = answer.text();
                for end in ["data: [DONE]", "\"message_stop\"", "\"response.completed\""] {
                    assert!(!text.contains(end), "{path}: {text}");
                }
                let last = text.trim_end().rsplit("\n\n").next().unwrap();
                let data = last
                    .lines()
                    .find_map(|line| line.strip_prefix("data: "))
                    .unwrap();
                let event: serde_json::Value = serde_json::from_str(data).unwrap();
                match path {
                    "/chat/completions" => {
                        assert_eq!(event["choices"][0]["finish_reason"], "error");
                        assert_eq!(event["error"]["code"], 502, "{event}");
                        assert!(event["id"].as_str().unwrap().starts_with("gen-"));
                    }
                    "/messages" => {
                        assert!(last.starts_with("event: error\n"), "{last}");
                        assert_eq!(event["type"], "error");
                    }
                    _ => {
                        assert_eq!(event["type"], "error");
                        assert!(event["sequence_number"].as_u64().unwrap() > 0);
                    }
                }
                assert_eq!(world.ended.recv().await.unwrap().end, End::Broken);
                world.is_idle().await;
                assert_eq!(world.client.stats().faults.len(), 1, "it counts");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_within_an_event_ends_with_one_that_can_be_read() {
    within(async {
        let whole = "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        let half = "data: {\"id\":\"gen-1\",\"choi";
        for pieces in [
            vec![whole.to_owned(), half.to_owned()],
            vec![format!("{whole}{half}")],
        ] {
            let world = start(scripted(Step::reply(Reply::sse(pieces)))).await;
            let answer = world.call("POST /v1/chat/completions", STREAM).await;
            let text = answer.text();
            for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(event["id"], "gen-1");
            }
            assert!(text.contains("\"finish_reason\":\"error\""));
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_compressed_by_nothing_ends_like_any_other() {
    within(async {
        let event = "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        let reply = Reply::sse(vec![event.to_owned()]).header("content-encoding", "identity");
        let world = start(scripted(Step::reply(reply))).await;
        let answer = world.call("POST /v1/chat/completions", STREAM).await;
        let text = answer.text();
        assert!(text.contains("\"finish_reason\":\"error\""), "{text}");
    })
    .await;
}

/// Content, and a second piece of it, as each format says it.
fn content(path: &str) -> [&'static str; 2] {
    match path {
        "/chat/completions" => [
            "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
            "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
        ],
        "/messages" => [
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n",
        ],
        _ => [
            "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"a\"}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":2,\"delta\":\"b\"}\n\n",
        ],
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_ends_the_stream_with_an_error_of_its_format() {
    within(async {
        const BAD: &str = "event: x\ndata: {\"id\":\"gen-1\",\"cho\n\n";
        let (half, rest) = BAD.split_at(17);
        for (path, body) in STREAMS {
            let [a, b] = content(path);
            for (pieces, passed) in [
                (vec![a.to_owned(), BAD.to_owned(), b.to_owned()], vec![a]),
                // What is whole before it in the same chunk passes, be it the first chunk or not.
                (vec![format!("{a}{BAD}{b}")], vec![a]),
                (vec![a.to_owned(), format!("{b}{BAD}{b}")], vec![a, b]),
                // However it is cut.
                (vec![format!("{a}{half}"), format!("{rest}{b}")], vec![a]),
                (
                    vec![a.to_owned(), format!("{b}{half}"), rest.to_owned()],
                    vec![a, b],
                ),
            ] {
                let step = Step::reply(Reply::sse(pieces.clone()));
                let mut world = start(scripted(step)).await;
                let answer = world.call(&format!("POST /v1{path}"), body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.header("x-fairkey-attempts"), "1");
                let text = answer.text();
                let told = text.strip_prefix(&*passed.concat());
                let told = told.unwrap_or_else(|| panic!("{path} {pieces:?}: {text}"));
                assert_eq!(
                    told.matches("data:").count(),
                    1,
                    "{path} {pieces:?}: {text}"
                );
                let data = told
                    .lines()
                    .find_map(|line| line.strip_prefix("data: "))
                    .unwrap();
                let event: serde_json::Value = serde_json::from_str(data).unwrap();
                match path {
                    "/chat/completions" => assert_eq!(event["error"]["code"], 502, "{event}"),
                    _ => assert_eq!(event["type"], "error", "{event}"),
                }
                assert_eq!(world.ended.recv().await.unwrap().end, End::Broken);
                world.is_idle().await;
                let faults = world.client.stats().faults;
                assert_eq!(faults.len(), 1, "it counts: {faults:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn json_that_breaks_off_is_no_answer_at_all() {
    within(async {
        let world = start(mock().script(On::any(), [Step::cut_after_chunks(1).forever()])).await;
        let answer = world.call("POST /v1/chat/completions", CHAT).await;
        assert_eq!(answer.status, 502, "{answer:?}");
    })
    .await;
}

fn impatient() -> Settings {
    let mut settings = Settings::default();
    settings.comment_after = Duration::from_millis(30);
    settings
}

#[tokio::test]
async fn comments_keep_a_caller_alive_while_it_waits_and_then_the_stream_comes() {
    within(async {
        let latency = Latency::new(Duration::from_millis(200), Duration::ZERO);
        for (path, body) in STREAMS {
            let mut world = World::start(mock().latency(latency), impatient(), |it| it).await;
            let answer = world.call(&format!("POST /v1{path}"), body).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), "text/event-stream");
            let text = answer.text();
            assert!(text.starts_with(": fairkey is waiting\n\n"), "{text}");
            assert!(!text.contains("\"error\":{"), "{text}");
            assert_eq!(world.ended.recv().await.unwrap().end, End::Whole);
        }
    })
    .await;
}

#[tokio::test]
async fn a_failure_after_comments_is_an_event_of_the_callers_format() {
    within(async {
        let slow = Duration::from_millis(150);
        for fault in [Fault::bad_request("no"), Fault::key_revoked()] {
            for (path, body) in STREAMS {
                let step = Step::reply(fault.clone()).delayed(slow).forever();
                let mock = mock().script(On::any(), [step]);
                let world = World::start(mock, impatient(), |it| it).await;
                let answer = world.call(&format!("POST /v1{path}"), body).await;
                assert_eq!(answer.status, 200);
                let text = answer.text();
                let last = text.trim_end().rsplit("\n\n").next().unwrap();
                assert!(
                    last.contains("data: {") && last.contains("error"),
                    "{path}: {text}"
                );
                assert!(!text.contains("data: [DONE]"), "{text}");
                world.is_idle().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_long_refusal_after_comments_keeps_its_words() {
    within(async {
        let body = json!({"error": {
            "code": 400,
            "message": "the upstream's words",
            "metadata": {"raw": "x".repeat(2 << 20)},
        }});
        let step = Step::reply(Reply::json(400, &body)).delayed(Duration::from_millis(150));
        let mock = mock().script(On::any(), [step]);
        let world = World::start(mock, impatient(), |it| it).await;
        let answer = world.call("POST /v1/chat/completions", STREAM).await;
        assert_eq!(answer.status, 200);
        let text = answer.text();
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.contains("the upstream's words"), "{last:.2000}");
        assert!(last.len() < 10_000, "{}", last.len());
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn comments_come_while_a_call_stands_in_line_and_its_wait_is_told() {
    within(async {
        // One call at a time: the second one waits for the first.
        let latency = Latency::new(Duration::from_millis(100), Duration::ZERO);
        let world = World::start(mock().latency(latency), impatient(), |client| {
            client.max_in_flight(1).max_wait(Duration::from_secs(30))
        });
        let world = world.await;
        let first = world.call("POST /v1/chat/completions", CHAT);
        let second = world.call("POST /v1/chat/completions", CHAT);
        let third = world.call("POST /v1/chat/completions", STREAM);
        let (first, second, third) = tokio::join!(first, second, third);
        assert_eq!(
            (first.status, second.status),
            (http::StatusCode::OK, http::StatusCode::OK)
        );
        let waits = [&first, &second].map(|it| it.header("x-fairkey-queue-ms") != "0");
        assert!(waits.contains(&true), "{waits:?}");
        assert!(
            third.text().starts_with(": fairkey is waiting\n\n"),
            "{third:?}"
        );
        assert!(third.text().ends_with("data: [DONE]\n\n"), "{third:?}");
    })
    .await;
}
