//! Images, speech, transcripts, videos and files.

use std::time::Duration;

use fairkey_mock::{Account, Fault, Key, MockOpenRouter, On, Step};
use serde_json::{Value, json};

use crate::support::{Answer, call, get, request, send};

async fn world() -> MockOpenRouter {
    MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(10.0))
        .account(Account::new("other"))
        .key(Key::new("k").account("acme"))
        .key(Key::new("sibling").account("acme"))
        .key(Key::new("stranger").account("other"))
        .job_duration(Duration::from_secs(600))
        .start()
        .await
        .unwrap()
}

async fn form(mock: &MockOpenRouter, path: &str, parts: &str) -> Answer {
    let mut request = request(mock, "POST", path, Some("k"), parts.replace('\n', "\r\n"));
    let kind = "multipart/form-data; boundary=\"xyz\"".parse().unwrap();
    request.headers_mut().insert("content-type", kind);
    send(mock, request).await.unwrap()
}

const FORM: &str = "--xyz\ncontent-disposition: form-data; name=\"model\"\n\nopenai/whisper-1\n\
    --xyz\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\n\
    content-type: audio/wav\n\nRIFFsound\n--xyz--\n";

#[tokio::test]
async fn images_come_whole_or_in_parts_and_cost() {
    let mock = world().await;
    let ask = json!({"model": "google/imagen", "prompt": "a cat", "n": 2});
    let answer = call(&mock, "POST", "/images", "k", &ask).await;
    let json = answer.json();
    assert_eq!(json["data"].as_array().unwrap().len(), 2);
    assert_eq!(json["usage"]["cost"], 0.08);
    assert!(
        answer
            .header("x-generation-id")
            .unwrap()
            .starts_with("gen-")
    );
    assert!((10.0 - mock.balance_usd("acme") - 0.08).abs() < 1e-9);
    let ask = json!({"model": "google/imagen", "prompt": "a cat", "stream": true});
    let answer = call(&mock, "POST", "/images", "k", &ask).await;
    let chunks = answer.chunks();
    let kinds: Vec<_> = chunks.iter().map(|chunk| &chunk["type"]).collect();
    let partial = "image_generation.partial_image";
    assert_eq!(kinds, [partial, partial, "image_generation.completed"]);
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn speech_is_bytes_and_the_same_for_the_same_text() {
    let mock = world().await;
    let ask = json!({"model": "openai/tts-1", "input": "hello", "response_format": "mp3"});
    let first = call(&mock, "POST", "/audio/speech", "k", &ask).await;
    assert_eq!(first.header("content-type"), Some("audio/mpeg"));
    assert_eq!(first.bytes.len(), 5 * 256);
    assert!(std::str::from_utf8(&first.bytes).is_err(), "it is no text");
    let again = call(&mock, "POST", "/audio/speech", "k", &ask).await;
    assert_eq!(first.bytes, again.bytes);
}

#[tokio::test]
async fn transcripts_take_a_form_or_json() {
    let mock = world().await;
    let answer = form(&mock, "/audio/transcriptions", FORM).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["text"].as_str().unwrap().contains("9 bytes"));
    let ask =
        json!({"model": "openai/whisper-1", "input_audio": {"data": "UklGRiQA", "format": "wav"}});
    let json = call(&mock, "POST", "/audio/transcriptions", "k", &ask)
        .await
        .json();
    assert!(json["text"].as_str().unwrap().contains("6 bytes"));
    let without = FORM.replace("name=\"file\"", "name=\"none\"");
    assert_eq!(
        form(&mock, "/audio/transcriptions", &without).await.status,
        400
    );
    assert_eq!(
        form(&mock, "/audio/transcriptions", "--xyz").await.status,
        400
    );
}

#[tokio::test]
async fn a_video_is_a_job_of_the_account_that_made_it() {
    let mock = world().await;
    let ask = json!({"model": "google/veo", "prompt": "waves"});
    let made = call(&mock, "POST", "/videos", "k", &ask).await;
    assert_eq!(made.status, 202);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/videos/{id}");
    let content = format!("{path}/content");
    for status in ["pending", "in_progress"] {
        assert_eq!(get(&mock, &path, "k").await.json()["status"], status);
        assert_eq!(get(&mock, &content, "k").await.status, 400);
        mock.advance(Duration::from_secs(300));
    }
    let json = get(&mock, &path, "sibling").await.json();
    assert_eq!(
        (&json["status"], &json["usage"]["cost"]),
        (&json!("completed"), &json!(0.5))
    );
    let film = get(&mock, &content, "k").await;
    assert_eq!(film.header("content-type"), Some("video/mp4"));
    assert_eq!(&film.bytes[4..8], b"ftyp");
    assert_eq!(get(&mock, &path, "stranger").await.status, 404);
}

#[tokio::test]
async fn files_are_kept_for_their_account_until_they_are_deleted() {
    let mock = world().await;
    let file = form(&mock, "/files", FORM).await.json();
    assert_eq!(
        (&file["filename"], &file["size_bytes"]),
        (&json!("a.wav"), &json!(9))
    );
    let path = format!("/files/{}", file["id"].as_str().unwrap());
    assert_eq!(get(&mock, &path, "sibling").await.json(), file);
    assert_eq!(
        get(&mock, &format!("{path}/content"), "k").await.bytes,
        b"RIFFsound"
    );
    assert_eq!(
        get(&mock, "/files", "k").await.json()["data"],
        json!([file])
    );
    assert_eq!(get(&mock, &path, "stranger").await.status, 404);
    assert_eq!(
        get(&mock, "/files", "stranger").await.json()["data"],
        json!([])
    );
    let deleted = call(&mock, "DELETE", &path, "k", &json!({})).await.json();
    assert_eq!(deleted["type"], "file_deleted");
    assert_eq!(get(&mock, &path, "k").await.status, 404);
    assert_eq!(form(&mock, "/files", "").await.status, 400);
}

#[tokio::test]
async fn media_need_money_and_a_model_and_meet_scripts() {
    let mock = world().await;
    let ask = json!({"model": "a/b", "prompt": "x", "input": "x"});
    mock.script(On::any(), [Step::reply(Fault::overloaded_529())]);
    assert_eq!(call(&mock, "POST", "/images", "k", &ask).await.status, 529);
    for path in [
        "/images",
        "/audio/speech",
        "/audio/transcriptions",
        "/videos",
    ] {
        for body in [json!({}), json!([]), json!({"model": "x"}), Value::Null] {
            assert_eq!(
                call(&mock, "POST", path, "k", &body).await.status,
                400,
                "{path} {body}"
            );
        }
    }
    mock.set_balance("acme", 0.0);
    let answer = call(&mock, "POST", "/images", "k", &ask).await;
    assert_eq!(answer.limit_source().as_deref(), Some("openrouter_credits"));
}
