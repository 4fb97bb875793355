//! What a gateway needs beside `send`: held JSON, streamed bodies, one key and no other, and why a
//! refusal is the last.

use fairkey_client::{CallError, CallErrorKind, CallOptions, Client, GiveUp, Served};
use fairkey_core::{ApiKey, Scope};
use fairkey_mock::{Account, Event, EventKind, Fault, Key, MockOpenRouter, On, Step};
use fairkey_transport::Body;
use http::Request;
use http_body_util::BodyExt;

use crate::scripted::{BAD, REVOKED, Reply, Scripted, client, good_body};

#[tokio::test(start_paused = true)]
async fn held_json_that_is_a_failure_inside_a_200_is_tried_again_and_other_json_passes() {
    let error = r#"{"error":{"code":502,"message":"x"}}"#;
    for (hold, attempts, expected) in [(true, 2, good_body("hi")), (false, 1, error.to_owned())] {
        let transport = Scripted::new(move |seen| match seen.nth {
            1 => Reply::status(200, error),
            _ => Reply::good("hi"),
        });
        let client = client(1, &transport);
        let mut request = Request::post("/chat/completions")
            .body("{}".into())
            .unwrap();
        request.extensions_mut().insert(CallOptions {
            hold_json: hold,
            ..CallOptions::default()
        });
        let response = client.send(request).await.unwrap();
        let in_flight = client.pool().in_flight();
        assert_eq!(in_flight, u64::from(!hold), "what is whole holds no key");
        let served = response.extensions().get::<Served>().unwrap();
        assert_eq!(served.attempts.len(), attempts);
        assert!(served.error.is_none());
        let cost = response.body().cost();
        assert_eq!(cost.is_some(), hold, "{cost:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
        assert_eq!(client.pool().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_handed_on_comes_with_why_it_is_the_last() {
    let transport = Scripted::new(|_| Reply::status(401, REVOKED));
    let served = served(&client(2, &transport)).await;
    let error: CallError = served.error.unwrap();
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert_eq!(error.scope(), Scope::Key);
    assert_eq!(error.give_up(), Some(GiveUp::NoKeyLeft));
    assert_eq!(served.attempts.len(), 2);

    let transport = Scripted::new(|_| Reply::status(400, BAD));
    let error = self::served(&client(2, &transport)).await.error.unwrap();
    assert_eq!(error.kind(), CallErrorKind::Fault);
    assert_eq!((error.scope(), error.give_up()), (Scope::Request, None));
}

async fn served(client: &Client) -> Served {
    let request = Request::post("/embeddings").body("{}".into()).unwrap();
    let response = client.send(request).await.unwrap();
    response.extensions().get::<Served>().unwrap().clone()
}

fn upload() -> Request<Body> {
    Request::post("/files")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(Body::full(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
             content-type: text/plain\r\n\r\nhello\r\n--b--\r\n"
                .into(),
        ))
        .unwrap()
}

async fn two_keys(steps: impl IntoIterator<Item = Step>) -> (MockOpenRouter, Client) {
    let mock = MockOpenRouter::builder()
        .account(Account::new("one"))
        .account(Account::new("two"))
        .key(Key::new("sk-or-v1-a").label("a").account("one"))
        .key(Key::new("sk-or-v1-b").label("b").account("two"))
        .script(On::path("/files"), steps)
        .start()
        .await
        .unwrap();
    let client = Client::builder()
        .key("a", "sk-or-v1-a")
        .key("b", "sk-or-v1-b")
        .base_url(mock.base_url())
        .build()
        .unwrap();
    (mock, client)
}

#[tokio::test]
async fn a_body_that_was_streamed_is_sent_once_whatever_the_answer() {
    let (_mock, client) = two_keys([]).await;
    let response = client.send_streamed(upload()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{"), "{body:?}");

    let (mock, client) = two_keys([Step::reply(Fault::key_revoked()).times(2)]).await;
    let response = client.send_streamed(upload()).await.unwrap();
    assert_eq!(response.status(), 401);
    let served = response.extensions().get::<Served>().unwrap();
    assert_eq!(served.attempts.len(), 1);
    let error = served.error.as_ref().unwrap();
    assert_eq!(error.give_up(), Some(GiveUp::BodySent));
    assert_eq!(mock.scripted_calls_left(), 1);
    drop(response);
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test]
async fn a_request_by_one_key_goes_by_no_other_and_needs_no_lease() {
    let (mock, client) = two_keys([]).await;
    for key in ["b", "b", "a"] {
        let request = Request::get("/key").body(Body::empty()).unwrap();
        let response = client.send_by(key, request).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let served = |event: &Event| matches!(event.kind, EventKind::Received { .. });
    let keys: Vec<_> = (mock.log().events().iter().filter(|event| served(event)))
        .map(|event| event.key().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["b", "b", "a"]);
    let request = || Request::get("/key").body(Body::empty()).unwrap();
    let error = client.send_by("c", request()).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Request);
    let secret = ApiKey::new("sk-or-v1-nobody");
    let response = client.send_with(&secret, request()).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(client.stats().calls, 0);
}
