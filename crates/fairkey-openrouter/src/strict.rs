//! Walking over JSON as strictly as a parser does, with nothing made of it: [`Strict`].

use crate::word::{all, below, load, lowest};

/// How deep lists and objects may lie in one another.
const DEPTH: u32 = 64;

/// A place in a text of JSON.
///
/// Whatever it walks over is JSON by the grammar of RFC 8259. `None` from any of its methods says
/// that it is not, or that it is of a kind that is left to a parser; the place is then of no use.
#[derive(Clone, Debug)]
pub(crate) struct Strict<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Strict<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the next byte that is no white space, and stands before it.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        let mut byte = *bytes.get(self.at)?;
        while let b' ' | b'\t' | b'\n' | b'\r' = byte {
            self.at += 1;
            byte = *bytes.get(self.at)?;
        }
        Some(byte)
    }

    /// Goes over white space and one byte.
    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        if self.next()? != byte {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Tells whether nothing is left.
    pub(crate) fn is_over(&mut self) -> bool {
        self.next().is_none()
    }

    /// Goes over an object: `member` is asked to go over the value of each of its members.
    #[inline]
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        self.take(b'{')?;
        if self.next()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let name = self.plain_text()?;
            self.take(b':')?;
            member(self, name)?;
            match self.next()? {
                b',' => self.at += 1,
                _ => return self.take(b'}'),
            }
        }
    }

    /// Goes over a list: `item` is asked to go over each of its items.
    #[inline]
    pub(crate) fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.next()? == b']' {
            return self.take(b']');
        }
        loop {
            item(self)?;
            match self.next()? {
                b',' => self.at += 1,
                _ => return self.take(b']'),
            }
        }
    }

    /// Goes over a text without escapes, and returns its inside.
    #[inline]
    fn plain_text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let begin = self.at;
        self.go_to_special();
        let inside = self.text.get(begin..self.at)?;
        if self.text.as_bytes().get(self.at) != Some(&b'"') {
            return None;
        }
        self.at += 1;
        Some(inside)
    }

    /// Goes over a value, and returns it as it stands there.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<&'a str> {
        let first = self.next()?;
        let begin = self.at;
        match first {
            b'{' | b'[' => self.nested(first)?,
            _ => self.scalar(first)?,
        }
        self.text.get(begin..self.at)
    }

    /// Goes over a value that begins with `first`, which stands next, and is no list or object.
    #[inline]
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is_there = self.text.as_bytes()[self.at..].starts_with(word);
        self.at += word.len();
        is_there.then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let mut rest = self.text.as_bytes()[self.at..].iter().copied();
        let mut byte = rest.next();
        if byte == Some(b'-') {
            byte = rest.next();
        }
        if byte == Some(b'0') {
            byte = rest.next();
        } else {
            byte = digits(byte, &mut rest)?;
        }
        if byte == Some(b'.') {
            byte = digits(rest.next(), &mut rest)?;
        }
        if let Some(b'e' | b'E') = byte {
            byte = rest.next();
            if let Some(b'+' | b'-') = byte {
                byte = rest.next();
            }
            byte = digits(byte, &mut rest)?;
        }
        self.at = self.text.len() - rest.len() - usize::from(byte.is_some());
        Some(())
    }

    /// Goes over a text, which stands next.
    #[inline]
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.go_to_special();
            match *self.text.as_bytes().get(self.at)? {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Goes to the next quote, backslash or control character.
    #[inline]
    fn go_to_special(&mut self) {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while let Some(word) = load(bytes, at) {
            let is = |byte: u8| below(word ^ all(byte), 1);
            let marks = is(b'"') | is(b'\\') | below(word, 0x20);
            if marks != 0 {
                self.at = at + lowest(marks);
                return;
            }
            at += 8;
        }
        while let Some(byte) = bytes.get(at) {
            if matches!(byte, b'"' | b'\\' | ..0x20) {
                break;
            }
            at += 1;
        }
        self.at = at;
    }

    #[cold]
    fn escape(&mut self) -> Option<()> {
        let escaped = &self.text.as_bytes()[self.at + 1..];
        self.at += match escaped {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', digits @ ..] => {
                let digits = digits.first_chunk::<4>()?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                6
            }
            _ => return None,
        };
        Some(())
    }

    /// Goes over a name within an object, and its colon.
    #[inline]
    fn name(&mut self) -> Option<()> {
        if self.next()? != b'"' {
            return None;
        }
        self.string()?;
        self.take(b':')
    }

    /// Goes over a list or an object with all that is in it, which begins with `first`.
    fn nested(&mut self, first: u8) -> Option<()> {
        // Of each that is open, the innermost lowest: whether it is an object.
        let mut open: u64 = 0;
        let mut depth = 0;
        let mut byte = first;
        loop {
            if let b'{' | b'[' = byte {
                if depth == DEPTH {
                    return None;
                }
                depth += 1;
                open = open << 1 | u64::from(byte == b'{');
                self.at += 1;
                // Its end, two behind its begin in ASCII, comes at once where it is empty.
                if self.next()? != byte + 2 {
                    if byte == b'{' {
                        self.name()?;
                    }
                    byte = self.next()?;
                    continue;
                }
            } else {
                self.scalar(byte)?;
            }
            // Behind a value, or before the end of what is empty.
            loop {
                let is_object = open & 1 == 1;
                byte = self.next()?;
                self.at += 1;
                if byte == b',' {
                    if is_object {
                        self.name()?;
                    }
                    byte = self.next()?;
                    break;
                }
                if byte != if is_object { b'}' } else { b']' } {
                    return None;
                }
                open >>= 1;
                depth -= 1;
                if depth == 0 {
                    return Some(());
                }
            }
        }
    }
}

