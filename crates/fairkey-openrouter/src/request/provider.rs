//! How OpenRouter may choose the provider: the `provider` object of a request.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::open_enum::open_enum;

/// What a request says on providers.
///
/// Provider names are slugs in lower case (`anthropic`, `google-vertex`, `amazon-bedrock`), not
/// display names. A base slug matches all endpoints of the provider (regions, `/turbo`), a full
/// slug (`google-vertex/us-east5`, `deepinfra/turbo`) only one; endpoints of a service tier
/// (`openai/priority`) are never matched by the base slug.
///
/// A *hard* field removes endpoints; when it removes all, the answer is a 404. A *soft* field only
/// orders them.
///
/// OpenRouter may refuse names that it does not know here; [`extra`](Self::extra) is for fields
/// newer than this version.
///
/// ```
/// use fairkey_openrouter::{MaxPrice, ProviderPreferences, SortBy};
///
/// let preferences = ProviderPreferences::new()
///     .only(["anthropic", "amazon-bedrock"])
///     .ignore(["azure"])
///     .sort(SortBy::Throughput)
///     .max_price(MaxPrice::new().prompt(1.0).completion(4.0));
/// let json = serde_json::to_value(&preferences)?;
/// assert_eq!(json["sort"], "throughput");
/// assert_eq!(json["max_price"]["prompt"], 1.0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderPreferences {
    /// Providers to try first, in this order; the others follow unless
    /// [`allow_fallbacks`](Self::allow_fallbacks) is off. Switches off load balancing by price,
    /// sticky routing and the service tiers of variants. Soft. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<String>>,
    /// The only providers that may serve the call. It *intersects* the account's own list. Hard.
    /// Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// Providers that must not serve the call, in addition to the account's own list. Hard.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<String>>,
    /// Whether others may serve when the first choice fails; if not, its error is returned.
    /// Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_fallbacks: Option<bool>,
    /// Whether only endpoints that support every parameter of the request may serve. Hard when
    /// true. When false, unsupported sampling parameters are dropped silently, while tools and
    /// response formats still act as soft filters. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_parameters: Option<bool>,
    /// Whether providers that may store or train on prompts may serve. Hard when `deny`. Default:
    /// `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_collection: Option<DataCollection>,
    /// Whether only endpoints with zero data retention may serve. Hard when true; false cannot
    /// relax what the account demands. Default: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zdr: Option<bool>,
    /// Whether only models whose text may be distilled may serve. Hard when true. Default: unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_distillable_text: Option<bool>,
    /// The quantizations that may serve. Hard. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantizations: Option<Vec<Quantization>>,
    /// How to order providers in place of load balancing by price. Soft. Default: load balancing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<Sort>,
    /// Tokens per second over the last 5 minutes that a provider should reach. Soft: the others
    /// come last. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_min_throughput: Option<Cutoff>,
    /// Seconds to the first token over the last 5 minutes that a provider should stay below. Soft.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_max_latency: Option<Cutoff>,
    /// The most that the call may cost. Hard. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<MaxPrice>,
    /// Options passed to the provider that serves, by its slug. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Map<String, Value>>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ProviderPreferences {
    /// Returns preferences that say nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the providers to try first.
    #[must_use]
    pub fn order<P: Into<String>>(mut self, providers: impl IntoIterator<Item = P>) -> Self {
        self.order = Some(providers.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the only providers that may serve.
    #[must_use]
    pub fn only<P: Into<String>>(mut self, providers: impl IntoIterator<Item = P>) -> Self {
        self.only = Some(providers.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the providers that must not serve.
    #[must_use]
    pub fn ignore<P: Into<String>>(mut self, providers: impl IntoIterator<Item = P>) -> Self {
        self.ignore = Some(providers.into_iter().map(Into::into).collect());
        self
    }

    /// Sets whether others may serve when the first choice fails.
    #[must_use]
    pub fn allow_fallbacks(mut self, allow: bool) -> Self {
        self.allow_fallbacks = Some(allow);
        self
    }

    /// Sets whether every parameter of the request has to be supported.
    #[must_use]
    pub fn require_parameters(mut self, require: bool) -> Self {
        self.require_parameters = Some(require);
        self
    }

    /// Sets whether providers that keep prompts may serve.
    #[must_use]
    pub fn data_collection(mut self, collection: DataCollection) -> Self {
        self.data_collection = Some(collection);
        self
    }

    /// Sets whether only endpoints with zero data retention may serve.
    #[must_use]
    pub fn zdr(mut self, zdr: bool) -> Self {
        self.zdr = Some(zdr);
        self
    }

    /// Sets the quantizations that may serve.
    #[must_use]
    pub fn quantizations(mut self, all: impl IntoIterator<Item = Quantization>) -> Self {
        self.quantizations = Some(all.into_iter().collect());
        self
    }

    /// Sets how providers are ordered.
    #[must_use]
    pub fn sort(mut self, sort: impl Into<Sort>) -> Self {
        self.sort = Some(sort.into());
        self
    }

    /// Sets the throughput that a provider should reach, in tokens per second.
    #[must_use]
    pub fn preferred_min_throughput(mut self, cutoff: impl Into<Cutoff>) -> Self {
        self.preferred_min_throughput = Some(cutoff.into());
        self
    }

    /// Sets the latency that a provider should stay below, in seconds.
    #[must_use]
    pub fn preferred_max_latency(mut self, cutoff: impl Into<Cutoff>) -> Self {
        self.preferred_max_latency = Some(cutoff.into());
        self
    }

    /// Sets the most that the call may cost.
    #[must_use]
    pub fn max_price(mut self, price: MaxPrice) -> Self {
        self.max_price = Some(price);
        self
    }
}

open_enum! {
    /// Whether providers that may store or train on prompts may serve.
    pub enum DataCollection {
        /// They may.
        Allow = "allow",
        /// They may not.
        Deny = "deny",
    }
}

open_enum! {
    /// The number format of a model's weights.
    pub enum Quantization {
        /// 4-bit integers.
        Int4 = "int4",
        /// 8-bit integers.
        Int8 = "int8",
        /// 4-bit floats.
        Fp4 = "fp4",
        /// 4-bit floats, microscaling.
        Mxfp4 = "mxfp4",
        /// 4-bit floats of NVIDIA.
        Nvfp4 = "nvfp4",
        /// 6-bit floats.
        Fp6 = "fp6",
        /// 8-bit floats.
        Fp8 = "fp8",
        /// 8-bit floats, microscaling.
        Mxfp8 = "mxfp8",
        /// 16-bit floats.
        Fp16 = "fp16",
        /// 16-bit brain floats.
        Bf16 = "bf16",
        /// 32-bit floats.
        Fp32 = "fp32",
        /// Not stated by the provider.
        Unknown = "unknown",
    }
}

open_enum! {
    /// What providers are ordered by.
    pub enum SortBy {
        /// The cheapest first.
        Price = "price",
        /// The most tokens per second first.
        Throughput = "throughput",
        /// The soonest first token first.
        Latency = "latency",
        /// The best tool callers first.
        Exacto = "exacto",
    }
}

open_enum! {
    /// What is ordered when a request names several models.
    pub enum Partition {
        /// The endpoints of each model on their own, models in the order given. The default.
        Model = "model",
        /// All endpoints of all models together.
        None = "none",
    }
}

/// How providers are ordered: by one measure, or that and a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sort {
    /// By one measure.
    By(SortBy),
    /// By one measure, within a partition.
    Within {
        /// The measure.
        by: SortBy,
        /// What is ordered together; `None`: each model on its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<Partition>,
    },
}

impl From<SortBy> for Sort {
    fn from(by: SortBy) -> Self {
        Self::By(by)
    }
}

/// A bound on a measure of the last 5 minutes: of its median, or of several percentiles, all of
/// which have to hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cutoff {
    /// Of the median.
    Median(f64),
    /// Of several percentiles.
    Percentiles {
        /// The median.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p50: Option<f64>,
        /// Three quarters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p75: Option<f64>,
        /// Nine of ten.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p90: Option<f64>,
        /// 99 of a hundred.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p99: Option<f64>,
    },
}

impl From<f64> for Cutoff {
    fn from(median: f64) -> Self {
        Self::Median(median)
    }
}

/// The most that a call may cost, in US dollars: per million tokens for prompt and completion, per
/// unit for the rest. Endpoints above it are removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MaxPrice {
    /// Per million prompt tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Price>,
    /// Per million completion tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Price>,
    /// Per request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Price>,
    /// Per image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Price>,
    /// Per unit of audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Price>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl MaxPrice {
    /// Returns a bound on nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most per million prompt tokens.
    #[must_use]
    pub fn prompt(mut self, usd: impl Into<Price>) -> Self {
        self.prompt = Some(usd.into());
        self
    }

    /// Sets the most per million completion tokens.
    #[must_use]
    pub fn completion(mut self, usd: impl Into<Price>) -> Self {
        self.completion = Some(usd.into());
        self
    }
}

