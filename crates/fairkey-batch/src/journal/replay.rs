//! Reading a journal from its beginning, whatever happened to it: [`Replay`].

use std::io::{self, Read};

use super::record::{HEAD_BYTES, Head, MARKER};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// Hands out the records of a journal that are whole and sound, in their order.
///
/// Behind a record that is not, the next one is looked for: each record stands for itself.
#[derive(Debug)]
pub(crate) struct Replay<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where what was not looked at yet begins in the buffer.
    at: usize,
    /// The offset of the buffer in the journal.
    base: u64,
    ended: bool,
    /// The offset behind the last sound record.
    end: u64,
    /// Bytes before it that are no record.
    damaged: u64,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) offset: u64,
    pub(crate) head: Head,
    pub(crate) payload: &'a [u8],
}

impl<R: Read> Replay<R> {
    /// Reads from `input`, whose first byte stands at `offset` of the journal.
    pub(crate) fn new(input: R, offset: u64) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            at: 0,
            base: offset,
            ended: false,
            end: offset,
            damaged: 0,
        }
    }

    /// Returns the next sound record; `None` at the end.
    pub(crate) fn next_record(&mut self) -> io::Result<Option<Record<'_>>> {
        loop {
            if self.fill(HEAD_BYTES)? < HEAD_BYTES {
                return Ok(None);
            }
            if let Some(head) = Head::decode(&self.buffer[self.at..]) {
                let whole = HEAD_BYTES + head.len as usize;
                let there = self.fill(whole)? >= whole;
                let from = self.at;
                if there && head.fits(&self.buffer[from + HEAD_BYTES..from + whole]) {
                    let offset = self.base + from as u64;
                    self.damaged += offset - self.end;
                    self.at += whole;
                    self.end = offset + whole as u64;
                    return Ok(Some(Record {
                        offset,
                        head,
                        payload: &self.buffer[from + HEAD_BYTES..from + whole],
                    }));
                }
            }
            self.at += 1;
            let rest = &self.buffer[self.at..];
            self.at += rest
                .iter()
                .position(|&byte| byte == MARKER)
                .unwrap_or(rest.len());
        }
    }

    /// Returns the offset behind the last sound record, and how many bytes before it are none.
    /// What lies behind is torn.
    pub(crate) fn end(&self) -> (u64, u64) {
        (self.end, self.damaged)
    }

    /// Reads until so many bytes are there that were not looked at, or all. Returns how many are.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        while self.buffer.len() - self.at < wanted && !self.ended {
            // Moved to the front seldom: when there is a chunk of what is done.
            if self.at >= CHUNK {
                self.buffer.drain(..self.at);
                self.base += self.at as u64;
                self.at = 0;
            }
            let before = self.buffer.len();
            // Memory follows what is there, not what a damaged length claims.
            self.buffer.resize(before + CHUNK, 0);
            let read = self.input.read(&mut self.buffer[before..]);
            let n = match &read {
                Ok(n) => *n,
                Err(_) => 0,
            };
            self.buffer.truncate(before + n);
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.len() - self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::record::{RESULT, check};

    /// A record, its head and its bytes.
    type Written = (Head, Vec<u8>);

    fn record(index: u64, payload: &str) -> Written {
        let head = Head {
            kind: RESULT,
            flags: (index % 2) as u16,
            len: payload.len() as u32,
            index,
            identity: index.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            micro_usd: index,
            tokens: 3,
            check: check(payload.as_bytes()),
        };
        let mut bytes = head.encode().to_vec();
        bytes.extend_from_slice(payload.as_bytes());
        (head, bytes)
    }

    fn records() -> impl Strategy<Value = Vec<Written>> {
        let payload = prop_oneof![".{0,40}", Just("x".repeat(600))];
        let record = (0_u64..1 << 40, payload).prop_map(|(index, text)| record(index, &text));
        proptest::collection::vec(record, 0..20)
    }

    fn replayed(bytes: &[u8]) -> (Vec<Written>, u64, u64) {
        let mut replay = Replay::new(bytes, 7);
        let mut all = Vec::new();
        while let Some(record) = replay.next_record().unwrap() {
            let from = record.offset as usize - 7;
            let whole = HEAD_BYTES + record.payload.len();
            assert_eq!(record.payload, &bytes[from + HEAD_BYTES..from + whole]);
            all.push((record.head, bytes[from..from + whole].to_vec()));
        }
        let (end, damaged) = replay.end();
        (all, end - 7, damaged)
    }

    proptest! {
        #[test]
        fn any_prefix_is_read_up_to_its_last_whole_record(records in records(), cut in 0.0_f64..=1.0) {
            let bytes: Vec<u8> = records.iter().flat_map(|record| record.1.clone()).collect();
            let cut = (bytes.len() as f64 * cut) as usize;
            let mut whole = 0;
            let kept = records.iter().take_while(|record| {
                whole += record.1.len();
                whole <= cut
            });
            let kept: Vec<Written> = kept.cloned().collect();
            let len: usize = kept.iter().map(|record| record.1.len()).sum();
            let (read, end, damaged) = replayed(&bytes[..cut]);
            prop_assert_eq!(read, kept);
            prop_assert_eq!((end, damaged), (len as u64, 0));
        }

        #[test]
        fn a_flipped_bit_costs_its_own_record_and_no_other(records in records(), at in any::<usize>()) {
            let mut bytes: Vec<u8> = records.iter().flat_map(|record| record.1.clone()).collect();
            prop_assume!(!bytes.is_empty());
            let at = at % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            let mut from = 0;
            let mut others = records.clone();
            others.retain(|record| {
                let hit = (from..from + record.1.len()).contains(&(at / 8));
                from += record.1.len();
                !hit
            });
            prop_assert_eq!(replayed(&bytes).0, others);
        }

        #[test]
        fn whatever_happens_no_record_is_invented(
            records in records(),
            edits in proptest::collection::vec((any::<u32>(), any::<u8>(), 0_u8..4), 0..12),
        ) {
            let mut bytes: Vec<u8> = records.iter().flat_map(|record| record.1.clone()).collect();
            for (at, byte, kind) in edits {
                let at = at as usize % (bytes.len() + 1);
                match kind {
                    0 => bytes.insert(at, byte),
                    1 => bytes.truncate(at.max(1)),
                    2 => drop(bytes.drain(at..(at + byte as usize).min(bytes.len()))),
                    _ if at < bytes.len() => bytes[at] = byte,
                    _ => bytes.push(byte),
                }
            }
            for record in replayed(&bytes).0 {
                prop_assert!(records.contains(&record));
            }
        }
    }
}