/// Goes over the digits of which `first` is one, and returns what follows them.
#[inline]
fn digits(first: Option<u8>, rest: &mut impl Iterator<Item = u8>) -> Option<Option<u8>> {
    if !first?.is_ascii_digit() {
        return None;
    }
    Some(rest.find(|byte| !byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// Whether a text is one value of JSON, and nothing else.
    fn walks(text: &str) -> bool {
        let mut strict = Strict::new(text);
        strict.value().is_some() && strict.is_over()
    }

    fn parses(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text.trim_ascii()).is_ok()
    }

    #[test]
    fn what_is_json_is_walked_over() {
        for text in [
            "{}",
            "[]",
            "[[],{}]",
            r#" { "a" : [ 1 , -0.5e+7 , "b\"\\\u00e9" , true , false , null , { } ] } "#,
            r#"{"a":{"b":[[[{"c":"longer than a word of eight bytes"}]]]},"d":0}"#,
            "\"\u{7f}äöü😀\"",
            "0",
        ] {
            assert!(walks(text) && parses(text), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1}",
            "{\"a\":1]",
            "[1]]",
            "01",
            "1.",
            "-",
            "1e",
            ".5",
            "+1",
            "tru",
            "truer",
            "nul",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "\"a\nb\"",
            "\"long enough\u{1}\"",
            "[1 2]",
            "{\"a\" 1}",
            "[\"a\":1]",
            "{\"a\",1}",
            "\u{feff}[]",
        ] {
            assert!(!walks(text) && !parses(text), "{text}");
        }
    }

    #[test]
    fn what_lies_too_deep_is_left_to_others() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(walks(&nested(64)));
        assert!(!walks(&nested(65)));
    }

    proptest! {
        #[test]
        fn nothing_is_walked_over_that_a_parser_refuses(
            text in "[\\[\\]{},:\"\\\\untrefals0-9.eE+\\-  a\u{1}é]{0,24}",
        ) {
            prop_assert!(!walks(&text) || parses(&text), "{text}");
            prop_assert!(walks(&text) || !parses(&text), "{text}");
        }

        #[test]
        fn a_byte_changed_is_seen_as_a_parser_sees_it(
            at in any::<prop::sample::Index>(),
            byte in 0..0x80_u8,
        ) {
            let text = r#"{"a":[1,-0.5e+7,"b\"\\\u00e9",true,{"c":[]},{}],"longer":"than eight"}"#;
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let text = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(walks(&text), parses(&text), "{}", text);
        }
    }
}
