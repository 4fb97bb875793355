//! How OpenRouter may choose the provider: the `provider` object of a request.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::open_enum::open_enum;
use crate::open_object::open_object;

open_object! {
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
    pub struct ProviderPreferences as in "ProviderPreferences::new()" {
        /// Providers to try first, in this order; the others follow unless
        /// [`allow_fallbacks`](field@Self::allow_fallbacks) is off. Switches off load balancing by
        /// price, sticky routing and the service tiers of variants. Soft. Default: none.
        order: list String = ["anthropic", "amazon-bedrock"] => ["anthropic", "amazon-bedrock"];
        /// The only providers that may serve the call. It *intersects* the account's own list.
        /// Hard. Default: all.
        only: list String = ["deepinfra/turbo"] => ["deepinfra/turbo"];
        /// Providers that must not serve the call, in addition to the account's own list. Hard.
        /// Default: none.
        ignore: list String = ["azure"] => ["azure"];
        /// Whether others may serve when the first choice fails; if not, its error is returned.
        /// Hard when false. Default: true.
        allow_fallbacks: value bool = false => false;
        /// Whether only endpoints that support every parameter of the request may serve. Hard when
        /// true. When false, unsupported sampling parameters are dropped silently, while tools,
        /// response formats and verbosity still act as soft filters. Default: false.
        require_parameters: value bool = true => true;
        /// Whether providers that may store or train on prompts may serve. Hard when `deny`.
        /// Default: `allow`.
        data_collection: into DataCollection = DataCollection::Deny => "deny";
        /// Whether only endpoints with zero data retention may serve. Hard when true; false cannot
        /// relax what the account demands. Default: unset.
        zdr: value bool = true => true;
        /// Whether only models whose text may be distilled may serve. Hard when true. Default:
        /// unset.
        enforce_distillable_text: value bool = true => true;
        /// The quantizations that may serve. Hard. Default: all.
        quantizations: list Quantization = [Quantization::Fp8] => ["fp8"];
        /// How to order providers in place of load balancing by price. Soft. Default: load
        /// balancing.
        sort: into Sort = SortBy::Price => "price";
        /// Tokens per second over the last 5 minutes that a provider should reach. Soft: the
        /// others come last. Default: none.
        preferred_min_throughput: into Cutoff = 50.0 => 50.0;
        /// Seconds to the first token over the last 5 minutes that a provider should stay below.
        /// Soft. Default: none.
        preferred_max_latency: into Cutoff = Cutoff::percentiles().p90(2.5) => {"p90": 2.5};
        /// The most that the call may cost. Hard. Default: none.
        max_price: value MaxPrice = MaxPrice::new().prompt(1.0) => {"prompt": 1.0};
        /// Options passed to the provider that serves, by its slug: `{"openai": {…}}`. Soft.
        /// Default: none.
        options: into Map<String, Value> =
            json!({"openai": {"x": 1}}).as_object().cloned().unwrap_or_default()
            => {"openai": {"x": 1}};
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
        /// The measure; `None`: load balancing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<SortBy>,
        /// What is ordered together; `None`: each model on its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<Partition>,
        /// Every other field.
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
}

impl Sort {
    /// Returns an order by a measure, within a partition.
    ///
    /// ```
    /// use fairkey_openrouter::{Partition, ProviderPreferences, Sort, SortBy};
    ///
    /// let fastest = Sort::within(SortBy::Throughput, Partition::None);
    /// let preferences = ProviderPreferences::new().sort(fastest);
    /// assert_eq!(serde_json::to_value(&preferences)?["sort"]["partition"], "none");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn within(by: SortBy, partition: Partition) -> Self {
        Self::Within {
            by: Some(by),
            partition: Some(partition),
            extra: Map::new(),
        }
    }

    /// Returns the measure.
    #[must_use]
    pub fn by(&self) -> Option<&SortBy> {
        match self {
            Self::By(by) => Some(by),
            Self::Within { by, .. } => by.as_ref(),
        }
    }

    /// Returns what is ordered together.
    #[must_use]
    pub fn partition(&self) -> &Partition {
        match self {
            Self::Within {
                partition: Some(partition),
                ..
            } => partition,
            _ => &Partition::Model,
        }
    }
}

impl From<SortBy> for Sort {
    fn from(by: SortBy) -> Self {
        Self::By(by)
    }
}

/// A bound on a measure of the last 5 minutes: of its median, or of several percentiles, all of
/// which have to hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cutoff {
    /// Of the median.
    Median(f64),
    /// Of several percentiles.
    Percentiles(Percentiles),
}

impl Cutoff {
    /// Returns bounds on no percentile.
    #[must_use]
    pub fn percentiles() -> Percentiles {
        Percentiles::new()
    }

    /// Returns the bounds, each with its percentile.
    pub fn bounds(&self) -> impl Iterator<Item = (u8, f64)> {
        let bounds = match self {
            Self::Median(bound) => [Some(*bound), None, None, None],
            Self::Percentiles(of) => [of.p50, of.p75, of.p90, of.p99],
        };
        [50, 75, 90, 99]
            .into_iter()
            .zip(bounds)
            .filter_map(|(percentile, bound)| Some((percentile, bound?)))
    }
}

impl From<f64> for Cutoff {
    fn from(median: f64) -> Self {
        Self::Median(median)
    }
}

impl From<Percentiles> for Cutoff {
    fn from(bounds: Percentiles) -> Self {
        Self::Percentiles(bounds)
    }
}

open_object! {
    /// Bounds on percentiles of a measure. All that are given have to hold.
    pub struct Percentiles as in "Percentiles::new()" {
        /// On the median.
        p50: value f64 = 1.5 => 1.5;
        /// On three quarters.
        p75: value f64 = 1.5 => 1.5;
        /// On nine of ten.
        p90: value f64 = 1.5 => 1.5;
        /// On 99 of a hundred.
        p99: value f64 = 1.5 => 1.5;
    }
}

open_object! {
    /// The most that a call may cost, in US dollars: per million tokens for prompt and completion,
    /// per unit for the rest. Endpoints above it are removed. Numbers and texts do.
    pub struct MaxPrice as in "MaxPrice::new()" {
        /// Per million prompt tokens.
        prompt: into Price = 1.25 => 1.25;
        /// Per million completion tokens.
        completion: into Price = "3.50" => "3.50";
        /// Per request.
        request: into Price = 0.01 => 0.01;
        /// Per image.
        image: into Price = 0.01 => 0.01;
        /// Per unit of audio.
        audio: into Price = 0.01 => 0.01;
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
