//! Edits are made by `finish`: without it nothing happens.

#![deny(unused_must_use)]

use fairkey_openrouter::splice::Splice;

fn main() {
    Splice::new("{}").set("model", "a/b");
}
