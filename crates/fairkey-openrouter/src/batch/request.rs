//! What one request of a batch must be: [`BatchRequest`].

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::BatchEndpoint;
use crate::lenient::object;
use crate::redaction::{NAME_CHARS, clean};

/// What all requests of one batch have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BatchKind {
    endpoint: BatchEndpoint,
    model: Arc<str>,
    /// On Google's models, the `response_format` as it is written; otherwise none.
    format: Option<Box<str>>,
}

impl BatchKind {
    /// Returns the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> BatchEndpoint {
        self.endpoint
    }

    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }
}

/// Does not show the form of answers, which may say what is asked for.
impl fmt::Debug for BatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchKind")
            .field("endpoint", &self.endpoint)
            .field("model", &self.model)
            .field("has_format", &self.format.is_some())
            .finish()
    }
}

/// A request that a batch takes, as far as is known.
///
/// Its body is sent byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchRequest {
    kind: BatchKind,
    body: Bytes,
}

impl BatchRequest {
    /// Reads the body of a request to `path`, which is below the base URL (`/chat/completions`).
    /// `model` is that of a body that names none.
    ///
    /// # Errors
    ///
    /// Says why no batch takes it. What is not known to be refused is taken: the upstream decides.
    pub fn new(path: &str, body: Bytes, model: Option<&str>) -> Result<Self, Unbatchable> {
        let endpoint = BatchEndpoint::of_path(path).ok_or(Unbatchable::Endpoint)?;
        // What is skipped is not looked at otherwise, and one row must not spoil the text of all.
        let is_text = std::str::from_utf8(&body).is_ok();
        let probe: Option<Probe<'_>> = is_text.then(|| object(&body).ok()).flatten();
        let probe = probe.ok_or(Unbatchable::NotAnObject)?;
        let named = match probe.model {
            None => None,
            Some(raw) if is_null(raw) => None,
            Some(raw) => Some(text(raw).ok_or(Unbatchable::NoModel)?),
        };
        let model = named.as_deref().or(model).ok_or(Unbatchable::NoModel)?;
        if probe.stream.is_some_and(|raw| raw.get() == "true") {
            return Err(Unbatchable::Stream);
        }
        if endpoint == BatchEndpoint::Embeddings {
            let refused = [
                ("input_type", probe.input_type),
                ("provider", probe.provider),
            ];
            if let Some((name, _)) = refused.iter().find(|(_, value)| value.is_some()) {
                return Err(Unbatchable::Field(name));
            }
        }
        if let Some(modalities) = probe.modalities
            && let Ok(list) = serde_json::from_str::<Vec<Cow<'_, str>>>(modalities.get())
            && list.iter().any(|modality| modality != "text")
        {
            return Err(Unbatchable::Modality);
        }
        for said in [probe.messages, probe.input, probe.system]
            .into_iter()
            .flatten()
        {
            if may_have_media(said)
                && let Some(kind) = media(said, DEPTH)
            {
                return Err(Unbatchable::Media(kind));
            }
        }
        let format = probe
            .response_format
            .filter(|raw| model.starts_with("google/") && !is_null(raw))
            .map(|raw| raw.get().into());
        let kind = BatchKind {
            endpoint,
            model: model.into(),
            format,
        };
        Ok(Self { kind, body })
    }

    /// Returns what all requests of its batch have in common.
    #[must_use]
    pub fn kind(&self) -> &BatchKind {
        &self.kind
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Does not show the body.
impl fmt::Debug for BatchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchRequest")
            .field("kind", &self.kind)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// Why no batch takes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unbatchable {
    /// Its endpoint is none of [`BatchEndpoint`].
    Endpoint,
    /// Its body is no object of JSON, or says the same thing twice.
    NotAnObject,
    /// It names no model, and a batch has exactly one.
    NoModel,
    /// It asks for a stream.
    Stream,
    /// It has a part that is no text: of this type.
    Media(String),
    /// It asks for an answer that is no text.
    Modality,
    /// It has a member that batches of embeddings refuse.
    Field(&'static str),
}

impl fmt::Display for Unbatchable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str(
                "batches take chat completions, responses, messages and embeddings only",
            ),
            Self::NotAnObject => f.write_str("the body is not one object of JSON"),
            Self::NoModel => f.write_str("it names no model, and a batch needs one"),
            Self::Stream => f.write_str("it asks for a stream, and a batch has none"),
            Self::Media(kind) => write!(
                f,
                "it has a part of type \"{kind}\", and batches take text only"
            ),
            Self::Modality => {
                f.write_str("it asks for more than text, and batches answer text only")
            }
            Self::Field(name) => write!(f, "it has \"{name}\", which batches of embeddings refuse"),
        }
    }
}

impl Error for Unbatchable {}

/// What is looked at in a body.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    modalities: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    input_type: Option<&'a RawValue>,
    #[serde(borrow)]
    provider: Option<&'a RawValue>,
}

/// What stands in a list of messages, in one of items, or in one of parts.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

/// Parts inside of parts: a message, its part, the result of a tool in it.
const DEPTH: usize = 4;

/// The types of parts that are no text, in all formats.
const MEDIA: [&str; 11] = [
    "audio",
    "document",
    "file",
    "image",
    "image_url",
    "input_audio",
    "input_file",
    "input_image",
    "input_video",
    "video",
    "video_url",
];

