//! Keys that are made, changed and deleted while the mock runs.

use std::time::Duration;

use fairkey_mock::{Account, Budget, Key, MockOpenRouter, Model, Reset, Scenario, Timestamp};
use serde_json::{Value, json};

use crate::support::{Answer, call, chat, get, open, post, with};

const MANAGER: &str = "sk-or-v1-mgmt-0123456789abcdef";

async fn world() -> MockOpenRouter {
    MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(100.0))
        .account(Account::new("other"))
        .key(Key::management(MANAGER).label("manager").account("acme"))
        .key(Key::new("worker").account("acme"))
        .key(Key::new("stranger").account("other"))
        .model(
            Model::new("acme/cents")
                .prompt_price(0.0)
                .completion_price(10_000.0)
                .max_completion_tokens(10),
        )
        .start()
        .await
        .unwrap()
}

fn ten_cents() -> Value {
    let members = json!({"model": "acme/cents", "max_tokens": 10});
    with(chat("Say a lot of words, and then some more"), members)
}

async fn create(mock: &MockOpenRouter, body: Value) -> (String, String, Value) {
    let answer = call(mock, "POST", "/keys", MANAGER, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        text(&json["key"]),
        text(&json["data"]["hash"]),
        json["data"].clone(),
    )
}

async fn listed(mock: &MockOpenRouter, query: &str) -> Vec<String> {
    let json = get(mock, &format!("/keys{query}"), MANAGER).await.json();
    let keys = json["data"].as_array().unwrap();
    keys.iter()
        .map(|key| key["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_new_key_works_at_once_within_its_cap_and_its_reset() {
    let mock = world().await;
    let wish = json!({"name": "search", "limit": 0.2, "limit_reset": "daily"});
    let (secret, hash, data) = create(&mock, wish).await;
    assert!(
        secret.starts_with("sk-or-v1-") && secret.len() == 73,
        "{secret}"
    );
    assert_eq!(hash.len(), 64);
    assert_eq!(data["limit_remaining"], 0.2);
    assert_eq!(data["limit_reset"], "daily");
    assert_eq!(
        data["created_at"].as_str().unwrap()[..16],
        mock.now().to_string()[..16]
    );
    assert!(!data["label"].as_str().unwrap().contains(&secret[15..60]));
    for status in [200, 200, 403] {
        assert_eq!(post(&mock, &secret, &ten_cents()).await.status, status);
    }
    assert_eq!(mock.counters().key("search").status(200), 2);
    assert!(
        (100.0 - mock.balance_usd("acme") - 0.2).abs() < 1e-9,
        "its account pays"
    );
    let path = format!("/keys/{hash}");
    let read = get(&mock, &path, MANAGER).await.json();
    assert_eq!(read["data"]["limit_remaining"], 0.0);
    assert_eq!(read["data"]["usage_daily"], 0.2);
    mock.advance(mock.now().next_day().since(mock.now()));
    assert_eq!(post(&mock, &secret, &ten_cents()).await.status, 200);
}

#[tokio::test]
async fn a_disabled_key_is_refused_until_it_is_enabled_and_a_deleted_one_for_good() {
    let mock = world().await;
    let (secret, hash, _) = create(&mock, json!({"name": "search"})).await;
    let path = format!("/keys/{hash}");
    for (disabled, status) in [(true, 401), (false, 200)] {
        let patch = json!({"disabled": disabled});
        let answer = call(&mock, "PATCH", &path, MANAGER, &patch).await;
        assert_eq!(answer.json()["data"]["disabled"], disabled);
        assert!(answer.json()["data"]["updated_at"].is_string());
        assert_eq!(post(&mock, &secret, &ten_cents()).await.status, status);
    }
    let answer = call(&mock, "DELETE", &path, MANAGER, &json!({})).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"deleted": true}))
    );
    let refused = post(&mock, &secret, &ten_cents()).await;
    assert_eq!(
        (refused.status, refused.message().as_str()),
        (401, "User not found.")
    );
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(
            call(&mock, method, &path, MANAGER, &json!({})).await.status,
            404
        );
    }
}

