//! Which key made what: [`Homes`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use fairkey_core::{AccountId, KeyId};
use foldhash::fast::RandomState;

/// The longest name of a thing that is remembered; real ones have some tens of bytes.
const MAX_NAME_BYTES: usize = 256;

/// Who a thing belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) key: KeyId,
    /// For when the key is gone: another key of the same account will do.
    pub(crate) account: Option<AccountId>,
}

/// Jobs, files and generations, with the key that each was made by. Of so many at most; the oldest
/// go first. In memory only: after a restart nobody knows.
#[derive(Debug)]
pub(crate) struct Homes {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    homes: HashMap<Arc<str>, Home, RandomState>,
    order: VecDeque<Arc<str>>,
}

impl Homes {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
        }
    }

    /// Remembers that `name` was made by a key. A name that comes again belongs to who came last.
    pub(crate) fn remember(&self, name: &str, home: Home) {
        if self.most == 0 || name.is_empty() || name.len() > MAX_NAME_BYTES {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.homes.get_mut(name) {
            *known = home;
            return;
        }
        if state.order.len() >= self.most
            && let Some(oldest) = state.order.pop_front()
        {
            state.homes.remove(&oldest);
        }
        let name: Arc<str> = name.into();
        state.order.push_back(Arc::clone(&name));
        state.homes.insert(name, home);
    }

    pub(crate) fn of(&self, name: &str) -> Option<Home> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.homes.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(key: &str) -> Home {
        Home {
            key: key.into(),
            account: None,
        }
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_nothing_grows() {
        let homes = Homes::new(2);
        for (name, key) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
            homes.remember(name, home(key));
        }
        assert_eq!(homes.of("a"), None);
        assert_eq!(homes.of("b"), Some(home("2")));
        assert_eq!(homes.of("c"), Some(home("4")));
        homes.remember(&"x".repeat(MAX_NAME_BYTES + 1), home("5"));
        let state = homes.state.lock().unwrap();
        assert_eq!((state.homes.len(), state.order.len()), (2, 2));
    }
}
