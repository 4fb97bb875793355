//! Sizes as text: bytes, or a number and its unit.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, de::Error as _};

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// The least and the most that a size may be.
const SMALLEST: u64 = 1 << 10;
const LARGEST: u64 = 1 << 40;

/// A number of bytes: `65536`, or `"64KiB"`, `"32MiB"`, `"1GiB"`; from 1 KiB to 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = u64;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size: a number of bytes, or a string such as 32MiB")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
                // What is negative is too small in any case.
                Ok(u64::try_from(bytes).unwrap_or(0))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                let wrong = || E::custom("a size is a number with its unit: 64KiB, 32MiB, 1GiB");
                let unit = UNITS.iter().find_map(|(unit, size)| {
                    let number = text.strip_suffix(unit)?.trim_end();
                    Some((number, size))
                });
                let (number, size) = unit.ok_or_else(wrong)?;
                let number: u64 = number.parse().map_err(|_| wrong())?;
                Ok(number.saturating_mul(*size))
            }
        }

        match from.deserialize_any(Bytes)? {
            bytes if (SMALLEST..=LARGEST).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(D::Error::custom("a size here is between 1KiB and 1024GiB")),
        }
    }
}

/// Returns a size as it would be written: in the largest unit that leaves a whole number.
pub(super) fn text(bytes: u64) -> String {
    let (unit, size) = (UNITS.iter())
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size))
        .unwrap_or(&UNITS[3]);
    format!("{}{unit}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_reads_as_it_is_written() {
        #[derive(Deserialize)]
        struct Table {
            size: Size,
        }
        let read = |value: &str| toml::from_str::<Table>(&format!("size = {value}"));
        for (value, bytes, written) in [
            ("65536", 65_536, "64KiB"),
            ("\"32MiB\"", 32 << 20, "32MiB"),
            ("\"1 GiB\"", 1 << 30, "1GiB"),
            ("\"1025B\"", 1025, "1025B"),
        ] {
            let size = read(value).map(|table| table.size);
            assert_eq!(size.ok(), Some(Size(bytes)), "{value}");
            assert_eq!(text(bytes), written);
        }
        for value in [
            "0",
            "-1",
            "1.5",
            "\"1\"",
            "\"MiB\"",
            "\"-1MiB\"",
            "\"99999999GiB\"",
            "true",
        ] {
            assert!(read(value).is_err(), "{value}");
        }
    }
}
