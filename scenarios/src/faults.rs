//! One scenario for each row of the table of faults: [`rows`].
//!
//! Two accounts of two keys each. A call every quarter of a second for a minute; what is wrong
//! begins after ten seconds and is cured after thirty, unless the row says otherwise.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use fairkey_mock::{Account, Builder, FreeTier, Key, Latency, MockOpenRouter};

pub use self::rows::rows;
use crate::caller::{Caller, Fairkey, secret};
use crate::load::{Act, Load, Tally};
use crate::three_strikes::ThreeStrikes;
use crate::world::World;

/// The keys of every row, with their accounts.
pub const KEYS: [(&str, &str); 4] = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")];
/// The model of most calls.
pub const MODEL: &str = "openai/gpt-4o-mini";
/// The model of the other calls, where a row is about a model.
pub const OTHER_MODEL: &str = "deepseek/deepseek-chat-v3.1";
/// A model that costs nothing.
pub const FREE_MODEL: &str = "meta-llama/llama-3.3-70b-instruct:free";
/// When it goes wrong.
pub const BEGINS: Duration = Duration::from_secs(10);
/// When that is cured.
pub const ENDS: Duration = Duration::from_secs(30);

/// One row: what goes wrong, and when.
#[derive(Clone, Debug)]
pub struct Row {
    /// What goes wrong: the status, and how it is told from others with the same one.
    pub name: &'static str,
    /// Changes the world that it happens in.
    pub world: fn(Builder) -> Builder,
    /// Changes account a.
    pub account_a: fn(Account) -> Account,
    /// Changes key a1.
    pub key_a1: fn(Key) -> Key,
    /// What is called, and what happens meanwhile.
    pub load: Load,
    /// Whether each call can be answered, by somebody who knows everything. Where the request
    /// itself is at fault, none can.
    pub curable: bool,
}

impl Row {
    /// Makes a row in which `begin` happens, and then the scripts are cleared.
    fn script(name: &'static str, begin: Act) -> Self {
        Self {
            name,
            world: |builder| builder,
            account_a: |account| account,
            key_a1: |key| key,
            load: Load {
                calls: 240,
                every: Duration::from_millis(250),
                models: &[MODEL],
                max_tokens: 64,
                events: vec![(BEGINS, begin), (ENDS, MockOpenRouter::clear_scripts)],
            },
            curable: true,
        }
    }

    /// Makes a row of calls that nothing can help.
    fn hopeless(name: &'static str, begin: Act) -> Self {
        Self {
            curable: false,
            ..Self::script(name, begin)
        }
    }

    fn in_world(mut self, world: fn(Builder) -> Builder) -> Self {
        self.world = world;
        self
    }

    fn account_a(mut self, change: fn(Account) -> Account) -> Self {
        self.account_a = change;
        self
    }

    fn key_a1(mut self, change: fn(Key) -> Key) -> Self {
        self.key_a1 = change;
        self
    }

    fn models(mut self, models: &'static [&'static str]) -> Self {
        self.load.models = models;
        self
    }

    fn events(mut self, events: Vec<(Duration, Act)>) -> Self {
        self.load.events = events;
        self
    }

    fn start(&self) -> World {
        let mut builder = MockOpenRouter::builder()
            .seed(7)
            .now(
                "2026-10-01T12:00:00Z"
                    .parse::<fairkey_mock::Timestamp>()
                    .expect("a time"),
            )
            .latency(Latency::new(Duration::from_millis(300), Duration::from_millis(5)).jitter(0.2))
            .answer_tokens(16..=48)
            .log_capacity(100_000);
        let account = |id| {
            Account::new(id)
                .balance_usd(100.0)
                .free_tier(FreeTier::UNLIMITED)
        };
        builder = builder
            .account((self.account_a)(account("a")))
            .account(account("b"));
        for (label, account) in KEYS {
            let key = Key::new(secret(label)).label(label).account(account);
            builder = builder.key(if label == "a1" {
                (self.key_a1)(key)
            } else {
                key
            });
        }
        World::start((self.world)(builder))
    }

    /// Plays it with fairkey.
    pub async fn with_fairkey(&self) -> Tally {
        let world = self.start();
        let caller = Arc::new(Fairkey::new(&world, &KEYS));
        self.load.run(&world, caller).await
    }

    /// Plays it with a hand-written key pool.
    pub async fn with_three_strikes(&self) -> Tally {
        let world = self.start();
        let caller: Arc<dyn Caller> = Arc::new(ThreeStrikes::new(&world, &KEYS));
        self.load.run(&world, caller).await
    }
}
