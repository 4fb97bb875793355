//! What moderation and guardrails look for in a request.

use crate::fault::Fault;

/// Words that are refused.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    flagged: Vec<String>,
    guardrails: Vec<String>,
}

impl Screen {
    pub(crate) fn new(flagged: &[String], guardrails: &[String]) -> Self {
        let lower = |words: &[String]| words.iter().map(|word| word.to_ascii_lowercase()).collect();
        Self {
            flagged: lower(flagged),
            guardrails: lower(guardrails),
        }
    }

    /// Refuses a body with a guardrail's pattern in it.
    pub(crate) fn guard(&self, body: &[u8]) -> Result<(), Fault> {
        match found(&self.guardrails, body) {
            Some(pattern) => Err(Fault::guardrail_403().metadata("patterns", vec![pattern])),
            None => Ok(()),
        }
    }

    /// Refuses a body with a flagged word in it, for a model that is moderated by a provider.
    pub(crate) fn moderate(&self, body: &[u8], provider: &str, model: &str) -> Result<(), Fault> {
        match found(&self.flagged, body) {
            Some(word) => {
                let input = word.chars().take(100).collect::<String>();
                Err(Fault::moderation_403(provider, model).metadata("flagged_input", input))
            }
            None => Ok(()),
        }
    }
}

fn found(words: &[String], body: &[u8]) -> Option<String> {
    if words.is_empty() {
        return None;
    }
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    words
        .iter()
        .find(|word| body.contains(word.as_str()))
        .cloned()
}
