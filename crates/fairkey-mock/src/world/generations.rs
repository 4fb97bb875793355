//! The last generations, for `GET /generation`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::money::Money;

/// What is known of one generation after its end.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) id: Arc<str>,
    pub(crate) account: usize,
    pub(crate) model: Arc<str>,
    pub(crate) provider: Arc<str>,
    pub(crate) created: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cost: Money,
    pub(crate) streamed: bool,
    pub(crate) cancelled: bool,
    pub(crate) finish_reason: &'static str,
}

/// A bounded store; the oldest go first.
#[derive(Debug)]
pub(crate) struct Generations {
    most: usize,
    by_id: HashMap<Arc<str>, Generation>,
    order: VecDeque<Arc<str>>,
}

impl Generations {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            by_id: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn add(&mut self, generation: Generation) {
        if self.most == 0 {
            return;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.order.push_back(Arc::clone(&generation.id));
        self.by_id.insert(Arc::clone(&generation.id), generation);
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Generation> {
        self.by_id.get(id)
    }
}
