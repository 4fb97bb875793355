//! A candidate cannot be made, only had from a turn or a set of keys.

use fairkey_core::{Candidate, KeySet, Slot};

fn make(keys: &KeySet, slot: Slot) -> Candidate<'_> {
    Candidate { keys, slot }
}

fn main() {}
