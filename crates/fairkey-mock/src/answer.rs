//! Answers: text that follows from the prompt and the seed, and from nothing else.

use serde_json::{Map, Value, json};

use crate::ask::{Ask, Want, tokens};
use crate::random::Rng;

const WORDS: [&str; 64] = [
    "amber", "anchor", "apple", "arrow", "autumn", "basket", "beacon", "bridge", "bright", "calm",
    "candle", "canyon", "cedar", "cloud", "copper", "coral", "desert", "distant", "echo", "ember",
    "falcon", "feather", "field", "forest", "garden", "gentle", "glacier", "granite", "harbor",
    "hollow", "island", "ivory", "juniper", "lantern", "linen", "maple", "marble", "meadow",
    "mirror", "morning", "mountain", "narrow", "ocean", "olive", "orchard", "paper", "pebble",
    "pine", "quiet", "raven", "ribbon", "river", "saffron", "shadow", "silver", "stone", "summer",
    "thunder", "timber", "valley", "velvet", "willow", "winter", "yonder",
];

/// How long answers are, in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Length {
    /// Evenly from the first to the second.
    Even(u64, u64),
    /// Log-normal: half are shorter than the median.
    LogNormal { median: u64, sigma: f64 },
}

impl Length {
    fn draw(self, rng: &mut Rng) -> u64 {
        match self {
            Self::Even(low, high) => low + rng.below(high.saturating_sub(low) + 1),
            Self::LogNormal { median, sigma } => {
                // Box and Muller; 1 - unit() is above zero.
                let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * rng.unit()).cos();
                let tokens = median as f64 * (sigma * normal).exp();
                (tokens.round() as u64).clamp(1, LONGEST)
            }
        }
    }
}

/// No answer is longer, in tokens.
const LONGEST: u64 = 1_000_000;

/// What a model says.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The content, or the arguments of the tool call.
    pub(crate) text: String,
    pub(crate) finish_reason: &'static str,
    /// The name of the tool that is called.
    pub(crate) tool: Option<String>,
}

impl Answer {
    /// The answer to `ask`; its length in tokens is drawn from `length` where `max_tokens` allows.
    pub(crate) fn to(ask: &Ask, seed: u64, length: Length) -> Self {
        let mut rng = Rng::new(&[seed, ask.prompt_hash]);
        let wanted = length.draw(&mut rng);
        let (mut text, natural, tool) = match &ask.want {
            Want::Text => (prose(&ask.topic, wanted, &mut rng), "stop", None),
            Want::Json(None) => {
                let answer = prose(&ask.topic, wanted, &mut rng);
                (json!({ "answer": answer }).to_string(), "stop", None)
            }
            Want::Json(Some(schema)) => (example(schema, &mut rng, 0).to_string(), "stop", None),
            Want::Tool { name, parameters } => {
                let arguments = match example(parameters, &mut rng, 0) {
                    arguments @ Value::Object(_) => arguments,
                    _ => json!({}),
                };
                (arguments.to_string(), "tool_calls", Some(name.clone()))
            }
        };
        let mut finish_reason = natural;
        if let Some(max) = ask.max_tokens
            && tokens(text.len()) > max
        {
            // Rounding up happens once, so that exactly `max` tokens are left, or a little fewer
            // when a letter of several bytes stands at the cut.
            text.truncate(text.floor_char_boundary(max as usize * 4));
            finish_reason = "length";
        }
        Self {
            text,
            finish_reason,
            tool,
        }
    }

    pub(crate) fn tokens(&self) -> u64 {
        tokens(self.text.len())
    }
}

/// Words about `topic`, of about `wanted` tokens.
fn prose(topic: &str, wanted: u64, rng: &mut Rng) -> String {
    let mut text = String::with_capacity(wanted as usize * 4 + 64);
    if !topic.is_empty() {
        text.push_str("On \"");
        text.push_str(topic);
        text.push_str("\":");
    }
    while tokens(text.len()) < wanted {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(WORDS[rng.below(64) as usize]);
    }
    text.push('.');
    text
}

