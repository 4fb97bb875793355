//! Every step of a script.

use std::time::Duration;

use fairkey_mock::{Break, Event, EventKind, Fault, Key, MockOpenRouter, On, Reply, Step};
use serde_json::{Value, json};

use crate::support::{MODEL, chat, get, open, post, try_post, with, within};

fn streamed() -> Value {
    with(chat("x"), json!({"stream": true}))
}

fn chunks_with_content(chunks: &[Value]) -> usize {
    let content = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["content"]);
    content
        .filter(|content| content.as_str().is_some_and(|text| !text.is_empty()))
        .count()
}

#[tokio::test]
async fn three_429s_then_a_reset_after_the_second_chunk_then_as_usual() {
    let mock = open().await;
    let full = Fault::provider_rate_limited("OpenAI").retry_after(Duration::from_secs(3));
    mock.script(
        On::any(),
        [Step::reply(full).times(3), Step::reset_after_chunks(2)],
    );
    for _ in 0..3 {
        let answer = post(&mock, "k", &streamed()).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (429, Some("3"))
        );
    }
    let broken = post(&mock, "k", &streamed()).await;
    assert!(!broken.complete);
    assert_eq!(chunks_with_content(&broken.chunks()), 2);
    assert_eq!(mock.scripted_calls_left(), 0);
    assert!(
        post(&mock, "k", &streamed())
            .await
            .body
            .ends_with("data: [DONE]\n\n")
    );
}

