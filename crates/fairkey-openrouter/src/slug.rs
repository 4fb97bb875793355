//! Provider slugs: what they match, and what people write in their place.

use std::borrow::Cow;

use crate::catalog::{Endpoint, ProviderList};

/// Segments of a tag that name a service tier. A base slug never matches endpoints of one.
const TIERS: [&str; 4] = ["priority", "flex", "scale", "ultrafast"];

/// What people write, without case and punctuation, and the slug of it, where it is not the same
/// with hyphens.
const ALIASES: [(&str, &str); 16] = [
    ("awsbedrock", "amazon-bedrock"),
    ("bedrock", "amazon-bedrock"),
    ("aws", "amazon-bedrock"),
    ("amazon", "amazon-bedrock"),
    ("google", "google-vertex"),
    ("vertex", "google-vertex"),
    ("vertexai", "google-vertex"),
    ("googlevertexai", "google-vertex"),
    ("aistudio", "google-ai-studio"),
    ("gemini", "google-ai-studio"),
    ("azureopenai", "azure"),
    ("microsoftazure", "azure"),
    ("togetherai", "together"),
    ("fireworksai", "fireworks"),
    ("novitaai", "novita"),
    ("mistralai", "mistral"),
];

/// Returns the slug that stands for a provider in routing fields, of a name as errors and answers
/// write it; a slug stays as it is, and so does what nobody can tell the meaning of.
///
/// ```
/// use fairkey_openrouter::provider_slug;
///
/// assert_eq!(provider_slug("Amazon Bedrock"), "amazon-bedrock");
/// assert_eq!(provider_slug("deepinfra/turbo"), "deepinfra/turbo");
/// ```
#[must_use]
pub fn provider_slug(name: &str) -> Cow<'_, str> {
    repaired(name, None).unwrap_or(Cow::Borrowed(name))
}

/// Returns the service tier that a tag names.
pub(crate) fn tier(tag: &str) -> Option<&str> {
    let last = tag.split('/').skip(1).last()?;
    TIERS.contains(&last).then_some(last)
}

/// Returns whether an entry of a routing field means the endpoint: its full slug, or the base slug
/// of its provider, which does not reach endpoints of a service tier.
pub(crate) fn matches(entry: &str, endpoint: &Endpoint) -> bool {
    if entry == endpoint.tag {
        return true;
    }
    let by_base = entry == endpoint.provider_slug() || entry == endpoint.provider_name;
    by_base && tier(&endpoint.tag).is_none()
}

/// Returns whether a text is written as slugs are: lower case, digits, hyphens, dots, one or more
/// segments.
pub(crate) fn is_slug(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:".contains(c);
    !text.is_empty()
        && text
            .split('/')
            .all(|part| !part.is_empty() && part.chars().all(is_fine))
}

/// Returns the slug that is meant by a text that is none, or by one that `known` does not have;
/// `None` where the text is fine, or nobody can tell what is meant.
pub(crate) fn repaired<'a>(text: &str, known: Option<&'a ProviderList>) -> Option<Cow<'a, str>> {
    let (base, rest) = match text.split_once('/') {
        Some((base, rest)) => (base, Some(rest)),
        None => (text, None),
    };
    let base = match known.map(|list| list.data.as_slice()) {
        Some(all) if !all.is_empty() => {
            if all.iter().any(|provider| provider.slug == base) {
                return None;
            }
            let plain = plain(base);
            all.iter()
                .find(|one| self::plain(&one.name) == plain || self::plain(&one.slug) == plain)
                .map(|one| Cow::Borrowed(one.slug.as_str()))
                .or_else(|| {
                    let slug = alias(&plain)?;
                    all.iter()
                        .any(|one| one.slug == slug)
                        .then_some(slug.into())
                })
                .or_else(|| {
                    // A slip of the pen, if only one slug is that near.
                    let near = |slug: &str| distance_at_most_two(base, slug);
                    let mut all = all.iter().filter(|one| near(&one.slug));
                    let found = all.next()?;
                    let is_only = all.next().is_none() && base.len() > 4;
                    is_only.then_some(Cow::Borrowed(found.slug.as_str()))
                })?
        }
        _ => match alias(&plain(base)) {
            Some(slug) if slug != base => Cow::Borrowed(slug),
            _ if is_slug(base) => return None,
            _ => {
                let slug = hyphenated(base);
                if !is_slug(&slug) {
                    return None;
                }
                Cow::Owned(slug)
            }
        },
    };
    Some(match rest {
        Some(rest) => Cow::Owned(format!("{base}/{}", rest.to_lowercase())),
        None => base,
    })
}

