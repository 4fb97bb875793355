//! Who keeps the queue's time: one task for all who wait.
//!
//! It sleeps until the soonest time at which a line may open, and hands out then, or at which the
//! time of a call is over, and lets it go. It lives while
//! somebody waits, in the runtime of whoever waited when it was needed; where that runtime ends
//! before, one of those who wait in another one is told to start it there.

use std::sync::{Arc, Weak};

use fairkey_core::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Admission;
use super::waiter::News;
use crate::backoff::SHORTEST;

impl Admission {
    /// Sees to it that somebody keeps the time, where there is one to keep.
    pub(super) fn attend(self: &Arc<Self>) {
        {
            let state = &mut *self.state();
            let wanted = match state.next_errand() {
                _ if state.queue.is_empty() => None,
                wanted => wanted,
            };
            match (state.steward, wanted) {
                // It has nothing to do any more, and shall end.
                (Some(_), _) if state.queue.is_empty() => self.bell.notify_one(),
                (Some(wakes), Some(wanted)) if wanted < wakes => self.bell.notify_one(),
                (None, Some(_)) => {}
                _ => return,
            }
            if state.steward.is_some() {
                return;
            }
            state.steward = Some(Timestamp::ZERO);
        }
        let guard = Guard {
            admission: Arc::downgrade(self),
            on_duty: true,
        };
        // Where there is no runtime, the guard tells those who wait.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(keep(guard, Arc::clone(&self.bell)));
        }
    }

    /// Does what is due, and returns how long to sleep; `None`: for good.
    fn errand(self: &Arc<Self>) -> Option<Option<Instant>> {
        let now = self.pool.now();
        let (rest, opening) = {
            let state = self.state();
            let rest = state.rest.as_ref().map(|rest| rest.at);
            (rest, state.queue.next_opening())
        };
        self.let_go();
        if rest.is_some_and(|at| at <= now) {
            self.go_on_with_rest();
        }
        if opening.is_some_and(|at| at <= now) {
            self.pump();
        }
        let wakes = {
            let state = &mut *self.state();
            if state.queue.is_empty() {
                state.rest = None;
                state.steward = None;
                return None;
            }
            let wakes = state.next_errand();
            state.steward = Some(wakes.unwrap_or(Timestamp::MAX));
            wakes
        };
        let wait = wakes.map(|at| at.since(self.pool.now()).max(SHORTEST));
        Some(wait.map(super::after))
    }
}

/// Tells those who wait where the task ends before its time.
struct Guard {
    admission: Weak<Admission>,
    on_duty: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(admission) = self.admission.upgrade().filter(|_| self.on_duty) else {
            return;
        };
        let waiters: Vec<_> = {
            let state = &mut *admission.state();
            state.steward = None;
            state.queue.items().cloned().collect()
        };
        for waiter in waiters {
            waiter.tell(News::Unattended);
        }
    }
}

async fn keep(mut guard: Guard, bell: Arc<Notify>) {
    loop {
        let Some(until) = (guard.admission.upgrade()).and_then(|admission| admission.errand())
        else {
            guard.on_duty = false;
            return;
        };
        match until {
            Some(until) => {
                let _ = timeout_at(until, bell.notified()).await;
            }
            None => bell.notified().await,
        }
    }
}
