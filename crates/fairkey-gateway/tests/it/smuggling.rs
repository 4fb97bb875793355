//! Requests that two programs could read differently, on raw sockets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::*;

/// What follows the request on the wire: were it read as a request of its own, it would be answered.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Sends bytes, and reads until the gateway closes the connection.
async fn raw(world: &World, bytes: &str) -> String {
    let mut stream = TcpStream::connect(world.serving.addr()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    // Who ends its half has left, and is not answered: so the gateway has to close.
    let mut answer = Vec::new();
    // A reset tells as much as an end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_could_be_two_requests_is_none() {
    within(async {
        let world = start(mock()).await;
        // Answered with a 200 whatever its body is.
        let line = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n";
        let n = SMUGGLED.len();
        for (name, head) in [
            (
                "two lengths",
                format!("content-length: 0\r\ncontent-length: {n}\r\n"),
            ),
            ("a list of lengths", format!("content-length: 0, {n}\r\n")),
            ("a signed length", "content-length: +0\r\n".to_owned()),
            ("a length in hex", "content-length: 0x0\r\n".to_owned()),
            (
                "a space before the colon",
                "content-length : 0\r\n".to_owned(),
            ),
            (
                "a folded header",
                "x-a: b\r\n content-length: 0\r\n".to_owned(),
            ),
            (
                "an unknown coding",
                "transfer-encoding: xchunked\r\n".to_owned(),
            ),
            (
                "chunked not last",
                "transfer-encoding: chunked, identity\r\n".to_owned(),
            ),
            (
                "two codings",
                "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n".to_owned(),
            ),
            (
                "chunked twice",
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".to_owned(),
            ),
            (
                "a bare carriage return",
                "x-a: b\rcontent-length: 0\r\n".to_owned(),
            ),
            ("a null", "x-a: b\0c\r\n".to_owned()),
        ] {
            let answer = raw(&world, &format!("{line}{head}\r\n0\r\n\r\n{SMUGGLED}")).await;
            assert!(!answer.contains(" 200 "), "{name}: {answer}");
            assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
            is_told(&answer);
        }
        let old = "GET /v1/models HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n";
        let answer = raw(&world, &format!("{old}\r\n0\r\n\r\n{SMUGGLED}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        is_told(&answer);
        assert!(
            world.keys_at("/").is_empty(),
            "nothing reached the upstream"
        );
    })
    .await;
}

#[tokio::test]
async fn what_can_be_read_in_one_way_is_read_so_and_nothing_is_left_of_it() {
    within(async {
        let n = CHAT.len();
        let last = SMUGGLED.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let twice = format!("content-length: {n}\r\ncontent-length: 0{n}\r\n\r\n{CHAT}");
        let once = format!("content-length: {n}\r\n\r\n{CHAT}");
        let chunks = format!("\r\n{n:x}\r\n{CHAT}\r\n0\r\n\r\n");
        let both = [
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        ];
        for (name, rest, answers) in [
            // RFC 9110, 8.6: they say the same.
            ("twice the same length", twice, 2),
            // RFC 9112, 2.2.
            ("bare line feeds", once.replace("\r\n", "\n"), 2),
            // RFC 9112, 6.1: the coding counts, and the connection ends.
            ("coding and length", format!("{}{chunks}", both[0]), 1),
            ("length and coding", format!("{}{chunks}", both[1]), 1),
        ] {
            let world = start(mock()).await;
            let mut head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\
                            content-type: application/json\r\n"
                .to_owned();
            if name.contains("feeds") {
                head = head.replace("\r\n", "\n");
            }
            let answer = raw(&world, &format!("{head}{rest}{last}")).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
            let all = answer.matches("HTTP/1.1 ").count();
            assert_eq!(
                (all, answer.matches(" 200 ").count()),
                (answers, answers),
                "{name}"
            );
            assert!(answer.contains("connection: close\r\n"), "{name}: {answer}");
            assert_eq!(world.keys_at("/").len(), 1, "{name}");
        }
    })
    .await;
}

/// Asserts that an answer is a refusal that programs can read, whoever has found the fault.
fn is_told(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{answer}");
    let length = format!("content-length: {}", body.len());
    assert!(head.contains(&length), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let status = head.split(' ').nth(1).unwrap();
    assert_eq!(body["error"]["code"].to_string(), status, "{answer}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_words_of_ours() {
    within(async {
        let world = start(mock()).await;
        let long = "x".repeat(70_000);
        for (text, status) in [
            ("GET /v1/models\r\n\r\n".to_owned(), 400),
            ("GET /v1/models HTTP/9.9\r\n\r\n".to_owned(), 400),
            ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n".to_owned(), 400),
            ("POST /v1/\0 HTTP/1.1\r\n\r\n".to_owned(), 400),
            (format!("GET /v1 HTTP/1.1\r\nx: {long}\r\n\r\n"), 431),
            (
                format!("GET /v1 HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)),
                431,
            ),
        ] {
            let answer = raw(&world, &text).await;
            let begins = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&begins), "{text:.40}: {answer}");
            is_told(&answer);
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_without_a_host_with_a_foreign_one_or_with_two_is_refused() {
    within(async {
        let world = start(mock()).await;
        for head in [
            "",
            "host: evil.example\r\n",
            "host: localhost\r\nhost: evil.example\r\n",
        ] {
            let answer = raw(
                &world,
                &format!("GET /v1/models HTTP/1.1\r\nconnection: close\r\n{head}\r\n"),
            )
            .await;
            let refused =
                answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 403 ");
            assert!(refused, "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn requests_one_after_the_other_are_answered_one_after_the_other() {
    within(async {
        let world = start(mock()).await;
        let last = SMUGGLED.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(world.serving.addr()).await.unwrap();
        let both = format!("{SMUGGLED}{last}");
        stream.write_all(both.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{answer}");
    })
    .await;
}
