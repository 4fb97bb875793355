//! The endpoints of a model: who serves it, how, and for what.

use serde::Deserialize;
use serde_json::Value;

use super::{Architecture, Pricing};
use crate::lenient::{lenient_object, object};
use crate::request::Quantization;

lenient_object! {
    /// A model with its endpoints: the answer of `GET /models/{author}/{slug}/endpoints`.
    pub struct ModelEndpoints {
        /// The identifier that requests name.
        id: plain String;
        /// The name that people read.
        name: plain String;
        /// What it is.
        description: some String;
        /// When it was listed, in seconds since 1970.
        created: count u64;
        /// What goes in and what comes out.
        architecture: plain Architecture;
        /// Who serves it.
        endpoints: items Endpoint;
    }
}

impl ModelEndpoints {
    /// Reads the answer, with its outer `data` or without.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut value: Value = object(json)?;
        let inner = value.get_mut("data").filter(|data| data.is_object());
        let data = inner.map(Value::take);
        Self::deserialize(data.unwrap_or(value))
    }
}

lenient_object! {
    /// The endpoints with zero data retention: the answer of `GET /endpoints/zdr`.
    pub struct ZdrEndpoints {
        /// The endpoints, of all models.
        data: items Endpoint;
    }
}

impl ZdrEndpoints {
    /// Reads the list from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }

    /// Returns whether the endpoint is among them: one with its tag, and its model where both say
    /// which.
    #[must_use]
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        self.data.iter().any(|own| {
            let same_model = match (&own.model_id, &endpoint.model_id) {
                (Some(own), Some(other)) => own == other,
                _ => own.name == endpoint.name,
            };
            own.tag == endpoint.tag && same_model
        })
    }
}

lenient_object! {
    /// One endpoint: a model at a provider, in one region, one tier and one quantization.
    pub struct Endpoint {
        /// Provider and model, for people.
        name: plain String;
        /// The model, by the identifier that does not change.
        model_id: some String;
        /// The model's name.
        model_name: some String;
        /// The provider, by its display name.
        provider_name: plain String;
        /// The slug that routing fields name: `deepinfra/turbo`, `openai/priority`.
        tag: plain String;
        /// The number format of its weights, where the provider states it.
        quantization: some Quantization;
        /// The most tokens of prompt and completion together.
        context_length: count u64;
        /// The most tokens of a prompt.
        max_prompt_tokens: count u64;
        /// The most tokens of a completion.
        max_completion_tokens: count u64;
        /// What it costs.
        pricing: plain Pricing;
        /// The parameters that it supports.
        supported_parameters: items String;
        /// Its state: 0 is well, negative numbers are not. What each means is not documented.
        status: number f64;
        /// The share of calls that succeeded in the last 5 minutes, in percent, refusals for their
        /// rate left out; `None`: too few.
        uptime_last_5m: number f64;
        /// The same of the last 30 minutes.
        uptime_last_30m: number f64;
        /// The same of the last day.
        uptime_last_1d: number f64;
        /// The time to the first token, in milliseconds; `None` without a key.
        latency_last_30m: some Statistics;
        /// Tokens per second; `None` without a key.
        throughput_last_30m: some Statistics;
        /// Whether prompts are cached without being asked for.
        supports_implicit_caching: some bool;
        /// Whether it can be told which tool to call.
        supports_tool_choice: some Value;
    }
}

impl Endpoint {
    /// Returns the provider's slug: what stands before the first slash of the tag.
    #[must_use]
    pub fn provider_slug(&self) -> &str {
        self.tag.split('/').next().unwrap_or_default()
    }

    /// Returns whether the endpoint supports the parameter.
    #[must_use]
    pub fn supports(&self, parameter: &str) -> bool {
        self.supported_parameters.iter().any(|own| own == parameter)
    }
}

lenient_object! {
    /// Percentiles of a measure over the last 30 minutes.
    pub struct Statistics {
        /// The median.
        p50: number f64;
        /// Three quarters.
        p75: number f64;
        /// Nine of ten.
        p90: number f64;
        /// 99 of a hundred.
        p99: number f64;
    }
}

impl Statistics {
    /// Returns a percentile by its number: 50, 75, 90 or 99.
    #[must_use]
    pub fn percentile(&self, percentile: u8) -> Option<f64> {
        match percentile {
            50 => self.p50,
            75 => self.p75,
            90 => self.p90,
            99 => self.p99,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"data":{"id":"a/b","endpoints":[
        {"tag":"x/turbo","provider_name":"X","model_id":"a/b-1","name":"X: B","status":0,
         "quantization":"fp8","pricing":{"prompt":"0.000001","completion":"0.000002"},
         "latency_last_30m":{"p50":250,"p99":"900"},"supported_parameters":["tools"]},
        {"tag":7,"status":"-2","quantization":null,"latency_last_30m":null}]}}"#;

    #[test]
    fn endpoints_are_read_with_and_without_their_envelope() {
        let model = ModelEndpoints::from_slice(BODY).unwrap();
        let [first, second] = model.endpoints.as_slice() else {
            panic!("two endpoints")
        };
        assert_eq!(
            (first.tag.as_str(), first.provider_slug()),
            ("x/turbo", "x")
        );
        assert_eq!(
            first.latency_last_30m.as_ref().unwrap().percentile(99),
            Some(900.0)
        );
        assert!(first.supports("tools"));
        assert_eq!((second.tag.as_str(), second.status), ("", Some(-2.0)));
        let inner: Value = serde_json::from_slice(BODY).unwrap();
        let inner = inner["data"].to_string();
        assert_eq!(ModelEndpoints::from_slice(inner.as_bytes()).unwrap(), model);
        assert!(ModelEndpoints::from_slice(b"[]").is_err());
    }

    #[test]
    fn an_endpoint_retains_nothing_where_its_tag_and_its_model_are_listed() {
        let model = ModelEndpoints::from_slice(BODY).unwrap();
        let listed = |json: &str| {
            ZdrEndpoints::from_slice(json.as_bytes())
                .unwrap()
                .contains(&model.endpoints[0])
        };
        assert!(listed(r#"{"data":[{"tag":"x/turbo","model_id":"a/b-1"}]}"#));
        assert!(listed(r#"{"data":[{"tag":"x/turbo","name":"X: B"}]}"#));
        assert!(!listed(r#"{"data":[{"tag":"x/turbo","model_id":"a/c"}]}"#));
        assert!(!listed(r#"{"data":[{"tag":"x","model_id":"a/b-1"}]}"#));
    }
}
