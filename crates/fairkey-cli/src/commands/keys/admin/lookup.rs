//! Finding one key by its name or its hash: [`find`].

use fairkey_openrouter::management::ManagedKey;

use super::{Stop, short};

/// How many characters of a hash are enough to name a key.
pub(super) const SHORTEST_HASH: usize = 8;

/// Finds the key that is called `name`. Where several are, those that are `disabled` or not, as the
/// command expects, go first.
///
/// # Errors
///
/// Lists the candidates where there are several, and the nearest name where there is none.
pub(super) fn find<'a>(
    keys: &'a [ManagedKey],
    name: &str,
    disabled: Option<bool>,
) -> Result<&'a ManagedKey, Stop> {
    let mut candidates: Vec<_> = keys.iter().filter(|key| key.name == name).collect();
    if candidates.is_empty() && name.len() >= SHORTEST_HASH {
        candidates = keys
            .iter()
            .filter(|key| key.hash.starts_with(name))
            .collect();
    }
    if let Some(disabled) = disabled
        && candidates.len() > 1
    {
        let expected = candidates.iter().filter(|key| key.disabled == disabled);
        let expected: Vec<_> = expected.copied().collect();
        if !expected.is_empty() {
            candidates = expected;
        }
    }
    match candidates.as_slice() {
        [key] => Ok(key),
        [] => Err(Stop::usage(match nearest(keys, name) {
            Some(nearest) => format!("no key is called {name:?}; did you mean {nearest:?}?"),
            None => format!("no key is called {name:?}: `fairkey keys list --all` shows them"),
        })),
        several => Err(Stop::usage(format!(
            "{} keys are called {name:?}: give the hash of one:{}",
            several.len(),
            several.iter().map(|key| candidate(key)).collect::<String>()
        ))),
    }
}

fn candidate(key: &ManagedKey) -> String {
    let state = if key.disabled { "disabled" } else { "enabled" };
    let made = key.created_at.as_deref().unwrap_or("?");
    // All of it, where the beginning is not enough to tell them apart.
    format!("\n  {}  {state}, made {made}", key.hash)
}

fn nearest<'a>(keys: &'a [ManagedKey], name: &str) -> Option<&'a str> {
    let distance = |key: &'a ManagedKey| (strsim::damerau_levenshtein(&key.name, name), &*key.name);
    let (distance, nearest) = keys.iter().map(distance).min()?;
    (distance <= (nearest.chars().count() / 3).max(2)).then_some(nearest)
}

/// Refuses to make a second key of a name, since nobody could tell them apart by it.
pub(super) fn is_free(keys: &[ManagedKey], name: &str) -> Result<(), Stop> {
    match keys
        .iter()
        .find(|key| key.name == name.trim() && !key.disabled)
    {
        None => Ok(()),
        Some(key) => Err(Stop::usage(format!(
            "there is a key {:?} already (hash {}): rotate it, or choose another name",
            key.name,
            short(&key.hash)
        ))),
    }
}
