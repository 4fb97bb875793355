//! One sum as a line of text with a checksum.

use serde::{Deserialize, Serialize};

use super::SpendRow;

/// The first line of a file: what it is, and in which version of the format.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    fairkey_spend: u32,
}

const VERSION: u32 = 1;

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// The first line of a file that this version reads.
    Head,
    /// The first line of another version's file.
    OtherVersion(u32),
    /// A sum to add.
    Row(Box<SpendRow>),
    /// Its checksum is wrong, or it says nothing that is known.
    Broken,
}

/// Appends the first line.
pub(super) fn write_head(to: &mut Vec<u8>) {
    write(
        to,
        &Head {
            fairkey_spend: VERSION,
        },
    );
}

/// Appends a sum.
pub(super) fn write_row(to: &mut Vec<u8>, row: &SpendRow) {
    write(to, row);
}

fn write(to: &mut Vec<u8>, value: &impl Serialize) {
    // Strings and numbers cannot fail to be JSON.
    let json = serde_json::to_vec(value).unwrap_or_default();
    to.extend_from_slice(format!("{:08x} ", crc32(&json)).as_bytes());
    to.extend_from_slice(&json);
    to.push(b'\n');
}

/// Reads a line without its end.
pub(super) fn read(line: &[u8]) -> Line {
    let Some((sum, json)) = line.split_at_checked(9) else {
        return Line::Broken;
    };
    if sum != format!("{:08x} ", crc32(json)).as_bytes() {
        return Line::Broken;
    }
    if let Ok(row) = serde_json::from_slice(json) {
        return Line::Row(Box::new(row));
    }
    match serde_json::from_slice(json) {
        Ok(Head { fairkey_spend }) if fairkey_spend == VERSION => Line::Head,
        Ok(Head { fairkey_spend }) => Line::OtherVersion(fairkey_spend),
        Err(_) => Line::Broken,
    }
}

/// CRC-32 as in gzip and Ethernet (IEEE 802.3), eight table look-ups less than the fastest, and
/// short.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut crc, mut bit) = (at as u32, 0);
            while bit < 8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
