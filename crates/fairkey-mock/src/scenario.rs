//! Whole worlds, ready made: the demonstration, and those read from a file.
//!
#![cfg_attr(
    feature = "scenario",
    doc = "With the feature `scenario`, [`Scenario::load`] reads TOML; see [`file`](self#files)."
)]
#![cfg_attr(feature = "scenario", doc = include_str!("scenario/file.md"))]

#[cfg(feature = "scenario")]
mod file;

use std::fmt;
use std::time::Duration;

use crate::account::Account;
use crate::action::Action;
use crate::builder::{Builder, StartError};
use crate::chance::{FaultKind, Latency};
use crate::key::Key;
use crate::server::MockOpenRouter;
use crate::world::MANAGEMENT_PREFIX;

#[cfg(feature = "scenario")]
pub use file::ScenarioError;

/// A builder, and the keys that a client of it needs. `Debug` shows no secret.
#[derive(Clone)]
pub struct Scenario {
    builder: Builder,
    keys: Vec<(String, String, String)>,
    management: Vec<(String, String)>,
}

impl Scenario {
    /// What `fairkey run --mock` meets: four keys in three accounts on an unreliable day.
    ///
    /// - `north-a` and `north-b` share the account `north`, `south` and `west` have one each; every
    ///   account lets 40 calls a second in, and answers 429 above that.
    /// - After 30 calls `north-b` is revoked.
    /// - After 150 calls `south` runs out of credit; after 320, or 6 seconds at the latest, it is
    ///   topped up.
    /// - 3 % of the calls meet a provider that is full (no key can cure that), 2 % a 502, 1 % a
    ///   reset before the head and 1 % one in the body, 1 % a bare error in a 200 and 1 % an error
    ///   finish.
    /// - An answer takes about a tenth of a second.
    /// - Each account has a management key: see [`management_keys`](Self::management_keys).
    ///
    /// Five hundred prompts take some seconds, and every one of them can be answered.
    pub fn demo(seed: u64) -> Self {
        let account = |id: &str| {
            Account::new(id)
                .balance_usd(25.0)
                .requests_per_window(40, Duration::from_secs(1))
        };
        let builder = Builder::new()
            .seed(seed)
            .account(account("north"))
            .account(account("south"))
            .account(account("west"))
            .latency(Latency::new(Duration::from_millis(60), Duration::from_millis(1)).jitter(0.5))
            .answer_tokens(12..=48)
            .fault_rate(FaultKind::ProviderRateLimited, 0.03)
            .fault_rate(FaultKind::ProviderError, 0.02)
            .fault_rate(FaultKind::ResetBeforeHead, 0.01)
            .fault_rate(FaultKind::ResetMidBody, 0.01)
            .fault_rate(FaultKind::ErrorIn200, 0.01)
            .fault_rate(FaultKind::ChoiceError, 0.01)
            .any_model(true)
            .after_calls(30, Action::revoke_key("north-b"))
            .after_calls(150, Action::set_balance("south", 0.0))
            .after_calls(320, Action::set_balance("south", 25.0))
            .at(Duration::from_secs(6), Action::set_balance("south", 25.0));
        let mut scenario = Self {
            builder,
            keys: Vec::new(),
            management: Vec::new(),
        };
        for (label, account) in [
            ("north-a", "north"),
            ("north-b", "north"),
            ("south", "south"),
            ("west", "west"),
        ] {
            let secret = format!("sk-or-v1-mock-{label}-00000000000000000000000000000000");
            let key = Key::new(&secret)
                .label(label)
                .account(account)
                .limit_usd(10.0);
            scenario.builder = scenario.builder.key(key);
            scenario
                .keys
                .push((label.to_owned(), account.to_owned(), secret));
        }
        for account in ["north", "south", "west"] {
            let secret = format!("{MANAGEMENT_PREFIX}{account}-000000000000000000000000");
            let key = Key::management(&secret)
                .label(format!("{account}-management"))
                .account(account);
            scenario.builder = scenario.builder.key(key);
            scenario.management.push((account.to_owned(), secret));
        }
        scenario
    }

    /// An open mock: any bearer key, no limits, no latency, no faults. A key that begins with
    /// `sk-or-v1-mgmt-` is a management key; [`management_key`](Self::management_key) is one.
    pub fn open(seed: u64) -> Self {
        let secret = format!("{MANAGEMENT_PREFIX}open-000000000000000000000000");
        Self {
            builder: Builder::new().seed(seed),
            keys: Vec::new(),
            management: vec![("default".to_owned(), secret)],
        }
    }

    /// The keys that a client may use: label, account and secret of each.
    pub fn keys(&self) -> &[(String, String, String)] {
        &self.keys
    }

    /// The management keys: account and secret of each. Of a file, those with `management = true`.
    pub fn management_keys(&self) -> &[(String, String)] {
        &self.management
    }

    /// The secret of the first management key, if there is one.
    pub fn management_key(&self) -> Option<&str> {
        self.management.first().map(|(_, secret)| secret.as_str())
    }

    /// The builder, to change something before it starts.
    pub fn into_builder(self) -> Builder {
        self.builder
    }

    /// Changes something and stays a scenario.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// Starts it. See [`Builder::start`].
    ///
    /// # Errors
    ///
    /// See [`Builder::start`].
    pub async fn start(self) -> Result<MockOpenRouter, StartError> {
        self.builder.start().await
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&str> = self.keys.iter().map(|(label, ..)| label.as_str()).collect();
        f.debug_struct("Scenario")
            .field("keys", &labels)
            .finish_non_exhaustive()
    }
}
