//! Names with `*` in them: [`Globs`].

use std::fmt;

/// Names that are allowed: of models, of routes. `*` stands for any characters, none included.
///
/// A model's name is compared as the request writes it, variant and preset included: `a/b` does
/// not allow `a/b:free`, and `a/b*` does.
///
/// ```
/// use fairkey_gateway::Globs;
///
/// let models = Globs::new(["openai/gpt-4o-mini", "anthropic/*"]);
/// assert!(models.allow("anthropic/claude-sonnet-4.5"));
/// assert!(!models.allow("openai/gpt-4o-mini:nitro"));
/// assert!(Globs::any().allow("whatever"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globs(Option<Vec<Box<str>>>);

impl Globs {
    /// Allows everything.
    #[must_use]
    pub fn any() -> Self {
        Self(None)
    }

    /// Allows what one of `patterns` matches; nothing where there is none.
    #[must_use]
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let patterns = patterns.into_iter();
        Self(Some(patterns.map(|it| it.as_ref().into()).collect()))
    }

    /// Returns the names, where not everything is allowed.
    #[must_use]
    pub fn patterns(&self) -> Option<&[Box<str>]> {
        self.0.as_deref()
    }

    /// Returns whether everything is allowed.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether `name` is allowed.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        let Some(patterns) = &self.0 else {
            return true;
        };
        let mut patterns = patterns.iter();
        patterns.any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

impl fmt::Display for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            None => f.write_str("any"),
            Some([]) => f.write_str("none"),
            Some(patterns) => {
                let shown = &patterns[..patterns.len().min(8)];
                for (at, pattern) in shown.iter().enumerate() {
                    write!(f, "{}\"{pattern}\"", if at == 0 { "" } else { ", " })?;
                }
                match patterns.len() - shown.len() {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// Goes back to the last `*` only: what an earlier one could take, it can take as well. So the work
/// is at most the product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == Some(&name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
