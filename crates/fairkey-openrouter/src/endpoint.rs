//! Where things are: the paths of the API, and how they join a base URL.

use std::error::Error;
use std::fmt;

use http::Uri;

use crate::request::{ModelId, Variant};

/// The base URL of the public service.
pub const BASE_URL: &str = "https://openrouter.ai/api/v1";
/// The base URL of the in-region service for Europe (enterprise).
pub const BASE_URL_EU: &str = "https://eu.openrouter.ai/api/v1";
/// The base URL of the in-region service for the United States (enterprise).
pub const BASE_URL_US: &str = "https://us.openrouter.ai/api/v1";

/// `POST`: chat completions, as JSON or as a stream.
pub const CHAT_COMPLETIONS: &str = "/chat/completions";
/// `POST`: legacy text completions.
pub const COMPLETIONS: &str = "/completions";
/// `POST`: the Responses format of OpenAI, stateless.
pub const RESPONSES: &str = "/responses";
/// `POST`: the Messages format of Anthropic.
pub const MESSAGES: &str = "/messages";
/// `POST`: embeddings.
pub const EMBEDDINGS: &str = "/embeddings";
/// `POST`: reranking.
pub const RERANK: &str = "/rerank";
/// `GET`: what the key that asks may still do. See [`KeyInfo`](crate::KeyInfo).
pub const KEY: &str = "/key";
/// `GET`: the older name of [`KEY`], still answered.
pub const AUTH_KEY: &str = "/auth/key";
/// `GET`, management keys only: the account's balance. See [`Credits`](crate::Credits).
pub const CREDITS: &str = "/credits";
/// `GET` and `POST`, management keys only: the keys of the account.
pub const KEYS: &str = "/keys";
/// `GET`: the models. See [`ModelList`](crate::ModelList).
pub const MODELS: &str = "/models";
/// `GET`: the models that make embeddings. See [`ModelList`](crate::ModelList).
pub const EMBEDDINGS_MODELS: &str = "/embeddings/models";
/// `GET`: the endpoints with zero data retention. See [`ZdrEndpoints`](crate::ZdrEndpoints).
pub const ENDPOINTS_ZDR: &str = "/endpoints/zdr";
/// `GET`: the providers. See [`ProviderList`](crate::ProviderList).
pub const PROVIDERS: &str = "/providers";
/// `GET` with `?id=`: cost and routing of a finished call. Lags the response a little.
pub const GENERATION: &str = "/generation";

/// Returns the path of a model's endpoints. See [`ModelEndpoints`](crate::ModelEndpoints).
///
/// Preset and routing variants are left out: `:nitro`, `:floor`, `:exacto` and `:online` change who
/// serves, not who could. `None`: no single model is meant, as with a bare preset.
///
/// ```
/// use fairkey_openrouter::endpoint;
///
/// let path = endpoint::model_endpoints(&"openai/gpt-4o:nitro".parse()?);
/// assert_eq!(path.as_deref(), Some("/models/openai/gpt-4o/endpoints"));
/// let path = endpoint::model_endpoints(&"a/b:free".parse()?);
/// assert_eq!(path.as_deref(), Some("/models/a/b:free/endpoints"));
/// # Ok::<(), fairkey_openrouter::ModelIdError>(())
/// ```
#[must_use]
pub fn model_endpoints(model: &ModelId) -> Option<String> {
    let author = model.author().filter(|author| !author.is_empty())?;
    let slug = match model.slug() {
        "" => return None,
        slug => slug,
    };
    let fits = |text: &str| {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "-._~:".contains(c);
        text.chars().all(is_fine) && !text.chars().all(|c| c == '.')
    };
    if !fits(author) || !fits(slug) {
        return None;
    }
    Some(match model.variant() {
        Some(variant @ (Variant::Free | Variant::Extended | Variant::Thinking)) => {
            format!("/models/{author}/{slug}:{variant}/endpoints")
        }
        _ => format!("/models/{author}/{slug}/endpoints"),
    })
}

