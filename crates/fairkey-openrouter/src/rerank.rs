//! Reranking: the bodies of `POST /rerank`.

use serde::{Deserialize, Serialize};

use crate::lenient::{lenient_object, object};
use crate::open_object::{body, open_object};
use crate::request::ProviderPreferences;

open_object! {
    /// A request to order documents by how well they answer a query. There is no streaming.
    ///
    /// ```
    /// use fairkey_openrouter::RerankRequest;
    ///
    /// let request = RerankRequest::new("cohere/rerank-v3.5", "capital", ["Paris", "Lyon"]).top_n(1);
    /// assert_eq!(serde_json::to_value(&request)?["documents"][0], "Paris");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct RerankRequest as in "RerankRequest::new(\"a/b\", \"q\", [\"d\"])" {
        @fixed {
            /// The model.
            pub model: String,
            /// The query.
            pub query: String,
            /// The documents.
            pub documents: Vec<RerankDocument>,
        }

        /// How many of the best to return, from 1. Default: all.
        top_n: value u64 = 3 => 3;
        /// How OpenRouter may choose the provider. Default: as the account says.
        provider: value ProviderPreferences = ProviderPreferences::new().zdr(true) => {"zdr": true};
    }
}

impl RerankRequest {
    /// Returns a request to order documents.
    #[must_use]
    pub fn new<D: Into<RerankDocument>>(
        model: impl Into<String>,
        query: impl Into<String>,
        documents: impl IntoIterator<Item = D>,
    ) -> Self {
        Self {
            model: model.into(),
            query: query.into(),
            documents: documents.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

body!(RerankRequest);

/// A document: a text, or a text and an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RerankDocument {
    /// A text.
    Text(String),
    /// A text, an image, or both.
    Parts(RerankParts),
}

impl From<&str> for RerankDocument {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for RerankDocument {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<RerankParts> for RerankDocument {
    fn from(parts: RerankParts) -> Self {
        Self::Parts(parts)
    }
}

open_object! {
    /// A document of a text, an image, or both.
    pub struct RerankParts as in "RerankParts::new()" {
        /// The text.
        text: into String = "Paris" => "Paris";
        /// The image, as an `https:` or `data:` URL.
        image: into String = "https://example.com/x.png" => "https://example.com/x.png";
    }
}

lenient_object! {
    /// Documents in order, the best first.
    pub struct RerankResponse {
        /// The generation's identifier.
        id: some String;
        /// The model that answered.
        model: plain String;
        /// The provider that answered, by its display name.
        provider: some String;
        /// The documents, the best first.
        results: items RerankResult;
        /// What it used and cost.
        usage: some RerankUsage;
    }
}

impl RerankResponse {
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
    /// A document and how well it answers.
    pub struct RerankResult {
        /// The document's place in the request, from 0.
        index: count u64;
        /// How well it answers; the larger the better.
        relevance_score: number f64;
        /// The document.
        document: some RerankParts;
    }
}

lenient_object! {
    /// What reranking used and cost.
    pub struct RerankUsage {
        /// Units that some providers bill by.
        search_units: count u64;
        /// Tokens.
        total_tokens: count u64;
        /// What OpenRouter charged, in US dollars.
        cost: number f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_both_forms_are_written_as_they_were_read() {
        let json =
            r#"{"model":"a/b","query":"q","documents":["d",{"text":"e","later":1}],"top_n":1}"#;
        let request = RerankRequest::from_slice(json.as_bytes()).unwrap();
        assert_eq!(request.to_bytes(), json);
    }

    #[test]
    fn a_response_is_read() {
        let response = RerankResponse::from_slice(
            br#"{"model":"a/b","provider":"Acme","results":[
                {"index":1,"relevance_score":0.9,"document":{"text":"e"}},"odd"],
                "usage":{"search_units":1,"cost":"0.002"}}"#,
        )
        .unwrap();
        assert_eq!(response.results.len(), 1);
        assert_eq!(response.results[0].index, Some(1));
        assert_eq!(response.usage.unwrap().cost, Some(0.002));
    }
}
