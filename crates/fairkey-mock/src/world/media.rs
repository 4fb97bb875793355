//! Videos in the making, and files that were uploaded.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::money::Money;
use crate::world::World;

/// How many videos, and how many files, are kept; the oldest go first.
const CAPACITY: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Media {
    videos: VecDeque<Video>,
    files: VecDeque<StoredFile>,
}

#[derive(Debug)]
struct Video {
    id: String,
    generation: String,
    account: usize,
    created: Timestamp,
    cost: Money,
}

/// A file of an account.
#[derive(Debug)]
pub(crate) struct StoredFile {
    id: String,
    account: usize,
    name: String,
    mime_type: String,
    created: Timestamp,
    pub(crate) content: Bytes,
}

impl StoredFile {
    /// A file that has no owner yet.
    pub(crate) fn new(name: String, mime_type: String, content: &[u8]) -> Self {
        Self {
            id: String::new(),
            account: 0,
            name,
            mime_type,
            created: Timestamp::DEFAULT_START,
            // It may be a piece of all that was read with it, which is not kept for its sake.
            content: Bytes::copy_from_slice(content),
        }
    }

    pub(crate) fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "type": "file",
            "filename": self.name,
            "mime_type": self.mime_type,
            "size_bytes": self.content.len(),
            "created_at": self.created.to_string(),
            "downloadable": true,
        })
    }
}

impl World {
    /// Refuses a key that may not infer, or has nothing left to spend.
    pub(crate) fn may_spend(&self, key: usize) -> Result<(), Fault> {
        self.may_infer(key)?;
        self.check_funds(key)
    }

    /// Charges a key for what it was given.
    pub(crate) fn spend_on(&mut self, key: usize, cost: Money) {
        let now = self.clock.now();
        self.charge(key, cost, now);
    }

    /// A new ID for a generation.
    pub(crate) fn generation_id(&mut self) -> String {
        let seconds = self.clock.now().unix_seconds();
        format!("gen-{seconds}-{}", self.mint.alphanumeric(20))
    }

    /// Begins a video; the body of the answer.
    pub(crate) fn add_video(&mut self, key: usize, generation: String, cost: Money) -> Value {
        self.spend_on(key, cost);
        let video = Video {
            id: format!("job-{}", self.mint.alphanumeric(16)),
            generation,
            account: self.keys[key].account,
            created: self.clock.now(),
            cost,
        };
        let shown = video.shown("pending");
        push(&mut self.media.videos, video);
        shown
    }

    /// The body of `GET /videos/{id}`.
    pub(crate) fn video(&self, key: usize, id: &str) -> Result<Value, Fault> {
        let video = self.find_video(key, id)?;
        let elapsed = self.clock.now().since(video.created);
        let status = if elapsed >= self.rules.job_duration {
            "completed"
        } else if elapsed < self.rules.job_duration / 2 {
            "pending"
        } else {
            "in_progress"
        };
        Ok(video.shown(status))
    }

    /// Refuses the content of a video that is not there yet.
    pub(crate) fn finished_video(&self, key: usize, id: &str) -> Result<(), Fault> {
        let video = self.find_video(key, id)?;
        if self.clock.now().since(video.created) < self.rules.job_duration {
            return Err(Fault::bad_request(format!(
                "Video {id} is not completed yet"
            )));
        }
        Ok(())
    }

    fn find_video(&self, key: usize, id: &str) -> Result<&Video, Fault> {
        let account = self.keys[key].account;
        let mut videos = self.media.videos.iter();
        let found = videos.find(|video| video.id == id && video.account == account);
        found.ok_or_else(|| Fault::not_found(format!("Video {id} not found")))
    }

    /// Keeps a file for the account of a key; the body of the answer.
    pub(crate) fn add_file(&mut self, key: usize, mut file: StoredFile) -> Value {
        file.id = format!("or_file_{}", self.mint.alphanumeric(24));
        file.account = self.keys[key].account;
        file.created = self.clock.now();
        let shown = file.shown();
        push(&mut self.media.files, file);
        shown
    }

    /// The body of `GET /files`: the newest first.
    pub(crate) fn files(&self, key: usize) -> Value {
        let account = self.keys[key].account;
        let mine = self.media.files.iter().rev();
        let mine: Vec<&StoredFile> = mine.filter(|file| file.account == account).collect();
        let data: Vec<Value> = mine.iter().map(|file| file.shown()).collect();
        json!({
            "data": data,
            "first_id": mine.first().map(|file| &file.id),
            "last_id": mine.last().map(|file| &file.id),
            "has_more": false,
            "cursor": null,
        })
    }

    pub(crate) fn file(&self, key: usize, id: &str) -> Result<&StoredFile, Fault> {
        let at = self.find_file(key, id)?;
        Ok(&self.media.files[at])
    }

    pub(crate) fn delete_file(&mut self, key: usize, id: &str) -> Result<(), Fault> {
        let at = self.find_file(key, id)?;
        self.media.files.remove(at);
        Ok(())
    }

    fn find_file(&self, key: usize, id: &str) -> Result<usize, Fault> {
        let account = self.keys[key].account;
        let mut files = self.media.files.iter();
        let found = files.position(|file| file.id == id && file.account == account);
        found.ok_or_else(|| Fault::not_found(format!("File {id} not found")))
    }
}

impl Video {
    fn shown(&self, status: &str) -> Value {
        let path = format!("/api/v1/videos/{}", self.id);
        let mut shown = json!({
            "id": self.id,
            "generation_id": self.generation,
            "polling_url": path,
            "status": status,
        });
        if status == "completed" {
            shown["unsigned_urls"] = json!([format!("{path}/content")]);
            shown["usage"] = json!({"cost": self.cost.usd()});
        }
        shown
    }
}

fn push<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() >= CAPACITY {
        kept.pop_front();
    }
    kept.push_back(new);
}
