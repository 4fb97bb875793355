//! What a call used and cost.

use fairkey_core::Cost;
use serde::{Deserialize, Serialize};

use crate::lenient::{amount, count};
use crate::money::micro_usd;

/// What a call used and cost. OpenRouter always sends it; in a stream, once, near the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default, deserialize_with = "count")]
    pub prompt_tokens: u64,
    /// Tokens written, those of reasoning included.
    #[serde(default, deserialize_with = "count")]
    pub completion_tokens: u64,
    /// Both.
    #[serde(default, deserialize_with = "count")]
    pub total_tokens: u64,
    /// What OpenRouter charged, in US dollars.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "amount"
    )]
    pub cost: Option<f64>,
    /// Whether a provider key of the caller's own paid for the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_byok: Option<bool>,
    /// What the prompt tokens consist of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptTokensDetails>,
    /// What the completion tokens consist of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<CompletionTokensDetails>,
    /// What the cost consists of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_details: Option<CostDetails>,
    /// What tools that OpenRouter runs did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_tool_use_details: Option<ServerToolUse>,
}

impl Usage {
    /// Returns the usage as the pool counts it: one request, its tokens, its money.
    ///
    /// Money is rounded as [`micro_usd`] says. Without a total, prompt and completion are added
    /// up.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let sum = self.prompt_tokens.saturating_add(self.completion_tokens);
        Cost {
            requests: 1,
            tokens: if self.total_tokens == 0 {
                sum
            } else {
                self.total_tokens
            },
            micro_usd: self.cost.map_or(0, micro_usd),
        }
    }
}

/// What the prompt tokens consist of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptTokensDetails {
    /// Read from the provider's prompt cache.
    #[serde(default, deserialize_with = "count")]
    pub cached_tokens: u64,
    /// Written to it.
    #[serde(default, deserialize_with = "count")]
    pub cache_write_tokens: u64,
    /// Of audio.
    #[serde(default, deserialize_with = "count")]
    pub audio_tokens: u64,
    /// Of video.
    #[serde(default, deserialize_with = "count")]
    pub video_tokens: u64,
}

/// What the completion tokens consist of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionTokensDetails {
    /// Of reasoning.
    #[serde(default, deserialize_with = "count")]
    pub reasoning_tokens: u64,
    /// Of audio.
    #[serde(default, deserialize_with = "count")]
    pub audio_tokens: u64,
    /// Of images.
    #[serde(default, deserialize_with = "count")]
    pub image_tokens: u64,
    /// Of the prediction that came true.
    #[serde(default, deserialize_with = "count")]
    pub accepted_prediction_tokens: u64,
    /// Of the prediction that did not; paid for all the same.
    #[serde(default, deserialize_with = "count")]
    pub rejected_prediction_tokens: u64,
}

/// What tools that OpenRouter runs did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerToolUse {
    /// Searches of the web, each at its own price.
    #[serde(default, deserialize_with = "count")]
    pub web_search_requests: u64,
    /// Calls that the model asked for.
    #[serde(default, deserialize_with = "count")]
    pub tool_calls_requested: u64,
    /// Calls that were made.
    #[serde(default, deserialize_with = "count")]
    pub tool_calls_executed: u64,
}

/// What the cost consists of, in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostDetails {
    /// What the provider charged.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "amount"
    )]
    pub upstream_inference_cost: Option<f64>,
    /// That for the prompt.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "amount"
    )]
    pub upstream_inference_prompt_cost: Option<f64>,
    /// That for the completion.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "amount"
    )]
    pub upstream_inference_completions_cost: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_counts_one_request_its_tokens_and_its_money() {
        let usage: Usage = serde_json::from_str(
            r#"{"prompt_tokens":10,"completion_tokens":5,"cost":"0.00123",
                "prompt_tokens_details":{"cached_tokens":null},"later":[]}"#,
        )
        .unwrap();
        assert_eq!(
            usage.cost(),
            Cost {
                requests: 1,
                tokens: 15,
                micro_usd: 1230
            }
        );
        assert_eq!(Usage::default().cost(), Cost::ONE);
    }
}
