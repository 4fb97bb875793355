//! What an answer says about itself beside the answer: [`Summary`].

use fairkey_core::Cost;
use fairkey_openrouter::Usage;
use serde::Deserialize;

/// What an answer says about itself, in any format of the API; what is missing or odd is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) generation: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) cost: Option<Cost>,
}

#[derive(Deserialize)]
struct Probe {
    id: Option<String>,
    provider: Option<String>,
    usage: Option<Usage>,
}

impl Summary {
    /// Reads a whole answer.
    pub(crate) fn of(body: &[u8]) -> Self {
        let Ok(probe) = serde_json::from_slice::<Probe>(body) else {
            return Self::default();
        };
        Self {
            generation: probe.id,
            provider: probe.provider,
            cost: probe.usage.as_ref().and_then(cost),
        }
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
        let chat = Summary::of(br#"{"id":"gen-1","provider":"Acme","usage":{"total_tokens":7}}"#);
        assert_eq!(chat.cost.unwrap().tokens, 7);
        assert_eq!(
            (chat.generation.unwrap(), chat.provider.unwrap()),
            ("gen-1".into(), "Acme".into())
        );
        let message = Summary::of(br#"{"usage":{"input_tokens":7,"output_tokens":1}}"#);
        assert_eq!(message.cost, None);
        assert!(Summary::of(b"not JSON").generation.is_none());
    }
}
