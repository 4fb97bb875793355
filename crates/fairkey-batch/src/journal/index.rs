//! Which rows have a result in a journal, and where: [`Index`].

use std::collections::BTreeMap;

/// Rows of one chunk: a journal that was damaged may name any row, and must not take the memory of
/// all before it.
const CHUNK: usize = 1 << 10;

/// Where the result of a row is. 16 bytes a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) identity: u64,
    /// The offset of the record, and flags in the low bits. Zero: there is none, since a header
    /// comes before all records.
    place: u64,
}

const ANSWERED: u64 = 1;
const WRITTEN: u64 = 2;
const ADOPTED: u64 = 4;
const SHIFT: u32 = 3;

impl Entry {
    pub(crate) fn new(identity: u64, offset: u64, answered: bool, adopted: bool) -> Self {
        let mut place = offset << SHIFT;
        if answered {
            place |= ANSWERED;
        }
        if adopted {
            place |= ADOPTED;
        }
        Self { identity, place }
    }

    pub(crate) fn offset(self) -> u64 {
        self.place >> SHIFT
    }

    pub(crate) fn is_answered(self) -> bool {
        self.place & ANSWERED != 0
    }

    /// Whether the output has it already.
    pub(crate) fn is_written(self) -> bool {
        self.place & WRITTEN != 0
    }

    /// Whether the row goes by its place alone.
    pub(crate) fn is_adopted(self) -> bool {
        self.place & ADOPTED != 0
    }
}

/// The last result of each row. In memory 16 bytes for each row.
#[derive(Debug, Default)]
pub(crate) struct Index {
    chunks: BTreeMap<u64, Box<[Entry; CHUNK]>>,
    len: u64,
    end: u64,
}

impl Index {
    /// Notes the result of a row, in place of an earlier one.
    pub(crate) fn set(&mut self, index: u64, entry: Entry) {
        let chunk = self
            .chunks
            .entry(index / CHUNK as u64)
            .or_insert_with(|| Box::new([Entry::default(); CHUNK]));
        let place = &mut chunk[(index % CHUNK as u64) as usize];
        self.len += u64::from(place.place == 0);
        *place = entry;
        self.end = self.end.max(index.saturating_add(1));
    }

    pub(crate) fn get(&self, index: u64) -> Option<Entry> {
        let chunk = self.chunks.get(&(index / CHUNK as u64))?;
        let entry = chunk[(index % CHUNK as u64) as usize];
        (entry.place != 0).then_some(entry)
    }

    /// Notes that the output has the result of a row.
    pub(crate) fn mark_written(&mut self, index: u64) {
        if let Some(chunk) = self.chunks.get_mut(&(index / CHUNK as u64)) {
            let place = &mut chunk[(index % CHUNK as u64) as usize].place;
            if *place != 0 {
                *place |= WRITTEN;
            }
        }
    }

    /// Forgets the results that are no answers.
    pub(crate) fn forget_failures(&mut self) -> u64 {
        let mut forgotten = 0;
        for entry in self.chunks.values_mut().flat_map(|chunk| chunk.iter_mut()) {
            if entry.place != 0 && !entry.is_answered() {
                *entry = Entry::default();
                forgotten += 1;
            }
        }
        self.len -= forgotten;
        forgotten
    }

    /// Returns how many rows have a result.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns how many rows have an answer.
    pub(crate) fn answered(&self) -> u64 {
        self.iter().filter(|(_, entry)| entry.is_answered()).count() as u64
    }

    /// Returns the first row behind all that ever had a result.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Returns the rows with a result, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.chunks.iter().flat_map(|(chunk, entries)| {
            let base = chunk * CHUNK as u64;
            let numbered = entries.iter().enumerate();
            numbered.filter_map(move |(at, entry)| {
                (entry.place != 0).then_some((base + at as u64, *entry))
            })
        })
    }
}
