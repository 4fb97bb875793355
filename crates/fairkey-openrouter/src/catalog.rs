//! The catalogue: the models that OpenRouter offers, and what they cost.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::{null_is_default, object};
use crate::request::Price;

/// The answer of `GET /models`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelList {
    /// The models of this page.
    #[serde(default, deserialize_with = "null_is_default")]
    pub data: Vec<Model>,
    /// How many there are on all pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_count: Option<u64>,
    /// Where the next page is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Value>,
}

impl ModelList {
    /// Reads a list from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object, or a known field has a type that makes no sense of it.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }

    /// Returns the model with the identifier `id`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Model> {
        self.data.iter().find(|model| model.id == id)
    }
}

/// One model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The identifier that requests name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub id: String,
    /// The identifier that does not change when the model is renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_slug: Option<String>,
    /// The name that people read.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// The most tokens of prompt and completion together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// What it costs.
    #[serde(default, deserialize_with = "null_is_default")]
    pub pricing: Pricing,
    /// The parameters that at least one provider supports.
    #[serde(default, deserialize_with = "null_is_default")]
    pub supported_parameters: Vec<String>,
}

impl Model {
    /// Returns whether the model is free of charge: both token prices are zero. Not only models
    /// with `:free` in their name are.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let zero = |price: &Option<Price>| price.as_ref().and_then(Price::usd) == Some(0.0);
        zero(&self.pricing.prompt) && zero(&self.pricing.completion)
    }
}

/// What a model costs, in US dollars per token, request or unit. OpenRouter writes texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pricing {
    /// Per prompt token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Price>,
    /// Per completion token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Price>,
    /// Per request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Price>,
    /// Per image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Price>,
}

impl Pricing {
    /// Returns what a call of so many tokens costs, in US dollars; `None` where a token price is
    /// unknown or negative (routers are priced at −1).
    #[must_use]
    pub fn cost_usd(&self, prompt_tokens: u64, completion_tokens: u64) -> Option<f64> {
        let price = |price: &Option<Price>| price.as_ref()?.usd().filter(|usd| *usd >= 0.0);
        let request = price(&self.request).unwrap_or(0.0);
        Some(
            price(&self.prompt)? * prompt_tokens as f64
                + price(&self.completion)? * completion_tokens as f64
                + request,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_free_by_its_price_not_by_its_name() {
        let list = ModelList::from_slice(
            br#"{"data":[
                {"id":"a/b","pricing":{"prompt":"0","completion":"0"}},
                {"id":"a/c:free","pricing":{"prompt":"0.000001","completion":"0"},"later":1},
                {"id":"openrouter/auto","pricing":{"prompt":"-1","completion":"-1"}},
                {"id":"a/d","pricing":null,"supported_parameters":null}],"total_count":4}"#,
        )
        .unwrap();
        let free: Vec<_> = list.data.iter().map(Model::is_free).collect();
        assert_eq!(free, [true, false, false, false]);
        assert_eq!(
            list.find("a/c:free").unwrap().pricing.cost_usd(1000, 5),
            Some(0.001)
        );
        assert_eq!(
            list.find("openrouter/auto").unwrap().pricing.cost_usd(1, 1),
            None
        );
        assert!(list.find("x").is_none());
    }
}
