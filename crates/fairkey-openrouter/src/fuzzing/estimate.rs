//! Measuring beside peeking and splicing.

use crate::sizing::{self, PromptSize};
use crate::splice::{self, Splice};

/// Measuring is total: it takes what splicing takes, sees what peeking sees, finds no more than the
/// body has bytes, and a text more is that many bytes more.
pub fn estimate(input: &[u8]) {
    let peek = splice::peek(input);
    let measured = match sizing::measure(input) {
        Ok(measured) => measured,
        Err(error) => {
            assert_eq!(
                peek.err().map(|error| error.to_string()),
                Some(error.to_string())
            );
            return;
        }
    };
    assert_eq!(peek.ok().as_ref(), Some(&measured.peek));
    assert!((1..=128).contains(&measured.choices));
    let size = measured.prompt;
    let PromptSize {
        image,
        audio,
        file,
        video,
        ..
    } = size;
    let all = input.len() as u64;
    let data: u64 = [image, audio, file, video]
        .iter()
        .map(|media| media.inline_bytes)
        .sum();
    let parts: u64 = [image, audio, file, video]
        .iter()
        .map(|media| media.count())
        .sum();
    // A name without letters counts two, and takes no less.
    assert!(size.text_bytes + size.schema_bytes <= all, "{size:?}");
    assert!(data <= all && parts <= all && size.messages <= all && size.tokens <= all);
    for ratio in [
        f64::NAN,
        f64::NEG_INFINITY,
        -1.0,
        0.0,
        0.3,
        2.0,
        1e300,
        f64::INFINITY,
    ] {
        let _ = size.prompt_tokens(ratio);
    }
    assert!(size.prompt_tokens(0.5) >= size.prompt_tokens(0.25));

    let [query, rest] = splice::find(input, ["query", "q"]).expect("it is an object");
    if (query, rest) == (None, None) {
        let longer = Splice::new(input.to_vec()).set("query", "é\n\u{1d11e}");
        let longer = longer.finish().expect("it is an object");
        let longer = sizing::measure(&longer).expect("it is an object").prompt;
        assert_eq!(longer.text_bytes, size.text_bytes + 7);
        assert_eq!(longer.messages, size.messages + 1);
        assert!(longer.prompt_tokens(0.3) > size.prompt_tokens(0.3));
    }
}
