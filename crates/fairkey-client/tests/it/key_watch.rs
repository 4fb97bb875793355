//! Keys that are asked about themselves in the background.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairkey_client::{Client, WatchConfig};
use fairkey_core::{Key, WallClock};
use tokio::time::Instant;

use super::scripted::{NO_CREDIT, REVOKED, Reply, Scripted, Seen, builder, prompt, settle};

/// 2027-01-15 08:00 UTC.
const MORNING: Duration = Duration::from_secs(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

const CAP_SPENT: &str = r#"{"error":{"code":403,"message":"Key limit exceeded (daily limit)",
    "metadata":{"limit_source":"openrouter_key_limit"}}}"#;
const CAP_LEFT: &str =
    r#"{"data":{"label":"x","limit":5,"limit_remaining":4,"limit_reset":"daily"}}"#;
const CAP_WHOLE: &str =
    r#"{"data":{"label":"x","limit":5,"limit_remaining":5,"limit_reset":"daily"}}"#;
const CAP_NONE: &str =
    r#"{"data":{"label":"x","limit":5,"limit_remaining":0,"limit_reset":"daily"}}"#;
const PLAIN: &str = r#"{"data":{"label":"x","limit":null}}"#;

/// The time of day, moving with tokio's.
#[derive(Clone, Debug)]
struct Day(Instant);

impl WallClock for Day {
    fn since_epoch(&self) -> Duration {
        MORNING + Instant::now().duration_since(self.0)
    }
}

/// What each key answers to a call, and to the question about itself: `(status, body)`.
type Answers = BTreeMap<&'static str, [(u16, &'static str); 2]>;

#[derive(Clone, Default)]
struct World(Arc<Mutex<Answers>>);

impl World {
    fn set(&self, key: &'static str, call: (u16, &'static str), about: (u16, &'static str)) {
        self.0.lock().unwrap().insert(key, [call, about]);
    }

    fn transport(&self) -> Arc<Scripted> {
        let answers = Arc::clone(&self.0);
        Scripted::new(move |seen| {
            let answers = answers.lock().unwrap();
            let key = answers.get(seen.key.as_str());
            let about = is_question(seen);
            match key.map(|key| key[usize::from(about)]) {
                Some((200, _)) if !about => Reply::good("hi"),
                Some((status, body)) => Reply::status(status, body),
                None if about => Reply::status(200, PLAIN),
                None => Reply::good("hi"),
            }
        })
    }
}

fn is_question(seen: &Seen) -> bool {
    seen.uri.path().ends_with("/key")
}

fn questions(transport: &Scripted, key: &str) -> Vec<Instant> {
    let seen = transport.seen();
    let of_key = seen
        .iter()
        .filter(|seen| is_question(seen) && seen.key == key);
    of_key.map(|seen| seen.at).collect()
}

fn calls(transport: &Scripted, key: &str) -> usize {
    let seen = transport.seen();
    seen.iter()
        .filter(|seen| !is_question(seen) && seen.key == key)
        .count()
}

fn client(transport: &Arc<Scripted>, keys: impl IntoIterator<Item = Key>) -> Client {
    let keys = keys.into_iter();
    builder(0, transport)
        .keys(keys)
        .wall_clock(Day(Instant::now()))
        .build()
        .unwrap()
}

fn line(client: &Client, key: &str) -> String {
    let standing = client.standing();
    let of_key = |standing: &&fairkey_client::KeyStanding| {
        standing.key.as_ref().is_some_and(|id| id.as_str() == key)
    };
    standing.keys.iter().find(of_key).unwrap().to_string()
}

async fn pass(time: Duration) {
    // In steps, so that what is due in between happens then.
    for _ in 0..time.as_secs().div_ceil(10) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        settle().await;
    }
}

