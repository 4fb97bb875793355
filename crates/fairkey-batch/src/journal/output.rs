//! Going on with an output that is there: [`Journal::continue_output`].

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::{ADOPTED, ANSWERED, Head, RESULT};
use super::shelf::{Found, Place, Stands};
use super::{Journal, JournalError, Shelf, record};

/// What of an output was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Continued {
    /// Results that stand where they shall: they are not written again.
    pub lines: u64,
    /// Bytes that were cut off behind them: all of it is in the journal, or was half a line.
    pub cut: u64,
    /// Answers that stood in the output without being in the journal, and now are.
    pub adopted: u64,
    /// Bytes behind the results that stand that are no results. They were moved.
    pub rescued: u64,
}

impl Journal {
    /// Makes files of result lines end where the journal knows how to go on: what stands there as
    /// it shall, is kept, and what follows is cut off, to be written again from the journal.
    /// `errors` is where failures go, if that is another file.
    ///
    /// Nothing is lost by it: answers that are in the files only are put into the journal first, and
    /// where there is something else, what would be cut off is appended to the file `rescue`.
    /// Both files must be open for reading and writing; their cursors are at their ends afterwards.
    ///
    /// # Errors
    ///
    /// Where one of them cannot be read or written, and with [`JournalError::OutputChanged`] where
    /// it lacks results that the journal refers to; the files are as they were then.
    pub fn continue_output(
        &mut self,
        answers: &mut File,
        errors: Option<&mut File>,
        rescue: &Path,
        ordered: bool,
    ) -> Result<Continued, JournalError> {
        let mut shelf = Shelf::new(self.file.try_clone()?);
        let mut tracks = vec![Track::new(answers)?];
        tracks.extend(errors.map(Track::new).transpose()?);
        let mut continued = Continued::default();
        for (index, offset) in self.expected(ordered) {
            let found = shelf.find(offset)?;
            let track = if found.head.is_answered() {
                0
            } else {
                tracks.len() - 1
            };
            if !tracks[track].has(&found)? {
                break;
            }
            self.index.mark_written(index);
            continued.lines += 1;
        }
        for track in &mut tracks {
            continued.adopted += self.adopt(track)?;
        }
        self.take_in(&mut tracks[0], &mut shelf)?;
        if continued.adopted > 0 {
            self.writer.sync()?;
        }
        for track in &mut tracks {
            if track.foreign {
                continued.rescued += track.rescue(rescue)?;
            }
            continued.cut += track.cut()?;
        }
        Ok(continued)
    }

    /// Returns the rows whose results should stand in an output, in their order, and where their
    /// records are.
    pub(super) fn expected(&self, ordered: bool) -> Box<dyn Iterator<Item = (u64, u64)>> {
        let mut rows: Vec<(u64, u64)> = self
            .index
            .iter()
            .map(|(index, entry)| (index, entry.offset()))
            .collect();
        if ordered {
            let gap = rows.iter().zip(0..).position(|(row, at)| row.0 != at);
            rows.truncate(gap.unwrap_or(rows.len()));
        } else {
            rows.sort_unstable_by_key(|row| row.1);
        }
        Box::new(rows.into_iter())
    }

    /// Puts answers into the journal that stand in the rest of a file only.
    fn adopt(&mut self, track: &mut Track<'_>) -> Result<u64, JournalError> {
        let mut adopted = 0;
        while let Some(line) = track.next_rest_line()? {
            let seen = serde_json::from_slice::<Seen<'_>>(&line).ok();
            let Some((index, seen)) = seen.and_then(|seen| Some((seen.index()?, seen))) else {
                track.foreign = true;
                continue;
            };
            if seen.error.is_some() || self.index.get(index).is_some() {
                continue;
            }
            let head = Head {
                kind: RESULT,
                flags: ANSWERED | ADOPTED,
                len: line.len() as u32,
                index,
                identity: record::check(seen.custom_id.as_bytes()),
                micro_usd: 0,
                tokens: 0,
                check: record::check(&line),
            };
            self.append(head, &line)?;
            adopted += 1;
        }
        Ok(adopted)
    }

