//! What an answer says about itself beside the answer: [`Summary`].

use fairkey_core::Cost;
use fairkey_openrouter::{EventFormat, Usage};
use serde::Deserialize;

/// What an answer says about itself, in any format of the API; what is missing or odd is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) generation: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) usage: Option<Usage>,
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
        let Ok(probe) = serde_json::from_slice::<Probe>(body) else {
            return Self::default();
        };
        // A cost alone is no usage of a format whose words are others.
        let chat = probe.usage.filter(|usage| usage.cost().tokens > 0);
        Self {
            generation: probe.id,
            provider: probe.provider,
            usage: chat.or_else(|| EventFormat::of_path(path).usage(body)),
        }
    }
}

impl Summary {
    /// Returns what the call used, where the answer says so.
    pub(crate) fn cost(&self) -> Option<Cost> {
        self.usage.as_ref().and_then(cost)
    }
}

/// Returns what a usage says, unless it is of a format whose words are others: that says nothing.
pub(crate) fn cost(usage: &Usage) -> Option<Cost> {
    let cost = usage.cost();
    (cost.tokens > 0 || usage.cost.is_some()).then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

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
