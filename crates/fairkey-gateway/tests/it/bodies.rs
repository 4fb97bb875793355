//! Bodies on their way up and down.

use fairkey_gateway::Settings;
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::*;

const FORM: &str = "--xyz\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper-1\r\n\
    --xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
    content-type: audio/wav\r\n\r\nRIFFsound\r\n--xyz--\r\n";

#[tokio::test]
async fn a_form_passes_as_it_comes() {
    within(async {
        let world = start(mock()).await;
        let mut request = world.request("POST /api/v1/audio/transcriptions", FORM);
        let kind = HeaderValue::from_static("multipart/form-data; boundary=xyz");
        request.headers_mut().insert("content-type", kind.clone());
        let answer = world.fetch(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.json()["text"].is_string());

        let world = start_with(mock(), |it| it.max_upload_bytes = 10).await;
        let mut request = world.request("POST /api/v1/audio/transcriptions", FORM);
        request.headers_mut().insert("content-type", kind);
        let answer = world.fetch(request).await;
        assert_eq!(answer.status, 413);
        assert_eq!(
            answer.json()["error"]["metadata"]["reason"],
            "body_too_large"
        );
    })
    .await;
}

#[tokio::test]
async fn a_body_beyond_the_bound_and_one_that_is_no_json_are_told_in_the_callers_format() {
    within(async {
        let world = start_with(mock(), |it| it.max_body_bytes = 100).await;
        let large = format!(r#"{{"model":"{}"}}"#, "x".repeat(200));
        let answer = world.call("POST /v1/messages", large).await;
        assert_eq!(answer.status, 413);
        assert_eq!(answer.json()["error"]["type"], "request_too_large");
        let answer = world.call("POST /v1/responses", "[1,2]").await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["code"], "bad_json");
        let said = answer.json()["error"]["message"].to_string();
        assert_eq!(said.matches("is no JSON object").count(), 1, "{said}");
        assert_eq!(world.mock.counters().total.requests, 0);
    })
    .await;
}

/// What a server that is no mock saw of a request, byte for byte.
async fn seen_upstream(request: impl FnOnce(&World) -> http::Request<bytes::Bytes>) -> String {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api/v1", upstream.local_addr().unwrap());
    let world = World::start(mock(), Settings::default(), |it| it.base_url(base)).await;
    let serve = async {
        let (mut stream, _): (TcpStream, _) = upstream.accept().await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).ends_with("END\"}") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{seen:?}");
        }
        let body = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             set-cookie: a=b\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    let (seen, answer) = tokio::join!(serve, world.fetch(request(&world)));
    assert_eq!(answer.status, 200);
    assert!(answer.headers.get("set-cookie").is_none());
    seen
}

#[tokio::test]
async fn the_body_goes_up_byte_for_byte_with_another_authorization() {
    within(async {
        let odd = "{ \"model\" : \"a/b\",\n \"n\":1.00000000000000000001,\"x\":\"\\u0041\", \"messages\":[ ],\"z\":\"END\"}";
        let seen = seen_upstream(|world| {
            let mut request = world.request("POST /v1/files/x?a=%20b", odd);
            *request.uri_mut() = format!("http://{}/v1/chat/completions?a=%20b", world.serving.addr())
                .parse()
                .unwrap();
            let headers = request.headers_mut();
            headers.insert("x-session-id", HeaderValue::from_static("s"));
            headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
            headers.insert("http-referer", HeaderValue::from_static("https://app.example"));
            headers.insert("cookie", HeaderValue::from_static("c=d"));
            request
        })
        .await;
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, odd);
        assert!(head.starts_with("POST /api/v1/chat/completions?a=%20b HTTP/1.1\r\n"), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("x-session-id: s\r\n") && lower.contains("http-referer: https"));
        assert!(lower.contains("authorization: bearer sk-or-v1-"), "{head}");
        for absent in ["of-the-caller", "cookie", "accept-encoding"] {
            assert!(!lower.contains(absent), "{absent}: {head}");
        }
    })
    .await;
}
