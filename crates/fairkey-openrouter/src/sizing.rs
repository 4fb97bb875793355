//! How much a request asks for, read from its body in one pass, without parsing it.
//!
//! [`measure`] takes the body of any endpoint that is JSON (chat completions, legacy completions,
//! Messages, Responses, embeddings, rerank) and returns what whoever passes it on has to know
//! ([`Peek`]) together with the size of its prompt ([`PromptSize`]), each byte looked at once. It
//! allocates next to nothing, and takes no more memory than a bit for each level of nesting.
//!
//! # What is counted
//!
//! | member | counts |
//! | --- | --- |
//! | `messages`, `system`, `input`, `instructions`, `prompt`, `query`, `documents` | its strings, as text; parts that are no text, by the rules below |
//! | `tools`, `functions`, `response_format`, `text` | names and strings, as a schema |
//! | `input_audio` | its data |
//! | any other | nothing |
//!
//! Text is counted in bytes of UTF-8, once escapes are resolved: `"\u00e9"` and `"é"` are the same
//! two bytes. Words that only give a part its form (`type`, `role`, identifiers, signatures,
//! encrypted reasoning) do not count, and neither do the names of members, but in schemas. Where
//! `input` or `prompt` is a list of numbers, these are tokens already, and counted as such.
//!
//! Base64 is not text. A string is taken for data where it is a data URL, or where it stands under
//! the name of data and looks like base64, unless it is what somebody said (`text`, `content`,
//! `arguments` and the like). A part is known by its `type`: `image_url`, `input_image` and `image`;
//! `input_audio` and `audio`; `file`, `input_file` and `document`; `video_url`, `input_video` and
//! `video`.
//!
//! # Rules for what is no text
//!
//! What images and sounds come to depends on the model, and on pixels and seconds that are not
//! known without decoding. So these are rules, rather too much than too little:
//!
//! | part | tokens | why |
//! | --- | --- | --- |
//! | image | [`IMAGE_TOKENS`] | the largest that large vendors count for one image in their usual resolution |
//! | image of `detail: low` | [`LOW_DETAIL_IMAGE_TOKENS`] | the flat price that OpenAI gives it |
//! | sound | 32 for each second: a byte rate of 8 kB/s, of 32 kB/s for WAV | the rate of Gemini, the dearest; 64 kbit/s, and 16 kHz with 16 bits |
//! | file | one for each 64 bytes | pages of 100 kB with some 1,500 tokens |
//! | text in a file | as text | |
//! | video | one for each 400 bytes | 300 tokens a second, at 1 Mbit/s |
//! | sound, file or video by its URL | [`AUDIO_TOKENS`], [`FILE_TOKENS`], [`VIDEO_TOKENS`] | a minute, a few pages, a minute |
//!
//! # Example
//!
//! ```
//! use fairkey_openrouter::sizing;
//!
//! let body = br#"{"model":"a/b","max_tokens":100,"messages":[{"role":"user","content":[
//!     {"type":"text","text":"What is this?"},
//!     {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]}"#;
//! let measured = sizing::measure(body)?;
//! assert_eq!(measured.peek.model.as_deref(), Some("a/b"));
//! assert_eq!(measured.peek.completion_limit, Some(100));
//! assert_eq!((measured.prompt.text_bytes, measured.prompt.images()), (13, 1));
//! # Ok::<(), fairkey_openrouter::splice::SpliceError>(())
//! ```

mod media;
mod prompt;
mod walk;

pub use self::prompt::{
    AUDIO_TOKENS, FILE_TOKENS, IMAGE_TOKENS, LOW_DETAIL_IMAGE_TOKENS, Media, PromptSize,
    TOKENS_PER_BYTE, TOKENS_PER_MESSAGE, VIDEO_TOKENS,
};

use self::walk::{Section, Walk};
use crate::splice::peek::{PEEKED, tokens};
use crate::splice::scan::{Scan, text};
use crate::splice::{Peek, SpliceError};

/// What a body asks for: made by [`measure`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Measured<'a> {
    /// What it says of itself.
    pub peek: Peek<'a>,
    /// How many answers it wants: `n`, from 1 to 128; 1 where it does not say.
    pub choices: u64,
    /// The size of its prompt.
    pub prompt: PromptSize,
}

/// The most answers that one request is believed to want.
const MOST_CHOICES: u64 = 128;

/// Reads what a body asks for, in one pass over its bytes.
///
/// Of a member that comes twice, the last counts for [`Peek`]; text counts wherever it stands, so
/// that the size is never too small.
///
/// # Errors
///
/// Where the body is no JSON object, as far as that is checked (see [`splice`](crate::splice)).
pub fn measure(body: &[u8]) -> Result<Measured<'_>, SpliceError> {
    let mut scan = Scan { body, at: 0 };
    scan.open()?;
    let mut found = [None; PEEKED.len()];
    let mut choices = None;
    let mut prompt = PromptSize::default();
    let mut is_first = true;
    while scan.advance(is_first)? {
        is_first = false;
        let name = scan.name()?;
        // What is no Unicode is no name that is known.
        let name = text(&body[name.0..name.1]).unwrap_or_default();
        let begin = scan.at;
        match Section::of(&name) {
            Some(section) => Walk::new(&mut scan, &mut prompt, section).value()?,
            None => scan.value()?,
        }
        let value = &body[begin..scan.at];
        if let Some(place) = PEEKED.iter().position(|known| *known == name) {
            found[place] = Some(value);
        } else if name == "n" {
            choices = tokens(value);
        } else if name == "cache_control" && value != b"null" {
            prompt.writes_cache = true;
        }
    }
    Ok(Measured {
        peek: Peek::of(found, body.len()),
        choices: choices.unwrap_or(1).clamp(1, MOST_CHOICES),
        prompt,
    })
}

#[cfg(test)]
mod tests;
