//! Bytes that were read and not used yet: [`Buffer`].

use std::io::{self, BufRead, Read};

/// A buffer before a reader, which can look further ahead than one read gave it.
pub(super) struct Buffer<R> {
    input: R,
    bytes: Box<[u8]>,
    begin: usize,
    end: usize,
    position: u64,
}

impl<R: Read> Buffer<R> {
    /// Reads `size` bytes at once at most.
    pub(super) fn new(input: R, size: usize) -> Self {
        Self {
            input,
            bytes: vec![0; size].into(),
            begin: 0,
            end: 0,
            position: 0,
        }
    }

    /// Returns whether the input goes on like this; reads no more of it than it takes to know.
    pub(super) fn starts_with(&mut self, prefix: &[u8]) -> io::Result<bool> {
        loop {
            let there = self.buffered();
            let n = there.len().min(prefix.len());
            if there[..n] != prefix[..n] {
                return Ok(false);
            }
            if n == prefix.len() {
                return Ok(true);
            }
            if self.more()? == 0 {
                return Ok(false);
            }
        }
    }

    /// Reads behind what is there; 0 at the end of the input, or of the room.
    fn more(&mut self) -> io::Result<usize> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        loop {
            match self.input.read(&mut self.bytes[self.end..]) {
                Ok(n) => {
                    self.end += n;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R> Buffer<R> {
    /// Returns what is there without reading.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    /// Returns how many bytes were used so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.input
    }
}

impl<R: Read> BufRead for Buffer<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.begin == self.end {
            self.more()?;
        }
        Ok(self.buffered())
    }

    fn consume(&mut self, n: usize) {
        self.begin += n;
        self.position += n as u64;
    }
}

impl<R: Read> Read for Buffer<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let n = there.len().min(buffer.len());
        buffer[..n].copy_from_slice(&there[..n]);
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, and counts.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(buffer.len()).min(1);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            self.1 += n;
            Ok(n)
        }
    }

    #[test]
    fn positions_pass_four_gigabytes() {
        let mut buffer = Buffer::new(&b"abcdef"[..], 4);
        buffer.position = u64::from(u32::MAX) - 2;
        io::copy(&mut buffer, &mut io::sink()).unwrap();
        assert_eq!(buffer.position(), (1 << 32) + 3);
    }

    #[test]
    fn no_more_is_read_than_it_takes_to_know() {
        let mut buffer = Buffer::new(Slow(b"abcdef", 0), 16);
        assert!(!buffer.starts_with(b"xyz").unwrap());
        assert_eq!(buffer.get_ref().1, 1, "the first byte tells");
        assert!(!buffer.starts_with(b"abx").unwrap());
        assert_eq!(buffer.get_ref().1, 3);
        assert!(buffer.starts_with(b"abc").unwrap());
        assert_eq!(buffer.get_ref().1, 3);
        assert!(!buffer.starts_with(b"abcdefg").unwrap(), "it ends before");
        let mut rest = String::new();
        buffer.read_to_string(&mut rest).unwrap();
        assert_eq!((&*rest, buffer.position()), ("abcdef", 6));
    }
}
