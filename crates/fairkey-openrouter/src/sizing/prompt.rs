//! The size of a prompt: [`PromptSize`].

/// How many tokens a byte of text comes to where nothing is known of a model: one for each 3.6
/// bytes, and a tenth more.
///
/// English prose has 4 to 4.5 bytes for each token with the vocabularies of today, source code and
/// most other languages 3 to 4: vocabularies differ by 10 to 30 %. It is a start; what answers say
/// is better.
pub const TOKENS_PER_BYTE: f64 = 1.1 / 3.6;

/// The tokens of a message beside its text: its role, and where it begins and ends.
///
/// Source: OpenAI's guide to counting tokens counts 3 or 4 for each message, and 3 for the answer's
/// beginning.
pub const TOKENS_PER_MESSAGE: u64 = 4;

/// The tokens of an image: see the [rules](crate::sizing#rules-for-what-is-no-text).
pub const IMAGE_TOKENS: u64 = 1_600;
/// The tokens of an image to be looked at in a small copy.
pub const LOW_DETAIL_IMAGE_TOKENS: u64 = 85;
/// The tokens of a sound whose length is not known.
pub const AUDIO_TOKENS: u64 = 60 * 32;
/// The tokens of a file whose length is not known.
pub const FILE_TOKENS: u64 = 2_000;
/// The tokens of a video whose length is not known.
pub const VIDEO_TOKENS: u64 = 60 * 300;

/// How long a prompt is: bytes of text, tokens, and parts that are no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptSize {
    /// What was said, in bytes of UTF-8.
    pub text_bytes: u64,
    /// Tools and the form of the answer, in bytes: names and texts, and two for each.
    pub schema_bytes: u64,
    /// Messages, or items.
    pub messages: u64,
    /// What was given as tokens already.
    pub tokens: u64,
    /// Images.
    pub image: Media,
    /// Images to be looked at in a small copy only.
    pub low_detail_images: u64,
    /// Sounds.
    pub audio: Media,
    /// Files.
    pub file: Media,
    /// Videos.
    pub video: Media,
    /// Whether a part is marked for the provider's cache, to which writing may cost more.
    pub writes_cache: bool,
}

/// Parts of one kind that are no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Media {
    /// Parts that say they are of this kind.
    pub parts: u64,
    /// Those whose data is in the body.
    pub inline: u64,
    /// That data, in bytes before base64.
    pub inline_bytes: u64,
    /// What it comes to by the rules, but for images.
    pub inline_tokens: u64,
}

impl Media {
    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.parts.max(self.inline)
    }

    pub(super) fn add(&mut self, bytes: u64, tokens: u64) {
        self.inline += 1;
        self.inline_bytes += bytes;
        self.inline_tokens += tokens;
    }

    /// What it comes to where each that is not in the body counts `unknown`.
    fn tokens(&self, unknown: u64) -> u64 {
        let elsewhere = self.parts.saturating_sub(self.inline);
        (self.inline_tokens).saturating_add(elsewhere.saturating_mul(unknown))
    }
}

impl PromptSize {
    /// Returns the bytes that become tokens by a ratio: of text, and of schemas.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.text_bytes.saturating_add(self.schema_bytes)
    }

    /// Returns how many images there are.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.image.count()
    }

    /// Returns whether there is anything that is no text.
    #[must_use]
    pub fn has_media(&self) -> bool {
        [&self.image, &self.audio, &self.file, &self.video]
            .iter()
            .any(|media| media.count() > 0)
    }

    /// Returns what the parts that are no text come to, by the
    /// [rules](crate::sizing#rules-for-what-is-no-text).
    #[must_use]
    pub fn media_tokens(&self) -> u64 {
        let images = self.images();
        let low = self.low_detail_images.min(images);
        let images = (images - low)
            .saturating_mul(IMAGE_TOKENS)
            .saturating_add(low.saturating_mul(LOW_DETAIL_IMAGE_TOKENS));
        images
            .saturating_add(self.audio_tokens())
            .saturating_add(self.file.tokens(FILE_TOKENS))
            .saturating_add(self.video.tokens(VIDEO_TOKENS))
    }

    /// Returns what the sounds of it come to: some models price them otherwise than text.
    #[must_use]
    pub fn audio_tokens(&self) -> u64 {
        self.audio.tokens(AUDIO_TOKENS)
    }

    /// Returns the tokens that belong to the form of a conversation; none where there is none.
    #[must_use]
    pub fn overhead_tokens(&self) -> u64 {
        match self.messages {
            0 => 0,
            messages => messages
                .saturating_mul(TOKENS_PER_MESSAGE)
                .saturating_add(3),
        }
    }

    /// Returns how many tokens the prompt has by a ratio of tokens to bytes; what is no ratio (not
    /// a number, or negative) counts as [`TOKENS_PER_BYTE`]. Saturates.
    ///
    /// With a longer text, or more of anything, it is never less.
    #[must_use]
    pub fn prompt_tokens(&self, tokens_per_byte: f64) -> u64 {
        let ratio = if tokens_per_byte >= 0.0 {
            tokens_per_byte
        } else {
            TOKENS_PER_BYTE
        };
        // The cast saturates.
        let text = (self.bytes() as f64 * ratio).ceil() as u64;
        text.saturating_add(self.tokens)
            .saturating_add(self.media_tokens())
            .saturating_add(self.overhead_tokens())
    }
}
