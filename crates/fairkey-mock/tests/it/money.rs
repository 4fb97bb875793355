//! Balances, caps, budgets, and sums that come out even.

use std::time::Duration;

use fairkey_mock::{
    Account, Budget, EventKind, FaultKind, Key, MockOpenRouter, Model, On, Reset, Step, Timestamp,
};
use serde_json::{Value, json};

use crate::support::{Answer, chat, get, post, try_post, with, within};

const DAY: Duration = Duration::from_secs(86_400);

/// A model whose completion tokens cost one cent each, so that a call with `max_tokens: 10` costs
/// ten.
fn cents() -> Model {
    Model::new("acme/cents")
        .prompt_price(0.0)
        .completion_price(10_000.0)
        .max_completion_tokens(10)
        .provider("OpenAI")
}

fn ten_cents() -> Value {
    let members = json!({"model": "acme/cents", "max_tokens": 10});
    with(
        chat("Say a lot of words, please, and then some more of them"),
        members,
    )
}

async fn start(account: Account, key: Key) -> MockOpenRouter {
    MockOpenRouter::builder()
        .account(account)
        .key(key.account("acme"))
        .model(cents())
        .model(Model::new("acme/free:free"))
        .start()
        .await
        .unwrap()
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-9
}

#[track_caller]
fn refused(answer: &Answer, status: u16, limit_source: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.limit_source().as_deref(),
        Some(limit_source),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_balance_runs_out_and_comes_back() {
    let mock = start(Account::new("acme").balance_usd(0.25), Key::new("k")).await;
    for left in [0.15, 0.05] {
        assert_eq!(post(&mock, "k", &ten_cents()).await.status, 200);
        assert!(close(mock.balance_usd("acme"), left));
    }
    let answer = post(&mock, "k", &ten_cents()).await;
    refused(&answer, 402, "openrouter_credits");
    assert!(
        answer
            .message()
            .contains("requested up to 10 tokens, but can only afford 5")
    );
    let smaller = with(ten_cents(), json!({"max_tokens": 5}));
    assert_eq!(post(&mock, "k", &smaller).await.status, 200);
    let answer = post(&mock, "k", &smaller).await;
    refused(&answer, 402, "openrouter_credits");
    assert!(answer.message().starts_with("Insufficient credits"));
    let free = with(chat("x"), json!({"model": "acme/free:free"}));
    assert_eq!(post(&mock, "k", &free).await.status, 200, "nothing is owed");
    mock.set_balance("acme", -1.0);
    assert_eq!(
        post(&mock, "k", &free).await.status,
        402,
        "debt bars free models too"
    );
    mock.set_balance("acme", 1.0);
    assert_eq!(post(&mock, "k", &ten_cents()).await.status, 200);
}

#[tokio::test]
async fn a_spent_cap_is_403_until_midnight_of_the_mocks_clock() {
    let key = Key::new("k").limit_usd(0.2).limit_reset(Reset::Daily);
    let mock = start(Account::new("acme"), key).await;
    post(&mock, "k", &ten_cents()).await;
    let data = get(&mock, "/key", "k").await.json()["data"].clone();
    assert!(close(data["limit_remaining"].as_f64().unwrap(), 0.1));
    assert_eq!(
        (data["limit"].as_f64(), data["limit_reset"].as_str()),
        (Some(0.2), Some("daily"))
    );
    assert_eq!(data["effective_budget"]["scope"], "key_limit");
    post(&mock, "k", &ten_cents()).await;
    let answer = post(&mock, "k", &ten_cents()).await;
    refused(&answer, 403, "openrouter_key_limit");
    assert!(
        answer
            .message()
            .starts_with("Key limit exceeded (daily limit)")
    );
    assert_eq!(
        answer.json()["error"]["metadata"]["resets_at"],
        "2026-10-02T00:00:00Z"
    );

    // One step before the reset, and at it. The clock also runs by itself: only in this direction.
    let midnight = Timestamp::DEFAULT_START.next_day();
    mock.advance(midnight.since(mock.now()) - Duration::from_secs(60));
    assert_eq!(post(&mock, "k", &ten_cents()).await.status, 403);
    mock.advance(Duration::from_secs(60));
    assert_eq!(post(&mock, "k", &ten_cents()).await.status, 200);
    let data = get(&mock, "/key", "k").await.json()["data"].clone();
    assert!(close(data["usage"].as_f64().unwrap(), 0.3));
    assert!(close(data["usage_daily"].as_f64().unwrap(), 0.1));
    assert!(close(data["usage_monthly"].as_f64().unwrap(), 0.3));
}

#[tokio::test]
async fn a_cap_too_small_for_the_request_is_402() {
    let mock = start(Account::new("acme"), Key::new("k").limit_usd(0.05)).await;
    let answer = post(&mock, "k", &ten_cents()).await;
    refused(&answer, 402, "openrouter_key_limit");
    assert!(
        answer
            .message()
            .ends_with("create a key with a higher total limit")
    );
    let smaller = with(ten_cents(), json!({"max_tokens": 5}));
    assert_eq!(post(&mock, "k", &smaller).await.status, 200);
    refused(
        &post(&mock, "k", &smaller).await,
        403,
        "openrouter_key_limit",
    );
}

#[tokio::test]
async fn budgets_are_shared_by_the_keys_of_their_scope_and_checked_in_order() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme"))
        .key(
            Key::new("a")
                .account("acme")
                .member("user_1")
                .workspace("ws"),
        )
        .key(
            Key::new("b")
                .account("acme")
                .member("user_1")
                .workspace("ws")
                .limit_usd(0.1),
        )
        .key(
            Key::new("c")
                .account("acme")
                .member("user_2")
                .workspace("ws"),
        )
        .key(Key::new("d").account("acme").member("user_3"))
        .model(cents())
        .budget(Budget::workspace("ws", 0.3).resets(Reset::Monthly))
        .budget(Budget::member("user_1", 0.2).resets(Reset::Weekly))
        .start()
        .await
        .unwrap();
    for key in ["a", "b"] {
        assert_eq!(post(&mock, key, &ten_cents()).await.status, 200);
    }
    for key in ["a", "b"] {
        let answer = post(&mock, key, &ten_cents()).await;
        refused(&answer, 403, "openrouter_guardrail_budget");
        let metadata = &answer.json()["error"]["metadata"];
        assert_eq!(metadata["scope"], "member");
        assert_eq!(metadata["resets_at"], "2026-10-05T00:00:00Z");
        assert!(close(metadata["spend_usd"].as_f64().unwrap(), 0.2));
    }
    assert_eq!(post(&mock, "c", &ten_cents()).await.status, 200);
    let answer = post(&mock, "c", &ten_cents()).await;
    refused(&answer, 403, "openrouter_workspace_budget");
    assert_eq!(
        answer.message(),
        "Workspace monthly budget of $0.3 exceeded. Contact your org admin."
    );
    assert_eq!(answer.header("retry-after"), None);
    // Where both are spent, the guardrail is named.
    refused(
        &post(&mock, "a", &ten_cents()).await,
        403,
        "openrouter_guardrail_budget",
    );
    assert_eq!(
        post(&mock, "d", &ten_cents()).await.status,
        200,
        "outside of all of them"
    );
    let data = get(&mock, "/key", "b").await.json()["data"].clone();
    let scopes: Vec<_> = data["budgets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|budget| &budget["scope"])
        .collect();
    assert_eq!(scopes, ["member", "workspace", "key_limit"]);
    // On Monday the member may spend again; the workspace may not before the first.
    mock.advance(Reset::Weekly.next(mock.now()).since(mock.now()));
    refused(
        &post(&mock, "a", &ten_cents()).await,
        403,
        "openrouter_workspace_budget",
    );
    mock.advance(31 * DAY);
    assert_eq!(post(&mock, "a", &ten_cents()).await.status, 200);
}

#[tokio::test]
async fn the_in_flight_budget_holds_estimates_until_the_settlement_ends() {
    let account = Account::new("acme")
        .balance_usd(100.0)
        .in_flight_budget_usd(0.15);
    let mock = start(account, Key::new("k")).await;
    mock.script(On::any(), [Step::stall_after_chunks(1)]);
    let streamed = with(ten_cents(), json!({"stream": true}));
    let log = mock.log();
    let running = tokio::select! {
        answer = try_post(&mock, "k", &streamed) => panic!("answered: {answer:?}"),
        answer = async {
            within(log.wait_for(fairkey_mock::Event::is_stalled)).await;
            post(&mock, "k", &ten_cents()).await
        } => answer,
    };
    refused(&running, 402, "openrouter_in_flight_budget");
    assert_eq!(
        running.json()["error"]["metadata"]["reason"],
        "in_flight_budget_exhausted"
    );
    assert_eq!(running.header("retry-after"), Some("2"));
    // The client of the first call has left: what it had produced (one token) settles, and then is
    // gone.
    within(log.wait_for(fairkey_mock::Event::is_cancelled)).await;
    assert_eq!(post(&mock, "k", &ten_cents()).await.status, 200);
    refused(
        &post(&mock, "k", &ten_cents()).await,
        402,
        "openrouter_in_flight_budget",
    );
    mock.advance(Duration::from_secs(2));
    assert_eq!(post(&mock, "k", &ten_cents()).await.status, 200);
    let huge = with(ten_cents(), json!({"max_tokens": 20}));
    let answer = post(&mock, "k", &huge).await;
    refused(&answer, 402, "openrouter_credits");
    assert_eq!(
        answer.json()["error"]["metadata"]["reason"],
        "weight_exceeds_budget"
    );
}

#[tokio::test]
async fn tokens_and_costs_add_up_everywhere() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(50.0))
        .key(Key::new("secret-a").label("a").account("acme"))
        .key(Key::new("secret-b").label("b").account("acme"))
        .start()
        .await
        .unwrap();
    let (mut cost, mut tokens) = (0.0, 0);
    for number in 0..20 {
        let key = if number % 3 == 0 {
            "secret-a"
        } else {
            "secret-b"
        };
        let stream = number % 2 == 0;
        let ask = with(
            chat(&format!("question {number}")),
            json!({ "stream": stream }),
        );
        let answer = post(&mock, key, &ask).await;
        let last = if stream {
            answer.chunks().last().unwrap().clone()
        } else {
            answer.json()
        };
        cost += last["usage"]["cost"].as_f64().unwrap();
        tokens += last["usage"]["total_tokens"].as_u64().unwrap();
    }
    let counters = mock.counters();
    let total = &counters.total;
    assert!(close(total.cost_usd(), cost));
    assert_eq!(total.prompt_tokens + total.completion_tokens, tokens);
    assert_eq!(
        (counters.key("a").finished, counters.key("b").finished),
        (7, 13)
    );
    assert_eq!(counters.account("acme").finished, 20);
    let by_key = counters.key("a").cost_usd() + counters.key("b").cost_usd();
    assert!(close(by_key, cost));
    assert!(close(50.0 - mock.balance_usd("acme"), cost));
    let usage = |json: Value| json["data"]["usage"].as_f64().unwrap();
    let (a, b) = (
        get(&mock, "/key", "secret-a").await,
        get(&mock, "/key", "secret-b").await,
    );
    assert!(close(usage(a.json()) + usage(b.json()), cost));
    let logged: f64 = mock
        .log()
        .events()
        .iter()
        .map(|event| match event.kind {
            EventKind::Finished { cost_usd, .. } => cost_usd,
            _ => 0.0,
        })
        .sum();
    assert!(close(logged, cost));
}

#[tokio::test]
async fn a_call_that_fails_at_its_provider_gives_its_hold_back() {
    let account = Account::new("acme")
        .balance_usd(100.0)
        .in_flight_budget_usd(0.15);
    let mock = start(account, Key::new("k")).await;
    for (kind, status) in [(FaultKind::ProviderError, 502), (FaultKind::Internal, 500)] {
        mock.set_fault_rate(kind, 1.0);
        for _ in 0..3 {
            assert_eq!(post(&mock, "k", &ten_cents()).await.status, status);
        }
        mock.set_fault_rate(kind, 0.0);
    }
    assert_eq!(post(&mock, "k", &ten_cents()).await.status, 200);
    assert_eq!(mock.counters().total.faulted, 6);
}
