//! Which path is what: [`Endpoint`].
//!
//! Three prefixes lead to the same place: `/api/…` as it is at OpenRouter, `/v1/…` for clients of
//! OpenAI, and `/api` as base URL for those of Anthropic, which add `/v1/messages` themselves. What
//! follows is taken apart only as far as it decides how the call is treated.

mod path;

use http::Method;

use crate::Format;

pub(crate) use self::path::Target;

/// Every operation that is treated in a way of its own; also how settings name routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// `POST /chat/completions`.
    Chat,
    /// `POST /completions`.
    Completions,
    /// `POST /messages`.
    Messages,
    /// `POST /responses`.
    Responses,
    /// `POST /embeddings`.
    Embeddings,
    /// `POST /rerank`.
    Rerank,
    /// `POST /images`.
    Images,
    /// `POST /audio/speech`.
    Speech,
    /// `POST /audio/transcriptions`.
    Transcriptions,
    /// `POST /api/alpha/decisions`.
    Decisions,
    /// Videos: made, polled, fetched.
    Videos,
    /// Batches: made and polled.
    Batches,
    /// Files: sent, listed, fetched, deleted.
    Files,
    /// Models, providers, endpoints: what anybody may know.
    Catalogue,
    /// `GET /key`, `GET /generation`, presets and what else belongs to a key's account.
    Own,
    /// Keys, credits, guardrails, workspaces: management keys only.
    Administration,
    /// Anything else below the base.
    Other,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 17] = [
        Self::Chat,
        Self::Completions,
        Self::Messages,
        Self::Responses,
        Self::Embeddings,
        Self::Rerank,
        Self::Images,
        Self::Speech,
        Self::Transcriptions,
        Self::Decisions,
        Self::Videos,
        Self::Batches,
        Self::Files,
        Self::Catalogue,
        Self::Own,
        Self::Administration,
        Self::Other,
    ];

    /// Returns the operation with this [name](Self::as_str).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// Returns the name: `chat`, `audio_speech`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Images => "images",
            Self::Speech => "audio_speech",
            Self::Transcriptions => "audio_transcriptions",
            Self::Decisions => "decisions",
            Self::Videos => "videos",
            Self::Batches => "batches",
            Self::Files => "files",
            Self::Catalogue => "catalogue",
            Self::Own => "own",
            Self::Administration => "administration",
            Self::Other => "other",
        }
    }

    /// Returns the format in which its callers are told of failures.
    const fn format(self) -> Format {
        match self {
            Self::Messages => Format::Messages,
            Self::Responses => Format::Responses,
            _ => Format::Chat,
        }
    }

    /// Returns whether the answer, where it is JSON, is one that nobody can use by half.
    pub(crate) const fn is_inference(self) -> bool {
        matches!(
            self,
            Self::Chat
                | Self::Completions
                | Self::Messages
                | Self::Responses
                | Self::Embeddings
                | Self::Rerank
                | Self::Images
                | Self::Transcriptions
                | Self::Decisions
        )
    }
}

/// How a call is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Any key serves it.
    Pool,
    /// Any key serves it, and what it makes belongs to that key.
    Create,
    /// Only the key serves it that has made the thing with this name.
    Owned(String),
    /// The answer is the same for everybody.
    Cached,
    /// A management key serves it.
    Manage,
    /// Nobody knows what it is.
    Unknown,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) operation: Operation,
    pub(crate) treatment: Treatment,
    /// Where it goes.
    pub(crate) target: Target,
    /// The methods that the path takes, where this one is none of them.
    pub(crate) allow: Option<&'static str>,
}

impl Endpoint {
    /// Returns the format in which the caller is told of failures. Where the path is none that we
    /// know, what it lies below says whose client asks, as `/messages/count_tokens` does.
    pub(crate) fn format(&self) -> Format {
        if self.operation != Operation::Other {
            return self.operation.format();
        }
        match self.target.below().split('/').nth(1) {
            Some("messages") => Format::Messages,
            Some("responses") => Format::Responses,
            _ => Format::Chat,
        }
    }

    /// Reads method and path; `None`: the path is not below the base at all.
    pub(crate) fn of(method: &Method, path: &str, query: Option<&str>) -> Option<Self> {
        let target = Target::of(path)?;
        let below = target.below();
        // Nearly all requests: the same as below, without taking the path to pieces.
        if target.is_v1()
            && method == Method::POST
            && let Some((_, operation)) = USUAL.iter().find(|(usual, _)| *usual == below)
        {
            return Some(Self {
                operation: *operation,
                treatment: Treatment::Pool,
                target,
                allow: None,
            });
        }
        let parts: Vec<&str> = below.trim_start_matches('/').split('/').collect();
        // Names with percent signs, dots or nothing in them are for nobody to interpret: they lead
        // to nothing that we know.
        let known = target.is_plain().then(|| {
            // Who would pass for an administrative path at some server behind us is taken for one.
            let lower = below.to_ascii_lowercase();
            let lower: Vec<&str> = lower.trim_start_matches('/').split('/').collect();
            let administers = |found: &(Operation, _)| found.0 == Operation::Administration;
            operation(&target, &parts).or_else(|| operation(&target, &lower).filter(administers))
        });
        let known = known.flatten();
        let Some((operation, methods)) = known else {
            return Some(Self {
                operation: Operation::Other,
                treatment: Treatment::Unknown,
                target,
                allow: None,
            });
        };
        let is_allowed = methods
            .split(", ")
            .any(|allowed| allowed == method.as_str())
            || method == Method::HEAD && methods.contains("GET");
        let allow = (!is_allowed).then_some(methods);
        let treatment = treatment(operation, method, &parts, query);
        Some(Self {
            operation,
            treatment,
            target,
            allow,
        })
    }
}