/// Whether it is worth a closer look: a type of a part that is no text has one of these words in
/// it, or an escape.
fn may_have_media(raw: &RawValue) -> bool {
    let text = raw.get().as_bytes();
    ["image", "audio", "video", "file", "document", "\\u"]
        .iter()
        .any(|word| memmem::find(text, word.as_bytes()).is_some())
}

/// Returns the type of a part that is no text, if there is one.
fn media(raw: &RawValue, depth: usize) -> Option<String> {
    if depth == 0 || !raw.get().starts_with('[') {
        return None;
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    let objects = items.iter().filter(|item| item.get().starts_with('{'));
    for item in objects {
        let Ok(part) = serde_json::from_str::<Part<'_>>(item.get()) else {
            continue;
        };
        if let Some(kind) = part.kind.and_then(text)
            && MEDIA.contains(&&*kind)
        {
            return Some(clean(&kind, NAME_CHARS));
        }
        let inner = [part.content, part.output].into_iter().flatten();
        if let Some(kind) = inner.filter_map(|raw| media(raw, depth - 1)).next() {
            return Some(kind);
        }
    }
    None
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw.get()).ok()
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, body: &'static str) -> Result<BatchRequest, Unbatchable> {
        BatchRequest::new(path, Bytes::from_static(body.as_bytes()), Some("a/b"))
    }

    #[test]
    fn what_no_batch_takes_is_said_before_it_is_sent() {
        let media = |kind: &str| Unbatchable::Media(kind.to_owned());
        for (path, body, why) in [
            ("/rerank", "{}", Unbatchable::Endpoint),
            ("/chat/completions?x=1", "{}", Unbatchable::Endpoint),
            ("/chat/completions", "[]", Unbatchable::NotAnObject),
            ("/chat/completions", "{", Unbatchable::NotAnObject),
            (
                "/chat/completions",
                r#"{"model":"a","model":"b"}"#,
                Unbatchable::NotAnObject,
            ),
            ("/chat/completions", r#"{"model":7}"#, Unbatchable::NoModel),
            ("/responses", r#"{"stream": true}"#, Unbatchable::Stream),
            (
                "/chat/completions",
                r#"{"modalities":["text","image"]}"#,
                Unbatchable::Modality,
            ),
            (
                "/embeddings",
                r#"{"input":"x","provider":{}}"#,
                Unbatchable::Field("provider"),
            ),
            (
                "/embeddings",
                r#"{"input":"x","input_type":"q"}"#,
                Unbatchable::Field("input_type"),
            ),
            (
                "/chat/completions",
                r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}"#,
                media("image_url"),
            ),
            (
                "/chat/completions",
                r#"{"messages":[{"content":[{"type":"\u0069nput_audio"}]}]}"#,
                media("input_audio"),
            ),
            (
                "/messages",
                r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"image"}]}]}]}"#,
                media("image"),
            ),
            (
                "/responses",
                r#"{"input":[{"type":"function_call_output","output":[{"type":"input_file"}]}]}"#,
                media("input_file"),
            ),
            (
                "/embeddings",
                r#"{"input":[{"content":[{"type":"image_url"}]}]}"#,
                media("image_url"),
            ),
        ] {
            assert_eq!(read(path, body).unwrap_err(), why, "{path} {body}");
        }
        let body = Bytes::from_static(b"{\"user\":\"\xff\"}");
        let bytes = BatchRequest::new("/responses", body, Some("a/b")).unwrap_err();
        assert_eq!(bytes, Unbatchable::NotAnObject);
        let body = Bytes::from_static(b"{}");
        let none = BatchRequest::new("/responses", body, None).unwrap_err();
        assert_eq!(none, Unbatchable::NoModel);
    }

    #[test]
    fn what_looks_like_media_and_is_text_is_taken() {
        for (path, body) in [
            (
                "/chat/completions",
                r#"{"messages":[{"content":"an image_url in a file"}],"stream":false}"#,
            ),
            (
                "/chat/completions",
                r#"{"messages":[{"content":[{"type":"text","text":"image"}]}],"provider":{}}"#,
            ),
            (
                "/embeddings",
                r#"{"input":["image","[{\"type\":\"file\"}]"]}"#,
            ),
            ("/responses", r#"{"input":7,"modalities":["text"]}"#),
            ("/messages", r#"{"model":null,"system":"file"}"#),
        ] {
            let request = read(path, body).unwrap_or_else(|why| panic!("{body}: {why}"));
            assert_eq!(request.body(), body);
            assert_eq!(&**request.kind().model(), "a/b");
        }
    }

    #[test]
    fn formats_part_batches_on_models_of_google_only() {
        let kind = |model: &str, format: &str| {
            let body = format!(r#"{{"model":"{model}","response_format":{format}}}"#);
            let request = BatchRequest::new("/chat/completions", body.into(), None);
            request.unwrap().kind().clone()
        };
        let json = r#"{"type":"json_object"}"#;
        assert_ne!(kind("google/a", json), kind("google/a", "null"));
        assert_eq!(kind("google/a", json), kind("google/a", json));
        assert_eq!(kind("openai/a", json), kind("openai/a", "null"));
        let shown = format!("{:?}", kind("google/a", json));
        assert!(!shown.contains("json_object"), "{shown}");
    }
}
