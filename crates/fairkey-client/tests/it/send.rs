//! Any request, and answers as they come.

use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{CallErrorKind, CallOptions, Client, LeasedBody, Served};
use fairkey_core::Scope;
use fairkey_openrouter::AppAttribution;
use fairkey_transport::TransportErrorKind;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;

use crate::scripted::{
    ADMISSION, BAD, DOWN, NO_CREDIT, PROVIDER_FULL, Part, REVOKED, Reply, Scripted, builder,
    client, data, delta, event, finish, role,
};

fn post(path: &str) -> Request<Bytes> {
    Request::post(path)
        .body(Bytes::from_static(br#"{"stream":true}"#))
        .unwrap()
}

async fn send(client: &Client, path: &str) -> Response<LeasedBody> {
    client.send(post(path)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn bytes_pass_untouched_in_both_directions() {
    let parts: Vec<_> = [data(": hi\r\n\r\n"), role(), delta("ä")]
        .into_iter()
        .chain(finish())
        .collect();
    let expected: String = parts
        .iter()
        .map(|part| match part {
            Part::Data(text) => text.as_str(),
            _ => "",
        })
        .collect();
    let transport = Scripted::new(move |_| Reply::stream(parts.clone()).header("x-odd", "kept"));
    let client = client(1, &transport);
    let request = Request::post("/chat/completions?debug=1")
        .header("authorization", "Bearer of-the-caller")
        .header("x-session-id", "s")
        .body(Bytes::from_static(b"{ \"stream\" : true }"))
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()["x-odd"], "kept");
    assert_eq!(
        response.extensions().get::<Served>().unwrap().key.as_str(),
        "k0"
    );
    assert_eq!(client.pool().in_flight(), 1);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, expected);
    assert_eq!(client.pool().in_flight(), 0);
    assert_eq!(
        client.stats().used.tokens,
        9,
        "the side reader saw the usage"
    );
    let seen = &transport.seen()[0];
    assert_eq!(seen.body, "{ \"stream\" : true }");
    assert_eq!(seen.key, "sk-0");
    assert_eq!(seen.headers["x-session-id"], "s");
    assert_eq!(
        seen.uri,
        "https://openrouter.ai/api/v1/chat/completions?debug=1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_nothing_helps_is_handed_on_as_it_came() {
    let transport = Scripted::new(|_| Reply::status(400, BAD).header("x-odd", "kept"));
    let client = client(2, &transport);
    let response = send(&client, "/embeddings").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-odd"]),
        (400, &"kept".parse().unwrap())
    );
    let served = response.extensions().get::<Served>().unwrap().clone();
    assert_eq!(served.attempts.len(), 1);
    assert_eq!(served.attempts[0].fault.unwrap().scope, Scope::Request);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        BAD
    );
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_refusal_is_handed_on_when_the_ledger_is_used_up() {
    let transport = Scripted::new(|_| Reply::status(503, DOWN));
    let client = client(1, &transport);
    let response = send(&client, "/embeddings").await;
    assert_eq!(response.status(), 503);
    assert_eq!(
        response
            .extensions()
            .get::<Served>()
            .unwrap()
            .attempts
            .len(),
        4
    );
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        DOWN
    );
}

#[tokio::test(start_paused = true)]
async fn a_large_refusal_is_handed_on_whole() {
    let large = format!(
        r#"{{"error":{{"code":400,"message":"{}"}}}}"#,
        "x".repeat(600 << 10)
    );
    let body = large.clone();
    let transport = Scripted::new(move |_| {
        let parts = body
            .as_bytes()
            .chunks(10_000)
            .map(|c| std::str::from_utf8(c).unwrap());
        let headers = vec![("content-type", "application/json".to_owned())];
        Reply::Answer {
            status: 400,
            headers,
            body: parts.map(data).collect(),
        }
    });
    let client = client(1, &transport);
    let response = send(&client, "/embeddings").await;
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        large
    );
    assert_eq!(client.pool().in_flight(), 0);
    assert_eq!(client.stats().faults.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_fails_over_until_its_first_content_and_not_after() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(401, REVOKED),
        2 => Reply::stream([role(), event(r#"{"error":{"code":502,"message":"x"}}"#)]),
        _ => Reply::stream([role(), delta("half"), event(PROVIDER_FULL)]),
    });
    let client = client(2, &transport);
    let response = send(&client, "/chat/completions").await;
    assert_eq!(
        response
            .extensions()
            .get::<Served>()
            .unwrap()
            .attempts
            .len(),
        3
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        text.contains("half") && text.contains("slow down"),
        "the error passes too: {text}"
    );
    assert_eq!(transport.seen().len(), 3);
    let scopes: Vec<_> = client
        .stats()
        .faults
        .iter()
        .map(|fault| fault.scope)
        .collect();
    assert_eq!(scopes, [Scope::Key, Scope::Provider, Scope::Provider]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_fails_for_the_caller_too() {
    for (end, scope) in [
        (None, Scope::Provider),
        (Some(Part::Break(TransportErrorKind::Reset)), Scope::Network),
    ] {
        let parts: Vec<_> = [delta("half")].into_iter().chain(end).collect();
        let transport = Scripted::new(move |_| Reply::stream(parts.clone()));
        let client = client(2, &transport);
        let mut body = send(&client, "/chat/completions").await.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.scope()), (CallErrorKind::Fault, scope));
        assert!(body.frame().await.is_none());
        assert_eq!((transport.seen().len(), client.pool().in_flight()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_cut_within_its_first_content_or_before_it_fails_for_the_caller_too() {
    let half = r#"data: {"type":"content_block_delta","choices":[{"delta":{"content":"x"}}]}"#;
    for (path, part) in [
        ("/chat/completions", data(half)),
        ("/messages", data(half)),
        ("/chat/completions", data(": nothing but comments\n\n")),
        (
            "/messages",
            data("event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        ),
    ] {
        let transport = Scripted::new(move |_| Reply::stream([part.clone()]));
        let client = client(2, &transport);
        let mut body = send(&client, path).await.into_body();
        assert!(!body.is_end_stream() && body.size_hint().exact().is_none());
        assert!(body.frame().await.unwrap().is_ok(), "what came is passed");
        let error = body.frame().await.expect(path).unwrap_err();
        assert_eq!(
            (error.kind(), error.scope()),
            (CallErrorKind::Fault, Scope::Provider)
        );
        assert!(body.frame().await.is_none() && body.is_end_stream());
        assert_eq!(client.pool().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_blames_nobody_and_one_that_stays_to_the_end_settles() {
    let transport = Scripted::new(|_| {
        Reply::stream([delta("x")].into_iter().chain(finish()).chain([Part::Hang]))
    });
    let client = client(1, &transport);
    drop(send(&client, "/chat/completions").await);
    assert_eq!(client.stats().used.tokens, 0);
    let mut body = send(&client, "/chat/completions").await.into_body();
    for _ in 0..4 {
        body.frame().await.unwrap().unwrap();
    }
    // `[DONE]` has passed: the caller need not wait for the connection to close.
    drop(body);
    assert_eq!(client.stats().used.tokens, 9);
    assert!(client.stats().faults.is_empty());
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_in_json_passes_and_is_charged() {
    let error = r#"{"error":{"code":502,"message":"x"}}"#;
    let transport = Scripted::new(move |_| Reply::status(200, error));
    let client = client(1, &transport);
    let response = send(&client, "/embeddings").await;
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        error
    );
    assert_eq!(client.stats().faults.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn binary_answers_and_redirects_pass() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::Answer {
            status: 200,
            headers: vec![("content-type", "audio/pcm".to_owned())],
            body: vec![data("\u{0}\u{1}")],
        },
        _ => Reply::status(302, "").header("location", "https://elsewhere.example/"),
    });
    let client = client(1, &transport);
    let audio = send(&client, "/audio/speech").await;
    assert_eq!(
        audio.into_body().collect().await.unwrap().to_bytes(),
        "\u{0}\u{1}"
    );
    let redirect = send(&client, "/videos/1/content").await;
    assert_eq!(redirect.headers()["location"], "https://elsewhere.example/");
    assert_eq!(transport.seen().len(), 2, "a redirect is not followed");
    assert!(client.stats().faults.is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_the_configured_origin_gets_a_key() {
    let transport = Scripted::new(|_| Reply::status(200, "{\"data\":[]}"));
    let client = client(1, &transport);
    for foreign in [
        "https://evil.example/api/v1/key",
        "http://openrouter.ai/api/v1/key",
    ] {
        let error = client.send(post(foreign)).await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Request);
    }
    assert!(transport.seen().is_empty());
    send(&client, "https://openrouter.ai/api/beta/batches").await;
    assert_eq!(
        transport.seen()[0].uri,
        "https://openrouter.ai/api/beta/batches"
    );
}

#[tokio::test(start_paused = true)]
async fn the_app_is_named_where_the_caller_names_none() {
    let transport = Scripted::new(|_| Reply::status(200, "{\"data\":[]}"));
    let app = AppAttribution::new("https://ours.example").title("ours");
    let client = builder(1, &transport).app(app).build().unwrap();
    send(&client, "/models").await;
    let mut own = post("/models");
    own.headers_mut()
        .insert("x-title", "theirs".parse().unwrap());
    client.send(own).await.unwrap();
    let seen = transport.seen();
    assert_eq!(seen[0].headers["http-referer"], "https://ours.example");
    assert_eq!(seen[1].headers["x-title"], "theirs");
    assert!(!seen[1].headers.contains_key("http-referer"));
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_holds_to_the_end_of_the_stream() {
    let transport = Scripted::new(|_| Reply::stream([delta("x")]));
    let client = client(1, &transport);
    let mut request = post("/chat/completions");
    let deadline = Some(Duration::from_secs(7));
    request.extensions_mut().insert(CallOptions {
        deadline,
        ..CallOptions::default()
    });
    client.send(request).await.unwrap();
    assert_eq!(transport.seen()[0].deadlines.total, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_the_last_key_is_handed_on_as_it_came() {
    for (status, body) in [(401, REVOKED), (402, NO_CREDIT), (429, ADMISSION)] {
        let transport = Scripted::new(move |_| Reply::status(status, body).header("x-odd", "kept"));
        let client = builder(2, &transport)
            .max_wait(Duration::from_secs(5))
            .build()
            .unwrap();
        let response = send(&client, "/embeddings").await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-odd"], "kept");
        assert_eq!(client.pool().in_flight(), 0, "no lease waits for a reader");
        let served = response.extensions().get::<Served>().unwrap().clone();
        assert_eq!(served.attempts.len(), 2);
        assert_eq!(served.key, served.attempts[1].key);
        let read = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read, body);
        // The next call finds no key: there is no answer to hand on.
        let error = client.send(post("/embeddings")).await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::NoKey);
        assert!(error.response().is_none() && error.attempts().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_too_large_to_be_read_whole_holds_no_key_while_others_are_looked_for() {
    let large = format!(
        r#"{{"error":{{"code":401,"message":"{}"}}}}"#,
        "x".repeat(600 << 10)
    );
    let transport = Scripted::new(move |_| Reply::status(401, &large));
    let client = client(1, &transport);
    let error = client.send(post("/embeddings")).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_before_the_deadline_is_handed_on_when_no_key_comes_in_time() {
    let transport = Scripted::new(|_| Reply::status(429, ADMISSION));
    let client = client(1, &transport);
    let mut request = post("/embeddings");
    request.extensions_mut().insert(CallOptions {
        deadline: Some(Duration::from_secs(5)),
        ..CallOptions::default()
    });
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(
        response
            .extensions()
            .get::<Served>()
            .unwrap()
            .attempts
            .len(),
        1
    );
}
