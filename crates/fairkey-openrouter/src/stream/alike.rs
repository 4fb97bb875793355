//! Chunks that differ from an earlier one in one text alone: [`Pattern`].

/// The largest chunk that is kept to compare others with.
const MAX_BYTES: usize = 1 << 10;

/// A chunk that was looked over, and found to bring nothing but content.
///
/// Nearly every chunk after it differs from it in the inside of one text, such as that of
/// `content`, and then brings nothing but content as well. To compare the two takes a tenth of what
/// reading JSON does.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// JSON in UTF-8, without escapes: so each quote in it begins or ends a text. Empty: none.
    data: Vec<u8>,
    /// Where the inside of the text is that another chunk differed in, from and to: it is most
    /// often that one again.
    text: Option<(usize, usize)>,
}

impl Pattern {
    /// Keeps a chunk, which must be an object of JSON in UTF-8.
    pub(super) fn keep(&mut self, data: &[u8]) {
        self.data.clear();
        self.text = None;
        if data.len() <= MAX_BYTES && memchr::memchr(b'\\', data).is_none() {
            self.data.extend_from_slice(data);
        }
    }

    /// Tells whether `data` is the chunk that was kept, but for the inside of one text that is the
    /// value of a member. Where it does not look alike, that says nothing.
    pub(super) fn fits(&mut self, data: &[u8]) -> bool {
        let kept = self.data.as_slice();
        if kept.is_empty() || kept == data {
            return !kept.is_empty();
        }
        if let Some((from, to)) = self.text
            && let Some(rest) = data.strip_prefix(&kept[..from])
            && let Some(new) = rest.strip_suffix(&kept[to..])
            && is_inside_of_text(new)
        {
            return true;
        }
        let found = self.compare(data);
        self.text = found.or(self.text);
        found.is_some()
    }

    /// Returns where the inside of the one text is that `data` differs in, if that is all.
    fn compare(&self, data: &[u8]) -> Option<(usize, usize)> {
        let kept = self.data.as_slice();
        let mut begin = common_begin(kept, data);
        let mut end = common_end(&kept[begin..], &data[begin..]);
        // Whole characters only.
        let is_within = |text: &[u8], at: usize| text.get(at).is_some_and(|b| b & 0xc0 == 0x80);
        while begin > 0 && (is_within(kept, begin) || is_within(data, begin)) {
            begin -= 1;
        }
        while end > 0 && is_within(data, data.len() - end) {
            end -= 1;
        }
        let (was, is) = (kept.len() - end, data.len() - end);
        let (old, new) = (&kept[begin..was], &data[begin..is]);
        let is_in_text = memchr::memchr_iter(b'"', &kept[..begin]).count() % 2 == 1;
        let fits = is_in_text
            && memchr::memchr(b'"', old).is_none()
            && is_value(&kept[was..])
            && is_inside_of_text(new);
        let from = memchr::memrchr(b'"', &kept[..begin])? + 1;
        let to = was + memchr::memchr(b'"', &kept[was..])?;
        fits.then_some((from, to))
    }
}

/// Tells whether a text that ends with the first quote of `rest` is the value of a member.
fn is_value(rest: &[u8]) -> bool {
    memchr::memchr(b'"', rest)
        .and_then(|quote| rest.get(quote + 1))
        .is_some_and(|next| matches!(next, b',' | b'}'))
}

/// Tells whether bytes can stand within a text of JSON.
fn is_inside_of_text(mut bytes: &[u8]) -> bool {
    if std::str::from_utf8(bytes).is_err() || bytes.iter().any(|byte| *byte < b' ') {
        return false;
    }
    while let Some(at) = memchr::memchr2(b'"', b'\\', bytes) {
        // Numbers of characters are left to whoever makes a text of them.
        let is_escape = matches!(
            bytes[at..],
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..
            ]
        );
        if !is_escape {
            return false;
        }
        bytes = &bytes[at + 2..];
    }
    true
}

fn common_begin(one: &[u8], other: &[u8]) -> usize {
    let blocks = one.as_chunks::<16>().0.iter().zip(other.as_chunks().0);
    let begin = 16 * blocks.take_while(|(one, other)| one == other).count();
    let bytes = one[begin..].iter().zip(&other[begin..]);
    begin + bytes.take_while(|(one, other)| one == other).count()
}

