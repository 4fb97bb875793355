//! Event streams when nothing goes wrong.

use std::time::Duration;

use fairkey_mock::{On, Step};
use serde_json::{Value, json};

use crate::support::{chat, open, post, with};

fn streamed(prompt: &str) -> Value {
    with(chat(prompt), json!({"stream": true}))
}

#[tokio::test]
async fn a_stream_has_comments_role_content_finish_usage_and_done() {
    let mock = open().await;
    let answer = post(&mock, "k", &streamed("Say it")).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert!(answer.complete);
    assert!(
        answer
            .body
            .starts_with(": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: {")
    );
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    let chunks = answer.chunks();
    let delta = |at: usize| &chunks[at]["choices"][0]["delta"];
    assert_eq!(*delta(0), json!({"role": "assistant", "content": ""}));
    assert_eq!(delta(1)["content"], "On");
    let finish = &chunks[chunks.len() - 2]["choices"][0];
    assert_eq!(finish["finish_reason"], "stop");
    assert_eq!(finish["native_finish_reason"], "stop");
    let usage = chunks.last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(answer.header("x-generation-id"), usage["id"].as_str());
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], usage["id"]);
        assert_eq!(chunk["provider"], "OpenAI");
    }
}

#[tokio::test]
async fn streamed_and_plain_answers_say_and_cost_the_same() {
    let mock = open().await;
    let plain = post(&mock, "k", &chat("Say it")).await;
    let stream = post(&mock, "k", &streamed("Say it")).await;
    assert_eq!(stream.streamed_content(), plain.content());
    assert_eq!(
        stream.chunks().last().unwrap()["usage"],
        plain.json()["usage"]
    );
}

#[tokio::test]
async fn line_ends_usage_and_comments_come_in_other_styles() {
    let mock = open().await;
    let steps = [
        Step::crlf(),
        Step::usage_beside_finish(),
        Step::comments(40),
        Step::comments(0),
    ];
    mock.script(On::any(), steps);
    let plain = post(&open().await, "k", &chat("x")).await.content();

    let crlf = post(&mock, "k", &streamed("x")).await;
    assert!(crlf.body.contains("\r\n\r\n") && !crlf.body.replace("\r\n", "").contains('\n'));
    assert_eq!(crlf.streamed_content(), plain);

    let chunks = post(&mock, "k", &streamed("x")).await.chunks();
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert!(last["usage"]["cost"].is_number());

    let flood = post(&mock, "k", &streamed("x")).await;
    assert_eq!(flood.body.matches(": OPENROUTER PROCESSING").count(), 40);
    let quiet = post(&mock, "k", &streamed("x")).await;
    assert!(quiet.body.starts_with("data: "));
}

#[tokio::test]
async fn a_dripped_stream_arrives_byte_by_byte_and_whole() {
    let mock = open().await;
    mock.script(
        On::any(),
        [Step::drip(1, Duration::ZERO), Step::drip(5, Duration::ZERO)],
    );
    let plain = post(&open().await, "k", &chat("gr\u{fc}n")).await.content();
    assert!(plain.contains('\u{fc}'));
    let stream = post(&mock, "k", &streamed("gr\u{fc}n")).await;
    assert_eq!(stream.streamed_content(), plain);
    assert_eq!(post(&mock, "k", &chat("gr\u{fc}n")).await.content(), plain);
    assert_eq!(mock.counters().total.finished, 2);
}
