//! Jobs, files and generations go back to the key that made them.

use fairkey_mock::{Break, On, Reply, Step};
use http::HeaderValue;
use serde_json::json;

use crate::world::*;

#[tokio::test]
async fn a_job_is_polled_by_the_key_that_began_it_and_found_again_after_a_restart() {
    within(async {
        let mut world = start(mock()).await;
        let ask = json!({"model": "google/veo-3", "prompt": "a cat"}).to_string();
        let mut made = Vec::new();
        for _ in 0..4 {
            let answer = world.call("POST /api/v1/videos", ask.clone()).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            made.push((id, answer.header("x-fairkey-key").to_owned()));
        }
        assert!(made.iter().any(|(_, key)| key == "a") && made.iter().any(|(_, key)| key == "b"));
        for restart in [false, true] {
            if restart {
                world = world.restarted().await;
            }
            for (id, key) in &made {
                for path in ["", "/content"] {
                    let answer = world.call(&format!("GET /v1/videos/{id}{path}"), "").await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    assert_eq!(answer.header("x-fairkey-key"), key);
                }
                if !restart {
                    let asked = world.keys_at(&format!("/videos/{id}"));
                    assert_eq!(asked, [key.as_str(), key.as_str()], "nobody else was asked");
                }
            }
        }
        let strange = world.call("GET /v1/videos/nobody-s", "").await;
        assert_eq!(strange.status, 404, "{strange:?}");
    })
    .await;
}

#[tokio::test]
async fn batches_beside_the_stable_version_go_back_too() {
    within(async {
        let world = start(mock()).await;
        let batch = r#"{"endpoint":"/v1/chat/completions","model":"openai/gpt-4o-mini","requests":[{"custom_id":"1","body":{"messages":[{"role":"user","content":"Hi"}]}}]}"#;
        for _ in 0..3 {
            let answer = world.call("POST /api/beta/batches", batch).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            let polled = world.call(&format!("GET /api/beta/batches/{id}"), "").await;
            assert_eq!(polled.json()["status"], "completed", "{polled:?}");
            assert_eq!(polled.header("x-fairkey-key"), answer.header("x-fairkey-key"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_and_a_generation_are_asked_of_their_own_key() {
    within(async {
        let world = start(mock()).await;
        for _ in 0..3 {
            let form = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                        content-type: text/plain\r\n\r\nhello\r\n--b--\r\n";
            let mut request = world.request("POST /api/v1/files", form);
            let kind = HeaderValue::from_static("multipart/form-data; boundary=b");
            request.headers_mut().insert("content-type", kind);
            let sent = world.fetch(request).await;
            assert_eq!(sent.status, 200, "{sent:?}");
            let id = sent.json()["id"].as_str().unwrap().to_owned();
            let content = world.call(&format!("GET /api/v1/files/{id}/content"), "").await;
            assert_eq!(content.text(), "hello");
            assert_eq!(content.header("x-fairkey-key"), sent.header("x-fairkey-key"));

            let chat = world.call("POST /v1/chat/completions", CHAT).await;
            let id = chat.header("x-generation-id");
            let told = world.call(&format!("GET /v1/generation?id={id}"), "").await;
            assert_eq!(told.json()["data"]["id"], id, "{told:?}");
            assert_eq!(told.header("x-fairkey-key"), chat.header("x-fairkey-key"));
        }
    })
    .await;
}

/// A refusal of a job, of so many bytes.
fn refusal(bytes: usize) -> (Reply, String) {
    let text = "x".repeat(bytes);
    let body = json!({"error": {"code": 400, "message": text}});
    (Reply::json(400, &body), body.to_string())
}

#[tokio::test]
async fn a_refusal_of_a_job_passes_whole_however_long_it_is() {
    within(async {
        for bytes in [10, 5 << 20] {
            let (reply, body) = refusal(bytes);
            let script = [Step::reply(reply).forever()];
            let world = start(mock().script(On::path("/videos/some"), script)).await;
            let answer = world.call("GET /v1/videos/some", "").await;
            assert_eq!(answer.status, 400, "{answer:.300?}");
            assert!(answer.text() == body, "{} bytes", answer.body.len());
        }
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_a_job_that_breaks_off_is_told_as_that() {
    within(async {
        let (reply, _) = refusal(10);
        let cut = Step::reply(reply).then_break(0, Break::Cut).forever();
        let world = start(mock().script(On::path("/videos/some"), [cut])).await;
        let answer = world.call("GET /v1/videos/some", "").await;
        assert_eq!(answer.status, 502, "{answer:?}");
        assert_eq!(answer.header("x-fairkey-error"), "upstream_failed");
        assert!(answer.text().contains("broke off"), "{answer:?}");
    })
    .await;
}