#[tokio::test]
async fn a_change_touches_what_it_names_and_no_more() {
    let mock = world().await;
    let wish = json!({"name": "search", "limit": 5, "limit_reset": "weekly"});
    let (secret, hash, _) = create(&mock, wish).await;
    let path = format!("/keys/{hash}");
    let patch = async |body: Value| {
        let answer = call(&mock, "PATCH", &path, MANAGER, &body).await;
        answer.json()["data"].clone()
    };
    let data = patch(json!({"name": "renamed", "include_byok_in_limit": true})).await;
    assert_eq!(
        (&data["name"], &data["limit"]),
        (&json!("renamed"), &json!(5.0))
    );
    assert_eq!(data["limit_reset"], "weekly");
    assert_eq!(data["include_byok_in_limit"], true);
    let data = patch(json!({"limit": null, "limit_reset": null})).await;
    assert_eq!(
        (&data["limit"], &data["limit_remaining"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(data["limit_reset"], Value::Null);
    let own = get(&mock, "/key", &secret).await.json();
    assert_eq!(own["data"]["limit"], Value::Null);
    let refused = call(&mock, "PATCH", &path, MANAGER, &json!({"limit": -1})).await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn the_list_pages_and_filters_the_keys_of_its_account() {
    let mock = world().await;
    for number in 0..120 {
        create(&mock, json!({"name": format!("n{number}")})).await;
    }
    let first = listed(&mock, "").await;
    assert_eq!((first.len(), first[0].as_str()), (100, "n119"));
    let rest = listed(&mock, "?offset=100").await;
    assert_eq!(
        rest.len(),
        21,
        "twenty of ours, and the one that was declared"
    );
    assert_eq!(listed(&mock, "?offset=121").await.len(), 0);
    assert_eq!(get(&mock, "/keys?offset=-1", MANAGER).await.status, 400);

    create(&mock, json!({"name": "off", "workspace_id": "ws"})).await;
    assert_eq!(listed(&mock, "?workspace_id=ws").await, ["off"]);
    let data = get(&mock, "/keys?workspace_id=ws", MANAGER).await.json();
    let path = format!("/keys/{}", data["data"][0]["hash"].as_str().unwrap());
    call(&mock, "PATCH", &path, MANAGER, &json!({"disabled": true})).await;
    assert!(listed(&mock, "?workspace_id=ws").await.is_empty());
    let with_disabled = listed(&mock, "?workspace_id=ws&include_disabled=true").await;
    assert_eq!(with_disabled, ["off"]);

    let soon = Timestamp::DEFAULT_START
        .plus(Duration::from_secs(3600))
        .to_string();
    create(
        &mock,
        json!({"name": "brief", "workspace_id": "w2", "expires_at": soon}),
    )
    .await;
    assert_eq!(listed(&mock, "?workspace_id=w2").await, ["brief"]);
    mock.advance(Duration::from_secs(3600));
    assert!(listed(&mock, "?workspace_id=w2").await.is_empty());
    assert_eq!(
        listed(&mock, "?workspace_id=w2&include_expired=true").await,
        ["brief"]
    );
}

#[tokio::test]
async fn an_expiring_key_is_refused_from_its_expiry_on() {
    let mock = world().await;
    let at = Timestamp::DEFAULT_START
        .plus(Duration::from_secs(3600))
        .to_string();
    let (secret, ..) = create(&mock, json!({"name": "brief", "expires_at": at})).await;
    assert_eq!(post(&mock, &secret, &ten_cents()).await.status, 200);
    mock.advance(Duration::from_secs(3600));
    assert_eq!(post(&mock, &secret, &ten_cents()).await.status, 401);
}

#[tokio::test]
async fn budgets_of_member_and_workspace_cover_keys_made_later() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme"))
        .key(Key::management(MANAGER).account("acme"))
        .key(Key::new("worker").account("acme").workspace("ws"))
        .model(
            Model::new("acme/cents")
                .prompt_price(0.0)
                .completion_price(10_000.0),
        )
        .budget(Budget::workspace("ws", 0.2).resets(Reset::Daily))
        .start()
        .await
        .unwrap();
    let (secret, ..) = create(&mock, json!({"name": "late", "workspace_id": "ws"})).await;
    assert_eq!(post(&mock, "worker", &ten_cents()).await.status, 200);
    assert_eq!(post(&mock, &secret, &ten_cents()).await.status, 200);
    for key in ["worker", secret.as_str()] {
        let answer = post(&mock, key, &ten_cents()).await;
        assert_eq!(
            answer.limit_source().as_deref(),
            Some("openrouter_workspace_budget")
        );
    }
}

#[tokio::test]
async fn only_management_keys_administer_and_only_their_own_account() {
    let mock = world().await;
    let denied = |answer: &Answer| {
        assert_eq!(answer.status, 403);
        assert_eq!(
            answer.message(),
            "Only management keys can perform this operation"
        );
    };
    denied(&get(&mock, "/keys", "worker").await);
    denied(&call(&mock, "POST", "/keys", "worker", &json!({"name": "x"})).await);
    denied(&call(&mock, "DELETE", "/keys/x", "worker", &json!({})).await);
    assert_eq!(get(&mock, "/keys", "nobody").await.status, 401);
    let names = listed(&mock, "").await;
    assert_eq!(
        names,
        ["key-2"],
        "no management key, and none of another account"
    );
    let inference = post(&mock, MANAGER, &ten_cents()).await;
    assert_eq!(inference.status, 403);
    assert!(inference.message().starts_with("Management keys cannot"));
}

#[tokio::test]
async fn nonsense_creates_nothing() {
    let mock = world().await;
    for body in [
        json!({}),
        json!([]),
        json!({"name": ""}),
        json!({"name": "x", "limit": "1"}),
    ] {
        let answer = call(&mock, "POST", "/keys", MANAGER, &body).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    assert_eq!(listed(&mock, "").await.len(), 1);
    assert_eq!(mock.counters().total.in_flight, 0);
}

#[tokio::test]
async fn an_open_mock_knows_management_keys_by_how_they_begin() {
    let mock = open().await;
    let (secret, hash, _) = create(&mock, json!({"name": "search"})).await;
    assert_eq!(post(&mock, &secret, &chat("x")).await.status, 200);
    call(
        &mock,
        "DELETE",
        &format!("/keys/{hash}"),
        MANAGER,
        &json!({}),
    )
    .await;
    assert_eq!(
        post(&mock, &secret, &chat("x")).await.status,
        401,
        "deleted is deleted"
    );
    assert_eq!(get(&mock, "/keys", "sk-or-v1-any").await.status, 403);
    let given = Scenario::open(0);
    assert!(
        given
            .management_key()
            .unwrap()
            .starts_with("sk-or-v1-mgmt-")
    );
}

#[tokio::test]
async fn every_account_of_the_demonstration_has_a_management_key() {
    let scenario = Scenario::demo(1);
    let keys = scenario.management_keys().to_vec();
    let mock = scenario.start().await.unwrap();
    for (account, secret) in keys {
        let credits = get(&mock, "/credits", &secret).await.json();
        assert_eq!(credits["data"]["total_credits"], 25.0, "{account}");
        let json = get(&mock, "/keys", &secret).await.json();
        let names = json["data"].as_array().unwrap();
        let expected = if account == "north" { 2 } else { 1 };
        assert_eq!(names.len(), expected, "{account}");
    }
}