/// An amount of US dollars, which OpenRouter writes as a number here and as a text there. Either
/// is accepted, and written as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Price {
    /// As a number.
    Number(f64),
    /// As a text, which keeps every digit.
    Text(String),
}

impl Price {
    /// Returns the amount in US dollars; `None` for a text that is no finite number.
    #[must_use]
    pub fn usd(&self) -> Option<f64> {
        let usd = match self {
            Self::Number(usd) => *usd,
            Self::Text(text) => text.trim().parse().ok()?,
        };
        usd.is_finite().then_some(usd)
    }
}

impl From<f64> for Price {
    fn from(usd: f64) -> Self {
        Self::Number(usd)
    }
}

impl From<&str> for Price {
    fn from(usd: &str) -> Self {
        Self::Text(usd.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read_and_written_again() {
        for json in [
            r#"{}"#,
            r#"{"order":["a"],"only":["a","b"],"ignore":[],"allow_fallbacks":false}"#,
            r#"{"require_parameters":true,"data_collection":"deny","zdr":true}"#,
            r#"{"quantizations":["fp8","int2"],"sort":"price"}"#,
            r#"{"sort":{"by":"latency","partition":"none"}}"#,
            r#"{"preferred_min_throughput":50.0,"preferred_max_latency":{"p90":2.5}}"#,
            r#"{"max_price":{"prompt":"1.25","completion":3.5}}"#,
            r#"{"options":{"openai":{"x":1}},"later":null}"#,
        ] {
            let preferences: ProviderPreferences = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&preferences).unwrap(), json);
        }
    }

    #[test]
    fn prices_are_numbers_or_texts() {
        assert_eq!(Price::from("0.00006").usd(), Some(0.000_06));
        assert_eq!(Price::from(2.5).usd(), Some(2.5));
        assert_eq!(Price::from("NaN").usd(), None);
        assert_eq!(Price::from("free").usd(), None);
    }
}
