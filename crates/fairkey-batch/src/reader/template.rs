//! Prompts made of the cells of a table: [`Template`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A text with names of columns in it, as `Translate: {text}`.
///
/// `{{` and `}}` stand for single braces; blanks around a name do not count.
///
/// ```
/// use fairkey_batch::Template;
///
/// let template: Template = "Is {{{claim}}} true? Source: { url }".parse()?;
/// assert_eq!(template.names().collect::<Vec<_>>(), ["claim", "url"]);
/// assert!("{text".parse::<Template>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

impl Template {
    /// Returns the names in it, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Name(name) => Some(&**name),
        })
    }

    /// Puts a value in place of each name; `value` gets how many names came before, and the name.
    pub(super) fn expand<'v, E>(
        &self,
        mut value: impl FnMut(usize, &str) -> Result<Cow<'v, str>, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        let mut before = 0;
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Name(name) => {
                    text.push_str(&value(before, name)?);
                    before += 1;
                }
            }
        }
        Ok(text)
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(source: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(behind) = brace.strip_prefix("{{") {
                text.push('{');
                rest = behind;
            } else if let Some(behind) = brace.strip_prefix("}}") {
                text.push('}');
                rest = behind;
            } else if let Some(behind) = brace.strip_prefix('{') {
                let end = behind.find(['{', '}']).unwrap_or(behind.len());
                let name = behind[..end].trim();
                rest = behind[end..].strip_prefix('}').ok_or_else(|| {
                    format!(
                        "the brace before {:?} is not closed: a column is written {{name}}, and a \
                         brace itself {{{{",
                        excerpt(behind)
                    )
                })?;
                if name.is_empty() {
                    return Err("{} names no column: write {name}, or {{}} for the braces".into());
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Name(name.to_owned()));
            } else {
                return Err(format!(
                    "the brace before {:?} closes nothing: a brace itself is written }}}}",
                    excerpt(&brace[1..])
                ));
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self(pieces))
    }
}

/// A template is a prompt: only its names are shown.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template ")?;
        f.debug_list().entries(self.names()).finish()
    }
}

fn excerpt(text: &str) -> &str {
    let end = text.char_indices().nth(20).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(source: &str) -> Result<String, String> {
        let template: Template = source.parse()?;
        template.expand(|before, name| Ok::<_, String>(format!("<{before} {name}>").into()))
    }

    #[test]
    fn names_are_replaced_and_doubled_braces_are_braces() {
        assert_eq!(expand("").unwrap(), "");
        assert_eq!(expand("no names").unwrap(), "no names");
        assert_eq!(expand("{a}{ b c }, {a}").unwrap(), "<0 a><1 b c>, <2 a>");
        assert_eq!(expand("{{a}} {{{a}}}").unwrap(), "{a} {<0 a>}");
        assert_eq!(expand("}}{{").unwrap(), "}{");
        assert_eq!(expand("ä{ö}ü").unwrap(), "ä<0 ö>ü");
    }

    #[test]
    fn a_brace_that_is_no_pair_is_told() {
        for (source, says) in [
            ("x {text", "before \"text\" is not closed"),
            ("{a{b}", "before \"a{b}\" is not closed"),
            ("{", "is not closed"),
            ("a} b", "before \" b\" closes nothing"),
            ("{a}}", "closes nothing"),
            ("{ }", "names no column"),
        ] {
            let error = source.parse::<Template>().unwrap_err();
            assert!(error.contains(says), "{source}: {error}");
        }
    }

    #[test]
    fn a_template_is_not_shown() {
        let template: Template = "secret {name}".parse().unwrap();
        assert_eq!(format!("{template:?}"), "Template [\"name\"]");
    }
}
