//! The size of a request: what holds for every text, however it is written.

use fairkey_openrouter::sizing::{self, PromptSize};
use fairkey_openrouter::{ChatRequest, fuzzing};
use proptest::prelude::*;
use serde_json::json;

/// The same JSON with every character beyond ASCII escaped, as some writers do it.
fn in_ascii(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn size(body: &[u8]) -> PromptSize {
    sizing::measure(body).unwrap().prompt
}

proptest! {
    #[test]
    fn text_counts_its_bytes_however_it_is_escaped(texts in prop::collection::vec(any::<String>(), 0..6)) {
        let mut request = ChatRequest::new("a/b");
        for text in &texts {
            request = request.user(text.as_str());
        }
        let body = String::from_utf8(request.to_bytes().to_vec()).unwrap();
        let bytes: usize = texts.iter().map(String::len).sum();
        prop_assert_eq!(size(body.as_bytes()).text_bytes, bytes as u64);
        prop_assert_eq!(size(in_ascii(&body).as_bytes()), size(body.as_bytes()));
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(size(pretty.as_bytes()), size(body.as_bytes()));
    }

    #[test]
    fn more_is_never_less(
        text in "\\PC{0,200}",
        more in "\\PC{0,200}",
        parts in 0_usize..4,
        ratio in 0.0..3.0_f64,
    ) {
        let part = json!({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}});
        let body = |text: &str, parts: usize| {
            let mut content = vec![json!({"type": "text", "text": text})];
            content.extend(std::iter::repeat_n(part.clone(), parts));
            json!({"messages": [{"role": "user", "content": content}]}).to_string()
        };
        let few = size(body(&text, parts).as_bytes());
        let longer = size(body(&format!("{text}{more}"), parts).as_bytes());
        let richer = size(body(&text, parts + 1).as_bytes());
        prop_assert!(longer.prompt_tokens(ratio) >= few.prompt_tokens(ratio));
        prop_assert!(richer.prompt_tokens(ratio) > few.prompt_tokens(ratio));
        // A vocabulary that knows each byte has no token of less than one.
        prop_assert!(few.prompt_tokens(1.0) >= few.bytes());
        let least = (few.bytes() as f64 * ratio).ceil() as u64 + few.overhead_tokens();
        prop_assert!(few.prompt_tokens(ratio) >= least + few.media_tokens());
    }

    #[test]
    fn any_bytes_are_measured_or_refused(input in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::estimate(&input);
    }

    #[test]
    fn what_looks_like_a_request_is_measured_or_refused(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"messages\"", "\"input\"", "\"content\"", "\"type\"",
                "\"image_url\"", "\"data\"", "\"tools\"", "\"data:image/png;base64,AAAA\"", "1", "-",
                "\"\\u00", "\"\\", "null", "\"cache_control\"", " ",
            ]),
            0..40,
        ),
    ) {
        fuzzing::estimate(pieces.concat().as_bytes());
        fuzzing::estimate(format!("{{\"messages\":{}}}", pieces.concat()).as_bytes());
    }
}

#[test]
fn huge_sizes_saturate() {
    let mut size = PromptSize::default();
    size.text_bytes = u64::MAX;
    size.schema_bytes = u64::MAX;
    size.tokens = u64::MAX;
    size.messages = u64::MAX;
    size.image.parts = u64::MAX;
    size.video.parts = u64::MAX;
    assert_eq!(size.prompt_tokens(1.0), u64::MAX);
    assert_eq!(size.prompt_tokens(f64::INFINITY), u64::MAX);
    assert_eq!(PromptSize::default().prompt_tokens(f64::NAN), 0);
}

#[test]
fn a_deep_body_is_measured_with_a_bit_for_each_level() {
    let depth = 200_000;
    let body = format!(
        "{{\"messages\":{}{}}}",
        "[".repeat(depth),
        "]".repeat(depth)
    );
    assert_eq!(size(body.as_bytes()), PromptSize::default());
}
