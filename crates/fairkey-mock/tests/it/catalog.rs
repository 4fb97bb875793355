//! The catalog: models, endpoints and providers.

use fairkey_mock::{Account, Key, MockOpenRouter, Model, Provider};
use serde_json::{Value, json};

use crate::support::{chat, get, open, post, request, send, with};

async fn world() -> MockOpenRouter {
    MockOpenRouter::builder()
        .account(Account::new("acme").region("cn").zero_data_retention(true))
        .key(Key::new("k").account("acme"))
        .model(
            Model::new("acme/large")
                .name("Large One")
                .prompt_price(5.0)
                .completion_price(10.0)
                .context_length(200_000)
                .also_takes("image")
                .provider(
                    Provider::new("North")
                        .slug("north/eu")
                        .quantization("fp8")
                        .speed(250.0, 80.0)
                        .health(-1, 97.5)
                        .zdr(false),
                )
                .provider(
                    Provider::new("South")
                        .prices(4.0, 9.0)
                        .supported_parameters(["tools"]),
                ),
        )
        .model(
            Model::new("acme/small")
                .prompt_price(0.1)
                .completion_price(0.2)
                .provider("South"),
        )
        .model(Model::new("other/closed").closed_to("cn").provider("North"))
        .model(Model::new("other/leaky").provider(Provider::new("North").zdr(false)))
        .model(Model::new("acme/embed").embeds().provider("South"))
        .start()
        .await
        .unwrap()
}

async fn ids(mock: &MockOpenRouter, path: &str) -> Vec<String> {
    let json = get(mock, path, "k").await.json();
    let models = json["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{path}: {json}"));
    models
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn filters_narrow_the_list_and_sorts_order_it() {
    let mock = world().await;
    let chat_models = ["acme/large", "acme/small", "other/closed", "other/leaky"];
    for (query, expected) in [
        ("", &chat_models[..]),
        ("?q=large+ONE", &["acme/large"]),
        ("?q=other%2F", &["other/closed", "other/leaky"]),
        ("?model_authors=other", &["other/closed", "other/leaky"]),
        ("?max_price=0.5", &["acme/small"]),
        (
            "?min_price=1&max_output_price=5",
            &["other/closed", "other/leaky"],
        ),
        ("?context=200000", &["acme/large"]),
        ("?input_modalities=image", &["acme/large"]),
        ("?output_modalities=embeddings", &["acme/embed"]),
        ("?providers=south", &["acme/large", "acme/small"]),
        ("?zdr=true", &["acme/large", "acme/small", "other/closed"]),
        (
            "?sort=pricing-low-to-high&model_authors=acme",
            &["acme/small", "acme/large"],
        ),
        ("?sort=context-high-to-low&limit=1", &["acme/large"]),
        ("?supported_parameters=nothing", &[]),
    ] {
        assert_eq!(
            ids(&mock, &format!("/models{query}")).await,
            expected,
            "{query}"
        );
    }
    assert_eq!(ids(&mock, "/models?output_modalities=all").await.len(), 5);
    assert_eq!(ids(&mock, "/embeddings/models").await, ["acme/embed"]);
    for bad in [
        "limit=0",
        "limit=1001",
        "offset=-1",
        "max_price=cheap",
        "context=x",
    ] {
        let path = format!("/models?{bad}");
        assert_eq!(get(&mock, &path, "k").await.status, 400, "{bad}");
    }
    let count = get(&mock, "/models/count?max_price=0.5", "k").await.json();
    assert_eq!(count["data"]["count"], 1);
}