    /// Puts results into the journal to which it only refers so far, and which will be cut off.
    fn take_in(&mut self, track: &mut Track<'_>, shelf: &mut Shelf) -> Result<(), JournalError> {
        let waiting: Vec<(u64, u64)> = self
            .index
            .iter()
            .filter(|(_, entry)| !entry.is_written())
            .map(|(index, entry)| (index, entry.offset()))
            .collect();
        for (_, offset) in waiting {
            let found = shelf.find(offset)?;
            let Place::Output(stands) = found.place else {
                continue;
            };
            let line = track.at(stands)?.ok_or(JournalError::OutputChanged)?;
            let head = Head {
                kind: RESULT,
                len: stands.len,
                check: stands.check,
                ..found.head
            };
            self.append(head, &line)?;
        }
        Ok(())
    }
}

/// What is looked at of a line.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    custom_id: Cow<'a, str>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Seen<'_> {
    fn index(&self) -> Option<u64> {
        let number = self.id.strip_prefix("row-")?;
        number.parse::<u64>().ok()?.checked_sub(1)
    }
}

/// A file of result lines, and how much of it stands.
pub(super) struct Track<'a> {
    file: &'a mut File,
    /// Shares its cursor with the file.
    reader: BufReader<File>,
    /// Bytes that stand as they shall.
    stands: u64,
    /// Whether `reader` is behind them.
    in_rest: bool,
    /// Whether something follows that is no result.
    foreign: bool,
}

impl<'a> Track<'a> {
    pub(super) fn new(file: &'a mut File) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(256 << 10, file.try_clone()?);
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self {
            file,
            reader,
            stands: 0,
            in_rest: false,
            foreign: false,
        })
    }

    /// Returns whether the next line is this one.
    pub(super) fn has(&mut self, found: &Found) -> io::Result<bool> {
        let (len, check) = match &found.place {
            Place::Here(line) => (line.len(), found.head.check),
            Place::Output(stands) if stands.offset == self.stands => {
                (stands.len as usize, stands.check)
            }
            Place::Output(_) => return Ok(false),
        };
        let mut line = Vec::new();
        (&mut self.reader).take(len as u64).read_to_end(&mut line)?;
        let has = match &found.place {
            Place::Here(expected) => line == *expected,
            Place::Output(_) => line.len() == len && record::check(&line) == check,
        };
        if has {
            self.stands += len as u64;
        } else {
            self.in_rest = true;
        }
        Ok(has)
    }

    /// Returns how many bytes stand.
    pub(super) fn stands(&self) -> u64 {
        self.stands
    }

    /// Returns whether nothing else is in the file.
    pub(super) fn is_whole(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == self.stands)
    }

    /// Returns the next whole line behind those that stand.
    fn next_rest_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.in_rest {
            self.reader.seek(SeekFrom::Start(self.stands))?;
            self.in_rest = false;
        }
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        Ok((line.last() == Some(&b'\n')).then_some(line))
    }

    /// Returns a line that stands somewhere, if it is there.
    fn at(&mut self, stands: Stands) -> io::Result<Option<Vec<u8>>> {
        self.reader.seek(SeekFrom::Start(stands.offset))?;
        let mut line = Vec::new();
        (&mut self.reader)
            .take(stands.len.into())
            .read_to_end(&mut line)?;
        Ok((record::check(&line) == stands.check).then_some(line))
    }

    /// Copies what does not stand to the end of another file.
    fn rescue(&mut self, to: &Path) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(self.stands))?;
        let mut options = OpenOptions::new();
        let mut rescue = options.append(true).create(true).open(to)?;
        let copied = io::copy(self.file, &mut rescue)?;
        rescue.sync_data()?;
        Ok(copied)
    }

    /// Cuts off what does not stand, and returns how much that was.
    fn cut(&mut self) -> io::Result<u64> {
        let len = self.file.metadata()?.len();
        if len > self.stands {
            self.file.set_len(self.stands)?;
        }
        self.file.seek(SeekFrom::Start(self.stands))?;
        Ok(len.saturating_sub(self.stands))
    }
}