async fn use_all(client: &Client) {
    for n in 0..6 {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_cap_is_checked_at_its_reset_and_comes_back_only_when_it_has_started_anew() {
    let world = World::default();
    world.set("sk-a", (403, CAP_SPENT), (200, CAP_LEFT));
    let transport = world.transport();
    let client = client(&transport, [Key::new("a", "sk-a"), Key::new("b", "sk-b")]);
    let _watch = client.watch_keys(WatchConfig::default());
    pass(MINUTE).await;
    world.set("sk-a", (403, CAP_SPENT), (200, CAP_NONE));
    use_all(&client).await;
    assert_eq!(calls(&transport, "sk-a"), 1);
    pass(MINUTE).await;
    let line = line(&client, "a");
    assert!(line.contains("key cap spent (typed, 403)"), "{line}");
    assert!(
        line.contains("until 2027-01-16 00:00 UTC; checked by GET /key at 08:0"),
        "{line}"
    );
    // The reset comes and, by the key's own word, the cap is still spent: a new stamp.
    pass(HOUR * 16).await;
    use_all(&client).await;
    let after_reset = calls(&transport, "sk-a");
    assert!(after_reset <= 2, "{after_reset}");
    world.set("sk-a", (200, ""), (200, CAP_WHOLE));
    pass(MINUTE * 15).await;
    use_all(&client).await;
    assert!(calls(&transport, "sk-a") > after_reset);
    assert!(self::line(&client, "a").starts_with("in, 5.00 USD left"));
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_key_comes_back_when_get_key_accepts_it() {
    let world = World::default();
    world.set("sk-a", (401, REVOKED), (401, REVOKED));
    let transport = world.transport();
    let client = client(&transport, [Key::new("a", "sk-a"), Key::new("b", "sk-b")]);
    let _watch = client.watch_keys(WatchConfig::default());
    use_all(&client).await;
    pass(HOUR).await;
    use_all(&client).await;
    assert!(calls(&transport, "sk-a") <= 1, "no call is spent on it");
    let asked = questions(&transport, "sk-a").len();
    assert!(
        (5..=12).contains(&asked),
        "ever more rarely: {asked} in an hour"
    );
    world.set("sk-a", (200, ""), (200, PLAIN));
    pass(MINUTE * 20).await;
    use_all(&client).await;
    assert!(calls(&transport, "sk-a") > 1);
    assert!(line(&client, "a").starts_with("in"));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_says_it_is_well_and_is_refused_all_the_same_is_tried_ever_more_rarely() {
    let world = World::default();
    world.set("sk-a", (401, REVOKED), (200, PLAIN));
    let transport = world.transport();
    let client = client(&transport, [Key::new("a", "sk-a"), Key::new("b", "sk-b")]);
    let _watch = client.watch_keys(WatchConfig::default());
    for _ in 0..360 {
        use_all(&client).await;
        pass(Duration::from_secs(10)).await;
    }
    let tried = calls(&transport, "sk-a");
    assert!((4..=14).contains(&tried), "{tried} in an hour");
}

#[tokio::test(start_paused = true)]
async fn keys_are_asked_sparingly_and_dropping_the_watch_stops_it() {
    let world = World::default();
    let transport = world.transport();
    let keys = (0..10).map(|n| Key::new(format!("k{n}"), format!("sk-{n}")));
    let client = client(&transport, keys);
    let watch = client.watch_keys(WatchConfig::default());
    pass(HOUR).await;
    for n in 0..10 {
        let asked = questions(&transport, &format!("sk-{n}")).len();
        assert!((5..=9).contains(&asked), "{asked} in an hour");
    }
    drop(watch);
    settle().await;
    let before = transport.seen().len();
    pass(HOUR).await;
    assert_eq!(transport.seen().len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_management_key_and_an_expired_key_are_out_before_a_call_meets_them() {
    let world = World::default();
    world.set(
        "sk-a",
        (403, "{}"),
        (200, r#"{"data":{"label":"x","is_management_key":true}}"#),
    );
    let expiring = r#"{"data":{"label":"x","expires_at":"2027-01-15T09:00:00Z"}}"#;
    world.set("sk-b", (200, ""), (200, expiring));
    let transport = world.transport();
    let keys = ["a", "b", "c"].map(|id| Key::new(id, format!("sk-{id}")));
    let client = client(&transport, keys);
    let _watch = client.watch_keys(WatchConfig::default());
    pass(MINUTE).await;
    use_all(&client).await;
    assert_eq!(calls(&transport, "sk-a"), 0);
    assert!(
        line(&client, "a").contains("key forbidden (by GET /key)"),
        "{}",
        line(&client, "a")
    );
    let warnings = client.standing().warnings;
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("\"b\" expires at 09:00 UTC")),
        "{warnings:?}"
    );
    pass(HOUR).await;
    let before = calls(&transport, "sk-b");
    use_all(&client).await;
    assert_eq!(calls(&transport, "sk-b"), before);
    assert!(
        line(&client, "b").contains("key invalid (by GET /key)"),
        "{}",
        line(&client, "b")
    );
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_owner_fall_together_where_the_configuration_is_silent() {
    let world = World::default();
    let owned = r#"{"data":{"label":"x","organization_id":"org_1"}}"#;
    world.set("sk-a", (402, NO_CREDIT), (200, owned));
    world.set("sk-b", (402, NO_CREDIT), (200, owned));
    let transport = world.transport();
    let keys = ["a", "b", "c"].map(|id| Key::new(id, format!("sk-{id}")));
    let client = client(&transport, keys);
    let _watch = client.watch_keys(WatchConfig::default());
    pass(MINUTE).await;
    let account = |id: &str| {
        client
            .pool()
            .with_keys(|keys| keys.find(id).unwrap().account())
    };
    assert_eq!(account("a"), account("b"));
    assert_ne!(account("a"), account("c"));
    use_all(&client).await;
    assert_eq!(calls(&transport, "sk-a") + calls(&transport, "sk-b"), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_that_share_a_budget_are_out_together() {
    let world = World::default();
    let layer = |left: &str| -> &'static str {
        Box::leak(Box::new(format!(
            r#"{{"data":{{"label":"x","creator_user_id":"u","workspace_id":"w","budgets":[
            {{"scope":"workspace","limit_usd":9,"remaining_usd":{left},"budget_id":"b",
            "reset_interval":"monthly","resets_at":"2027-02-01T00:00:00Z"}}]}}}}"#
        )))
    };
    let spent = r#"{"error":{"code":403,"message":"Workspace monthly budget of $9 exceeded.",
        "metadata":{"limit_source":"openrouter_workspace_budget",
        "resets_at":"2027-02-01T00:00:00Z"}}}"#;
    for key in ["sk-a", "sk-b"] {
        world.set(key, (403, spent), (200, layer("9")));
    }
    let transport = world.transport();
    let keys = ["a", "b", "c"].map(|id| Key::new(id, format!("sk-{id}")));
    let client = client(&transport, keys);
    let watch = client.watch_keys(WatchConfig::default());
    pass(MINUTE).await;
    // From here on only the call's refusal tells.
    drop(watch);
    use_all(&client).await;
    assert_eq!(calls(&transport, "sk-a") + calls(&transport, "sk-b"), 1);
    for key in ["a", "b"] {
        let line = line(&client, key);
        assert!(
            line.contains("workspace budget (budget, typed, 403)"),
            "{line}"
        );
        assert!(line.contains("until 2027-02-01 00:00 UTC"), "{line}");
    }
    assert!(line(&client, "c").starts_with("in"));
}

