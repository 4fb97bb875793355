//! Finding the bytes that matter, eight at a time.
//!
//! A call of `memchr` pays off when the next hit is far. In source code sent as JSON every line ends
//! with an escape, so here short ways are gone in a register, and `memchr` takes over on long ones.

use crate::word::{all, load, lowest, zeros};

/// How far to look before calling `memchr`, in bytes.
const NEAR: usize = 64;

/// Returns where the string ends whose inside begins at `from`: its quote, which no backslash
/// escapes.
#[inline]
pub(super) fn end_of_string(body: &[u8], from: usize) -> Option<usize> {
    walk_string(body, from, |_| {})
}

/// Returns where the string ends whose inside begins at `from`, and how many bytes it has in UTF-8
/// once its escapes are resolved.
#[inline]
pub(crate) fn measured_string(body: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut saved = 0;
    let end = walk_string(body, from, |at| {
        saved += match body.get(at + 1) {
            Some(b'u') => body
                .get(at + 2..at + 6)
                .and_then(unicode)
                .map_or(1, |n| 6 - n),
            _ => 1,
        };
    })?;
    Some((end, (end - from).saturating_sub(saved)))
}

/// Returns how many bytes of UTF-8 the four digits of an escape stand for; half of a pair counts
/// for half of it.
fn unicode(digits: &[u8]) -> Option<usize> {
    let code = digits.iter().try_fold(0, |code, digit| {
        Some(code << 4 | char::from(*digit).to_digit(16)?)
    })?;
    Some(match code {
        0..0x80 => 1,
        0x80..0x800 | 0xd800..0xe000 => 2,
        _ => 3,
    })
}

/// Walks over a string to its last quote, and tells where its escapes begin.
#[inline]
fn walk_string(body: &[u8], from: usize, mut escape: impl FnMut(usize)) -> Option<usize> {
    let mut at = from;
    let mut quiet = 0;
    while let Some(word) = load(body, at) {
        let mut marks = zeros(word ^ all(b'\\')) | zeros(word ^ all(b'"'));
        if marks == 0 {
            at += 8;
            quiet += 8;
            if quiet >= NEAR {
                quiet = 0;
                at += memchr::memchr2(b'"', b'\\', body.get(at..)?)?;
            }
            continue;
        }
        quiet = 0;
        // All escapes of the word, without loading it again.
        loop {
            let place = lowest(marks);
            if body[at + place] == b'"' {
                return Some(at + place);
            }
            escape(at + place);
            // What is escaped, be it a quote, is skipped with the backslash.
            let behind = place + 2;
            if behind >= 8 {
                at += behind;
                break;
            }
            marks &= u64::MAX << (8 * behind);
            if marks == 0 {
                at += 8;
                break;
            }
        }
    }
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => return Some(at),
            b'\\' => {
                escape(at);
                at += 2;
            }
            _ => at += 1,
        }
    }
    None
}

/// Returns where the next quote, bracket or brace stands.
#[inline]
pub(crate) fn to_quote_or_bracket(body: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        // Long ways, as over lists of numbers, are gone in strides that the compiler makes vectors of.
        if at - from >= NEAR {
            while let Some(stride) = body.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
                let any = stride
                    .iter()
                    .fold(false, |any, byte| any | is_quote_or_bracket(*byte));
                if any {
                    break;
                }
                at += stride.len();
            }
        }
        let Some(word) = load(body, at) else { break };
        // This bit is all that brackets and braces differ in.
        let braces = word | all(b'{' ^ b'[');
        let marks = zeros(word ^ all(b'"')) | zeros(braces ^ all(b'{')) | zeros(braces ^ all(b'}'));
        if marks != 0 {
            return Some(at + lowest(marks));
        }
        at += 8;
    }
    let rest = body.get(at..)?;
    rest.iter()
        .position(|byte| is_quote_or_bracket(*byte))
        .map(|skip| at + skip)
}

fn is_quote_or_bracket(byte: u8) -> bool {
    let brace = byte | (b'{' ^ b'[');
    // No branches.
    (byte == b'"') | (brace == b'{') | (brace == b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for length in [
            1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 72, 73, 95, 96, 97, 130, 160,
        ] {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut body = vec![b'a'; length];
                    body[place] = byte;
                    // What borrows from its neighbor must not hide or fake a hit.
                    if place + 1 < length {
                        body[place + 1] = byte ^ 1;
                    }
                    let first = |hits: &[u8]| body.iter().position(|byte| hits.contains(byte));
                    assert_eq!(to_quote_or_bracket(&body, 0), first(b"\"{}[]"), "{body:?}");
                }
            }
        }
        assert_eq!(to_quote_or_bracket(b"\"", 9), None);
    }

    #[test]
    fn a_string_ends_at_the_first_quote_that_is_not_escaped() {
        fn slowly(body: &[u8], mut at: usize) -> Option<usize> {
            loop {
                match body.get(at)? {
                    b'"' => return Some(at),
                    b'\\' => at += 2,
                    _ => at += 1,
                }
            }
        }
        // Every text of ten letters out of three, at the end of texts of every length.
        for number in 0..3_usize.pow(10) {
            let letters = (0..10).map(|place| b"a\"\\"[number / 3_usize.pow(place) % 3]);
            let length = number % 90;
            let body: Vec<u8> = std::iter::repeat_n(b'b', length).chain(letters).collect();
            for from in [0, length, length + 3] {
                let expected = slowly(&body, from);
                assert_eq!(end_of_string(&body, from), expected, "{body:?} from {from}");
            }
        }
        assert_eq!(end_of_string(b"\"", 1), None);
        assert_eq!(end_of_string(b"\"", 9), None);
    }
}
