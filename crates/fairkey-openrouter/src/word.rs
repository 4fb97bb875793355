//! Eight bytes at a time, in one register: which of them are of a kind is marked in the highest bit
//! of each.

const HIGH: u64 = all(0x80);

/// Eight times the same byte.
pub(crate) const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The eight bytes that begin at `at`, the first one lowest; `None` where there are fewer.
#[inline]
pub(crate) fn load(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*eight))
}

/// Marks the bytes that are zero, and no other.
#[inline]
pub(crate) const fn zeros(word: u64) -> u64 {
    let low = all(0x7f);
    !(((word & low) + low) | word | low)
}

/// Marks the bytes that are below `bound`, which is at most 128. The lowest mark is right; those
/// above it may be wrong, for what it borrows.
#[inline]
pub(crate) const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(all(bound)) & !word & HIGH
}

/// The lowest mark, as a number of bytes.
#[inline]
pub(crate) const fn lowest(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_every_byte_apart_at_every_place() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                for other in [0, 1, 0x1f, 0x20, 0x7f, 0x80, 0xff] {
                    let mut bytes = [other; 8];
                    bytes[place] = byte;
                    let word = load(&bytes, 0).unwrap();
                    let mark = |is: &dyn Fn(u8) -> bool| {
                        let marks = bytes.map(|byte| if is(byte) { 0x80 } else { 0 });
                        u64::from_le_bytes(marks)
                    };
                    assert_eq!(zeros(word), mark(&|byte| byte == 0), "{bytes:?}");
                    for bound in [1, 0x20, 0x80] {
                        let right = mark(&|byte| byte < bound);
                        let marks = below(word, bound);
                        assert_eq!(marks == 0, right == 0, "{bytes:?} below {bound}");
                        assert_eq!(lowest(marks), lowest(right), "{bytes:?} below {bound}");
                    }
                }
            }
        }
        assert_eq!(load(&[0; 8], 1), None);
        assert_eq!(load(&[0; 8], 9), None);
    }
}
