//! Walking over the top-level members of a JSON object, from byte to byte.

use std::borrow::Cow;
use std::iter::FusedIterator;
use std::ops::Range;

use serde::Deserialize;

use super::SpliceError;
use super::skip::{end_of_string, to_quote_or_bracket};

/// Returns the top-level members of a JSON object, in order.
///
/// The iterator ends after the first error. When it ends without one, the body was read to its end.
/// Takes time linear in the body, and one bit of memory for each level of nesting.
#[must_use]
pub fn members(body: &[u8]) -> Members<'_> {
    Members {
        scan: Scan { body, at: 0 },
        state: State::Start,
        begin: 0,
    }
}

/// The iterator that [`members`] returns.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    scan: Scan<'a>,
    state: State,
    begin: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Start,
    Inside,
    Over,
}

impl<'a> Members<'a> {
    fn step(&mut self, is_first: bool) -> Result<Option<Member<'a>>, SpliceError> {
        if is_first {
            self.scan.open()?;
            self.begin = self.scan.at;
        }
        match self.scan.advance(is_first)? {
            true => self.scan.member().map(Some),
            false => Ok(None),
        }
    }

    /// Returns where the object's first brace ends; only once the first member was asked for.
    pub(super) fn begin(&self) -> usize {
        self.begin
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, SpliceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_first = match self.state {
            State::Start => true,
            State::Inside => false,
            State::Over => return None,
        };
        let member = self.step(is_first);
        self.state = match member {
            Ok(Some(_)) => State::Inside,
            _ => State::Over,
        };
        member.transpose()
    }
}

impl FusedIterator for Members<'_> {}

/// A top-level member of a body: its name and its value, as they stand there.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    body: &'a [u8],
    /// With quotes.
    name: (usize, usize),
    value: (usize, usize),
}

impl<'a> Member<'a> {
    /// Returns the name, its escapes resolved; `None`: its bytes or escapes are no Unicode.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'a, str>> {
        text(&self.body[self.name.0..self.name.1])
    }

    /// Returns whether the member has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name().is_some_and(|own| own == name)
    }

    /// Returns the value as it stands in the body, without white space around it.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        &self.body[self.value.0..self.value.1]
    }

    /// Parses the value.
    ///
    /// # Errors
    ///
    /// Where it is malformed, or is no `T`.
    pub fn parse<T: Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.value())
    }

    /// Returns where the member stands in the body, from the name's first quote to the value's
    /// last byte.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.name.0..self.value.1
    }

    /// Returns where the value stands in the body.
    #[must_use]
    pub fn value_range(&self) -> Range<usize> {
        self.value.0..self.value.1
    }
}

impl std::fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The value may be a prompt.
        f.debug_struct("Member")
            .field("name", &self.name())
            .field("value_range", &self.value_range())
            .finish()
    }
}

/// Returns what a JSON string says, from quote to quote.
pub(crate) fn text(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inside = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if memchr::memchr(b'\\', inside).is_none() {
        return std::str::from_utf8(inside).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(quoted)
        .ok()
        .map(Cow::Owned)
}

/// A place in a body, and how to go on from there.
#[derive(Clone)]
pub(crate) struct Scan<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) at: usize,
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a> Scan<'a> {
    pub(crate) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(crate) fn error<T>(&self, what: &'static str) -> Result<T, SpliceError> {
        Err(SpliceError::body(self.at.min(self.body.len()), what))
    }

    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes into the object.
    pub(crate) fn open(&mut self) -> Result<(), SpliceError> {
        if self.body.starts_with("\u{feff}".as_bytes()) {
            self.at = '\u{feff}'.len_utf8();
        }
        self.space();
        if self.peek() != Some(b'{') {
            return self.error("`{` is missing");
        }
        self.at += 1;
        Ok(())
    }

    /// Goes to the next member; `false`: the object is over, and nothing follows it.
    pub(crate) fn advance(&mut self, first: bool) -> Result<bool, SpliceError> {
        self.space();
        match self.peek() {
            Some(b'}') => self.close().map(|()| false),
            Some(b',') if !first => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            _ if first => Ok(true),
            _ => self.error("`,` or `}` is missing"),
        }
    }

    fn close(&mut self) -> Result<(), SpliceError> {
        self.at += 1;
        self.space();
        if self.at < self.body.len() {
            return self.error("something follows the object");
        }
        Ok(())
    }

    /// Reads a member's name up to its value; returns where the name stands, with its quotes.
    pub(crate) fn name(&mut self) -> Result<(usize, usize), SpliceError> {
        let name = self.at;
        if self.peek() != Some(b'"') {
            return self.error("a member's name is missing");
        }
        self.string()?;
        let name = (name, self.at);
        self.space();
        if self.peek() != Some(b':') {
            return self.error("`:` is missing");
        }
        self.at += 1;
        self.space();
        Ok(name)
    }

    fn member(&mut self) -> Result<Member<'a>, SpliceError> {
        let name = self.name()?;
        let value = self.at;
        self.value()?;
        Ok(Member {
            body: self.body,
            name,
            value: (value, self.at),
        })
    }

    /// Skips a value.
    pub(crate) fn value(&mut self) -> Result<(), SpliceError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') => self.nested(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.error("a value is missing"),
        }
    }

    /// Skips a string, from its first quote behind its last.
    fn string(&mut self) -> Result<(), SpliceError> {
        match end_of_string(self.body, self.at + 1) {
            Some(quote) => {
                self.at = quote + 1;
                Ok(())
            }
            None => {
                self.at = self.body.len();
                self.error("a string does not end")
            }
        }
    }

    /// Skips a list or an object with all that is in it.
    fn nested(&mut self) -> Result<(), SpliceError> {
        let mut open = Brackets::default();
        while let Some(at) = to_quote_or_bracket(self.body, self.at) {
            self.at = at;
            match self.body[at] {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' => open.push(true),
                b'[' => open.push(false),
                byte => {
                    if open.pop() != (byte == b'}') {
                        return self.error("a bracket does not match");
                    }
                    if open.depth == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
            }
            self.at += 1;
        }
        self.at = self.body.len();
        self.error("a bracket is not closed")
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), SpliceError> {
        if !self.body[self.at..].starts_with(word) {
            return self.error("a value is missing");
        }
        self.at += word.len();
        Ok(())
    }

    /// Skips a number of any length.
    fn number(&mut self) -> Result<(), SpliceError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), SpliceError> {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == begin {
            return self.error("a digit is missing");
        }
        Ok(())
    }
}

