//! Client tokens, and what each may do.

use std::sync::Arc;

use fairkey_gateway::{
    Budget, Globs, Per, SpendConfig, SpendStore, TenantConfig, Tenants, TokenHash,
};
use http::Request;

use crate::world::*;

const TOKEN: &str = "tok-canary-7d1f0a";

fn team(change: impl FnOnce(&mut TenantConfig)) -> Tenants {
    let mut team = TenantConfig::new("team-a");
    team.tokens = vec![TokenHash::of(TOKEN)];
    change(&mut team);
    Tenants::new([team]).unwrap()
}

fn with_token(world: &World, line: &str, body: &'static str) -> Request<bytes::Bytes> {
    let mut request = world.request(line, body);
    let token = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert("authorization", token);
    request
}

#[tokio::test]
async fn a_wrong_token_is_401_in_the_callers_format_and_costs_nothing() {
    within(async {
        let world = start(mock()).await;
        let world = world.behind(|gateway| gateway.tenants(team(|_| ()))).await;
        for (path, body) in STREAMS {
            let answer = world.call(&format!("POST /v1{path}"), body).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            let json = answer.json();
            match path {
                "/messages" => assert_eq!(json["error"]["type"], "authentication_error"),
                "/responses" => assert_eq!(json["error"]["code"], "invalid_api_key"),
                _ => assert_eq!(json["error"]["code"], 401),
            }
            assert_eq!(answer.header("x-should-retry"), "false");
            assert!(!answer.text().contains("of-the-caller"));
        }
        let unknown = world.call("GET /v1/no/such/path", "").await;
        assert_eq!(
            unknown.status, 401,
            "strangers do not hear which paths there are"
        );
        assert_eq!(world.call("GET /healthz", "").await.status, 200);
        assert!(
            world.keys_at("/").is_empty(),
            "nothing reached the upstream"
        );
    })
    .await;
}

#[tokio::test]
async fn a_token_opens_either_way_and_never_leaves() {
    within(async {
        let world = start(mock()).await;
        let world = world.behind(|gateway| gateway.tenants(team(|_| ()))).await;
        let answer = world
            .fetch(with_token(&world, "POST /v1/chat/completions", CHAT))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut request = world.request("POST /v1/messages", STREAMS[1].1);
        request.headers_mut().remove("authorization");
        request
            .headers_mut()
            .insert("x-api-key", TOKEN.parse().unwrap());
        assert_eq!(world.fetch(request).await.status, 200);
        let seen = format!("{:?}", world.mock.log().events());
        assert!(!seen.contains("canary"), "{seen}");
        assert!(!format!("{answer:?} {:?}", world.serving).contains("canary"));
    })
    .await;
}

#[tokio::test]
async fn models_and_routes_are_refused_before_they_cost_anything() {
    within(async {
        let world = start(mock()).await;
        let tenants = team(|team| {
            team.models = Globs::new(["openai/gpt-4o-mini"]);
            team.routes = Globs::new(["chat"]);
        });
        let world = world.behind(|gateway| gateway.tenants(tenants)).await;
        let chat = "POST /v1/chat/completions";
        assert_eq!(
            world.fetch(with_token(&world, chat, CHAT)).await.status,
            200
        );
        for body in [
            r#"{"model":"openai/gpt-5","messages":[]}"#,
            r#"{"messages":[]}"#,
            r#"{"model":"openai/gpt-4o-mini","models":["openai/gpt-5"],"messages":[]}"#,
            r#"{"models":["openai/gpt-5"],"messages":[]}"#,
        ] {
            let answer = world.fetch(with_token(&world, chat, body)).await;
            assert_eq!(answer.status, 403, "{body} {answer:?}");
            assert_eq!(answer.header("x-fairkey-error"), "model_not_allowed");
        }
        let answer = world
            .fetch(with_token(&world, "POST /v1/embeddings", CHAT))
            .await;
        assert_eq!(answer.header("x-fairkey-error"), "route_not_allowed");
        assert_eq!(world.keys_at("/").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_served_by_its_own_keys_only() {
    within(async {
        let world = start(mock()).await;
        let tenants = team(|team| team.accounts = vec!["two".into()]);
        let world = world.behind(|gateway| gateway.tenants(tenants)).await;
        for _ in 0..4 {
            let request = with_token(&world, "POST /v1/chat/completions", CHAT);
            let answer = world.fetch(request).await;
            assert_eq!(answer.header("x-fairkey-key"), "b", "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn money_is_counted_and_survives_a_restart() {
    within(async {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("spend");
        let store = || {
            let wall = Arc::new(fairkey_core::SystemWallClock);
            let (store, warnings) =
                SpendStore::open(Some(&path), SpendConfig::default(), wall).unwrap();
            assert!(warnings.is_empty(), "{warnings:?}");
            Arc::new(store)
        };
        let tenants = || {
            team(|team| {
                team.limits.money = vec![Budget {
                    micro_usd: 1,
                    per: Per::Total,
                }];
            })
        };
        let books = store();
        let kept = Arc::clone(&books);
        let world = start(mock()).await;
        let world = world
            .behind(|gateway| gateway.tenants(tenants()).spend(kept))
            .await;
        let request = || with_token(&world, "POST /v1/chat/completions", CHAT);
        assert_eq!(world.fetch(request()).await.status, 200);
        let rows = || books.rows();
        until("the call is in the books", || !rows().is_empty()).await;
        let row = rows().remove(0);
        assert_eq!((&*row.tenant, row.calls, row.guesses), ("team-a", 1, 0));
        assert!(row.tokens > 0 && row.micro_usd > 0, "{row:?}");
        let over = world.fetch(request()).await;
        assert_eq!(over.header("x-fairkey-error"), "over_budget", "{over:?}");
        assert_eq!(
            (over.status.as_u16(), over.header("x-should-retry")),
            (429, "false")
        );
        books.flush();
        // As if the process had been killed: what is on disk is all there is.
        let copy = folder.path().join("copy");
        std::fs::copy(&path, &copy).unwrap();
        let wall = Arc::new(fairkey_core::SystemWallClock);
        let (again, _) = SpendStore::open(Some(&copy), SpendConfig::default(), wall).unwrap();
        let tenants = tenants();
        again.restore(&tenants);
        let world = world.behind(|gateway| gateway.tenants(tenants)).await;
        let request = with_token(&world, "POST /v1/chat/completions", CHAT);
        let over = world.fetch(request).await;
        assert_eq!(over.header("x-fairkey-error"), "over_budget", "{over:?}");
        assert!(!std::fs::read_to_string(&copy).unwrap().contains("canary"));
    })
    .await;
}
