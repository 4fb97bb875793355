//! `[learning]`: limits that nobody configured, learned from refusals.

use std::time::Duration;

use fairkey_strategy::CeilingsConfig;
use serde::Deserialize;

use super::bounds::{self, Time, TimeOrNone};

/// What the table says, as far as it says anything.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Learning {
    enabled: Option<bool>,
    window: Option<Time>,
    #[serde(deserialize_with = "bounds::windows")]
    patience: Option<f64>,
    #[serde(deserialize_with = "bounds::calls")]
    least_requests: Option<u32>,
    forget: Option<Time>,
    hint_cap: Option<TimeOrNone>,
}

impl Learning {
    /// Returns how limits are learned, whether or not they are.
    pub(super) fn values(&self) -> CeilingsConfig {
        let default = CeilingsConfig::default();
        CeilingsConfig {
            window: self.window.map_or(default.window, |Time(time)| time),
            patience: self.patience.unwrap_or(default.patience),
            least_requests: self
                .least_requests
                .map_or(default.least_requests, u64::from),
            forget: self.forget.map_or(default.forget, |Time(time)| time),
            hint_cap: self
                .hint_cap
                .map_or(default.hint_cap, |TimeOrNone(time)| time),
        }
    }

    /// Learns in windows of that length, where nobody says otherwise.
    pub(crate) fn usually_in(&mut self, window: Duration) {
        self.window.get_or_insert(Time(window));
    }

    /// Returns whether limits are learned.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Returns how limits are learned; `None` where they are not.
    pub(crate) fn config(&self) -> Option<CeilingsConfig> {
        self.is_enabled().then(|| self.values())
    }
}
