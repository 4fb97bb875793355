//! The first bytes of a connection, which tell its protocol: [`Opening`].

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// How every connection of HTTP/2 begins (RFC 9113, 3.4), and none of HTTP/1.1.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was read to know the protocol.
///
/// It comes back together with what follows, in one read: where a first read brings a few bytes
/// alone, hyper grows its buffer from 8 to 16 kB, and keeps that as long as the connection lives.
#[derive(Debug, Default)]
pub(super) struct Opening {
    bytes: [u8; PREFACE.len()],
    /// How many there are.
    read: u8,
    /// How many of them were given back.
    given: u8,
}

impl Opening {
    /// Reads until it is known whether HTTP/2 is spoken.
    pub(super) async fn read<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<bool> {
        loop {
            let before = usize::from(self.read);
            let more = stream.read(&mut self.bytes[before..]).await?;
            let bytes = &self.bytes[..before + more];
            // At most as many as there is room for: 24.
            self.read = bytes.len() as u8;
            if more == 0 || !PREFACE.starts_with(bytes) {
                return Ok(false);
            }
            if bytes.len() == PREFACE.len() {
                return Ok(true);
            }
        }
    }

    /// Whether all of it was given back.
    pub(super) fn is_over(&self) -> bool {
        self.given == self.read
    }

    /// Gives back what there is room for.
    pub(super) fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let left = &self.bytes[usize::from(self.given)..usize::from(self.read)];
        let given = left.len().min(buf.remaining());
        buf.put_slice(&left[..given]);
        self.given += given as u8;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// Brings one piece with each read, and then its end.
    struct Pieces(VecDeque<&'static [u8]>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let piece = self.0.pop_front().unwrap_or_default();
            let (now, later) = piece.split_at(piece.len().min(buf.remaining()));
            buf.put_slice(now);
            if !later.is_empty() {
                self.0.push_front(later);
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_protocol_is_known_however_its_first_bytes_are_cut() {
        for (pieces, is_http2, read) in [
            (&[&PREFACE[..]][..], true, 24),
            (&[b"P", b"RI * HTTP/2.0\r\n\r\nSM\r\n", b"\r\n"], true, 24),
            (&[b"POST / HTTP/1.1\r\nhost: a\r\n\r\n"], false, 24),
            (&[b"P", b"OST / HTTP"], false, 11),
            (&[b"PRI * HTTP/1.1\r\n"], false, 16),
            (&[b"PRI"], false, 3),
            (&[], false, 0),
        ] {
            let mut stream = Pieces(pieces.iter().copied().collect());
            let mut opening = Opening::default();
            let known = opening.read(&mut stream).await;
            assert_eq!(known.unwrap(), is_http2, "{pieces:?}");
            let (mut given, whole) = (Vec::new(), pieces.concat());
            while !opening.is_over() {
                let mut room = [0; 7];
                let mut room = ReadBuf::new(&mut room);
                opening.give(&mut room);
                given.extend_from_slice(room.filled());
            }
            assert_eq!(given, whole[..read], "{pieces:?}");
        }
    }
}