fn common_end(one: &[u8], other: &[u8]) -> usize {
    let (one_blocks, other_blocks) = (one.as_rchunks::<16>().1, other.as_rchunks::<16>().1);
    let blocks = one_blocks.iter().rev().zip(other_blocks.iter().rev());
    let end = 16 * blocks.take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[..one.len() - end], &other[..other.len() - end]);
    let bytes = one.iter().rev().zip(other.iter().rev());
    end + bytes.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const KEPT: &str =
        r#"{"id":"gen-1","choices":[{"delta":{"content":" wörd"},"finish_reason":null}]}"#;

    fn fits(kept: &str, data: impl AsRef<[u8]>) -> bool {
        let mut pattern = Pattern::default();
        pattern.keep(kept.as_bytes());
        pattern.fits(data.as_ref())
    }

    #[test]
    fn another_text_in_the_same_place_fits() {
        for text in [
            " wörd", "", "x", " wörds", " w", "ö", "ü", "ä ö ü", r"\n\n", r#"\""#, r"a\\",
        ] {
            assert!(fits(KEPT, KEPT.replace(" wörd", text)), "{text:?}");
        }
        assert!(fits(KEPT, KEPT.replace("gen-1", "gen-27")));
    }

    #[test]
    fn what_differs_in_more_than_one_text_does_not_fit() {
        for (was, becomes) in [
            ("null", "\"stop\""),
            ("\"content\"", "\"refusal\""),
            ("finish_reason", "error"),
            (" wörd", "\"},\"error\":{\"a\":\""),
            (" wörd", "\n"),
            (" wörd", r"\u0041"),
            (" wörd", r"\x"),
            (" wörd", r"\"),
            ("}]}", "}],\"usage\":{}}"),
            ("}]}", "}]"),
            ("{\"id\"", "\"id\""),
        ] {
            let other = KEPT.replace(was, becomes);
            assert!(!fits(KEPT, &other), "{other}");
        }
        let mut cut = KEPT.as_bytes().to_vec();
        // Half of the ö.
        cut.remove(KEPT.find('ö').unwrap());
        assert!(!fits(KEPT, cut));
        assert!(!fits("", ""));
        assert!(!Pattern::default().fits(KEPT.as_bytes()));
        // The name of a member is a text, too.
        assert!(!fits(r#"{"a":"b"}"#, r#"{"error":"b"}"#));
    }

    #[test]
    fn what_fits_does_not_depend_on_what_was_compared_before() {
        let mut pattern = Pattern::default();
        pattern.keep(KEPT.as_bytes());
        for (text, fits) in [
            ("x", true),
            ("wörds", true),
            ("", true),
            (r#"\""#, true),
            (r#"""#, false),
            ("\n", false),
            (r"\", false),
            (" \"},\"error\":{\"a\":\"", false),
            ("x", true),
        ] {
            let data = KEPT.replace(" wörd", text);
            assert_eq!(pattern.fits(data.as_bytes()), fits, "{text:?}");
            assert_eq!(self::fits(KEPT, data), fits, "{text:?}");
        }
        assert!(pattern.fits(KEPT.replace("gen-1", "gen-2").as_bytes()));
        assert!(pattern.fits(KEPT.replace(" wörd", "x").as_bytes()));
        let both = KEPT.replace("gen-1", "gen-2").replace(" wörd", "x");
        assert!(!pattern.fits(both.as_bytes()));
        let cut = KEPT.replace(" wörd", "x");
        assert!(!pattern.fits(&cut.as_bytes()[..cut.len() - 1]));
    }

    #[test]
    fn what_holds_escapes_or_is_large_is_not_kept() {
        let escaped = KEPT.replace(" wörd", r"\n");
        assert!(!fits(&escaped, &escaped));
        let large = KEPT.replace(" wörd", &"x".repeat(MAX_BYTES));
        assert!(!fits(&large, &large));
    }

    proptest! {
        /// Whatever fits is JSON of the same form: the same members, and of these at most one text
        /// that is another.
        #[test]
        fn what_fits_differs_in_one_text(
            at in 0..KEPT.len(),
            len in 0_usize..8,
            new in "[a-zäöü\"\\\\:,{}\\[\\]nu0-9]{0,8}",
        ) {
            let bytes = KEPT.as_bytes();
            let mut data = bytes[..at].to_vec();
            data.extend_from_slice(new.as_bytes());
            data.extend_from_slice(&bytes[(at + len).min(bytes.len())..]);
            if fits(KEPT, &data) {
                let kept: Value = serde_json::from_str(KEPT).unwrap();
                let data: Value = serde_json::from_slice(&data).unwrap();
                prop_assert!(differences(&kept, &data).is_some_and(|count| count <= 1));
            }
        }
    }

    /// How many texts differ; `None`: something else does.
    fn differences(one: &Value, other: &Value) -> Option<usize> {
        match (one, other) {
            (Value::String(one), Value::String(other)) => Some(usize::from(one != other)),
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
                let pairs = one.iter().zip(other);
                pairs.map(|(one, other)| differences(one, other)).sum()
            }
            (Value::Object(one), Value::Object(other)) if one.keys().eq(other.keys()) => {
                let pairs = one.values().zip(other.values());
                pairs.map(|(one, other)| differences(one, other)).sum()
            }
            (one, other) => (one == other).then_some(0),
        }
    }
}
