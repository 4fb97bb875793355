//! `[hedge]`: a second attempt where a stream is late.

use fairkey_client::HedgeConfig;
use serde::Deserialize;

use super::bounds::{self, Time};

/// What the table says.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hedge {
    /// Whether anything is hedged.
    pub(super) enabled: bool,
    #[serde(deserialize_with = "bounds::share")]
    quantile: Option<f64>,
    at_least: Option<Time>,
    #[serde(deserialize_with = "bounds::calls")]
    min_streams: Option<u32>,
    #[serde(deserialize_with = "bounds::share")]
    max_share: Option<f64>,
    #[serde(deserialize_with = "bounds::usd")]
    max_usd: Option<f64>,
    #[serde(deserialize_with = "bounds::share")]
    min_headroom: Option<f64>,
    any_provider: Option<bool>,
}

impl From<Hedge> for HedgeConfig {
    fn from(from: Hedge) -> Self {
        let default = Self::default();
        Self {
            quantile: from.quantile.unwrap_or(default.quantile),
            at_least: from.at_least.map_or(default.at_least, |Time(time)| time),
            min_streams: from.min_streams.unwrap_or(default.min_streams),
            max_share: from.max_share.unwrap_or(default.max_share),
            max_micro_usd: from
                .max_usd
                .map_or(default.max_micro_usd, |usd| (usd * 1e6).round() as u64),
            min_headroom: from.min_headroom.unwrap_or(default.min_headroom),
            any_provider: from.any_provider.unwrap_or(default.any_provider),
        }
    }
}
