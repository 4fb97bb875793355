//! What a run was begun with: [`Parameters`].

use std::collections::BTreeMap;
use std::fmt;

use super::JournalError;
use super::record;

/// What determines what a run sends, besides its input: a run goes on only with the same.
///
/// ```
/// use fairkey_batch::Parameters;
///
/// let mut parameters = Parameters::new();
/// parameters.set("model", "openai/gpt-4o-mini");
/// parameters.set_hashed("system", "You are a poet.");
/// assert!(!format!("{parameters:?}").contains("poet"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Makes some without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one. Its value can be read in the journal, and is repeated in errors.
    pub fn set(&mut self, name: &str, value: impl fmt::Display) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// Sets one of which the journal holds a hash only: prompts, and what is long.
    pub fn set_hashed(&mut self, name: &str, value: &str) {
        let hash = record::check(value.as_bytes());
        self.0.insert(name.to_owned(), format!("#{hash:016x}"));
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Strings cannot fail to be serialized.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().map(Self)
    }

    /// Returns the first that differs from what it was.
    pub(super) fn check(&self, before: &Self) -> Result<(), JournalError> {
        let names = before.0.keys().chain(self.0.keys());
        for name in names {
            let (was, is) = (before.0.get(name), self.0.get(name));
            if was != is {
                return Err(JournalError::OtherParameters {
                    name: name.clone(),
                    was: was.cloned(),
                    is: is.cloned(),
                });
            }
        }
        Ok(())
    }
}