/// A value that fits a JSON Schema, as far as types, properties, items and enums go.
fn example(schema: &Value, rng: &mut Rng, depth: usize) -> Value {
    if depth > 8 {
        return Value::Null;
    }
    if let Some(Value::Array(options)) = schema.get("enum")
        && !options.is_empty()
    {
        return options[rng.below(options.len() as u64) as usize].clone();
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
        _ if schema.get("properties").is_some() => "object",
        _ => "string",
    };
    match kind {
        "object" => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let members: Map<String, Value> = properties
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), example(schema, rng, depth + 1)))
                .collect();
            Value::Object(members)
        }
        "array" => match schema.get("items") {
            Some(items) => json!([example(items, rng, depth + 1)]),
            None => json!([]),
        },
        "integer" => json!(rng.below(100)),
        "number" => json!(rng.below(1000) as f64 / 10.0),
        "boolean" => json!(rng.below(2) == 1),
        "null" => Value::Null,
        _ => json!(WORDS[rng.below(64) as usize]),
    }
}

/// Splits text into the deltas of a stream: each word with the space before it; JSON, which has few
/// spaces, in pieces of at most 16 bytes. Together they are the text.
pub(crate) fn next_delta(rest: &str) -> &str {
    let word = rest
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == ' ')
        .map_or(rest.len(), |(at, _)| at);
    if word <= 16 {
        return &rest[..word];
    }
    let cut = rest.floor_char_boundary(16);
    &rest[..cut]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Shape;

    fn ask(body: &Value) -> Ask {
        Ask::read(body.to_string().as_bytes(), Shape::Chat).unwrap()
    }

    fn hello(extra: &Value) -> Ask {
        let mut body = json!({"messages": [{"role": "user", "content": "hello there"}]});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        ask(&body)
    }

    #[test]
    fn the_same_prompt_and_seed_say_the_same_and_others_do_not() {
        let plain = hello(&json!({}));
        let say = |ask: &Ask, seed| Answer::to(ask, seed, Length::Even(8, 40)).text;
        assert_eq!(say(&plain, 1), say(&hello(&json!({"stream": true})), 1));
        assert_ne!(say(&plain, 1), say(&plain, 2));
        let other = ask(&json!({"messages": [{"content": "hello you"}]}));
        assert_ne!(say(&plain, 1)[12..], say(&other, 1)[12..]);
    }

    #[test]
    fn half_of_the_answers_are_shorter_than_the_median_and_few_are_very_long() {
        let length = Length::LogNormal {
            median: 100,
            sigma: 0.8,
        };
        let mut rng = Rng::new(&[3]);
        let mut drawn: Vec<u64> = (0..10_001).map(|_| length.draw(&mut rng)).collect();
        drawn.sort_unstable();
        assert!((97..=103).contains(&drawn[5_000]), "{}", drawn[5_000]);
        // e^(1.645 * 0.8) times the median.
        assert!((350..=400).contains(&drawn[9_500]), "{}", drawn[9_500]);
        let mean = drawn.iter().sum::<u64>() / 10_001;
        assert!(
            (133..=143).contains(&mean),
            "e^(0.8^2 / 2) times it: {mean}"
        );
    }

    #[test]
    fn max_tokens_cuts_exactly_and_says_so() {
        let answer = Answer::to(&hello(&json!({"max_tokens": 5})), 1, Length::Even(8, 40));
        assert_eq!((answer.tokens(), answer.finish_reason), (5, "length"));
        let long = Answer::to(&hello(&json!({"max_tokens": 1000})), 1, Length::Even(8, 40));
        assert_eq!(long.finish_reason, "stop");
    }

    #[test]
    fn deltas_make_up_the_text() {
        for text in [
            "",
            "one",
            "one two three",
            "{\"a\":\"a long value without\"}",
            "äöü äöüäöüäöüäöüäöü",
        ] {
            let (mut rest, mut whole) = (text, String::new());
            while !rest.is_empty() {
                let delta = next_delta(rest);
                assert!(!delta.is_empty());
                whole.push_str(delta);
                rest = &rest[delta.len()..];
            }
            assert_eq!(whole, text);
        }
    }

    #[test]
    fn json_is_json_and_follows_its_schema() {
        let format = json!({"response_format": {"type": "json_object"}});
        let answer = Answer::to(&hello(&format), 1, Length::Even(8, 40));
        assert!(serde_json::from_str::<Value>(&answer.text).unwrap()["answer"].is_string());
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer"}, "kind": {"enum": ["x"]},
            "list": {"type": "array", "items": {"type": "boolean"}}}});
        let format = json!({"response_format":
            {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}});
        let answer = Answer::to(&hello(&format), 1, Length::Even(8, 40));
        let value: Value = serde_json::from_str(&answer.text).unwrap();
        assert!(value["n"].is_u64() && value["kind"] == "x" && value["list"][0].is_boolean());
    }
}
