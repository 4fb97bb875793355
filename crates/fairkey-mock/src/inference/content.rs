//! What an answer consists of, in the shape of its endpoint.

use serde_json::{Value, json};

use crate::answer::{Answer, next_delta};
use crate::ask::{Ask, Shape, of_document};
use crate::catalog::Entry;
use crate::fault::{Fault, Place};
use crate::random::{Rng, hash};
use crate::wire::{Preamble, Usage, messages, responses};

/// The body of a plain answer.
pub(crate) fn whole(
    preamble: &Preamble,
    mut answer: Answer,
    usage: &Usage,
    fault: Option<&Fault>,
    metadata: Option<&Value>,
    user_id: &str,
) -> Vec<u8> {
    if let Some(fault) = fault {
        match fault.place() {
            _ if preamble.shape == Shape::Messages => {
                let body = messages::error(fault, Some(&preamble.id));
                return body.to_string().into_bytes();
            }
            _ if preamble.shape == Shape::Responses => {
                return responses::failed(preamble, fault).to_string().into_bytes();
            }
            Place::BareError { .. } => {
                return fault.envelope(Some(user_id)).to_string().into_bytes();
            }
            Place::ChoiceError { after } | Place::NativeFinish { after, .. } => {
                let mut kept = 0;
                for _ in 0..*after {
                    kept += next_delta(&answer.text[kept..]).len();
                }
                answer.text.truncate(kept);
            }
            Place::Head | Place::Page { .. } => {}
        }
    }
    match preamble.shape {
        Shape::Messages => messages::whole(preamble, &answer, usage, metadata),
        Shape::Responses => responses::whole(preamble, &answer, usage, metadata),
        _ => return preamble.whole(&answer, usage, fault, metadata),
    }
    .to_string()
    .into_bytes()
}

/// The documents of a rerank call by falling relevance: those that share more words with the query
/// first, others by what their text draws.
pub(super) fn ranked(ask: &Ask) -> Vec<(usize, f64)> {
    let query = ask.query.to_lowercase();
    let score = |document: &Value| {
        let text = of_document(document).to_lowercase();
        let words = query.split_whitespace();
        let (mut shared, mut all) = (0.0, 0.0);
        for word in words {
            all += 1.0;
            if text.contains(word) {
                shared += 1.0;
            }
        }
        let drawn = Rng::new(&[hash(text.as_bytes()), hash(query.as_bytes())]).unit();
        (0.9 * shared / f64::max(all, 1.0) + 0.1 * drawn).clamp(0.0, 1.0)
    };
    let mut ranked: Vec<_> = ask.documents.iter().map(score).enumerate().collect();
    ranked.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    ranked.truncate(ask.top_n.unwrap_or(usize::MAX).max(1));
    ranked
}

/// A vector of length one that follows from the input.
pub(crate) fn vector(input: u64) -> [f64; 8] {
    let mut rng = Rng::new(&[input]);
    let raw: [f64; 8] = std::array::from_fn(|_| rng.unit() * 2.0 - 1.0);
    let length = raw
        .iter()
        .map(|x| x * x)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    raw.map(|x| x / length)
}

pub(super) fn router_metadata(ask: &Ask, entry: &Entry, provider: usize) -> Value {
    let endpoints: Vec<Value> = entry
        .providers
        .iter()
        .enumerate()
        .map(|(at, name)| {
            json!({"provider": &**name, "model": &*entry.id, "selected": at == provider})
        })
        .collect();
    let requested = ask.models.first().map_or(&*entry.id, String::as_str);
    let strategy = match requested {
        "openrouter/auto" => "auto",
        "openrouter/free" => "free",
        _ if ask.models.len() > 1 => "fallback",
        _ => "direct",
    };
    json!({
        "requested": requested,
        "strategy": strategy,
        "region": "iad",
        "summary": format!("available={}, selected={}", endpoints.len(), entry.providers[provider]),
        "attempt": 1,
        "is_byok": false,
        "endpoints": {"total": endpoints.len(), "available": endpoints},
    })
}
