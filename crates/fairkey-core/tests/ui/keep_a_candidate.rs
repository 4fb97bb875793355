//! A strategy cannot keep a candidate: it might answer with it when it is offered no more.

use std::sync::Mutex;

use fairkey_core::{Candidate, Strategy, Turn};

#[derive(Debug)]
struct Keeps<'k>(Mutex<Option<Candidate<'k>>>);

impl<'k> Strategy for Keeps<'k> {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        *self.0.lock().unwrap() = turn.nth(0);
        turn.nth(0)
    }
}

fn main() {}
