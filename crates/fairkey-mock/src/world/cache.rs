//! Answers that the response cache knows.

use std::collections::HashMap;
use std::time::Duration;

use crate::ask::Shape;
use crate::cache::Hit;
use crate::clock::Timestamp;
use crate::world::World;

/// How many answers are kept; when there are more, the cache starts over.
const CAPACITY: usize = 10_000;

/// What answers are kept by: another key does not find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub(crate) key: usize,
    pub(crate) shape: Shape,
    pub(crate) stream: bool,
    pub(crate) body: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<CacheKey, Kept>);

/// Answers follow from their requests, so that only this much must be kept of one.
#[derive(Debug)]
struct Kept {
    source: String,
    since: Timestamp,
    ttl: Duration,
}

impl World {
    /// What the cache knows of a request.
    pub(crate) fn cached(&self, key: &CacheKey) -> Option<Hit> {
        let kept = self.cache.0.get(key)?;
        let age = self.clock.now().since(kept.since);
        (age < kept.ttl).then(|| Hit {
            source: kept.source.clone(),
            age,
            ttl: kept.ttl,
        })
    }

    /// Keeps an answer.
    pub(crate) fn keep(&mut self, key: CacheKey, source: &str, ttl: Duration) {
        if self.cache.0.len() >= CAPACITY {
            self.cache.0.clear();
        }
        let kept = Kept {
            source: source.to_owned(),
            since: self.clock.now(),
            ttl,
        };
        self.cache.0.insert(key, kept);
    }
}
