//! What is remembered of batches between runs: [`Store`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

/// The version of records that is written, and the newest that is read.
const VERSION: u32 = 1;

/// A folder of batches. One process uses it at a time.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// How far a batch is, as far as that has to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// It is about to be submitted, or was, and nobody knows.
    Intended,
    /// It is there.
    Submitted,
    /// Its answers are here.
    Collected,
    /// It ended without answers.
    Ended,
    /// It is not there any more.
    Gone,
}

/// What is remembered of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) number: u64,
    pub(super) stage: Stage,
    pub(super) key: String,
    pub(super) account: Option<String>,
    pub(super) endpoint: String,
    pub(super) model: String,
    pub(super) rows: u64,
    /// Its name at the upstream.
    pub(super) id: Option<String>,
    /// The last status.
    pub(super) status: Option<String>,
    pub(super) micro_usd: u64,
    /// The places of rows that it brought an error for.
    #[serde(default)]
    pub(super) failed: Vec<u32>,
}

impl Record {
    pub(super) fn new(number: u64) -> Self {
        Self {
            version: VERSION,
            number,
            stage: Stage::Intended,
            key: String::new(),
            account: None,
            endpoint: String::new(),
            model: String::new(),
            rows: 0,
            id: None,
            status: None,
            micro_usd: 0,
            failed: Vec::new(),
        }
    }
}

impl Store {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        let lock = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let message = "another run uses these batches: wait for its end";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            // A file system that knows no locks is no reason to refuse it.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Reads every record.
    pub(super) fn records(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let record: Record = serde_json::from_slice(&fs::read(&path)?)
                .map_err(|error| damaged(&path, &error.to_string()))?;
            if record.version > VERSION {
                return Err(damaged(&path, "a newer version of fairkey wrote it"));
            }
            records.push(record);
        }
        records.sort_by_key(|record| record.number);
        Ok(records)
    }

    /// Remembers the rows of a batch that is about to be submitted, and that it is. They are on the
    /// disk before this returns.
    pub(super) fn intend(&self, record: &Record, rows: &[u128]) -> io::Result<()> {
        let mut bytes: Vec<u8> = rows.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        let check = XxHash3_64::oneshot(&bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        self.put(record.number, "rows", &bytes)?;
        self.write(record)
    }

    /// Remembers how far a batch is.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let json = serde_json::to_vec(record)?;
        self.put(record.number, "json", &json)
    }

    /// Keeps the answer with a batch's results.
    pub(super) fn put_answers(&self, number: u64, answer: &[u8]) -> io::Result<()> {
        self.put(number, "answers", answer)
    }

    pub(super) fn answers(&self, number: u64) -> io::Result<Bytes> {
        fs::read(self.path(number, "answers")).map(Bytes::from)
    }

    /// Reads the hashes of a batch's rows.
    pub(super) fn rows(&self, number: u64) -> io::Result<Vec<u128>> {
        let path = self.path(number, "rows");
        let mut bytes = Vec::new();
        File::open(&path)?.read_to_end(&mut bytes)?;
        let (rows, check) = bytes
            .split_last_chunk::<8>()
            .ok_or_else(|| damaged(&path, "it is too short"))?;
        if XxHash3_64::oneshot(rows).to_le_bytes() != *check || rows.len() % 16 != 0 {
            return Err(damaged(&path, "its check is wrong"));
        }
        let (hashes, _) = rows.as_chunks::<16>();
        Ok(hashes
            .iter()
            .map(|hash| u128::from_le_bytes(*hash))
            .collect())
    }

    /// Forgets a batch.
    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        // Its record first: without it the others mean nothing.
        for kind in ["json", "rows", "answers"] {
            match fs::remove_file(self.path(number, kind)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the folder, if nothing else is in it.
    pub(super) fn remove_folder(&self) -> io::Result<()> {
        let _ = fs::remove_file(self.folder.join("lock"));
        fs::remove_dir(&self.folder)
    }

    fn path(&self, number: u64, kind: &str) -> PathBuf {
        self.folder.join(format!("{number:06}.{kind}"))
    }

    /// Writes a file whole or not at all, and to the disk.
    fn put(&self, number: u64, kind: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(number, kind);
        let new = path.with_extension(format!("{kind}.new"));
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        // The name, too, where folders can be synced.
        if let Ok(folder) = File::open(&self.folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

fn damaged(path: &Path, why: &str) -> io::Error {
    let message = format!("{}: {why}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut record = Record::new(7);
        record.rows = 2;
        store.intend(&record, &[1, u128::MAX]).unwrap();
        record.stage = Stage::Submitted;
        record.id = Some("batch-1".to_owned());
        store.write(&record).unwrap();
        assert_eq!(store.records().unwrap(), [record]);
        assert_eq!(store.rows(7).unwrap(), [1, u128::MAX]);
        let rows = folder.path().join("000007.rows");
        let mut bytes = fs::read(&rows).unwrap();
        bytes[3] ^= 1;
        fs::write(&rows, &bytes).unwrap();
        let error = store.rows(7).unwrap_err().to_string();
        assert!(error.contains("000007.rows: its check"), "{error}");
        store.remove(7).unwrap();
        assert_eq!(store.records().unwrap(), []);
        store.remove_folder().unwrap();
        assert!(!folder.path().exists());
        fs::create_dir(folder.path()).unwrap();
    }

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Store::open(folder.path()).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
    }
}
