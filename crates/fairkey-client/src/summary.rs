//! What an answer says about itself beside the answer: [`Summary`].

use fairkey_core::Cost;
use fairkey_openrouter::{AnswerTold, EventFormat, Usage, micro_usd};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::answer::Bill;

/// What an answer says about itself, in any format of the API; what is missing or odd is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) generation: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) usage: Option<Usage>,
    /// What a provider charged the caller's own account with it, in millionths of a US dollar.
    pub(crate) byok_micro_usd: u64,
}

#[derive(Deserialize)]
struct Probe {
    id: Option<String>,
    provider: Option<String>,
    usage: Option<Usage>,
}

impl Summary {
    /// Reads a whole answer to a request to `path`.
    pub(crate) fn of(path: &str, body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(probe) => Self::of_probe(probe, path, body),
            Err(_) => Self::default(),
        }
    }

    /// The same of an answer that was looked into already, and has `told` that of itself.
    pub(crate) fn of_told(told: &AnswerTold<'_>, path: &str, body: &[u8]) -> Self {
        fn read<T: DeserializeOwned>(json: Option<&str>) -> serde_json::Result<Option<T>> {
            json.map_or(Ok(None), serde_json::from_str)
        }
        fn text(json: Option<&str>) -> serde_json::Result<Option<String>> {
            let inside = json.and_then(|json| json.strip_prefix('"')?.strip_suffix('"'));
            match inside {
                // It is JSON, so that without escapes it says what stands there.
                Some(inside) if !inside.contains('\\') => Ok(Some(inside.to_owned())),
                _ => read(json),
            }
        }
        match (text(told.id), text(told.provider), read(told.usage)) {
            (Ok(id), Ok(provider), Ok(usage)) => {
                let probe = Probe {
                    id,
                    provider,
                    usage,
                };
                Self::of_probe(probe, path, body)
            }
            _ => Self::default(),
        }
    }

    fn of_probe(probe: Probe, path: &str, body: &[u8]) -> Self {
        let byok_micro_usd = probe.usage.as_ref().map_or(0, byok);
        // A cost alone is no usage of a format whose words are others.
        let chat = probe.usage.filter(|usage| usage.cost().tokens > 0);
        Self {
            generation: probe.id,
            provider: probe.provider,
            usage: chat.or_else(|| EventFormat::of_path(path).usage(body)),
            byok_micro_usd,
        }
    }
}

impl Summary {
    /// Returns what the call used, where the answer says so.
    pub(crate) fn cost(&self) -> Option<Cost> {
        self.usage.as_ref().and_then(cost)
    }

    /// Returns what is to be paid for the call, to whomever.
    pub(crate) fn bill(&self) -> Bill {
        Bill {
            cost: self.cost(),
            byok_micro_usd: self.byok_micro_usd,
        }
    }
}

/// Returns what a provider charged the caller's own account with it. Where the tokens are
/// OpenRouter's, the same member says what OpenRouter paid, which is in the cost.
fn byok(usage: &Usage) -> u64 {
    let details = usage.cost_details.as_ref();
    let charged = details.and_then(|details| details.upstream_inference_cost);
    match usage.is_byok {
        Some(true) => charged.map_or(0, micro_usd),
        _ => 0,
    }
}

/// Returns what a usage says, unless it is of a format whose words are others: that says nothing.
pub(crate) fn cost(usage: &Usage) -> Option<Cost> {
    let cost = usage.cost();
    (cost.tokens > 0 || usage.cost.is_some()).then_some(cost)
}

#[cfg(test)]
mod tests {
    use fairkey_openrouter::Fault;

    use super::*;

    #[test]
    fn what_the_callers_own_provider_account_pays_is_told_apart() {
        for path in [
            "/api/v1/chat/completions",
            "/api/v1/messages",
            "/api/v1/responses",
        ] {
            let of = |is_byok: &str| {
                let body = format!(
                    r#"{{"usage":{{"prompt_tokens":1,"input_tokens":1,"cost":0.05,{is_byok}
                        "cost_details":{{"upstream_inference_cost":1.0}}}}}}"#
                );
                let bill = Summary::of(path, body.as_bytes()).bill();
                (bill.cost.unwrap().micro_usd, bill.byok_micro_usd)
            };
            assert_eq!(of(r#""is_byok":true,"#), (50_000, 1_000_000), "{path}");
            assert_eq!(of(r#""is_byok":false,"#), (50_000, 0), "{path}");
            assert_eq!(of(""), (50_000, 0), "{path}");
        }
    }

    #[test]
    fn what_was_told_is_what_would_be_read() {
        let path = "/api/v1/chat/completions";
        for body in [
            r#"{"id":"gen-1","provider":"Acme","choices":[{"finish_reason":"stop"}],
                "usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"cost":0.1}}"#,
            r#"{"id":null,"choices":[{"finish_reason":"stop"}],"usage":null}"#,
            r#"{"id":7,"provider":"Acme","choices":[{"finish_reason":"stop"}]}"#,
            r#" {"id":"a\nb","choices":[],"usage":{"input_tokens":3,"output_tokens":4}} "#,
            r#"{"error":{"code":502,"message":"x"},"usage":{"total_tokens":7}}"#,
        ] {
            let (_, told) = Fault::in_answer_told(path, body.as_bytes());
            let told = Summary::of_told(&told.unwrap(), path, body.as_bytes());
            let read = Summary::of(path, body.as_bytes());
            assert_eq!(format!("{told:?}"), format!("{read:?}"), "{body}");
        }
        let odd = br#"{"id":"a","id":"b"}"#;
        assert!(Fault::in_answer_told(path, odd).1.is_none());
        let other = br#"{"id":"a","usage":{"total_tokens":7}}"#;
        assert!(Fault::in_answer_told("/api/v1/rerank", other).1.is_none());
    }

    #[test]
    fn usage_in_other_words_is_not_taken_for_nothing() {
        let of = |body: &[u8]| Summary::of("/api/v1/messages", body);
        let chat = of(br#"{"id":"gen-1","provider":"Acme","usage":{"total_tokens":7}}"#);
        assert_eq!(chat.cost().unwrap().tokens, 7);
        assert_eq!(
            (chat.generation.unwrap(), chat.provider.unwrap()),
            ("gen-1".into(), "Acme".into())
        );
        let message = of(br#"{"usage":{"input_tokens":7,"output_tokens":1,"cost":0.5}}"#);
        let cost = message.cost().unwrap();
        assert_eq!((cost.tokens, cost.micro_usd), (8, 500_000));
        assert_eq!(of(br#"{"usage":{"pages":7}}"#).cost(), None);
        assert!(of(b"not JSON").generation.is_none());
    }
}
