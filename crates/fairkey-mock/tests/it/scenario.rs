//! Ready-made worlds.

use std::sync::Arc;

use fairkey_mock::{Latency, Scenario};

use crate::support::{chat, post, try_post};

/// A client without any wisdom: it tries the keys in turn until one answers.
async fn ask_until_answered(
    mock: &fairkey_mock::MockOpenRouter,
    keys: &[String],
    number: usize,
) -> usize {
    for attempt in 0..200 {
        let key = &keys[(number + attempt) % keys.len()];
        if let Ok(answer) = try_post(mock, key, &chat(&format!("prompt {number}"))).await {
            let content = serde_json::from_str::<serde_json::Value>(&answer.body)
                .is_ok_and(|json| json["choices"][0]["finish_reason"] == "stop");
            if answer.status == 200 && answer.complete && content {
                return attempt + 1;
            }
            if answer.status == 429 {
                mock.advance(std::time::Duration::from_millis(100));
            }
        }
    }
    panic!("prompt {number} was never answered");
}

#[tokio::test]
async fn the_demonstration_has_all_that_it_promises_and_every_prompt_can_be_answered() {
    let demo = Scenario::demo(7).with(|builder| builder.latency(Latency::default()));
    let owners: Vec<_> = demo
        .keys()
        .iter()
        .map(|(label, account, _)| (&**label, &**account))
        .collect();
    let expected = [
        ("north-a", "north"),
        ("north-b", "north"),
        ("south", "south"),
        ("west", "west"),
    ];
    assert_eq!(owners, expected);
    let keys: Vec<String> = demo
        .keys()
        .iter()
        .map(|(_, _, secret)| secret.clone())
        .collect();
    assert!(!format!("{demo:?}").contains("sk-or"));
    let mock = Arc::new(demo.start().await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (mock, keys) = (mock.clone(), keys.clone());
        tasks.spawn(async move {
            for number in (worker..500).step_by(8) {
                ask_until_answered(&mock, &keys, number).await;
            }
        });
    }
    crate::support::within(async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    })
    .await;
    let counters = mock.counters();
    assert_eq!(counters.total.in_flight, 0);
    assert!(counters.total.finished >= 500, "{counters:?}");
    for status in [401, 402, 429, 502] {
        assert!(
            counters.total.status(status) > 0,
            "no {status}: {counters:?}"
        );
    }
    assert!(counters.total.broken > 0 && counters.key("north-b").status(401) > 0);
    let south = post(&mock, &keys[2], &chat("after all")).await;
    assert_ne!(south.status, 402, "it was topped up");
}

#[cfg(feature = "scenario")]
mod file {
    use fairkey_mock::{Scenario, ScenarioError};

    use crate::support::{chat, post};

    /// The documented file, taken out of its documentation.
    fn documented() -> &'static str {
        let page = include_str!("../../src/scenario/file.md");
        let start = page.find("```toml\n").unwrap() + "```toml\n".len();
        &page[start..start + page[start..].find("```").unwrap()]
    }

    fn error(text: &str) -> (usize, usize, String) {
        match Scenario::from_toml(text) {
            Err(ScenarioError::Content {
                line,
                column,
                message,
            }) => (line, column, message),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_documented_file_is_read_and_does_what_it_says() {
        let scenario = Scenario::from_toml(documented()).unwrap();
        assert_eq!(scenario.keys().len(), 1);
        let secret = scenario.keys()[0].2.clone();
        let mock = scenario
            .with(|builder| builder.latency(fairkey_mock::Latency::default()))
            .start()
            .await
            .unwrap();
        for expected in [429, 429, 429, 402, 418] {
            assert_eq!(post(&mock, &secret, &chat("x")).await.status, expected);
        }
        assert!(
            crate::support::try_post(&mock, &secret, &chat("x"))
                .await
                .is_err()
        );
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        let table = [
            ("seed = \"x\"", (1, 8), "invalid type"),
            ("\nsead = 1", (2, 1), "unknown field"),
            (
                "[[keys]]\nsecret = \"a\"\naccount = \"none\"",
                (3, 11),
                "no account has the id",
            ),
            (
                "[faults]\nsilly = 0.5",
                (2, 1),
                "no fault is named \"silly\"",
            ),
            ("[faults]\ninternal = 1.5", (2, 12), "0 to 1"),
            ("[latency]\nfirst_token = \"6\"", (2, 15), "no duration"),
            (
                "[[scripts]]\nsteps = [{ fault = \"nope\" }]",
                (2, 20),
                "no fault is named",
            ),
            (
                "[[scripts]]\nsteps = [{ times = 2 }]",
                (2, 10),
                "something to do",
            ),
            (
                "[[changes]]\nafter_calls = 1",
                (1, 1),
                "something to happen",
            ),
            ("now = \"yesterday\"", (1, 7), "RFC 3339"),
            (
                "[[accounts]]\nid = \"a\"\n[[accounts]]\nid = \"a\"",
                (4, 6),
                "declared twice",
            ),
            (
                "[[accounts]]\nid = \"a\"\nrequests = { limit = 1, per = \"0s\" }",
                (3, 31),
                "must have a length",
            ),
            ("[[budgets]]\nlimit_usd = 1", (1, 1), "exactly one of"),
            (
                "[[batches]]\nend = \"lost\"",
                (2, 7),
                "expired or cancelled",
            ),
            ("[[batches]]\nmessage = \"x\"", (1, 1), "message belongs to"),
            (
                "[[batches]]\ntimes = 1\nforever = true",
                (1, 1),
                "either times or forever",
            ),
        ];
        for (text, at, part) in table {
            let (line, column, message) = error(text);
            assert!(message.contains(part), "{text:?}: {message}");
            assert_eq!((line, column), at, "{text:?}: {message}");
        }
    }

    #[test]
    fn no_mistake_shows_a_secret() {
        let secret = "sk-or-v1-5ecre7";
        for text in [
            format!("[[keys]]\nsecret = \"{secret}\"\nsecret = \"{secret}\""),
            format!("[[keys]]\nsecret = \"{secret}\"\n[[keys]]\nsecret = \"{secret}\""),
            format!("[[keys]]\nsecret = {{ env = \"{secret}\" }}"),
            format!("[[keys]]\nsecret = \"x\"\n[[scripts]]\nkey = \"{secret}\"\nsteps = []"),
        ] {
            let error = Scenario::from_toml(&text).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("5ecre7"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Scenario::load("no/such/file.toml").unwrap_err();
        assert_eq!(error.to_string(), "cannot read no/such/file.toml");
    }
}
