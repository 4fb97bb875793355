//! Model identifiers: author, slug, variant, preset.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::open_enum::open_enum;

open_enum! {
    /// The part of a model identifier behind the colon. It changes routing, price and quota.
    pub enum Variant {
        /// Free of charge, under the account's quota for free models.
        Free = "free",
        /// A longer context.
        Extended = "extended",
        /// Reasoning on.
        Thinking = "thinking",
        /// The fastest provider first, priority tiers included.
        Nitro = "nitro",
        /// The cheapest provider first, flex tiers included.
        Floor = "floor",
        /// The best tool callers first.
        Exacto = "exacto",
        /// With web search. Deprecated in favor of a plugin.
        Online = "online",
    }
}

/// The most models that a request may name in `models`. A fourth is answered with 400, which is
/// observed and not documented.
pub const MAX_MODELS: usize = 3;

/// A model identifier: `author/slug`, `author/slug:variant`, `~author/family-latest`,
/// `@preset/name`, `author/slug@preset/name`.
///
/// Parsing keeps every byte: what is printed is what was read. Whether OpenRouter knows the model
/// is not decided here.
///
/// ```
/// use fairkey_openrouter::{ModelId, Variant};
///
/// let model: ModelId = "deepseek/deepseek-r1:free".parse()?;
/// assert_eq!(model.author(), Some("deepseek"));
/// assert_eq!(model.slug(), "deepseek-r1");
/// assert_eq!(model.variant(), Some(Variant::Free));
/// assert!(model.is_free());
/// # Ok::<(), fairkey_openrouter::ModelIdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(Box<str>);

impl ModelId {
    /// Checks and keeps an identifier.
    ///
    /// # Errors
    ///
    /// Where it is empty, or holds white space or control characters.
    pub fn parse(text: &str) -> Result<Self, ModelIdError> {
        if text.is_empty() {
            return Err(ModelIdError { position: None });
        }
        match text.find(|c: char| c.is_whitespace() || c.is_control()) {
            Some(position) => Err(ModelIdError {
                position: Some(position),
            }),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the whole identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the author: what stands before the slash.
    #[must_use]
    pub fn author(&self) -> Option<&str> {
        self.name().split_once('/').map(|(author, _)| author)
    }

    /// Returns the slug: what stands behind the author, without variant and preset. Empty for a
    /// bare preset.
    #[must_use]
    pub fn slug(&self) -> &str {
        let name = self.name();
        name.split_once('/').map_or(name, |(_, slug)| slug)
    }

    /// Returns author and slug, without variant and preset.
    #[must_use]
    pub fn name(&self) -> &str {
        let model = self.split_preset().0;
        model.split_once(':').map_or(model, |(name, _)| name)
    }

    /// Returns the variant, if the identifier names one.
    #[must_use]
    pub fn variant(&self) -> Option<Variant> {
        self.split_preset()
            .0
            .split_once(':')
            .map(|(_, variant)| Variant::from(variant))
    }

    /// Returns the preset, if the identifier names one.
    #[must_use]
    pub fn preset(&self) -> Option<&str> {
        self.split_preset().1
    }

    /// Returns whether the name says that the model is free of charge: the variant `:free`, or the
    /// router `openrouter/free`.
    ///
    /// Other models are priced at nothing without saying so in their name; only the catalogue
    /// knows them.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.variant() == Some(Variant::Free) || self.name() == "openrouter/free"
    }

    /// Returns whether OpenRouter chooses the model itself (`openrouter/auto` and its like).
    #[must_use]
    pub fn is_router(&self) -> bool {
        self.author() == Some("openrouter")
    }

    /// Returns whether it is an alias, such as `~author/family-latest`: OpenRouter answers with the
    /// model that it means at the time.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        self.0.starts_with('~')
    }

    fn split_preset(&self) -> (&str, Option<&str>) {
        match self.0.split_once("@preset/") {
            Some((model, preset)) => (model, Some(preset)),
            None => (&self.0, None),
        }
    }
}

impl FromStr for ModelId {
    type Err = ModelIdError;

    fn from_str(text: &str) -> Result<Self, ModelIdError> {
        Self::parse(text)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ModelId> for String {
    fn from(model: ModelId) -> Self {
        model.0.into()
    }
}

/// A text that is no model identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelIdError {
    /// Where the first bad character stands; `None`: there is no character at all.
    position: Option<usize>,
}

impl fmt::Display for ModelIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            None => f.write_str("the model is empty: name one, such as openai/gpt-4o-mini"),
            Some(at) => write!(
                f,
                "the model has white space or a control character at byte {at}: write it as \
                 author/slug"
            ),
        }
    }
}

impl Error for ModelIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        text: &str,
        author: Option<&str>,
        slug: &str,
        variant: Option<&str>,
        preset: Option<&str>,
    ) {
        let model = ModelId::parse(text).unwrap();
        assert_eq!(model.author(), author, "{text}");
        assert_eq!(model.slug(), slug, "{text}");
        assert_eq!(
            model.variant().as_ref().map(Variant::as_str),
            variant,
            "{text}"
        );
        assert_eq!(model.preset(), preset, "{text}");
        assert_eq!(model.to_string(), text);
    }

    #[test]
    fn identifiers_come_apart_in_every_form() {
        check("openai/gpt-4o", Some("openai"), "gpt-4o", None, None);
        check(
            "openai/gpt-4o:nitro",
            Some("openai"),
            "gpt-4o",
            Some("nitro"),
            None,
        );
        check(
            "openai/gpt-4o:later",
            Some("openai"),
            "gpt-4o",
            Some("later"),
            None,
        );
        check(
            "~anthropic/claude-latest",
            Some("~anthropic"),
            "claude-latest",
            None,
            None,
        );
        assert!(
            ModelId::parse("~anthropic/claude-latest")
                .unwrap()
                .is_alias()
        );
        assert!(!ModelId::parse("anthropic/claude").unwrap().is_alias());
        check("@preset/mine", None, "", None, Some("mine"));
        check(
            "a/b:free@preset/mine",
            Some("a"),
            "b",
            Some("free"),
            Some("mine"),
        );
        check("bare", None, "bare", None, None);
    }

    #[test]
    fn freeness_is_the_variant_or_the_free_router() {
        for (text, free) in [
            ("a/b:free", true),
            ("openrouter/free", true),
            ("openrouter/auto", false),
            ("a/b-free", false),
            ("a/b:freeish", false),
        ] {
            assert_eq!(ModelId::parse(text).unwrap().is_free(), free, "{text}");
        }
    }

    #[test]
    fn what_no_model_can_be_called_is_refused() {
        assert!(
            ModelId::parse("")
                .unwrap_err()
                .to_string()
                .contains("empty")
        );
        assert!(
            ModelId::parse("a/b c")
                .unwrap_err()
                .to_string()
                .contains("byte 3")
        );
        assert!(ModelId::parse("a/b\n").is_err());
    }
}
