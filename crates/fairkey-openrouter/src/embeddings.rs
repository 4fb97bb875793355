//! Embeddings: the bodies of `POST /embeddings`.

use serde::{Deserialize, Serialize};

use crate::lenient::{lenient_object, object};
use crate::open_enum::open_enum;
use crate::open_object::{body, open_object};
use crate::request::{ContentPart, ProviderPreferences};

open_object! {
    /// A request for embeddings. There is no streaming, and no list of fallback models.
    ///
    /// ```
    /// use fairkey_openrouter::EmbeddingsRequest;
    ///
    /// let request = EmbeddingsRequest::new("openai/text-embedding-3-small", ["one", "two"])
    ///     .dimensions(256);
    /// assert_eq!(serde_json::to_value(&request)?["input"][1], "two");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct EmbeddingsRequest as in "EmbeddingsRequest::new(\"a/b\", \"text\")" {
        @fixed {
            /// The model.
            pub model: String,
            /// What to embed.
            pub input: EmbeddingsInput,
        }

        /// How many numbers an embedding has, from 1. Default: the model's own.
        dimensions: value u64 = 256 => 256;
        /// How the numbers are written. Default: as a list.
        encoding_format: into EncodingFormat = EncodingFormat::Base64 => "base64";
        /// What the embedding is for, such as `search_query`; the words are the model's. Default:
        /// none.
        input_type: into String = "search_query" => "search_query";
        /// How OpenRouter may choose the provider. Default: as the account says.
        provider: value ProviderPreferences = ProviderPreferences::new().zdr(true) => {"zdr": true};
        /// A stable identifier of the end user. Default: none.
        user: into String = "u-1" => "u-1";
    }
}

impl EmbeddingsRequest {
    /// Returns a request to embed a text, or several.
    #[must_use]
    pub fn new(model: impl Into<String>, input: impl Into<EmbeddingsInput>) -> Self {
        Self {
            model: model.into(),
            input: input.into(),
            ..Self::default()
        }
    }
}

body!(EmbeddingsRequest);

/// What to embed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EmbeddingsInput {
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A text as tokens of the model.
    Tokens(Vec<u32>),
    /// Several texts as tokens of the model.
    TokenLists(Vec<Vec<u32>>),
    /// Several inputs of texts, images, audio, video and files.
    Parts(Vec<EmbeddingsParts>),
}

/// One input of several parts, for models that embed more than text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingsParts {
    /// The parts: texts and images as in messages; the others as `input_audio`, `input_video` and
    /// `input_file`.
    pub content: Vec<ContentPart>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Default for EmbeddingsInput {
    fn default() -> Self {
        Self::Texts(Vec::new())
    }
}

impl From<&str> for EmbeddingsInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for EmbeddingsInput {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<String>> From<Vec<T>> for EmbeddingsInput {
    fn from(texts: Vec<T>) -> Self {
        Self::Texts(texts.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for EmbeddingsInput {
    fn from(texts: [T; N]) -> Self {
        Self::Texts(texts.into_iter().map(Into::into).collect())
    }
}

open_enum! {
    /// How the numbers of an embedding are written.
    pub enum EncodingFormat {
        /// As a list of numbers.
        Float = "float",
        /// As the base64 of 32-bit floats, little-endian: a third of the size.
        Base64 = "base64",
    }
}

lenient_object! {
    /// Embeddings, in the order of the inputs where `index` says nothing else.
    pub struct EmbeddingsResponse {
        /// The generation's identifier.
        id: some String;
        /// `list`.
        object: plain String;
        /// The model that answered.
        model: plain String;
        /// The embeddings.
        data: items Embedding;
        /// What it used and cost.
        usage: some crate::Usage;
    }
}

impl EmbeddingsResponse {
    /// Reads a response from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }
}

lenient_object! {
    /// One embedding.
    pub struct Embedding {
        /// `embedding`.
        object: plain String;
        /// The place of its input, from 0.
        index: count u64;
        /// The numbers.
        embedding: some EmbeddingNumbers;
    }
}

/// The numbers of an embedding, as they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EmbeddingNumbers {
    /// As a list.
    Floats(Vec<f32>),
    /// As the base64 of 32-bit floats, little-endian.
    Base64(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_every_form_are_written_as_they_were_read() {
        for input in [
            r#""a""#,
            r#"["a","b"]"#,
            "[1,2]",
            "[[1],[2,3]]",
            r#"[{"content":[{"type":"text","text":"a"}],"later":1}]"#,
        ] {
            let json = format!(r#"{{"model":"a/b","input":{input},"later":2}}"#);
            let request = EmbeddingsRequest::from_slice(json.as_bytes()).unwrap();
            assert_eq!(request.to_bytes(), json);
        }
    }

    #[test]
    fn a_response_is_read() {
        let response = EmbeddingsResponse::from_slice(
            br#"{"object":"list","model":"a/b","data":[
                {"object":"embedding","index":0,"embedding":[0.5,-1]},
                {"index":1,"embedding":"AAAAPw=="}, 7],
                "usage":{"prompt_tokens":3,"total_tokens":3,"cost":0.000001}}"#,
        )
        .unwrap();
        let numbers: Vec<_> = response
            .data
            .iter()
            .filter_map(|own| own.embedding.clone())
            .collect();
        assert_eq!(numbers[0], EmbeddingNumbers::Floats(vec![0.5, -1.0]));
        assert_eq!(numbers[1], EmbeddingNumbers::Base64("AAAAPw==".into()));
        assert_eq!(response.usage.unwrap().cost().micro_usd, 1);
    }
}