#[tokio::test]
async fn a_reset_before_the_head_leaves_nothing() {
    let mock = open().await;
    mock.script(
        On::any(),
        [Step::reset_before_head(), Step::close_before_head()],
    );
    assert!(try_post(&mock, "k", &chat("x")).await.is_err());
    assert!(try_post(&mock, "k", &streamed()).await.is_err());
    let kinds: Vec<_> = mock
        .log()
        .events()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert!(kinds.contains(&EventKind::Broken {
        how: Break::Reset,
        chunks: 0
    }));
    assert!(kinds.contains(&EventKind::Broken {
        how: Break::Cut,
        chunks: 0
    }));
    assert_eq!(mock.counters().total.cost_usd(), 0.0);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_cut_is_an_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mock = open().await;
    mock.script(
        On::any(),
        [Step::reset_after_chunks(1), Step::cut_after_chunks(1)],
    );
    let body = streamed().to_string();
    let request = format!(
        "POST /api/v1/chat/completions HTTP/1.1\r\nhost: mock\r\nauthorization: Bearer k\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len(),
    );
    for how in [Break::Reset, Break::Cut] {
        let mut stream = tokio::net::TcpStream::connect(mock.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        let end = within(stream.read_to_end(&mut received)).await;
        let received = String::from_utf8(received).unwrap();
        assert!(received.contains("\"content\":\"On\""), "{received}");
        match how {
            Break::Reset => {
                assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
            }
            _ => assert!(end.is_ok() && !received.ends_with("0\r\n\r\n")),
        }
    }
}

#[tokio::test]
async fn a_truncated_stream_ends_cleanly_without_done() {
    let mock = open().await;
    mock.script(On::any(), [0, 2].map(Step::truncate_after_chunks));
    for chunks in [0, 2] {
        let answer = post(&mock, "k", &streamed()).await;
        assert!(answer.complete);
        assert_eq!(chunks_with_content(&answer.chunks()), chunks);
        assert_eq!(
            answer.chunks()[0]["choices"][0]["delta"]["role"],
            "assistant"
        );
        assert!(!answer.body.contains("[DONE]") && !answer.body.contains("usage"));
    }
}

#[tokio::test]
async fn plain_answers_break_in_pieces_of_64_bytes() {
    let mock = open().await;
    let steps = [Step::truncate_after_chunks(2), Step::reset_after_chunks(3)];
    mock.script(On::any(), steps);
    let cut = post(&mock, "k", &chat("x")).await;
    assert_eq!((cut.complete, cut.body.len()), (true, 128));
    let reset = post(&mock, "k", &chat("x")).await;
    assert_eq!((reset.complete, reset.body.len()), (false, 192));
}

#[tokio::test]
async fn stalls_hold_until_the_client_leaves() {
    let mock = open().await;
    let steps = [
        Step::stall_before_head(),
        Step::stall_after_chunks(1),
        Step::stall_after_chunks(1),
    ];
    mock.script(On::any(), steps);
    for (number, body) in [streamed(), streamed(), chat("x")].into_iter().enumerate() {
        let log = mock.log();
        let seen = async {
            log.wait_for_nth(number + 1, Event::is_stalled).await;
        };
        tokio::select! {
            answer = try_post(&mock, "k", &body) => panic!("answered: {answer:?}"),
            () = within(seen) => {}
        }
        within(log.wait_for_nth(number + 1, Event::is_cancelled)).await;
    }
    assert_eq!(mock.counters().total.in_flight, 0);
}

#[tokio::test]
async fn replies_are_sent_byte_for_byte() {
    let mock = open().await;
    let raw = ["data: {\"a\":\"gr\u{fc}n\"}\r\r", "data:[DONE]\n\n"];
    mock.script(
        On::any(),
        [
            Step::reply(Reply::bytes(418, "no coffee").header("x-kind", "teapot")),
            Step::reply(Reply::json(200, &json!({"odd": true}))),
            Step::reply(Reply::status(302).header("location", "http://example.com/")),
            Step::reply(Reply::sse(raw)),
            Step::reply(Reply::sse(raw)).then_break(1, Break::Truncate),
            Step::reply(Reply::status(999)),
        ],
    );
    let answer = post(&mock, "k", &chat("x")).await;
    assert_eq!((answer.status, answer.body.as_str()), (418, "no coffee"));
    assert_eq!(answer.header("x-kind"), Some("teapot"));
    assert_eq!(
        post(&mock, "k", &chat("x")).await.json(),
        json!({"odd": true})
    );
    assert_eq!(
        post(&mock, "k", &chat("x")).await.header("location"),
        Some("http://example.com/")
    );
    let answer = post(&mock, "k", &chat("x")).await;
    assert_eq!(answer.body, raw.concat());
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(post(&mock, "k", &chat("x")).await.body, raw[0]);
    assert_eq!(post(&mock, "k", &chat("x")).await.status, 999);
    let counters = mock.counters().total;
    assert_eq!(
        (counters.faulted, counters.broken, counters.in_flight),
        (5, 1, 0)
    );
}

#[tokio::test]
async fn scripts_choose_by_key_model_and_path() {
    let mock = MockOpenRouter::builder()
        .key(Key::new("secret-a").label("a"))
        .key(Key::new("secret-b").label("b"))
        .script(On::key("a"), [Step::reply(Fault::internal_500())])
        .script(
            On::model("openai/gpt-4o"),
            [Step::reply(Fault::overloaded_529())],
        )
        .script(On::path("/key"), [Step::reply(Fault::internal_500())])
        .start()
        .await
        .unwrap();
    assert_eq!(post(&mock, "secret-b", &chat("x")).await.status, 200);
    assert_eq!(post(&mock, "secret-a", &chat("x")).await.status, 500);
    assert_eq!(post(&mock, "secret-a", &chat("x")).await.status, 200);
    let other = with(chat("x"), json!({"model": "openai/gpt-4o"}));
    assert_eq!(post(&mock, "secret-b", &other).await.status, 529);
    assert_eq!(get(&mock, "/models", "secret-a").await.status, 200);
    assert_eq!(get(&mock, "/key", "secret-a").await.status, 500);
    assert_eq!(get(&mock, "/key", "secret-a").await.status, 200);
}

#[tokio::test]
async fn a_delay_waits_and_a_pass_does_nothing() {
    let mock = open().await;
    mock.script(
        On::any(),
        [Step::pass(), Step::delay(Duration::from_millis(30))],
    );
    assert_eq!(post(&mock, "k", &chat("x")).await.status, 200);
    let before = std::time::Duration::from_millis(30);
    let start = mock.now();
    assert_eq!(post(&mock, "k", &chat("x")).await.status, 200);
    assert!(
        mock.now().since(start) >= before,
        "it may take longer, never shorter"
    );
    mock.script(On::any(), [Step::reset_before_head().forever()]);
    mock.clear_scripts();
    assert_eq!(
        post(&mock, "k", &with(chat("x"), json!({"model": MODEL})))
            .await
            .status,
        200
    );
}