/// What nearly all requests ask for, by what follows the version.
const USUAL: [(&str, Operation); 4] = [
    ("/chat/completions", Operation::Chat),
    ("/messages", Operation::Messages),
    ("/responses", Operation::Responses),
    ("/embeddings", Operation::Embeddings),
];

/// What a path is, and which methods it takes.
fn operation(target: &Target, parts: &[&str]) -> Option<(Operation, &'static str)> {
    use Operation as Op;
    if !target.is_v1() {
        return Some(match (target.area(), parts) {
            ("beta", ["batches"]) => (Op::Batches, "POST, GET"),
            ("beta", ["batches", _]) => (Op::Batches, "GET, DELETE"),
            ("beta", ["batches", _, _]) => (Op::Batches, "GET, POST"),
            ("alpha", ["decisions"]) => (Op::Decisions, "POST"),
            _ => return None,
        });
    }
    Some(match parts {
        ["chat", "completions"] => (Op::Chat, "POST"),
        ["completions"] => (Op::Completions, "POST"),
        ["messages"] => (Op::Messages, "POST"),
        ["responses"] => (Op::Responses, "POST"),
        ["embeddings"] => (Op::Embeddings, "POST"),
        ["rerank"] => (Op::Rerank, "POST"),
        ["images"] => (Op::Images, "POST"),
        ["audio", "speech"] => (Op::Speech, "POST"),
        ["audio", "transcriptions"] => (Op::Transcriptions, "POST"),
        ["videos", "models"] => (Op::Catalogue, "GET"),
        ["videos"] => (Op::Videos, "POST"),
        ["videos", _] | ["videos", _, "content"] => (Op::Videos, "GET"),
        ["files"] => (Op::Files, "GET, POST"),
        ["files", _] => (Op::Files, "GET, DELETE"),
        ["files", _, "content"] => (Op::Files, "GET"),
        // Of the key's own account: another key may have another list.
        ["models", "user"] => (Op::Own, "GET"),
        ["models"]
        | ["models", "count"]
        | ["models", _, _, "endpoints"]
        | ["model", _, _]
        | ["embeddings" | "images", "models"]
        | ["images", "models", _, _, "endpoints"]
        | ["providers"]
        | ["endpoints", "zdr"]
        | ["datasets", "app-rankings" | "rankings-daily"]
        | ["benchmarks"] => (Op::Catalogue, "GET"),
        // What the SDKs of OpenAI and Anthropic ask for by `models.retrieve`.
        ["models", _] | ["models", _, _] => (Op::Catalogue, "GET"),
        ["key"] | ["auth", "key"] => (Op::Own, "GET"),
        ["generation"] | ["generation", "content"] => (Op::Own, "GET"),
        ["generation", "feedback"] => (Op::Own, "POST"),
        ["datasets", "session-cost"] | ["classifications", "task"] => (Op::Own, "GET"),
        ["presets"]
        | ["presets", _]
        | ["presets", _, "versions"]
        | ["presets", _, "versions", _] => (Op::Own, "GET"),
        ["presets", _, "chat", "completions"] | ["presets", _, "messages" | "responses"] => {
            (Op::Own, "POST")
        }
        [
            "credits" | "activity" | "keys" | "byok" | "guardrails" | "workspaces" | "organization"
            | "observability" | "scim" | "analytics",
            ..,
        ]
        | ["auth", "keys", ..] => (Op::Administration, "GET, POST, PUT, PATCH, DELETE"),
        _ => return None,
    })
}

fn treatment(
    operation: Operation,
    method: &Method,
    parts: &[&str],
    query: Option<&str>,
) -> Treatment {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    match (operation, parts) {
        (Operation::Catalogue, _) if is_read => Treatment::Cached,
        (Operation::Administration, _) => Treatment::Manage,
        (Operation::Videos | Operation::Batches | Operation::Files, [_, id, ..]) => {
            Treatment::Owned((*id).to_owned())
        }
        (Operation::Videos | Operation::Batches | Operation::Files, _) if !is_read => {
            Treatment::Create
        }
        (Operation::Own, ["generation", ..]) => match query.and_then(id_of) {
            Some(id) => Treatment::Owned(id.to_owned()),
            None => Treatment::Pool,
        },
        _ => Treatment::Pool,
    }
}

/// Returns the `id` of a query, where it is a plain one.
fn id_of(query: &str) -> Option<&str> {
    let id = query.split('&').find_map(|pair| pair.strip_prefix("id="))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    (!id.is_empty() && id.chars().all(is_plain)).then_some(id)
}

#[cfg(test)]
mod tests;
