//! What is polled only when it was woken itself: [`Alarm`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Tells whether what a task waits for beside its main work was woken.
///
/// A task is woken for its main work, a connection, a thousand times for each time that something
/// happens beside it: its look at the time, the end of the server. To poll all of that each time
/// takes a part of each call.
pub(super) struct Alarm {
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    has_rung: AtomicBool,
    /// The task that waits.
    task: Mutex<Waker>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        let bell = Arc::new(Bell {
            has_rung: AtomicBool::new(true),
            task: Mutex::new(Waker::noop().clone()),
        });
        Self {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }

    /// Has something else polled from now on, which nothing has woken yet.
    pub(super) fn renew(&mut self) {
        self.bell.has_rung.store(true, Ordering::Relaxed);
    }

    /// Polls, if it is the first time or something has woken it.
    pub(super) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Mostly it has not, and a look is cheaper than a change. Acquire: pairs with the Release of
        // who woke it, whose news is to be seen.
        if !self.bell.has_rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        {
            let mut task = self.bell.task();
            if !task.will_wake(cx.waker()) {
                task.clone_from(cx.waker());
            }
        }
        // Before the poll: what comes while it polls rings again.
        self.bell.has_rung.swap(false, Ordering::AcqRel);
        poll(&mut Context::from_waker(&self.waker))
    }
}

impl Bell {
    fn task(&self) -> std::sync::MutexGuard<'_, Waker> {
        // No code of ours panics under it.
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        let task = self.task().clone();
        task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_was_not_woken_is_not_polled_and_what_was_is() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        let (mut alarm, mut polls, mut inner) = (Alarm::new(), 0, None);
        let mut poll = |alarm: &mut Alarm, wakes_itself: bool| {
            let polled: Poll<()> = alarm.poll(&cx, |cx| {
                polls += 1;
                inner = Some(cx.waker().clone());
                if wakes_itself {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            });
            assert!(polled.is_pending());
            (polls, inner.clone().unwrap())
        };
        assert_eq!(poll(&mut alarm, false).0, 1);
        let (polls, inner) = poll(&mut alarm, false);
        assert_eq!(polls, 1);
        inner.wake_by_ref();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        // What rings while it is polled is not lost.
        assert_eq!(poll(&mut alarm, true).0, 2);
        assert_eq!(task.0.load(Ordering::Relaxed), 2);
        assert_eq!(poll(&mut alarm, false).0, 3);
        assert_eq!(poll(&mut alarm, false).0, 3);
        alarm.renew();
        assert_eq!(poll(&mut alarm, false).0, 4);
    }

    #[test]
    fn the_task_that_polled_last_is_woken() {
        let (first, second) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let (mut alarm, mut inner) = (Alarm::new(), None);
        for task in [&first, &second] {
            alarm.renew();
            let waker = Waker::from(Arc::clone(task));
            let polled: Poll<()> = alarm.poll(&Context::from_waker(&waker), |cx| {
                inner = Some(cx.waker().clone());
                Poll::Pending
            });
            assert!(polled.is_pending());
        }
        inner.unwrap().wake();
        let woken = |task: &Task| task.0.load(Ordering::Relaxed);
        assert_eq!((woken(&first), woken(&second)), (0, 1));
    }
}
