//! What is left of a journal when its output is complete: [`Journal::compact`].

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::output::Track;
use super::record::{Head, STANDS};
use super::shelf::{Place, Stands};
use super::{Journal, JournalConfig, JournalError, Shelf, SyncPolicy, open_locked, record};

impl Journal {
    /// Makes the journal of a run that is over small: where a result stands in `answers`, it only
    /// says so from then on. What stands in `errors` stays in it. Returns whether it did: it does
    /// not where the files have anything but the results that the journal has.
    ///
    /// A crash leaves the journal as it was or as it shall be.
    ///
    /// # Errors
    ///
    /// Where somebody else uses it, or where one of the files cannot be read or written.
    pub fn compact(
        path: &Path,
        answers: &Path,
        errors: Option<&Path>,
        ordered: bool,
    ) -> Result<bool, JournalError> {
        let file = open_locked(path)?;
        let mut journal = Self {
            writer: Box::new(file.try_clone()?),
            file,
            config: JournalConfig::default(),
            index: super::Index::default(),
            end: 0,
            known: super::Known::default(),
        };
        if !journal.read_header(None)? {
            return Ok(false);
        }
        let header = journal.end;
        journal.replay()?;
        if journal.known.damaged_bytes > 0 {
            return Ok(false);
        }
        let mut new_name = path.as_os_str().to_owned();
        new_name.push(".new");
        let done = journal.write_compact(Path::new(&new_name), header, answers, errors, ordered);
        match done {
            Ok(Some(new)) => {
                // Whoever comes next finds it locked until this process is done with it.
                let _ = new.try_lock();
                fs::rename(&new_name, path)?;
                super::sync_folder(path);
                Ok(true)
            }
            other => {
                let _ = fs::remove_file(&new_name);
                other.map(|_| false)
            }
        }
    }

    fn write_compact(
        &self,
        new: &Path,
        header: u64,
        answers: &Path,
        errors: Option<&Path>,
        ordered: bool,
    ) -> Result<Option<File>, JournalError> {
        let mut files = vec![File::open(answers)?];
        files.extend(errors.map(File::open).transpose()?);
        for file in &files {
            file.sync_data()?;
        }
        let mut tracks = files
            .iter_mut()
            .map(Track::new)
            .collect::<io::Result<Vec<_>>>()?;
        let mut out = BufWriter::with_capacity(256 << 10, File::create(new)?);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        io::copy(&mut file.take(header), &mut out)?;
        let mut shelf = Shelf::new(self.file.try_clone()?);
        let mut lines = 0;
        for (_, offset) in self.expected(ordered) {
            let found = shelf.find(offset)?;
            let inline = errors.is_some() && !found.head.is_answered();
            let track = &mut tracks[usize::from(inline)];
            let at = track.stands();
            if !track.has(&found)? {
                return Ok(None);
            }
            lines += 1;
            let (len, check) = match &found.place {
                Place::Here(line) if inline => {
                    out.write_all(&found.head.encode())?;
                    out.write_all(line)?;
                    continue;
                }
                Place::Here(_) => (found.head.len, found.head.check),
                Place::Output(stands) => (stands.len, stands.check),
            };
            let stands = Stands {
                offset: at,
                len,
                check,
            };
            let payload = stands.encode();
            let head = Head {
                kind: STANDS,
                len: payload.len() as u32,
                check: record::check(&payload),
                ..found.head
            };
            out.write_all(&head.encode())?;
            out.write_all(&payload)?;
        }
        for track in &tracks {
            if !track.is_whole()? {
                return Ok(None);
            }
        }
        if lines != self.index.len() {
            return Ok(None);
        }
        let file = out.into_inner().map_err(|error| error.into_error())?;
        if self.config.sync != SyncPolicy::Never {
            file.sync_all()?;
        }
        Ok(Some(file))
    }
}