/// Joins a base URL and a path such as [`CHAT_COMPLETIONS`], which may carry a query.
///
/// A slash at the end of the base makes no difference.
///
/// ```
/// use fairkey_openrouter::endpoint;
///
/// let url = endpoint::url("http://127.0.0.1:8080/api/v1/", endpoint::KEY)?;
/// assert_eq!(url, "http://127.0.0.1:8080/api/v1/key");
/// # Ok::<(), endpoint::UrlError>(())
/// ```
///
/// # Errors
///
/// Where the base is no `http` or `https` URL, or has a user, a query or a fragment. The error
/// does not repeat the URL, which may hold a secret.
pub fn url(base_url: &str, path: &str) -> Result<Uri, UrlError> {
    if base_url.contains('#') {
        return Err(UrlError::Fragment);
    }
    let base: Uri = base_url.trim().parse().map_err(|_| UrlError::Invalid)?;
    if !matches!(base.scheme_str(), Some("http" | "https")) {
        return Err(UrlError::Scheme);
    }
    let authority = base.authority().ok_or(UrlError::Invalid)?;
    if authority.as_str().contains('@') {
        return Err(UrlError::User);
    }
    if authority.host().is_empty() {
        return Err(UrlError::Invalid);
    }
    if base.query().is_some() {
        return Err(UrlError::Query);
    }
    let (prefix, path) = (
        base.path().trim_end_matches('/'),
        path.trim_start_matches('/'),
    );
    Uri::builder()
        .scheme(base.scheme_str().unwrap_or("https"))
        .authority(authority.as_str())
        .path_and_query(format!("{prefix}/{path}"))
        .build()
        .map_err(|_| UrlError::Path)
}

/// A base URL that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL.
    Invalid,
    /// It is neither `http` nor `https`.
    Scheme,
    /// It has a user or a password in it.
    User,
    /// It has a query.
    Query,
    /// It has a fragment.
    Fragment,
    /// The path to join holds characters that no URL may have.
    Path,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Invalid => "is no URL",
            Self::Scheme => "must begin with https:// or http://",
            Self::User => "must not hold a user or a password",
            Self::Query => "must not have a query",
            Self::Fragment => "must not have a fragment",
            Self::Path => return f.write_str("the path holds characters that no URL may have"),
        };
        write!(f, "the base URL {what}; it should look like {BASE_URL}")
    }
}

impl Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_would_lead_elsewhere_has_no_path() {
        for (model, expected) in [
            ("a/b", Some("/models/a/b/endpoints")),
            ("~a/b-latest", Some("/models/~a/b-latest/endpoints")),
            ("a/b@preset/x", Some("/models/a/b/endpoints")),
            ("a/b/../c", None),
            ("../keys", None),
            ("a/..", None),
            ("a/b?x=1", None),
            ("a/b#c", None),
            ("@preset/x", None),
            ("bare", None),
        ] {
            let model = ModelId::parse(model).unwrap();
            assert_eq!(model_endpoints(&model).as_deref(), expected, "{model}");
        }
    }

    #[test]
    fn base_and_path_join_with_one_slash() {
        for base in [
            "https://openrouter.ai/api/v1",
            "https://openrouter.ai/api/v1/",
        ] {
            for path in ["/key", "key"] {
                assert_eq!(url(base, path).unwrap(), "https://openrouter.ai/api/v1/key");
            }
        }
        assert_eq!(
            url("http://localhost:1", MODELS).unwrap(),
            "http://localhost:1/models"
        );
        let with_query = url(BASE_URL, "/generation?id=gen-1").unwrap();
        assert_eq!(with_query.query(), Some("id=gen-1"));
    }

    #[test]
    fn a_base_url_that_cannot_be_used_is_refused_without_repeating_it() {
        for (base, error) in [
            ("", UrlError::Invalid),
            ("openrouter.ai", UrlError::Scheme),
            ("ftp://openrouter.ai", UrlError::Scheme),
            ("https://user:secret@openrouter.ai", UrlError::User),
            ("https://openrouter.ai/?token=secret", UrlError::Query),
            ("https://openrouter.ai/#secret", UrlError::Fragment),
            ("https:///api", UrlError::Invalid),
        ] {
            assert_eq!(url(base, KEY), Err(error), "{base}");
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(url(BASE_URL, "/a b"), Err(UrlError::Path));
    }
}
