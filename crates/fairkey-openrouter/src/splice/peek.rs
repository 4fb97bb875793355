//! Reading single members of a body.

use std::borrow::Cow;

use super::scan::text;
use super::{SpliceError, members};

/// Returns the values of some top-level members as they stand in the body; `None`: there is none.
/// Of a name that comes several times the last counts.
///
/// ```
/// use fairkey_openrouter::splice;
///
/// let [model, n] = splice::find(br#"{"model":"a/b","top_k":40}"#, ["model", "n"])?;
/// assert_eq!((model, n), (Some(&br#""a/b""#[..]), None));
/// # Ok::<(), splice::SpliceError>(())
/// ```
///
/// # Errors
///
/// Where the body is no JSON object, as far as that is checked (see the [module](crate::splice)).
pub fn find<'a, const N: usize>(
    body: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a [u8]>; N], SpliceError> {
    let mut values = [None; N];
    for member in members(body) {
        let member = member?;
        let Some(name) = member.name() else { continue };
        for (value, wanted) in values.iter_mut().zip(names) {
            if name == wanted {
                *value = Some(member.value());
            }
        }
    }
    Ok(values)
}

/// What whoever passes a body on has to know of it. Made by [`peek`].
///
/// A member of an unexpected type is as good as none: refusing it is left to OpenRouter.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Peek<'a> {
    /// `model`.
    pub model: Option<Cow<'a, str>>,
    /// `models`, those of them that are texts; where there are none, the models of `fallbacks`, as
    /// Messages names them.
    pub models: Vec<String>,
    /// Whether `stream` is true.
    pub stream: bool,
    /// `session_id`.
    pub session_id: Option<Cow<'a, str>>,
    /// `prompt_cache_key`.
    pub prompt_cache_key: Option<Cow<'a, str>>,
    /// `user`.
    pub user: Option<Cow<'a, str>>,
    /// The largest number of tokens to generate: `max_completion_tokens`, else `max_tokens`, else
    /// `max_output_tokens`. Fractions are cut off.
    pub completion_limit: Option<u64>,
    /// `provider`, as it stands in the body.
    pub provider: Option<&'a [u8]>,
    /// `service_tier`.
    pub service_tier: Option<Cow<'a, str>>,
    /// The length of the body in bytes.
    pub size: usize,
}

/// The members that [`Peek::of`] takes, in its order.
pub(crate) const PEEKED: [&str; 12] = [
    "model",
    "models",
    "stream",
    "session_id",
    "prompt_cache_key",
    "user",
    "max_completion_tokens",
    "max_tokens",
    "max_output_tokens",
    "provider",
    "service_tier",
    "fallbacks",
];

/// Reads what whoever passes a body on has to know of it, without parsing the rest.
///
/// Where its size counts, too, [`measure`](crate::sizing::measure) reads both in one go.
///
/// # Errors
///
/// Where the body is no JSON object, as far as that is checked (see the [module](crate::splice)).
pub fn peek(body: &[u8]) -> Result<Peek<'_>, SpliceError> {
    Ok(Peek::of(find(body, PEEKED)?, body.len()))
}

impl<'a> Peek<'a> {
    pub(crate) fn of(found: [Option<&'a [u8]>; PEEKED.len()], size: usize) -> Self {
        let [
            model,
            models,
            stream,
            session,
            cache_key,
            user,
            newer,
            older,
            output,
            provider,
            tier,
            fallbacks,
        ] = found;
        let mut models = models.map(texts).unwrap_or_default();
        if models.is_empty() {
            models = fallbacks.map(models_of).unwrap_or_default();
        }
        Self {
            model: string(model),
            models,
            stream: stream == Some(b"true"),
            session_id: string(session),
            prompt_cache_key: string(cache_key),
            user: string(user),
            completion_limit: [newer, older, output]
                .into_iter()
                .find_map(|value| tokens(value?)),
            provider: provider.filter(|value| value.first() == Some(&b'{')),
            service_tier: string(tier),
            size,
        }
    }

    /// Returns the only providers that may serve the request, as `provider` names them: those of
    /// `only`, of `order` where nobody else may follow, and of both where both are given. Empty:
    /// any provider may, or it is not said in a way that can be read; of more than 64, the first.
    #[must_use]
    pub fn pinned_providers(&self) -> Vec<String> {
        const MOST: usize = 64;
        let Some(Ok([only, order, others])) =
            (self.provider).map(|provider| find(provider, ["only", "order", "allow_fallbacks"]))
        else {
            return Vec::new();
        };
        let only = only.map(texts).unwrap_or_default();
        let order = order.filter(|_| others == Some(b"false")).map(texts);
        let mut pinned = match order {
            Some(order) if !order.is_empty() => {
                let may = |name: &String| only.is_empty() || only.contains(name);
                order.into_iter().filter(may).collect()
            }
            _ => only,
        };
        pinned.truncate(MOST);
        pinned
    }
}

impl std::fmt::Debug for Peek<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Who the end user is, and their conversation, is nobody's business.
        f.debug_struct("Peek")
            .field("model", &self.model)
            .field("models", &self.models)
            .field("stream", &self.stream)
            .field("completion_limit", &self.completion_limit)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

fn string(value: Option<&[u8]>) -> Option<Cow<'_, str>> {
    text(value.filter(|value| value.first() == Some(&b'"'))?)
}