#[tokio::test]
async fn pages_follow_their_links_to_the_end() {
    let mock = world().await;
    let mut path = "/models?limit=2&q=a".to_owned();
    let mut seen = Vec::new();
    loop {
        seen.extend(ids(&mock, &path).await);
        let json = get(&mock, &path, "k").await.json();
        assert_eq!(json["total_count"], 3, "those with an a in them");
        match json["links"]["next"].as_str() {
            Some(next) => path = next.strip_prefix("/api/v1").unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["acme/large", "acme/small", "other/leaky"]);
}

#[tokio::test]
async fn an_account_sees_the_models_that_its_policy_leaves() {
    let mock = world().await;
    assert_eq!(
        ids(&mock, "/models/user").await,
        ["acme/large", "acme/small"]
    );
    let anonymous = send(&mock, request(&mock, "GET", "/models/user", None, ""))
        .await
        .unwrap();
    assert_eq!(anonymous.status, 401);
}

#[tokio::test]
async fn endpoints_tell_what_routing_goes_by() {
    let mock = world().await;
    let json = get(&mock, "/models/acme/large/endpoints", "k").await.json();
    let data = &json["data"];
    assert_eq!(
        (&data["id"], &data["name"]),
        (&json!("acme/large"), &json!("Large One"))
    );
    let endpoints = data["endpoints"].as_array().unwrap();
    let north = &endpoints[0];
    assert_eq!(
        (&north["provider_name"], &north["tag"]),
        (&json!("North"), &json!("north/eu"))
    );
    assert_eq!(north["pricing"]["prompt"], "0.000005");
    assert_eq!(north["quantization"], "fp8");
    assert_eq!(
        (&north["status"], &north["uptime_last_30m"]),
        (&json!(-1), &json!(97.5))
    );
    assert_eq!(north["latency_last_30m"]["p50"], 250.0);
    assert_eq!(north["throughput_last_30m"]["p99"], 28.0);
    let south = &endpoints[1];
    assert_eq!(south["pricing"]["completion"], "0.000009");
    assert_eq!(south["supported_parameters"], json!(["tools"]));
    assert_eq!(south["context_length"], 200_000);
    // A tag that was read here routes there.
    let tag = south["tag"].clone();
    let ask = with(
        chat("x"),
        json!({"model": "acme/large", "provider": {"only": [tag]}}),
    );
    assert_eq!(post(&mock, "k", &ask).await.json()["provider"], "South");

    let path = "/models/acme/large/endpoints";
    let anonymous = send(&mock, request(&mock, "GET", path, None, ""))
        .await
        .unwrap();
    assert_eq!(
        anonymous.json()["data"]["endpoints"][0]["latency_last_30m"],
        Value::Null
    );
    assert_eq!(
        get(&mock, "/models/acme/none/endpoints", "k").await.status,
        404
    );
    let model = get(&mock, "/model/acme/large", "k").await.json();
    assert_eq!(model["data"]["top_provider"]["context_length"], 200_000);
    assert_eq!(get(&mock, "/model/acme/none", "k").await.status, 404);
}

#[tokio::test]
async fn providers_and_endpoints_without_retention_are_listed() {
    let mock = world().await;
    let json = get(&mock, "/providers", "k").await.json();
    let slugs: Vec<_> = json["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|at| &at["slug"])
        .collect();
    assert_eq!(slugs, ["north", "south"]);
    let json = get(&mock, "/endpoints/zdr", "k").await.json();
    let endpoints = json["data"].as_array().unwrap();
    assert_eq!(endpoints.len(), 4);
    assert!(endpoints.iter().all(|at| at["model_id"] != "other/leaky"));
}

#[tokio::test]
async fn an_open_catalog_shows_endpoints_of_any_model() {
    let mock = open().await;
    let json = get(&mock, "/models/any/thing:nitro/endpoints", "k")
        .await
        .json();
    assert_eq!(json["data"]["id"], "any/thing");
    assert_eq!(json["data"]["endpoints"].as_array().unwrap().len(), 1);
    // What the catalog says, the client's own types can read.
    let json = get(&mock, "/models", "k").await.body;
    let models: fairkey_openrouter::ModelList = serde_json::from_str(&json).unwrap();
    assert!(models.data.len() >= 7);
}
