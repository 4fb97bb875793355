//! How calls end whose answers pass whole.

use fairkey_gateway::{End, Settings};
use fairkey_mock::{On, Reply, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::*;

const SPEECH: &str = r#"{"model":"a/tts","input":"Hi","voice":"alloy"}"#;

#[tokio::test]
async fn an_answer_of_a_known_length_has_come_to_its_end_when_all_of_it_has_passed() {
    within(async {
        let mut world = start(mock()).await;
        let answer = world.call("POST /v1/audio/speech", SPEECH).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
        let ended = world.ended.recv().await.unwrap();
        assert_eq!(ended.end, End::Whole);
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_passes_is_a_failure_and_no_caller_that_left() {
    within(async {
        let refusal = Reply::json(
            400,
            &serde_json::json!({"error":{"code":400,"message":"no such voice"}}),
        );
        let script = [Step::reply(refusal).forever()];
        let mut world = start(mock().script(On::any(), script)).await;
        let answer = world.call("POST /v1/audio/speech", SPEECH).await;
        assert_eq!(answer.status, 400);
        let ended = world.ended.recv().await.unwrap();
        assert_eq!(ended.end, End::Failed);
    })
    .await;
}

#[tokio::test]
async fn trailers_stay_behind_and_the_answer_before_them_is_whole() {
    within(async {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api/v1", upstream.local_addr().unwrap());
        let mut world = World::start(mock(), Settings::default(), |it| it.base_url(base)).await;
        let serve = async {
            let (mut stream, _) = upstream.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(SPEECH.as_bytes()) {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{seen:?}");
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntrailer: set-cookie\r\n\
                 transfer-encoding: chunked\r\n\r\n5\r\nsound\r\n0\r\nset-cookie: a=b\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let mut request = world.request("POST /v1/audio/speech", SPEECH);
        let te = http::HeaderValue::from_static("trailers");
        request.headers_mut().insert("te", te);
        let ((), response) = tokio::join!(serve, world.send(request));
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        let body = body.unwrap();
        assert!(body.trailers().is_none(), "{body:?}");
        assert_eq!(body.to_bytes(), "sound");
        assert_eq!(world.ended.recv().await.unwrap().end, End::Whole);
    })
    .await;
}
