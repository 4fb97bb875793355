//! Nobody who waits is forgotten, and nothing is given to one who has left.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use fairkey_core::sync::{Mutex, lock};
use fairkey_strategy::queue::{Baton, Handover, Said};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::support::model;

type Place = Arc<Handover<u32, ()>>;

/// Things that are free, those who wait, and whoever hands out.
struct Counter {
    free: Mutex<Vec<u32>>,
    line: Mutex<Vec<Place>>,
    baton: Baton,
    /// Whether whoever finds the baton taken leaves word.
    leaves_word: bool,
}

impl Counter {
    fn new(leaves_word: bool) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(Vec::new()),
            line: Mutex::new(Vec::new()),
            baton: Baton::new(),
            leaves_word,
        })
    }

    fn release(&self, what: u32) {
        lock(&self.free).push(what);
        self.pump();
    }

    fn come(&self) -> Place {
        let place = Place::default();
        lock(&self.line).push(Arc::clone(&place));
        self.pump();
        place
    }

    fn leave(&self, place: &Place) {
        lock(&self.line).retain(|other| !Arc::ptr_eq(other, place));
        if let Some(back) = place.close() {
            self.release(back);
        }
    }

    fn pump(&self) {
        if !self.leaves_word && self.baton.is_taken() {
            return;
        }
        if !self.baton.take() {
            return;
        }
        loop {
            self.pass();
            if self.baton.give_back() {
                return;
            }
        }
    }

    /// Looks at both, one after the other, as the queue looks at its pool with no lock held.
    fn pass(&self) {
        loop {
            let Some(place) = lock(&self.line).first().cloned() else {
                return;
            };
            let Some(what) = lock(&self.free).pop() else {
                return;
            };
            lock(&self.line).retain(|other| !Arc::ptr_eq(other, &place));
            if let Some(back) = place.give(what) {
                lock(&self.free).push(back);
            }
        }
    }
}

fn has(place: &Place) -> bool {
    place.close().is_some()
}

fn one_comes_while_another_frees(leaves_word: bool) {
    model(2, move || {
        let counter = Counter::new(leaves_word);
        let (other, first) = (Arc::clone(&counter), Arc::clone(&counter));
        let frees = thread::spawn(move || other.release(1));
        let comes = thread::spawn(move || first.come());
        frees.join().unwrap();
        let place = comes.join().unwrap();
        assert!(has(&place), "it waits, and there is something free");
    });
}

#[test]
fn who_comes_while_something_is_freed_is_served() {
    one_comes_while_another_frees(true);
}

#[test]
#[should_panic(expected = "it waits, and there is something free")]
fn where_nobody_leaves_word_somebody_is_forgotten() {
    one_comes_while_another_frees(false);
}

#[test]
fn what_was_given_to_one_who_leaves_goes_to_the_next() {
    model(2, || {
        let counter = Counter::new(true);
        let (first, second) = (counter.come(), counter.come());
        let (frees, leaves) = (Arc::clone(&counter), Arc::clone(&counter));
        let frees = thread::spawn(move || frees.release(1));
        let place = Arc::clone(&first);
        let leaves = thread::spawn(move || leaves.leave(&place));
        frees.join().unwrap();
        leaves.join().unwrap();
        assert!(has(&second), "the next has what the first does not take");
        assert!(lock(&counter.free).is_empty());
    });
}

/// Notes that it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn who_sleeps_is_woken_by_what_is_given() {
    model(3, || {
        let (place, bell) = (Place::default(), Arc::new(Bell::default()));
        let giver = Arc::clone(&place);
        let gives = thread::spawn(move || {
            giver.tell(());
            giver.give(7)
        });
        let waker = Waker::from(Arc::clone(&bell));
        let cx = Context::from_waker(&waker);
        let (mut sleeps, mut given) = (false, None);
        for _ in 0..3 {
            match place.poll(&cx) {
                Poll::Ready(Said::Given(what)) => given = Some(what),
                Poll::Ready(Said::Told(())) => {}
                Poll::Pending => {
                    sleeps = true;
                    break;
                }
            }
        }
        assert_eq!(gives.join().unwrap(), None);
        if sleeps && given.is_none() {
            assert_eq!(bell.0.load(Ordering::SeqCst), 1, "nobody wakes it");
            while given.is_none() {
                match place.poll(&cx) {
                    Poll::Ready(Said::Given(what)) => given = Some(what),
                    Poll::Ready(Said::Told(())) => {}
                    Poll::Pending => panic!("it was woken for nothing"),
                }
            }
        }
        assert_eq!(given, Some(7));
    });
}

#[test]
fn the_last_that_is_told_is_heard_whoever_tells_something_else() {
    model(3, || {
        let place = Arc::new(Handover::<u32, u32>::new());
        let bell = Arc::new(Bell::default());
        let (refuses, ends) = (Arc::clone(&place), Arc::clone(&place));
        let refuses = thread::spawn(move || refuses.tell(1));
        let ends = thread::spawn(move || ends.tell_last(2));
        let waker = Waker::from(Arc::clone(&bell));
        let cx = Context::from_waker(&waker);
        let mut heard = Vec::new();
        while let Poll::Ready(Said::Told(news)) = place.poll(&cx) {
            heard.push(news);
        }
        refuses.join().unwrap();
        ends.join().unwrap();
        if heard.last() != Some(&2) {
            assert!(bell.0.load(Ordering::SeqCst) > 0, "nobody wakes it");
            while let Poll::Ready(Said::Told(news)) = place.poll(&cx) {
                heard.push(news);
            }
        }
        assert_eq!(heard.last(), Some(&2));
        assert_eq!(place.give(7), Some(7), "it has left");
    });
}