/// The brackets that are open, one bit each: braces are ones. The innermost 64 stand in a word.
#[derive(Default)]
pub(crate) struct Brackets {
    inner: u64,
    outer: Vec<u64>,
    pub(crate) depth: usize,
}

impl Brackets {
    pub(crate) fn push(&mut self, brace: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(brace);
        self.depth += 1;
    }

    /// Returns whether the innermost bracket is a brace.
    pub(crate) fn is_brace(&self) -> bool {
        self.depth > 0 && self.inner & 1 == 1
    }

    /// Takes the innermost bracket; there is one wherever this is called.
    pub(crate) fn pop(&mut self) -> bool {
        let brace = self.inner & 1 == 1;
        self.inner >>= 1;
        self.depth = self.depth.saturating_sub(1);
        if self.depth.is_multiple_of(64)
            && let Some(word) = self.outer.pop()
        {
            self.inner = word;
        }
        brace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Result<Vec<String>, SpliceError> {
        members(body.as_bytes())
            .map(|member| Ok(member?.name().unwrap_or_default().into_owned()))
            .collect()
    }

    #[track_caller]
    fn fails(body: &str, at: usize, word: &str) {
        let error = names(body).unwrap_err();
        assert_eq!(error.position(), Some(at), "{body}: {error}");
        assert!(error.to_string().contains(word), "{body}: {error}");
    }

    #[test]
    fn members_are_found_whatever_their_values_hold() {
        let body =
            "\u{feff} \r\n{\"a\":\"}\\\"{\",\"b\\u0062\" : [{\"c\":\"]\"},[]],\t\"\":-0.5e+7 }\n";
        assert_eq!(names(body).unwrap(), ["a", "bb", ""]);
        assert_eq!(names(" { } ").unwrap(), [""; 0]);
        let values: Vec<_> = members(body.as_bytes())
            .map(|member| String::from_utf8(member.unwrap().value().to_vec()).unwrap())
            .collect();
        assert_eq!(values, [r#""}\"{""#, r#"[{"c":"]"},[]]"#, "-0.5e+7"]);
    }

    #[test]
    fn each_malformation_is_told_with_its_place() {
        fails("", 0, "`{`");
        fails("[]", 0, "`{`");
        fails("\u{feff}\u{feff}{}", 3, "`{`");
        fails("{", 1, "name");
        fails("{a:1}", 1, "name");
        fails(r#"{"a":1,}"#, 7, "name");
        fails(r#"{"a"}"#, 4, "`:`");
        fails(r#"{"a":}"#, 5, "value");
        fails(r#"{"a":tru}"#, 5, "value");
        fails(r#"{"a":truer}"#, 9, "`,`");
        fails(r#"{"a":1 "b":2}"#, 7, "`,`");
        fails(r#"{"a":01}"#, 6, "`,`");
        fails(r#"{"a":-}"#, 6, "digit");
        fails(r#"{"a":1.}"#, 7, "digit");
        fails(r#"{"a":1e}"#, 7, "digit");
        fails(r#"{"a":[}"#, 6, "match");
        fails(r#"{"a":[{}"#, 8, "closed");
        fails(r#"{"a":"b"#, 7, "string");
        fails(r#"{"a":"b\"#, 8, "string");
        fails(r#"{"a":"b\"}"#, 10, "string");
        fails(r#"{"a":1}}"#, 7, "follows");
        fails(r#"{"a":1}"#.repeat(2).as_str(), 7, "follows");
    }

    #[test]
    fn an_error_ends_the_iteration() {
        let mut members = members(br#"{"a":1 2"#);
        assert!(members.next().unwrap().is_ok());
        assert!(members.next().unwrap().is_err());
        assert!(members.next().is_none());
    }

    #[test]
    fn brackets_match_at_any_depth() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 100_000] {
            let open: String = (0..depth)
                .map(|n| if n % 3 == 0 { '{' } else { '[' })
                .collect();
            let close: String = open
                .chars()
                .rev()
                .map(|c| if c == '{' { '}' } else { ']' })
                .collect();
            let body = format!("{{\"a\":{open}{close}}}");
            assert_eq!(names(&body).unwrap(), ["a"], "{depth}");
            // The outermost bracket is the one that is forgotten first.
            let wrong = format!("{{\"a\":{open}{}]}}", &close[..depth - 1]);
            assert!(names(&wrong).is_err(), "{depth}");
        }
    }

    #[test]
    fn a_name_without_unicode_is_no_name() {
        for body in [&br#"{"\ud800":1}"#[..], b"{\"\xff\":1}"] {
            let member = members(body).next().unwrap().unwrap();
            assert_eq!(member.name(), None);
            assert!(!member.is(r"\ud800"));
        }
    }

    #[test]
    fn debug_output_shows_no_value() {
        let body = br#"{"messages":"a secret prompt"}"#;
        let mut iter = members(body);
        let shown = format!("{:?} {iter:?}", iter.next());
        assert!(
            shown.contains("messages") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