fn texts(list: &[u8]) -> Vec<String> {
    let list: Vec<serde_json::Value> = serde_json::from_slice(list).unwrap_or_default();
    list.into_iter()
        .filter_map(|value| match value {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        })
        .collect()
}

fn models_of(fallbacks: &[u8]) -> Vec<String> {
    let list: Vec<serde_json::Value> = serde_json::from_slice(fallbacks).unwrap_or_default();
    list.iter()
        .filter_map(|value| Some(value.get("model")?.as_str()?.to_owned()))
        .collect()
}

pub(crate) fn tokens(value: &[u8]) -> Option<u64> {
    let number: serde_json::Number = serde_json::from_slice(value).ok()?;
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_by_its_last_members() {
        let peek = peek(
            br#"{"model":"a","stream":false,"messages":[{"model":"x"}],"model":"b\/c",
                "models":["d",1,"e"],"stream":true,"max_tokens":10,"max_completion_tokens":7.5,
                "session_id":"s","user":"u","prompt_cache_key":"k","provider":{"only":["x"]},
                "service_tier":"flex"}"#,
        )
        .unwrap();
        assert_eq!(peek.model.as_deref(), Some("b/c"));
        assert_eq!(peek.models, ["d", "e"]);
        assert!(peek.stream);
        assert_eq!(peek.completion_limit, Some(7));
        assert_eq!(peek.session_id.as_deref(), Some("s"));
        assert_eq!(peek.user.as_deref(), Some("u"));
        assert_eq!(peek.prompt_cache_key.as_deref(), Some("k"));
        assert_eq!(peek.provider, Some(&br#"{"only":["x"]}"#[..]));
        assert_eq!(peek.service_tier.as_deref(), Some("flex"));
    }

    #[test]
    fn the_list_of_messages_is_one_too() {
        let models = |body: &[u8]| peek(body).unwrap().models;
        assert_eq!(
            models(br#"{"fallbacks":[{"model":"a"},{"x":1},2,{"model":"b"}]}"#),
            ["a", "b"]
        );
        assert_eq!(
            models(br#"{"fallbacks":[{"model":"a"}],"models":["c"]}"#),
            ["c"]
        );
    }

    #[test]
    fn only_who_may_serve_alone_is_pinned() {
        for (provider, expected) in [
            (r#"{"only":["a","b"]}"#, &["a", "b"][..]),
            (r#"{"order":["a","b"]}"#, &[]),
            (
                r#"{"order":["a","b"],"allow_fallbacks":false}"#,
                &["a", "b"],
            ),
            (r#"{"order":["a","b"],"only":["b","c"]}"#, &["b", "c"]),
            (
                r#"{"order":["a","b"],"only":["b","c"],"allow_fallbacks":false}"#,
                &["b"],
            ),
            (
                r#"{"order":[],"only":["c"],"allow_fallbacks":false}"#,
                &["c"],
            ),
            (r#"{"only":"a"}"#, &[]),
            (r#"["a"]"#, &[]),
        ] {
            let body = format!(r#"{{"provider":{provider}}}"#);
            assert_eq!(
                peek(body.as_bytes()).unwrap().pinned_providers(),
                expected,
                "{body}"
            );
        }
        let many = format!(r#"{{"provider":{{"only":{:?}}}}}"#, vec!["x"; 1_000]);
        assert_eq!(peek(many.as_bytes()).unwrap().pinned_providers().len(), 64);
    }

    #[test]
    fn members_of_odd_types_are_none() {
        let body = br#"{"model":5,"models":{},"stream":"true","session_id":null,"max_tokens":-1,
            "max_output_tokens":9,"provider":[]}"#;
        let odd = peek(body).unwrap();
        let expected = Peek {
            completion_limit: Some(9),
            size: body.len(),
            ..Peek::default()
        };
        assert_eq!(odd, expected);
        assert!(peek(b"[]").is_err());
    }
}
