//! Which endpoint a request means.

use std::borrow::Cow;

use http::Method;
use http::request::Parts;

use crate::ask::Shape;
use crate::media::MediaCall;

/// The mock lives at this path, as OpenRouter does.
const BASE: &str = "/api/v1";
const BATCHES: &str = "/api/beta/batches";
/// The most of a path that is shown in the log.
const MAX_SHOWN: usize = 256;

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Inference(Shape),
    Key,
    Credits,
    /// Administration of keys.
    Keys(KeysCall),
    Models,
    ModelCount,
    /// The models that the key's account may use.
    ModelsOfUser,
    /// A model by its name.
    Model(String),
    /// The endpoints of a model.
    Endpoints(String),
    EmbeddingModels,
    Providers,
    ZdrEndpoints,
    Generation,
    Media(MediaCall),
    CreateBatch,
    /// A batch by its ID.
    Batch(String),
    Unknown,
}

/// What is done with keys; the text is the hash of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeysCall {
    List,
    Create,
    Read(String),
    Change(String),
    Delete(String),
}

impl Route {
    /// The endpoint, and the path as it shows in the log and as scripts name it.
    pub(crate) fn of(method: &Method, path: &str) -> (Self, Cow<'static, str>) {
        let Some(below) = path.strip_prefix(BASE) else {
            return (Self::beta(method, path), shown(path));
        };
        for (at, name, route) in FIXED {
            if method == at && below == *name {
                return (route.clone(), (*name).into());
            }
        }
        let route = below
            .strip_prefix('/')
            .and_then(|below| Self::named(method, below));
        (route.unwrap_or(Self::Unknown), shown(below))
    }

    /// An endpoint beside the stable version.
    fn beta(method: &Method, path: &str) -> Self {
        match (method, path.strip_prefix(BATCHES)) {
            (&Method::POST, Some("")) => Self::CreateBatch,
            (&Method::GET, Some(rest)) => match rest.strip_prefix('/') {
                Some(id) if !id.is_empty() && !id.contains('/') => Self::Batch(id.to_owned()),
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// An endpoint whose path has a name in it.
    fn named(method: &Method, below: &str) -> Option<Self> {
        let parts: Vec<&str> = below.splitn(5, '/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let model = |author: &str, slug: &str| format!("{}/{}", decoded(author), decoded(slug));
        match (method, parts.as_slice()) {
            (_, ["keys", hash]) => keys_call(method, hash).map(Self::Keys),
            (_, ["videos" | "files", ..]) => media_call(method, &parts).map(Self::Media),
            (&Method::GET, ["model", author, slug]) => Some(Self::Model(model(author, slug))),
            (&Method::GET, ["models", author, slug, "endpoints"]) => {
                Some(Self::Endpoints(model(author, slug)))
            }
            _ => None,
        }
    }

    /// Whether scripts for any call to a model are meant for it.
    pub(crate) fn is_call_to_a_model(&self) -> bool {
        match self {
            Self::Media(call) => call.infers(),
            other => other.infers(),
        }
    }

    /// Whether it is a call by the rules of inference.
    pub(crate) fn infers(&self) -> bool {
        matches!(self, Self::Inference(_))
    }

    /// How its errors are written.
    pub(crate) fn speaks_messages(&self) -> bool {
        *self == Self::Inference(Shape::Messages)
    }

    /// Whether it answers without a key.
    pub(crate) fn is_public(&self) -> bool {
        matches!(
            self,
            Self::Models
                | Self::ModelCount
                | Self::Model(_)
                | Self::Endpoints(_)
                | Self::EmbeddingModels
                | Self::Providers
                | Self::ZdrEndpoints
        )
    }
}

const FIXED: &[(Method, &str, Route)] = &[
    (
        Method::POST,
        "/chat/completions",
        Route::Inference(Shape::Chat),
    ),
    (Method::POST, "/completions", Route::Inference(Shape::Text)),
    (
        Method::POST,
        "/embeddings",
        Route::Inference(Shape::Embeddings),
    ),
    (Method::POST, "/messages", Route::Inference(Shape::Messages)),
    (
        Method::POST,
        "/responses",
        Route::Inference(Shape::Responses),
    ),
    (Method::POST, "/rerank", Route::Inference(Shape::Rerank)),
    (Method::GET, "/key", Route::Key),
    (Method::GET, "/auth/key", Route::Key),
    (Method::GET, "/credits", Route::Credits),
    (Method::GET, "/keys", Route::Keys(KeysCall::List)),
    (Method::POST, "/keys", Route::Keys(KeysCall::Create)),
    (Method::GET, "/models", Route::Models),
    (Method::GET, "/models/count", Route::ModelCount),
    (Method::GET, "/models/user", Route::ModelsOfUser),
    (Method::GET, "/embeddings/models", Route::EmbeddingModels),
    (Method::GET, "/providers", Route::Providers),
    (Method::GET, "/endpoints/zdr", Route::ZdrEndpoints),
    (Method::GET, "/generation", Route::Generation),
    (Method::POST, "/images", Route::Media(MediaCall::Images)),
    (
        Method::POST,
        "/audio/speech",
        Route::Media(MediaCall::Speech),
    ),
    (
        Method::POST,
        "/audio/transcriptions",
        Route::Media(MediaCall::Transcribe),
    ),
    (Method::POST, "/videos", Route::Media(MediaCall::MakeVideo)),
    (Method::POST, "/files", Route::Media(MediaCall::Upload)),
    (Method::GET, "/files", Route::Media(MediaCall::Files)),
];

fn keys_call(method: &Method, hash: &str) -> Option<KeysCall> {
    let hash = || hash.to_owned();
    match *method {
        Method::GET => Some(KeysCall::Read(hash())),
        Method::PATCH => Some(KeysCall::Change(hash())),
        Method::DELETE => Some(KeysCall::Delete(hash())),
        _ => None,
    }
}

fn media_call(method: &Method, parts: &[&str]) -> Option<MediaCall> {
    let id = |id: &&str| (*id).to_owned();
    match (method, parts) {
        (&Method::GET, ["videos", job]) => Some(MediaCall::Video(id(job))),
        (&Method::GET, ["videos", job, "content"]) => Some(MediaCall::VideoContent(id(job))),
        (&Method::GET, ["files", file]) => Some(MediaCall::File(id(file))),
        (&Method::GET, ["files", file, "content"]) => Some(MediaCall::FileContent(id(file))),
        (&Method::DELETE, ["files", file]) => Some(MediaCall::DeleteFile(id(file))),
        _ => None,
    }
}

fn shown(path: &str) -> Cow<'static, str> {
    path.chars().take(MAX_SHOWN).collect::<String>().into()
}

/// The query of a request, decoded. Of a name that comes twice, the first counts.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(head: &Parts) -> Self {
        Self::parse(head.uri.query().unwrap_or_default())
    }

    fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(
            pairs
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts of a value with commas between them.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let value = self.get(name).unwrap_or_default();
        value.split(',').filter(|part| !part.is_empty()).collect()
    }

    /// What is left without these, to be put behind others: each with its `&`, encoded.
    pub(crate) fn without(&self, names: &[&str]) -> String {
        let left = self
            .0
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()));
        left.map(|(name, value)| format!("&{}={}", encoded(name), encoded(value)))
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it is there and says so.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }
}

