//! What the models use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fairkey_core::{Key, Pool};

/// Explores every interleaving of `body` with at most `preemptions` switches that nobody asked
/// for. `LOOM_MAX_PREEMPTIONS` overrides it.
pub(crate) fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(body);
}

/// Counts over all executions of a model how often something was seen. Not loom's: it is no part
/// of what is modeled.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<AtomicUsize>);

impl Seen {
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_if(&self, seen: bool) {
        if seen {
            self.note();
        }
    }

    #[track_caller]
    pub(crate) fn assert(&self, what: &str) {
        assert!(self.0.load(Ordering::Relaxed) > 0, "never seen: {what}");
    }
}

/// Makes a pool of keys with these labels.
pub(crate) fn pool_of(labels: &[&str]) -> Pool {
    Pool::builder().keys(keys(labels)).seed(1).build().unwrap()
}

pub(crate) fn keys(labels: &[&str]) -> Vec<Key> {
    let key = |label: &&str| Key::new(*label, format!("sk-{label}"));
    labels.iter().map(key).collect()
}
