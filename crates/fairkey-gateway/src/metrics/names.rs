//! Labels as small numbers: [`Names`].

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use fairkey_core::mix;
use foldhash::fast::RandomState;

/// A bounded number of names; the first ones that come get a number of their own, from 1 on. 0 is
/// all others. A name is never given up: a metric that vanishes looks like one that was reset.
#[derive(Debug)]
pub(super) struct Names {
    max: u16,
    hashes: RandomState,
    all: RwLock<All>,
}

#[derive(Debug, Default)]
struct All {
    by_hash: HashMap<u64, u16, ByNumber>,
    /// The name of number 1 is the first.
    names: Vec<Arc<str>>,
}

/// The longest name, in bytes; longer ones are `other`: they are nobody's model.
const MAX_BYTES: usize = 128;

impl Names {
    pub(super) fn new(max: u16) -> Self {
        Self {
            max,
            hashes: RandomState::default(),
            all: RwLock::default(),
        }
    }

    /// Returns the number of a name.
    pub(super) fn number(&self, name: &str) -> u16 {
        let hash = self.hashes.hash_one(name);
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        match all.by_hash.get(&hash) {
            // Two names with one hash: the second is `other`.
            Some(&number) if *all.names[usize::from(number) - 1] == *name => return number,
            Some(_) => return 0,
            None if all.names.len() >= usize::from(self.max) => return 0,
            None => {}
        }
        drop(all);
        self.make(name, hash)
    }

    #[cold]
    fn make(&self, name: &str, hash: u64) -> u16 {
        if name.len() > MAX_BYTES || name.chars().any(char::is_control) {
            return 0;
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        match all.by_hash.get(&hash) {
            // Another thread has made it since it was looked for.
            Some(&number) if *all.names[usize::from(number) - 1] == *name => return number,
            Some(_) => return 0,
            None if all.names.len() >= usize::from(self.max) => return 0,
            None => {}
        }
        all.names.push(name.into());
        let number = all.names.len() as u16;
        all.by_hash.insert(hash, number);
        number
    }

    /// Returns the name of a number.
    pub(super) fn name(&self, number: u16) -> Arc<str> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let name = usize::from(number)
            .checked_sub(1)
            .and_then(|at| all.names.get(at));
        name.map_or_else(|| "other".into(), Arc::clone)
    }
}

/// Hashes a number that is spread already, or nearly so.
pub(super) type ByNumber = BuildHasherDefault<NumberHasher>;

#[derive(Debug, Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = mix(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_two_threads_make_at_once_has_one_number() {
        let names = Names::new(1);
        let make = |name| names.make(name, names.hashes.hash_one(name));
        assert_eq!((make("a"), make("a"), make("b")), (1, 1, 0));
        assert_eq!(names.number("a"), 1);
    }
}
