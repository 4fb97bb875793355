//! Making the text of a batch: [`BatchBuilder`].

use std::collections::HashSet;
use std::error::Error;
use std::fmt;

use bytes::Bytes;

use super::{BatchKind, BatchRequest};

const END: &str = "]}";

/// Builds the text of a batch from its requests, one after the other.
///
/// The members come in the order that OpenRouter needs, which reads the text as it comes:
/// `endpoint`, `model`, then `requests`. Bodies are copied byte for byte.
pub struct BatchBuilder {
    kind: BatchKind,
    text: Vec<u8>,
    ids: HashSet<Box<str>>,
}

impl BatchBuilder {
    /// Begins a batch.
    #[must_use]
    pub fn new(kind: BatchKind) -> Self {
        let mut text = Vec::new();
        text.extend_from_slice(b"{\"endpoint\":");
        quote(&mut text, kind.endpoint().as_str());
        text.extend_from_slice(b",\"model\":");
        quote(&mut text, kind.model());
        text.extend_from_slice(b",\"requests\":[");
        Self {
            kind,
            text,
            ids: HashSet::new(),
        }
    }

    /// Adds a request under a name that no other request of the batch has.
    ///
    /// # Errors
    ///
    /// Where the name is taken, or the request belongs into another batch. The batch is then as it
    /// was.
    pub fn push(&mut self, custom_id: &str, request: &BatchRequest) -> Result<(), PushError> {
        if *request.kind() != self.kind {
            return Err(PushError::OtherKind);
        }
        if !self.ids.insert(custom_id.into()) {
            return Err(PushError::NameTaken);
        }
        if self.ids.len() > 1 {
            self.text.push(b',');
        }
        self.text.extend_from_slice(b"{\"custom_id\":");
        quote(&mut self.text, custom_id);
        self.text.extend_from_slice(b",\"body\":");
        self.text.extend_from_slice(request.body());
        self.text.push(b'}');
        Ok(())
    }

    /// Returns what its requests have in common.
    #[must_use]
    pub fn kind(&self) -> &BatchKind {
        &self.kind
    }

    /// Returns how many requests it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether it has none: such a batch is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns how many bytes its text has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + END.len()
    }

    /// Returns how many bytes a request adds to the text, at most.
    #[must_use]
    pub fn bytes_of(custom_id: &str, request: &BatchRequest) -> usize {
        // What is around it, and each character of the name escaped.
        request.body().len() + 6 * custom_id.len() + r#",{"custom_id":"","body":}"#.len()
    }

    /// Returns the text.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.text.extend_from_slice(END.as_bytes());
        self.text.into()
    }
}

/// Does not show the text.
impl fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("kind", &self.kind)
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish()
    }
}

/// Why a request cannot be added to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// Its endpoint, its model or, on Google's models, the form of its answer is another.
    OtherKind,
    /// Another request has its name.
    NameTaken,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherKind => "the request belongs into a batch of another endpoint or model",
            Self::NameTaken => "another request of the batch has this custom_id",
        })
    }
}

impl Error for PushError {}

fn quote(text: &mut Vec<u8>, string: &str) {
    // A string can always be written, and a vector takes it.
    let _ = serde_json::to_writer(text, string);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn a_batch_is_json_in_the_needed_order_whatever_its_rows_say(
            model in "[a-z/\"\\\\]{1,8}",
            rows in proptest::collection::vec((any::<String>(), any::<String>()), 1..8),
        ) {
            let read = |said: &str| {
                let body = json!({"messages": [{"role": "user", "content": said}], "n": 1.5});
                let model = Some(model.as_str());
                BatchRequest::new("/chat/completions", body.to_string().into(), model).unwrap()
            };
            let mut builder = BatchBuilder::new(read("x").kind().clone());
            let mut kept = Vec::new();
            for (id, said) in &rows {
                let (request, before) = (read(said), builder.bytes());
                match builder.push(id, &request) {
                    Ok(()) => {
                        kept.push((id, request.body().clone()));
                        let most = before + BatchBuilder::bytes_of(id, &request);
                        prop_assert!(builder.bytes() <= most);
                    }
                    Err(error) => {
                        prop_assert_eq!(error, PushError::NameTaken);
                        prop_assert_eq!(builder.bytes(), before);
                    }
                }
            }
            let bytes = builder.bytes();
            let text = builder.finish();
            prop_assert_eq!(text.len(), bytes);
            let text = std::str::from_utf8(&text).unwrap();
            let at = |name: &str| text.find(name).unwrap();
            prop_assert!(at("\"endpoint\"") < at("\"model\"") && at("\"model\"") < at("\"requests\""));
            let value: Value = serde_json::from_str(text).unwrap();
            prop_assert_eq!(&value["model"], &model);
            let requests = value["requests"].as_array().unwrap();
            prop_assert_eq!(requests.len(), kept.len());
            for (request, (id, body)) in requests.iter().zip(kept) {
                prop_assert_eq!(&request["custom_id"], id);
                let body: Value = serde_json::from_slice(&body).unwrap();
                prop_assert_eq!(&request["body"], &body);
            }
        }
    }

    #[test]
    fn a_request_of_another_kind_is_not_taken() {
        let read = |path: &str, body: &'static str| {
            BatchRequest::new(path, Bytes::from_static(body.as_bytes()), Some("google/x")).unwrap()
        };
        let chat = read("/chat/completions", "{}");
        let mut builder = BatchBuilder::new(chat.kind().clone());
        builder.push("a", &chat).unwrap();
        for other in [
            read("/responses", "{}"),
            read("/chat/completions", r#"{"model":"google/y"}"#),
            read(
                "/chat/completions",
                r#"{"response_format":{"type":"text"}}"#,
            ),
        ] {
            assert_eq!(builder.push("b", &other), Err(PushError::OtherKind));
        }
        assert_eq!(builder.len(), 1);
        let shown = format!("{builder:?}");
        assert!(!shown.contains("custom_id"), "{shown}");
    }
}
