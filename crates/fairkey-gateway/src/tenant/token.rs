//! Client tokens: [`TokenHash`].

use std::fmt;
use std::str::FromStr;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The headers in which a client token comes. None of them is ever forwarded.
pub const TOKEN_HEADERS: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("x-api-key")];

/// The most tokens that are looked at in one request.
const MOST: usize = 4;

/// The SHA-256 of a client token: what the gateway keeps of it.
///
/// A token is a random string, not a password: its hash cannot be guessed back, so that no slow
/// hash is needed, which every request would pay for.
///
/// ```
/// use fairkey_gateway::TokenHash;
///
/// let hash = TokenHash::of("abc");
/// let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// assert_eq!(hash.to_string(), hex);
/// assert_eq!(hex.parse::<TokenHash>()?, hash);
/// # Ok::<(), fairkey_gateway::ParseTokenHashError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

/// What was given is no SHA-256 in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTokenHashError;

impl TokenHash {
    /// Hashes a token.
    #[must_use]
    pub fn of(token: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(token.as_ref()).into())
    }

    /// Compares in a time that does not depend on where the two differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Returns the first bytes, to find it by.
    pub(super) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl FromStr for TokenHash {
    type Err = ParseTokenHashError;

    fn from_str(hex: &str) -> Result<Self, ParseTokenHashError> {
        let digits = hex.trim().as_bytes();
        if digits.len() != 64 {
            return Err(ParseTokenHashError);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(ParseTokenHashError);
            // Two digits of 4 bits make at most 255.
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "TokenHash({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

impl fmt::Display for ParseTokenHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SHA-256 has 64 hexadecimal digits; `printf %s TOKEN | sha256sum` prints it")
    }
}

impl std::error::Error for ParseTokenHashError {}

/// Returns the tokens that a request has: bearers first, then API keys.
pub(super) fn sent(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearers = headers.get_all(AUTHORIZATION).iter();
    let bearers = bearers.filter_map(|value| bearer(value.as_bytes()));
    let keys = headers.get_all(&TOKEN_HEADERS[1]).iter();
    let keys = keys.map(|value| value.as_bytes().trim_ascii());
    bearers
        .chain(keys)
        .filter(|token| !token.is_empty())
        .take(MOST)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}
