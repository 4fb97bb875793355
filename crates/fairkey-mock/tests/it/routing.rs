//! Which provider answers, and what it costs there.

use fairkey_mock::{MockOpenRouter, Model, Provider};
use serde_json::{Value, json};

use crate::support::{chat, post, with};

async fn world() -> MockOpenRouter {
    MockOpenRouter::open()
        .model(
            Model::new("acme/large")
                .provider(Provider::new("Dear").prices(8.0, 16.0).speed(100.0, 90.0))
                .provider(Provider::new("Cheap").prices(1.0, 2.0).quantization("fp8"))
                .provider(
                    Provider::new("Dear")
                        .slug("dear/priority")
                        .prices(20.0, 40.0),
                ),
        )
        .start()
        .await
        .unwrap()
}

async fn ask(mock: &MockOpenRouter, model: &str, provider: Value) -> Value {
    let members = json!({"model": model, "provider": provider, "max_tokens": 10});
    post(mock, "k", &with(chat("word"), members)).await.json()
}

#[tokio::test]
async fn the_bill_is_the_bill_of_who_served() {
    let mock = world().await;
    for (wanted, provider, prices) in [
        (json!({}), "Dear", (8.0, 16.0)),
        (json!({"sort": "price"}), "Cheap", (1.0, 2.0)),
        (json!({"only": ["dear/priority"]}), "Dear", (20.0, 40.0)),
        (json!({"max_price": {"prompt": 2}}), "Cheap", (1.0, 2.0)),
        (json!({"quantizations": ["fp8"]}), "Cheap", (1.0, 2.0)),
    ] {
        let json = ask(&mock, "acme/large", wanted.clone()).await;
        assert_eq!(json["provider"], provider, "{wanted}");
        let tokens = |name: &str| json["usage"][name].as_f64().unwrap();
        let expected = tokens("prompt_tokens") * prices.0 + tokens("completion_tokens") * prices.1;
        let cost = json["usage"]["cost"].as_f64().unwrap();
        assert!((cost - expected / 1e6).abs() < 1e-12, "{wanted}: {cost}");
    }
    let total = mock.counters().total;
    assert!(total.cost_usd() > 0.0);
}

#[tokio::test]
async fn variants_rank_and_open_tiers() {
    let mock = world().await;
    let json = ask(&mock, "acme/large:floor", json!({})).await;
    assert_eq!(json["provider"], "Cheap");
    let json = ask(&mock, "acme/large:nitro", json!({})).await;
    assert_eq!(json["provider"], "Dear");
    assert_eq!(json["model"], "acme/large");
}

#[tokio::test]
async fn a_filter_that_leaves_nobody_says_which_it_was() {
    let mock = world().await;
    let json = ask(
        &mock,
        "acme/large",
        json!({"max_price": {"completion": "0.5"}}),
    )
    .await;
    let error = &json["error"];
    assert_eq!(
        error["metadata"]["failed_routing_step"],
        "Filter by Max Price"
    );
    assert_eq!(error["availability"]["excluded_by"], json!(["max_price"]));
    let json = ask(
        &mock,
        "acme/large",
        json!({"max_price": {"prompt": "cheap"}}),
    )
    .await;
    assert_eq!(json["error"]["code"], 400);
}
