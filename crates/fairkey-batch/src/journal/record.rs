//! The bytes of a journal: its header, and the [`Head`] before the payload of each record.
//!
//! ```text
//! header   "fairkey journal\n" · version u32 · length u32 · check u64 · JSON
//! record   0xf5 · kind u8 · flags u16 · length u32 · index u64 · identity u64 · micro-USD u64
//!          · tokens u64 · check of the payload u64 · check of the head u32 · payload
//! ```
//!
//! Numbers are little endian, checks are XXH3. Payloads are UTF-8, in which the byte 0xf5 cannot
//! be: behind damage, that is where the next record is looked for.

use twox_hash::XxHash3_64;

/// What every journal begins with.
pub(crate) const MAGIC: &[u8; 16] = b"fairkey journal\n";
/// The version that is written, and the newest that is read.
pub(crate) const VERSION: u32 = 1;
/// The bytes of a header before its JSON.
pub(crate) const HEADER_BYTES: usize = 32;
/// The longest JSON of a header that is believed.
pub(crate) const MAX_HEADER_JSON: u32 = 1 << 20;
/// The bytes of a record before its payload.
pub(crate) const HEAD_BYTES: usize = 52;
/// What every record begins with.
pub(crate) const MARKER: u8 = 0xf5;

/// A record holds the result of a row as its payload.
pub(crate) const RESULT: u8 = 1;
/// A record says that the result of a row stands in the output, from the byte of its payload on.
pub(crate) const STANDS: u8 = 2;

/// The row was answered.
pub(crate) const ANSWERED: u16 = 1;
/// The result was made here, without anything being sent, as that of a line that is no request.
pub(crate) const UNSENT: u16 = 2;
/// The result was found in the output without a record; which request it answers is not known.
pub(crate) const ADOPTED: u16 = 4;

/// What precedes the payload of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) len: u32,
    pub(crate) index: u64,
    pub(crate) identity: u64,
    pub(crate) micro_usd: u64,
    pub(crate) tokens: u64,
    pub(crate) check: u64,
}

impl Head {
    pub(crate) fn is_answered(&self) -> bool {
        self.flags & ANSWERED != 0
    }

    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0] = MARKER;
        bytes[1] = self.kind;
        bytes[2..4].copy_from_slice(&self.flags.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.index.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.micro_usd.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.tokens.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.check.to_le_bytes());
        let check = head_check(&bytes);
        bytes[48..].copy_from_slice(&check);
        bytes
    }

    /// Reads a head that is whole and sound. The payload is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
        if bytes[0] != MARKER || bytes[48..] != head_check(bytes) {
            return None;
        }
        Some(Self {
            kind: bytes[1],
            flags: u16::from_le_bytes([bytes[2], bytes[3]]),
            len: u32_at(bytes, 4),
            index: u64_at(bytes, 8),
            identity: u64_at(bytes, 16),
            micro_usd: u64_at(bytes, 24),
            tokens: u64_at(bytes, 32),
            check: u64_at(bytes, 40),
        })
    }

    /// Returns whether this is the payload that the head was made for.
    pub(crate) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.len as usize && check(payload) == self.check
    }
}

pub(crate) fn check(payload: &[u8]) -> u64 {
    XxHash3_64::oneshot(payload)
}

fn head_check(bytes: &[u8; HEAD_BYTES]) -> [u8; 4] {
    let check = XxHash3_64::oneshot(&bytes[..48]).to_le_bytes();
    [check[0], check[1], check[2], check[3]]
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// Makes a header.
pub(crate) fn header(json: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&check(json).to_le_bytes());
    bytes.extend_from_slice(json);
    bytes
}

/// The fixed part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// So many bytes of JSON follow, with this check.
    Json { len: u32, check: u64 },
    /// The file ends before the header does.
    Torn,
    /// It is no journal.
    Foreign,
    /// A later version wrote it.
    Newer(u32),
    /// It was damaged.
    Damaged,
}

impl Header {
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Self::Foreign;
        }
        if bytes.len() < HEADER_BYTES {
            return Self::Torn;
        }
        let (version, len) = (u32_at(bytes, 16), u32_at(bytes, 20));
        match version {
            VERSION if len <= MAX_HEADER_JSON => Self::Json {
                len,
                check: u64_at(bytes, 24),
            },
            0 | VERSION => Self::Damaged,
            newer => Self::Newer(newer),
        }
    }
}

/// Returns what tells the request of one row from others: its name, its path and its body.
pub(crate) fn identity(custom_id: Option<&str>, request: Option<(&str, &[u8])>) -> u64 {
    let named = match custom_id {
        Some(name) => XxHash3_64::oneshot_with_seed(1, name.as_bytes()),
        None => 0,
    };
    match request {
        Some((path, body)) => {
            let path = XxHash3_64::oneshot_with_seed(named, path.as_bytes());
            XxHash3_64::oneshot_with_seed(path, body)
        }
        // Any line that is no request is like any other.
        None => XxHash3_64::oneshot_with_seed(named, b"no request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_tells_rows_apart() {
        let request = |path, body: &'static str| Some((path, body.as_bytes()));
        let all = [
            identity(None, request("/a", "b")),
            identity(Some(""), request("/a", "b")),
            identity(Some("x"), request("/a", "b")),
            identity(None, request("/ab", "")),
            identity(None, request("/a", "c")),
            identity(None, None),
            identity(Some("x"), None),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
        assert_eq!(all[0], identity(None, request("/a", "b")));
    }

    #[test]
    fn identities_are_the_same_on_every_machine() {
        // It is in files: another value here means that no journal fits any more.
        let identity = identity(Some("q1"), Some(("/chat/completions", b"{}")));
        assert_eq!(identity, IDENTITY);
    }

    const IDENTITY: u64 = 10_985_878_371_381_603_922;
}
