//! Lists in files: [`Files`].

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fairkey_core::{WallClock, hash_label};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Changes with the form of the files; those of another one are not read.
const VERSION: u32 = 1;

/// A folder with one file for each list, in a folder of each upstream.
///
/// A file is written beside its place and renamed: whoever reads sees the old one or the new one.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
    base: String,
    wall: Arc<dyn WallClock>,
    max_files: usize,
    max_bytes: usize,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) body: Vec<u8>,
    pub(super) age: Duration,
    pub(super) etag: Option<HeaderValue>,
}

#[derive(Serialize, Deserialize)]
struct Content<'a> {
    version: u32,
    base_url: String,
    path: String,
    /// In seconds since 1970.
    fetched: u64,
    etag: Option<String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Names for files that are being written.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Files {
    pub(super) fn new(
        folder: &Path,
        base: &str,
        wall: Arc<dyn WallClock>,
        max_files: usize,
        max_bytes: usize,
    ) -> Self {
        Self {
            folder: folder.join(format!("{:016x}", hash_label(base))),
            base: base.to_owned(),
            wall,
            max_files,
            max_bytes,
        }
    }

    /// Reads the file of a path; `None`: there is none.
    ///
    /// # Errors
    ///
    /// The warning to be told.
    pub(super) fn read(&self, path: &str) -> Result<Option<Found>, String> {
        let name = self.name(path);
        let file = match fs::File::open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.corrupt(path, &error.to_string())),
        };
        let mut bytes = Vec::new();
        // Some room for what is written around the list.
        let most = self.max_bytes as u64 + 4_096;
        if let Err(error) = file.take(most + 1).read_to_end(&mut bytes) {
            return Err(self.corrupt(path, &error.to_string()));
        }
        if bytes.len() as u64 > most {
            return Err(self.corrupt(path, "it is too long"));
        }
        let Ok(content) = serde_json::from_slice::<Content<'_>>(&bytes) else {
            return Err(self.corrupt(path, "it is not what was written"));
        };
        if content.version != VERSION || content.base_url != self.base || content.path != path {
            return Ok(None);
        }
        let now = self.wall.since_epoch().as_secs();
        let Some(age) = now.checked_sub(content.fetched) else {
            return Err(self.corrupt(path, "it is from the future"));
        };
        Ok(Some(Found {
            body: content.body.get().as_bytes().to_vec(),
            age: Duration::from_secs(age),
            etag: content.etag.and_then(|etag| etag.parse().ok()),
        }))
    }

    /// Writes the file of a path.
    ///
    /// # Errors
    ///
    /// The warning to be told.
    pub(super) fn write(
        &self,
        path: &str,
        body: &[u8],
        etag: Option<&HeaderValue>,
    ) -> Result<(), String> {
        let name = self.name(path);
        self.try_write(&name, path, body, etag).map_err(|error| {
            format!(
                "the cache file {} cannot be written ({error}): the list is fetched again next time",
                name.display()
            )
        })
    }

    fn try_write(
        &self,
        name: &Path,
        path: &str,
        body: &[u8],
        etag: Option<&HeaderValue>,
    ) -> io::Result<()> {
        let content = serde_json::to_vec(&Content {
            version: VERSION,
            base_url: self.base.clone(),
            path: path.to_owned(),
            fetched: self.wall.since_epoch().as_secs(),
            etag: etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned),
            body: serde_json::from_slice(body)?,
        })?;
        fs::create_dir_all(&self.folder)?;
        // Relaxed: only the number itself counts.
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let new = self
            .folder
            .join(format!(".new-{}-{next}", std::process::id()));
        let written = fs::File::create(&new).and_then(|mut file| {
            file.write_all(&content)?;
            file.flush()
        });
        let written = written.and_then(|()| fs::rename(&new, name));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written.and_then(|()| self.shrink(name))
    }

    /// Removes the file of a path.
    pub(super) fn forget(&self, path: &str) {
        let _ = fs::remove_file(self.name(path));
    }

    /// Returns the warning about a file that cannot be used.
    pub(super) fn corrupt(&self, path: &str, what: &str) -> String {
        let name = self.name(path);
        format!("the cache file {} is left out: {what}", name.display())
    }

    /// Removes the oldest files where there are too many, never `kept`.
    fn shrink(&self, kept: &Path) -> io::Result<()> {
        let mut files: Vec<_> = fs::read_dir(&self.folder)?
            .flatten()
            .filter(|entry| entry.path() != kept)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        let most = self.max_files.max(1);
        if files.len() < most {
            return Ok(());
        }
        files.sort();
        for (_, path) in files.iter().take(files.len() + 1 - most) {
            // Another process may have been faster.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// A name that people recognize, and no two paths share.
    fn name(&self, path: &str) -> PathBuf {
        let readable: String = path
            .trim_start_matches('/')
            .chars()
            .take(80)
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        self.folder
            .join(format!("{readable}-{:016x}.json", hash_label(path)))
    }
}
