//! Which path is answered how.

use std::cell::Cell;

use fairkey_core::ApiKey;
use fairkey_gateway::Settings;
use fairkey_mock::{On, Step};
use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::*;

#[tokio::test]
async fn every_base_url_of_every_sdk_leads_to_the_upstream() {
    within(async {
        let world = start(mock()).await;
        for prefix in ["/api/v1", "/v1"] {
            for (path, body) in [
                ("/chat/completions", CHAT),
                ("/completions", r#"{"model":"a/b","prompt":"Hi"}"#),
                (
                    "/messages",
                    r#"{"model":"a/b","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#,
                ),
                ("/responses", r#"{"model":"a/b","input":"Hi"}"#),
                (
                    "/embeddings",
                    r#"{"model":"openai/text-embedding-3-small","input":"Hi"}"#,
                ),
                (
                    "/rerank",
                    r#"{"model":"cohere/rerank-v3.5","query":"q","documents":["a","b"]}"#,
                ),
                (
                    "/audio/speech",
                    r#"{"model":"a/tts","input":"Hi","voice":"alloy"}"#,
                ),
            ] {
                let answer = world.call(&format!("POST {prefix}{path}"), body).await;
                assert_eq!(answer.status, 200, "{path}: {answer:?}");
                assert!(["a", "b"].contains(&answer.header("x-fairkey-key")));
                assert_eq!(answer.header("x-fairkey-attempts"), "1");
                // Seldom more than 0, and by how much hangs on the machine.
                assert!(answer.header("x-fairkey-queue-ms").parse::<u64>().is_ok());
                assert!(answer.header("x-fairkey-request-id").starts_with("req-"));
                assert!(answer.header("x-generation-id").starts_with("gen-"));
            }
        }
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn healthz_answers_and_what_there_is_not_is_a_404_in_the_callers_format() {
    within(async {
        let world = start(mock()).await;
        assert_eq!(world.call("GET /healthz", "").await.text(), "ok\n");
        for path in [
            "/",
            "/api/v1/new-thing",
            "/chat/completions",
            "/api/v1/%6beys",
        ] {
            let answer = world.call(&format!("GET {path}"), "").await;
            assert_eq!(answer.status, 404);
            assert_eq!(answer.json()["error"]["metadata"]["reason"], "bad_path");
        }
        let answer = world.call("GET /v1/messages", "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, "POST")
        );
        assert_eq!(answer.json()["type"], "error");
        assert_eq!(
            world.mock.counters().total.requests,
            0,
            "nothing went upstream"
        );
    })
    .await;
}

#[tokio::test]
async fn unknown_paths_pass_where_that_is_configured() {
    within(async {
        let world = start_with(mock(), |it| it.pass_unknown_paths = true).await;
        let answer = world.call("POST /api/v1/new-thing", "{}").await;
        assert_eq!(answer.status, 404);
        assert!(
            ["a", "b"].contains(&answer.header("x-fairkey-key")),
            "it is the upstream's"
        );
        let answer = world.call("GET /api/v1/KEYS", "").await;
        assert_eq!(
            answer.json()["error"]["metadata"]["reason"],
            "administration_refused"
        );
    })
    .await;
}

#[tokio::test]
async fn administration_is_refused_or_gets_the_management_key_and_no_other() {
    within(async {
        let with_account =
            || mock().key(fairkey_mock::Key::management("sk-or-v1-mgmt-m").account("one"));
        let world = start(with_account()).await;
        for line in [
            "GET /api/v1/credits",
            "POST /api/v1/keys",
            "GET /v1/workspaces",
        ] {
            let answer = world.call(line, "").await;
            assert_eq!(answer.status, 403);
            let reason = &answer.json()["error"]["metadata"]["reason"];
            assert_eq!(reason, "administration_refused");
        }
        assert_eq!(
            world
                .mock
                .log()
                .events()
                .iter()
                .filter(|it| it.is_received())
                .count(),
            0
        );
        let world = start_with(with_account(), |it| {
            it.management_key = Some(ApiKey::new("sk-or-v1-mgmt-m"));
        });
        let answer = world.await.call("GET /api/v1/credits", "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.json()["data"]["total_credits"].is_number());
    })
    .await;
}

#[tokio::test]
async fn the_catalogue_is_fetched_once_however_many_ask() {
    within(async {
        let world = start(mock()).await;
        let ask = || world.call("GET /api/v1/models", "");
        let answers = tokio::join!(ask(), ask(), ask(), ask());
        for answer in [&answers.0, &answers.1, &answers.2, &answers.3, &ask().await] {
            assert!(answer.json()["data"].is_array());
            assert_eq!(answer.header("age"), "0");
        }
        assert_eq!(world.keys_at("/models").len(), 1);
        // Another list, and one that there is not, which is not kept.
        for _ in 0..2 {
            assert_eq!(world.call("GET /v1/providers", "").await.status, 200);
            let none = world.call("GET /api/v1/benchmarks", "").await;
            assert_eq!(none.status, 404);
        }
        assert_eq!(world.keys_at("/providers").len(), 1);
        assert_eq!(world.keys_at("/benchmarks").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn those_who_wait_for_a_list_in_vain_do_not_wait_for_it_one_after_the_other() {
    within(async {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api/v1", upstream.local_addr().unwrap());
        let world = World::start(mock(), Settings::default(), |it| it.base_url(base)).await;
        let fetches = Cell::new(0);
        let serve = async {
            let (mut stream, _) = upstream.accept().await.unwrap();
            let mut seen = Vec::new();
            loop {
                while !seen.ends_with(b"\r\n\r\n") {
                    assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{seen:?}");
                }
                seen.clear();
                fetches.set(fetches.get() + 1);
                if fetches.get() == 1 {
                    // All have come, and wait for what the first of them gets.
                    let all = "\nfairkey_requests_in_flight 4\n";
                    until("all four wait", || {
                        world.gateway.metrics_text().contains(all)
                    })
                    .await;
                }
                let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        };
        let ask = || world.call("GET /api/v1/models", "");
        let asking = async {
            let answers = tokio::join!(ask(), ask(), ask(), ask());
            for answer in [answers.0, answers.1, answers.2, answers.3] {
                assert_eq!(answer.status, 404);
            }
            assert_eq!(fetches.get(), 1);
            // Who comes later asks again.
            assert_eq!(ask().await.status, 404);
            assert_eq!(fetches.get(), 2);
        };
        tokio::select! {
            () = asking => {}
            () = serve => {}
        }
    })
    .await;
}

#[tokio::test]
async fn the_caller_s_token_and_cookies_stay_here_and_the_upstream_s_cookies_there() {
    within(async {
        let reply = fairkey_mock::Reply::json(
            200,
            &serde_json::json!({"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}),
        )
        .header("set-cookie", "__cf_bm=secret")
        .header("access-control-allow-origin", "*")
        .header("x-openrouter-cache-status", "MISS");
        let script = [fairkey_mock::Step::reply(reply)];
        let world = start(mock().script(fairkey_mock::On::any(), script)).await;
        let mut request = world.request("POST /v1/chat/completions", CHAT);
        let headers = request.headers_mut();
        headers.insert("cookie", HeaderValue::from_static("session=of-the-caller"));
        headers.insert("x-api-key", HeaderValue::from_static("of-the-caller"));
        let answer = world.fetch(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.headers.get("set-cookie").is_none());
        assert!(answer.headers.get("access-control-allow-origin").is_none());
        assert_eq!(answer.header("x-openrouter-cache-status"), "MISS");
    })
    .await;
}

#[tokio::test]
async fn calls_under_way_end_before_the_server_does() {
    within(async {
        // It has begun, and has a while to go, when the end is asked for.
        let drip = Step::drip(64, std::time::Duration::from_millis(5)).forever();
        let world = start(mock().script(On::any(), [drip])).await;
        let request = world.request("POST /v1/chat/completions", STREAM);
        let response = world.send(request).await;
        assert_eq!(world.client.pool().in_flight(), 1);
        let World {
            serving,
            mock: _mock,
            ..
        } = world;
        let addr = serving.addr();
        let body = response.into_body().collect_bounded(1 << 20);
        let (all, body) = tokio::join!(serving.shutdown(std::time::Duration::from_secs(30)), body);
        assert!(all.is_whole() && body.unwrap().ends_with(b"data: [DONE]\n\n"));
        let late = tokio::net::TcpStream::connect(addr).await;
        assert!(late.is_err(), "nobody listens any more");
    })
    .await;
}

#[tokio::test]
async fn clients_that_speak_http_2_are_served_too() {
    within(async {
        let world = start(mock()).await;
        let stream = tokio::net::TcpStream::connect(world.serving.addr())
            .await
            .unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = || world.request("POST /v1/chat/completions", STREAM);
        let mut ask = || sender.send_request(request().map(http_body_util::Full::new));
        let (one, two) = (ask(), ask());
        for answer in [one.await.unwrap(), two.await.unwrap()] {
            assert_eq!(answer.status(), 200);
            let body = http_body_util::BodyExt::collect(answer.into_body())
                .await
                .unwrap();
            assert!(body.to_bytes().ends_with(b"data: [DONE]\n\n"));
        }
    })
    .await;
}
