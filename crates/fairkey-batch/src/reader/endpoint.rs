//! What requests of an endpoint are made of: [`Endpoint`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Where requests go that do not say so themselves, relative to the base URL. Default:
/// `/chat/completions`.
///
/// ```
/// use fairkey_batch::Endpoint;
///
/// let endpoint: Endpoint = "/v1/embeddings".parse()?;
/// assert_eq!(endpoint.path(), "/embeddings");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Arc<str>);

/// Where a prompt stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// As the message of a user.
    Message,
    /// In a field of its own.
    Field(&'static str),
    /// Nobody knows.
    Unknown,
}

/// Where a system message stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Message,
    Field(&'static str),
    Nowhere,
}

/// What bodies of an endpoint look like.
pub(super) struct Shape {
    pub(super) prompt: Prompt,
    pub(super) system: System,
    /// The fields that bound the answer; the first is the one to fill in.
    pub(super) max_tokens: &'static [&'static str],
}

impl Endpoint {
    /// Returns the path, which begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Returns whether its requests can have a system message, as far as is known.
    #[must_use]
    pub fn has_system(&self) -> bool {
        self.shape().system != System::Nowhere
    }

    /// Returns whether its requests can bound the length of the answer, as far as is known.
    #[must_use]
    pub fn has_max_tokens(&self) -> bool {
        !self.shape().max_tokens.is_empty()
    }

    pub(super) fn shared_path(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    pub(super) fn is_chat(&self) -> bool {
        *self.0 == *"/chat/completions"
    }

    pub(super) fn shape(&self) -> Shape {
        let shape = |prompt, system, max_tokens| Shape {
            prompt,
            system,
            max_tokens,
        };
        match self.path() {
            "/chat/completions" => shape(
                Prompt::Message,
                System::Message,
                &["max_tokens", "max_completion_tokens"],
            ),
            "/messages" => shape(Prompt::Message, System::Field("system"), &["max_tokens"]),
            "/responses" => shape(
                Prompt::Field("input"),
                System::Field("instructions"),
                &["max_output_tokens"],
            ),
            "/completions" => shape(Prompt::Field("prompt"), System::Nowhere, &["max_tokens"]),
            "/embeddings" => shape(Prompt::Field("input"), System::Nowhere, &[]),
            _ => shape(Prompt::Unknown, System::Nowhere, &[]),
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self("/chat/completions".into())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let path = ["/api/v1/", "/v1/"]
            .iter()
            .find_map(|prefix| url.strip_prefix(prefix))
            .or_else(|| url.strip_prefix('/'));
        let sane = |path: &str| {
            !path.is_empty()
                && !path.starts_with('/')
                && path.split('/').all(|part| !matches!(part, "." | ".."))
                && path
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"#\\\"<>".contains(&byte))
        };
        match path {
            Some(path) if sane(path) => Ok(Self(format!("/{path}").into())),
            _ => Err("not a path such as \"/v1/chat/completions\"".to_owned()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