fn encoded(text: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~,".contains(&byte);
    let bytes = text.bytes();
    bytes
        .map(|byte| match byte {
            byte if keeps(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Undoes `%20` and `+`. What is no escape stands for itself.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2)));
        match (byte, escaped) {
            (b'%', Some((high, low))) => {
                plain.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            _ => plain.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_endpoint_and_others_none() {
        let of = |method: Method, path: &str| Route::of(&method, path).0;
        assert_eq!(of(Method::GET, "/api/v1/key"), Route::Key);
        assert_eq!(of(Method::POST, "/api/v1/key"), Route::Unknown);
        assert_eq!(of(Method::GET, "/v1/key"), Route::Unknown);
        let delete = KeysCall::Delete("abc".to_owned());
        assert_eq!(of(Method::DELETE, "/api/v1/keys/abc"), Route::Keys(delete));
        let slug = "/api/v1/models/acme/a%3Afree/endpoints";
        assert_eq!(
            of(Method::GET, slug),
            Route::Endpoints("acme/a:free".to_owned())
        );
        for path in ["/api/v1/keys/", "/api/v1/keys/a/b", "/api/v1/keysabc"] {
            assert_eq!(of(Method::DELETE, path), Route::Unknown, "{path}");
        }
    }

    #[test]
    fn a_query_is_decoded_and_nonsense_in_it_stands_for_itself() {
        let query = Query::parse("q=a%20b+c&x&list=a,b,,c&bad=%zz%4&q=second&%C3%A4=1");
        assert_eq!(query.get("q"), Some("a b c"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.list("list"), ["a", "b", "c"]);
        assert_eq!(query.without(&["q", "x", "bad", "list"]), "&%C3%A4=1");
        assert_eq!(query.get("bad"), Some("%zz%4"));
        assert!(query.is_true("ä"));
        assert_eq!(query.get("none"), None);
    }
}
