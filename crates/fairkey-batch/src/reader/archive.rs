//! Archives and what is in them: [`Stream`].

mod zstd;

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use self::zstd::Zstd;
use super::buffer::Buffer;

/// How much is read at once of what is no archive, or unpacked at once.
const CHUNK: usize = 256 << 10;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The byte order mark of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What cannot be read, by its first bytes, and what to do about it.
const OTHERS: [(&[u8], &str); 8] = [
    (
        b"PK\x03\x04",
        "it is a zip archive: unpack it, and name the files in it",
    ),
    (
        b"\xfd7zXZ\0",
        "it is an xz archive: unpack it first (xzcat FILE | fairkey run -)",
    ),
    (
        b"BZh",
        "it is a bzip2 archive: unpack it first (bzcat FILE | fairkey run -)",
    ),
    (
        b"\x04\x22\x4d\x18",
        "it is an lz4 archive: unpack it first (lz4cat FILE | fairkey run -)",
    ),
    (
        b"PAR1",
        "it is a Parquet file, which is read from its end: name it as a file, not as a stream, \
         and do not compress it once more",
    ),
    (
        b"SQLite format 3\0",
        "it is a SQLite database: export a table of it as CSV",
    ),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
];
const UTF_16: &str = "it is UTF-16: convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)";

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Archive {
    Gzip,
    Zstd,
}

impl Archive {
    /// Returns what the end of a file's name claims.
    pub(super) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The text of an input, unpacked where it is packed.
pub(super) enum Stream<R> {
    Plain(Buffer<R>),
    Gzip(Box<Buffer<Unpacker<MultiGzDecoder<Buffer<R>>>>>),
    Zstd(Box<Buffer<Unpacker<Zstd<R>>>>),
}

impl<R: Read> Stream<R> {
    /// Looks at the first bytes. `claimed` is what the name says.
    ///
    /// # Errors
    ///
    /// Where the input cannot be read, is something that is no text, or not what its name says.
    pub(super) fn open(input: R, claimed: Option<Archive>) -> io::Result<Self> {
        let mut raw = Buffer::new(input, CHUNK);
        let archive = if raw.starts_with(GZIP)? {
            Some(Archive::Gzip)
        } else if raw.starts_with(ZSTD)? || is_skippable(&mut raw)? {
            Some(Archive::Zstd)
        } else {
            None
        };
        let mut stream = match archive {
            Some(archive @ Archive::Gzip) => {
                let unpacker = Unpacker(MultiGzDecoder::new(raw), archive);
                Self::Gzip(Box::new(Buffer::new(unpacker, CHUNK)))
            }
            Some(archive @ Archive::Zstd) => {
                let unpacker = Unpacker(Zstd::new(raw), archive);
                Self::Zstd(Box::new(Buffer::new(unpacker, CHUNK)))
            }
            None => {
                if let Some(claimed) = claimed
                    && !raw.fill_buf()?.is_empty()
                {
                    let name = claimed.name();
                    return Err(invalid(format!(
                        "it is named as a {name} archive, and is none"
                    )));
                }
                Self::Plain(raw)
            }
        };
        for (magic, what) in OTHERS {
            if stream.starts_with(magic)? {
                return Err(invalid(what));
            }
        }
        if stream.starts_with(BOM)? {
            stream.consume(BOM.len());
        }
        Ok(stream)
    }

    fn starts_with(&mut self, prefix: &[u8]) -> io::Result<bool> {
        match self {
            Self::Plain(buffer) => buffer.starts_with(prefix),
            Self::Gzip(buffer) => buffer.starts_with(prefix),
            Self::Zstd(buffer) => buffer.starts_with(prefix),
        }
    }

    /// Returns what comes next; nothing at the end.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(buffer) => buffer.fill_buf(),
            Self::Gzip(buffer) => buffer.fill_buf(),
            Self::Zstd(buffer) => buffer.fill_buf(),
        }
    }

    pub(super) fn consume(&mut self, n: usize) {
        match self {
            Self::Plain(buffer) => buffer.consume(n),
            Self::Gzip(buffer) => buffer.consume(n),
            Self::Zstd(buffer) => buffer.consume(n),
        }
    }
}

impl<R> Stream<R> {
    /// Returns what is there without reading.
    pub(super) fn buffered(&self) -> &[u8] {
        match self {
            Self::Plain(buffer) => buffer.buffered(),
            Self::Gzip(buffer) => buffer.buffered(),
            Self::Zstd(buffer) => buffer.buffered(),
        }
    }

    /// Returns how much of the input was used: of an archive, how much was unpacked.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Plain(buffer) => buffer.position(),
            Self::Gzip(buffer) => buffer.get_ref().0.get_ref().position(),
            Self::Zstd(buffer) => buffer.get_ref().0.get_ref().position(),
        }
    }
}

/// Frames that hold no text may come before one that does: tools that seek, and pzstd, write them.
fn is_skippable<R: Read>(raw: &mut Buffer<R>) -> io::Result<bool> {
    let first = raw.fill_buf()?.first().copied().unwrap_or_default();
    if !(0x50..=0x5f).contains(&first) {
        return Ok(false);
    }
    raw.starts_with(&[first, 0x2a, 0x4d, 0x18])
}

/// Tells what is wrong with an archive in our own words.
pub(super) struct Unpacker<D>(D, Archive);

impl<D: Read> Read for Unpacker<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let name = self.1.name();
            match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the {name} archive ends in the middle: it is cut off"),
                ),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    invalid(format!("the {name} archive is damaged: {error}"))
                }
                _ => error,
            }
        })
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
