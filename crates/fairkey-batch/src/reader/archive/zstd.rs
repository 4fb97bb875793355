//! Unpacking zstd: frames one after the other, as `zstd` itself and parallel packers write them.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::reader::buffer::Buffer;

/// The largest window that is unpacked, which is the most memory it takes: that of `zstd` itself
/// without `--long=28` and above.
const MAX_WINDOW: u64 = 128 << 20;

pub(in crate::reader) struct Zstd<R> {
    source: Buffer<R>,
    decoder: FrameDecoder,
    /// Whether a frame was begun and is not at its end.
    inside: bool,
}

impl<R> Zstd<R> {
    pub(in crate::reader) fn get_ref(&self) -> &Buffer<R> {
        &self.source
    }
}

impl<R: Read> Zstd<R> {
    pub(in crate::reader) fn new(source: Buffer<R>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self {
            source,
            decoder,
            inside: false,
        }
    }

    /// Begins the next frame that holds something; `false` where there is none.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let length = match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => u64::from(length),
                Err(error) => return Err(self.explain(&error)),
            };
            let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
            if skipped < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Unpacks until there is something to hand out, or the frame ends.
    fn unpack(&mut self) -> io::Result<()> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let some = BlockDecodingStrategy::UptoBlocks(1);
            if let Err(error) = self.decoder.decode_blocks(&mut self.source, some) {
                return Err(self.explain(&error));
            }
        }
        Ok(())
    }

    /// The decoder does not check it.
    fn check(&self) -> io::Result<()> {
        let written = self.decoder.get_checksum_from_data();
        if written.is_none() || written == self.decoder.get_calculated_checksum() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its checksum is another one",
        ))
    }

    fn explain(&mut self, error: &FrameDecoderError) -> io::Error {
        match self.source.fill_buf() {
            // What is missing is what it failed on.
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
            Err(error) => error,
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                self.inside = self.begin()?;
                if !self.inside {
                    return Ok(0);
                }
            }
            self.unpack()?;
            let n = self.decoder.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            if self.decoder.is_finished() {
                self.check()?;
                self.inside = false;
            }
        }
    }
}
