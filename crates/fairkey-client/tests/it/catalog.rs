//! The catalogue in memory: ages, shared fetches, old lists, bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairkey_client::{CallErrorKind, Catalog, CatalogBuilder, CatalogConfig, Freshness};
use fairkey_core::ApiKey;
use fairkey_mock::MockOpenRouter;
use fairkey_transport::TransportErrorKind;
use futures_util::future::join_all;
use tokio::time::advance;

use crate::scripted::{self, Reply, Scripted, Seen};

const MODELS: &str = r#"{"data":[{"id":"a/b","context_length":8192}]}"#;
const UNAUTHORIZED: &str = r#"{"error":{"code":401,"message":"User not found."}}"#;
const UNKNOWN: &str = r#"{"error":{"code":404,"message":"Model not found"}}"#;

fn builder(transport: &Arc<Scripted>) -> CatalogBuilder {
    Catalog::builder().transport(Arc::<Scripted>::clone(transport))
}

fn catalog(transport: &Arc<Scripted>) -> Catalog {
    builder(transport).build().unwrap()
}

fn models(id: &str) -> Reply {
    Reply::status(200, &format!(r#"{{"data":[{{"id":"{id}"}}]}}"#))
}

fn endpoints(id: &str) -> Reply {
    let json = format!(r#"{{"data":{{"id":"{id}","endpoints":[{{"tag":"x"}}]}}}}"#);
    Reply::status(200, &json)
}

/// Answers each question with the number of it as the model.
fn counting() -> Arc<Scripted> {
    Scripted::new(|seen| models(&format!("m/{}", seen.nth)))
}

fn path(seen: &Seen) -> String {
    seen.uri.path_and_query().unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_fetched_once_until_it_is_too_old() {
    let transport = counting();
    let catalog = catalog(&transport);
    let first = catalog.models().await.unwrap();
    assert_eq!(
        (first.data[0].id.as_str(), first.age),
        ("m/1", Duration::ZERO)
    );
    assert_eq!(
        path(&transport.seen()[0]),
        "/api/v1/models?output_modalities=all"
    );
    advance(Duration::from_secs(599)).await;
    let second = catalog.clone().models().await.unwrap();
    assert_eq!(second.data[0].id, "m/1");
    assert_eq!(second.age, Duration::from_secs(599));
    advance(Duration::from_secs(1)).await;
    let third = catalog.models().await.unwrap();
    assert_eq!(
        (third.data[0].id.as_str(), third.age),
        ("m/2", Duration::ZERO)
    );
    assert!(third.stale.is_none());
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_good_for_a_minute_and_each_model_has_its_own() {
    let transport = Scripted::new(|seen| {
        let path = seen.uri.path();
        endpoints(
            path.strip_prefix("/api/v1/models/")
                .unwrap()
                .strip_suffix("/endpoints")
                .unwrap(),
        )
    });
    let catalog = catalog(&transport);
    for model in ["a/b", "a/b:nitro", "a/c", "a/b"] {
        catalog.endpoints(model).await.unwrap();
    }
    let paths: Vec<String> = transport.seen().iter().map(path).collect();
    assert_eq!(
        paths,
        [
            "/api/v1/models/a/b/endpoints",
            "/api/v1/models/a/c/endpoints"
        ]
    );
    advance(Duration::from_secs(60)).await;
    catalog.endpoints("a/b").await.unwrap();
    assert_eq!(transport.seen().len(), 3);
    let error = catalog.endpoints("gpt-4o").await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Request);
}

#[tokio::test(start_paused = true)]
async fn who_asks_at_a_time_shares_one_fetch_be_it_good_or_bad() {
    let down = Arc::new(AtomicUsize::new(0));
    let is_down = Arc::clone(&down);
    let transport = Scripted::new(move |_| {
        let reply = match is_down.load(Ordering::Relaxed) {
            0 => Reply::status(200, MODELS),
            _ => Reply::status(400, scripted::BAD),
        };
        reply.after(Duration::from_secs(1))
    });
    let ask = |catalog: &Catalog| {
        let catalog = catalog.clone();
        join_all((0..100).map(move |_| {
            let catalog = catalog.clone();
            async move { catalog.models().await }
        }))
    };
    let good = catalog(&transport);
    assert!(ask(&good).await.iter().all(Result::is_ok));
    assert_eq!(transport.seen().len(), 1);
    down.store(1, Ordering::Relaxed);
    let bad = catalog(&transport);
    assert!(ask(&bad).await.iter().all(Result::is_err));
    assert_eq!(transport.seen().len(), 2, "a failure is shared, too");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_given_up_leaves_the_next_one_its_turn() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::Silence,
        _ => Reply::status(200, MODELS),
    });
    let catalog = catalog(&transport);
    let given_up = tokio::time::timeout(Duration::from_secs(1), catalog.models());
    assert!(given_up.await.is_err());
    assert_eq!(catalog.models().await.unwrap().data.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_the_network_fails_the_old_list_is_served_with_its_age_and_the_reason() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(200, MODELS),
        2 | 3 => Reply::Error(TransportErrorKind::Connect),
        _ => Reply::status(200, MODELS),
    });
    let catalog = catalog(&transport);
    catalog.models().await.unwrap();
    advance(Duration::from_secs(700)).await;
    let old = catalog.models().await.unwrap();
    assert_eq!((old.data.len(), old.age), (1, Duration::from_secs(700)));
    assert_eq!(old.stale.unwrap().kind(), CallErrorKind::Fault);
    assert_eq!(
        transport.seen().len(),
        2,
        "nobody waits for further attempts"
    );
    advance(Duration::from_secs(9)).await;
    let held_off = catalog.models().await.unwrap();
    assert!(held_off.stale.is_some());
    assert_eq!(transport.seen().len(), 2, "nor for the next failure");
    advance(Duration::from_secs(1)).await;
    assert!(catalog.models().await.unwrap().stale.is_some());
    assert_eq!(transport.seen().len(), 3);
    advance(Duration::from_secs(10)).await;
    let new = catalog.models().await.unwrap();
    assert_eq!((new.age, new.stale.is_none()), (Duration::ZERO, true));
}

#[tokio::test(start_paused = true)]
async fn without_an_old_list_what_may_pass_is_tried_again() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::Error(TransportErrorKind::Connect),
        2 => Reply::status(503, scripted::DOWN),
        _ => Reply::status(200, MODELS),
    });
    let catalog = catalog(&transport);
    assert_eq!(catalog.models().await.unwrap().data.len(), 1);
    assert_eq!(transport.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_gone_is_no_longer_served_from_memory() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => endpoints("a/b"),
        _ => Reply::status(404, UNKNOWN),
    });
    let catalog = catalog(&transport);
    catalog.endpoints("a/b").await.unwrap();
    advance(Duration::from_secs(60)).await;
    let error = catalog.endpoints("a/b").await.unwrap_err();
    assert_eq!(error.fault().unwrap().status(), Some(404));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_is_an_error_and_never_takes_the_place_of_one() {
    for body in [
        "{}",
        "<html></html>",
        r#"{"data":[{"x":1}]}"#,
        r#"{"data":{}}"#,
    ] {
        let transport = Scripted::new(move |seen| match seen.nth {
            1 => Reply::status(200, MODELS),
            _ => Reply::status(200, body),
        });
        let kept = catalog(&transport);
        kept.models().await.unwrap();
        advance(Duration::from_secs(600)).await;
        let old = kept.models().await.unwrap();
        assert_eq!((old.data.len(), old.stale.is_some()), (1, true), "{body}");
        assert!(catalog(&transport).models().await.is_err(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entity_tag_saves_the_list_from_being_sent_again() {
    let transport = Scripted::new(|seen| match seen.headers.get("if-none-match") {
        None => Reply::status(200, MODELS).header("etag", "\"v1\""),
        Some(tag) => {
            assert_eq!(tag, "\"v1\"");
            Reply::status(304, "")
        }
    });
    let catalog = catalog(&transport);
    catalog.models().await.unwrap();
    for _ in 0..2 {
        advance(Duration::from_secs(600)).await;
        let same = catalog.models().await.unwrap();
        assert_eq!((same.data.len(), same.age), (1, Duration::ZERO));
    }
    assert_eq!(transport.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn all_pages_are_one_list() {
    let transport = Scripted::new(|seen| match seen.uri.query() {
        Some("offset=1&limit=1") => Reply::status(
            200,
            r#"{"data":[{"id":"a/2"}],"links":{"next":"/api/v1/models?offset=2&limit=1"}}"#,
        ),
        Some("offset=2&limit=1") => Reply::status(200, r#"{"data":[{"id":"a/3"}]}"#),
        _ => Reply::status(
            200,
            r#"{"data":[{"id":"a/1"}],"links":{"next":"/api/v1/models?offset=1&limit=1"}}"#,
        ),
    });
    let list = catalog(&transport).models().await.unwrap();
    let ids: Vec<&str> = list.data.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["a/1", "a/2", "a/3"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_ends() {
    let transport = Scripted::new(|seen| {
        let next = format!("/api/v1/models?offset={}", seen.nth);
        let json = format!(r#"{{"data":[{{"id":"a/b"}}],"links":{{"next":"{next}"}}}}"#);
        Reply::status(200, &json)
    });
    assert_eq!(catalog(&transport).models().await.unwrap().data.len(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_is_left_out_and_keys_take_turns() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-0" => Reply::status(401, UNAUTHORIZED),
        _ => models("a/b"),
    });
    let client = scripted::client(2, &transport);
    client.catalog().models().await.unwrap();
    client.catalog().models_of("x y").await.unwrap();
    assert_eq!(transport.keys(), ["sk-0", "", "sk-1"]);
    let last = path(&transport.seen()[2]);
    assert!(last.ends_with("&providers=x%20y"), "{last}");
    assert_eq!(client.stats().calls, 0, "it needs no lease");

    let transport = counting();
    let none = catalog(&transport);
    none.models().await.unwrap();
    let key = ApiKey::new("sk-own");
    let one = builder(&transport).keys([key]).build().unwrap();
    one.models().await.unwrap();
    assert_eq!(transport.keys(), ["", "sk-own"]);
    let shown = format!("{one:?}");
    assert!(!shown.contains("sk-own"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_bounded_and_what_nobody_asks_for_goes_first() {
    let transport = Scripted::new(|seen| endpoints(seen.uri.path()));
    let kept = |config: CatalogConfig| builder(&transport).config(config).build().unwrap();
    let two = kept(CatalogConfig {
        max_lists: 2,
        ..CatalogConfig::default()
    });
    for model in ["a/1", "a/2", "a/1", "a/3", "a/1", "a/2"] {
        two.endpoints(model).await.unwrap();
    }
    let asked = |from: usize| -> Vec<char> {
        let seen = transport.seen();
        let paths = seen[from..].iter().map(|seen| seen.uri.path());
        paths
            .filter_map(|path| path.chars().nth("/api/v1/models/a/".len()))
            .collect()
    };
    assert_eq!(asked(0), ['1', '2', '3', '2']);

    let before = transport.seen().len();
    let few_bytes = kept(CatalogConfig {
        max_bytes: 140,
        ..CatalogConfig::default()
    });
    for model in ["a/1", "a/2", "a/2", "a/1"] {
        few_bytes.endpoints(model).await.unwrap();
    }
    assert_eq!(asked(before), ['1', '2', '1'], "one of them has 74 bytes");

    let too_few = kept(CatalogConfig {
        max_bytes: 20,
        ..CatalogConfig::default()
    });
    let error = too_few.endpoints("a/1").await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Fault);
}

#[tokio::test(start_paused = true)]
async fn offline_nothing_is_asked_and_refreshed_once_it_is_by_age() {
    let transport = counting();
    let kept = |freshness| {
        let config = CatalogConfig {
            freshness,
            ..CatalogConfig::default()
        };
        builder(&transport).config(config).build().unwrap()
    };
    let error = kept(Freshness::Offline).models().await.unwrap_err();
    assert!(error.to_string().contains("offline"), "{error}");
    assert!(transport.seen().is_empty());
    let refreshing = kept(Freshness::Refresh);
    for _ in 0..2 {
        assert_eq!(refreshing.models().await.unwrap().data[0].id, "m/1");
    }
}

#[tokio::test]
async fn every_list_of_the_mock_is_read_with_a_key_and_without() {
    let mock = MockOpenRouter::open().start().await.unwrap();
    let keyless = Catalog::builder()
        .base_url(mock.base_url())
        .build()
        .unwrap();
    let client = fairkey_client::Client::builder()
        .base_url(mock.base_url())
        .key("a", "sk-or-v1-any")
        .build()
        .unwrap();
    for (catalog, is_measured) in [(&keyless, false), (client.catalog(), true)] {
        let models = catalog.models().await.unwrap();
        assert!(models.data.len() > 5);
        let by_provider = catalog.models_of("groq").await.unwrap();
        assert_eq!(by_provider.data.len(), 1);
        let endpoints = catalog.endpoints(&by_provider.data[0].id).await.unwrap();
        assert_eq!(endpoints.endpoints.len(), 3);
        let first = &endpoints.endpoints[0];
        assert_eq!(first.latency_last_30m.is_some(), is_measured);
        let slugs = catalog.providers().await.unwrap();
        assert!(slugs.data.iter().any(|provider| provider.slug == "groq"));
        assert!(!catalog.zdr().await.unwrap().data.is_empty());
    }
}