/// Returns whether the provider of an entry is in the list; true without a list.
pub(crate) fn is_known(text: &str, known: Option<&ProviderList>) -> bool {
    let base = text.split('/').next().unwrap_or_default();
    match known {
        Some(list) if !list.data.is_empty() => list.data.iter().any(|one| one.slug == base),
        _ => is_slug(text),
    }
}

fn alias(plain: &str) -> Option<&'static str> {
    ALIASES
        .iter()
        .find(|(name, _)| *name == plain)
        .map(|(_, slug)| *slug)
}

fn plain(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn hyphenated(text: &str) -> String {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric());
    let parts: Vec<String> = parts
        .filter(|part| !part.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    parts.join("-")
}

/// Returns whether at most two letters were added, left out or mistaken.
fn distance_at_most_two(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 2 || a.len() > 64 {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, of_a) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, of_b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(of_a != of_b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()] <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(tag: &str, name: &str) -> Endpoint {
        Endpoint {
            tag: tag.to_owned(),
            provider_name: name.to_owned(),
            ..Endpoint::default()
        }
    }

    #[test]
    fn a_base_slug_means_all_but_the_tiers_and_a_full_one_only_itself() {
        for (entry, tag, expected) in [
            ("google-vertex", "google-vertex", true),
            ("google-vertex", "google-vertex/us-east5", true),
            ("google-vertex/us-east5", "google-vertex/us-east5", true),
            ("google-vertex/us-east5", "google-vertex", false),
            ("google-vertex/us-east5", "google-vertex/europe", false),
            ("google-vertex", "google-vertex/flex", false),
            ("google-vertex", "google-vertex/us-east5/flex", false),
            ("google-vertex/flex", "google-vertex/flex", true),
            ("google", "google-vertex", false),
        ] {
            assert_eq!(
                matches(entry, &endpoint(tag, "Google")),
                expected,
                "{entry} {tag}"
            );
        }
        assert!(matches("OpenAI", &endpoint("openai", "OpenAI")));
        assert!(!matches("OpenAI", &endpoint("openai/priority", "OpenAI")));
        assert_eq!((tier("flex"), tier("a/flex")), (None, Some("flex")));
    }

    #[test]
    fn a_display_name_becomes_its_slug() {
        for (text, expected) in [
            ("AWS Bedrock", Some("amazon-bedrock")),
            ("Amazon Bedrock", Some("amazon-bedrock")),
            ("bedrock", Some("amazon-bedrock")),
            ("Google AI Studio", Some("google-ai-studio")),
            ("DeepInfra/Turbo", Some("deepinfra/turbo")),
            ("Z.AI", Some("z-ai")),
            ("openai", None),
            ("deepinfra/turbo", None),
            ("€", None),
        ] {
            assert_eq!(repaired(text, None).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_list_of_providers_knows_better() {
        let list = ProviderList::from_slice(
            br#"{"data":[{"name":"Z.AI","slug":"z-ai"},{"name":"Mancer 2","slug":"mancer"},
                {"name":"DeepInfra","slug":"deepinfra"},{"name":"Groq","slug":"groq"}]}"#,
        )
        .unwrap();
        for (text, expected, known) in [
            ("mancer", None, true),
            ("Mancer 2", Some("mancer"), false),
            ("mancer2", Some("mancer"), false),
            ("deepinfar/fp8", Some("deepinfra/fp8"), false),
            ("groq/x", None, true),
            ("grok", None, false),
            ("AWS Bedrock", None, false),
        ] {
            assert_eq!(repaired(text, Some(&list)).as_deref(), expected, "{text}");
            assert_eq!(is_known(text, Some(&list)), known, "{text}");
        }
    }
}