#[tokio::test(start_paused = true)]
async fn a_key_at_its_reserve_serves_only_when_the_others_cannot() {
    let world = World::default();
    let nearly = r#"{"data":{"label":"x","limit":100,"limit_remaining":2,"limit_reset":"daily"}}"#;
    world.set("sk-a", (200, ""), (200, nearly));
    let transport = world.transport();
    let client = client(
        &transport,
        ["a", "b"].map(|id| Key::new(id, format!("sk-{id}"))),
    );
    let _watch = client.watch_keys(WatchConfig::default());
    pass(MINUTE).await;
    for n in 0..40 {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
    assert_eq!(calls(&transport, "sk-a"), 0);
    world.set("sk-b", (401, REVOKED), (401, REVOKED));
    use_all(&client).await;
    assert_eq!(calls(&transport, "sk-a"), 6);
}

#[tokio::test(start_paused = true)]
async fn an_operator_clears_what_is_held_against_a_key() {
    let world = World::default();
    world.set("sk-a", (401, REVOKED), (401, REVOKED));
    let transport = world.transport();
    let client = client(
        &transport,
        ["a", "b"].map(|id| Key::new(id, format!("sk-{id}"))),
    );
    use_all(&client).await;
    world.set("sk-a", (200, ""), (200, PLAIN));
    assert!(!line(&client, "a").starts_with("in"));
    assert!(client.clear("a") && !client.clear("z"));
    assert!(line(&client, "a").starts_with("in"));
    use_all(&client).await;
    assert!(calls(&transport, "sk-a") > 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_takes_a_key_out_and_keeps_another_in() {
    let world = World::default();
    world.set("sk-a", (401, REVOKED), (401, REVOKED));
    let transport = world.transport();
    let client = client(
        &transport,
        ["a", "b", "c"].map(|id| Key::new(id, format!("sk-{id}"))),
    );
    assert!(client.disable("b") && !client.disable("b"));
    let disabled = line(&client, "b");
    assert!(
        disabled.starts_with("out: disabled (by an operator)"),
        "{disabled}"
    );
    for _ in 0..3 {
        use_all(&client).await;
    }
    assert_eq!(
        (calls(&transport, "sk-a"), calls(&transport, "sk-b")),
        (1, 0)
    );
    assert!(client.pin("a"));
    assert!(line(&client, "a").starts_with("in"));
    world.set("sk-a", (200, ""), (200, PLAIN));
    assert!(client.enable("b"));
    for _ in 0..3 {
        use_all(&client).await;
    }
    assert!(calls(&transport, "sk-a") > 1 && calls(&transport, "sk-b") > 0);
    assert!(client.enable("a"), "the pin is taken back");
    assert!(!line(&client, "a").starts_with("in"));
}
