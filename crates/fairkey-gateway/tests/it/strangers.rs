//! Who may ask a gateway that asks for no token.

use fairkey_gateway::{Gateway, Origins};
use tokio::net::TcpListener;

use crate::world::*;

#[tokio::test]
async fn a_gateway_without_tokens_listens_on_loopback_only() {
    within(async {
        let world = start(mock()).await;
        let gateway = Gateway::builder(world.client.clone()).build();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let error = gateway.serve(listener).unwrap_err();
        assert!(error.to_string().contains("[[clients]]"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn no_web_page_spends_the_operators_money() {
    within(async {
        let world = start(mock()).await;
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let mut request = world.request("POST /v1/chat/completions", CHAT);
            request.headers_mut().insert(name, value.parse().unwrap());
            let answer = world.fetch(request).await;
            assert_eq!(answer.status, 403, "{name}: {value} {answer:?}");
            assert_eq!(answer.header("x-fairkey-error"), "foreign_origin");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
        let mut request = world.request("POST /v1/chat/completions", CHAT);
        let own = format!("http://{}", world.serving.addr());
        for origin in [&*own, "https://evil.example"] {
            let origin = origin.parse().unwrap();
            request.headers_mut().append("origin", origin);
        }
        assert_eq!(world.fetch(request).await.status, 400);
        assert!(world.keys_at("/").is_empty());
        assert_eq!(
            world.call("POST /v1/chat/completions", CHAT).await.status,
            200
        );
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_configured_may_read_answers_and_refusals() {
    within(async {
        let origins = Origins::list(["https://app.example"]).unwrap();
        let world = start(mock()).await;
        let world = world.behind(|gateway| gateway.origins(origins)).await;
        for (line, status) in [
            ("POST /v1/chat/completions", 200),
            ("GET /v1/nothing/here", 404),
        ] {
            let mut request = world.request(line, CHAT);
            let origin = "https://app.example".parse().unwrap();
            request.headers_mut().insert("origin", origin);
            let answer = world.fetch(request).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                "https://app.example"
            );
        }
    })
    .await;
}
