use std::sync::atomic::{AtomicU32, Ordering};

use fairkey_core::{At, Denied, FaultKind, Gate, Key, Outcome, Scope, Scopes, Ticket};

use super::*;
use crate::{CallOptions, TokioClock};

mod fairness;
mod panics;
mod races;
mod restricted;

/// A cap for each key, and a cooldown for each key from the faults that name it; the model
/// `m/out` is out.
#[derive(Debug, Default)]
struct TestGate {
    cap: u32,
    counts: [AtomicU32; 8],
    until: [std::sync::Mutex<Option<Denied>>; 8],
}

impl TestGate {
    fn cap(cap: u32) -> Self {
        Self {
            cap,
            ..Self::default()
        }
    }
}

impl Gate for TestGate {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if at.ask.model == Some("m/out") {
            return Err(Denied::until(
                Scope::Model,
                at.now + Duration::from_secs(60),
            ));
        }
        let slot = at.key.slot().index();
        match *self.until[slot].lock().unwrap() {
            Some(denied) if denied.until.is_none_or(|until| until > at.now) => return Err(denied),
            _ => {}
        }
        if self.counts[slot].load(Ordering::SeqCst) >= self.cap {
            return Err(Denied::for_good(Scope::Local));
        }
        Ok(())
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at)?;
        self.counts[at.key.slot().index()].fetch_add(1, Ordering::SeqCst);
        Ok(Ticket::default())
    }

    fn leave(&self, key: Candidate<'_>, _: Ticket, report: &Report) {
        let slot = key.slot().index();
        self.counts[slot].fetch_sub(1, Ordering::SeqCst);
        if let Outcome::Fault { scope, retry, .. } = report.outcome {
            let until = retry.at(report.ended);
            *self.until[slot].lock().unwrap() = Some(Denied {
                by: scope,
                until,
                may_open_sooner: false,
                by_limit: false,
            });
        }
    }

    fn hears(&self) -> Scopes {
        Scopes::of(Scope::Key)
    }
}

fn admission(keys: usize, gate: TestGate, max_in_flight: Option<usize>) -> Arc<Admission> {
    let waker = Waker::default();
    let pool = Pool::builder()
        .keys((0..keys).map(|n| Key::new(format!("k{n}"), format!("sk-{n}"))))
        .gate(gate)
        .clock(TokioClock::new())
        .seed(7)
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    Admission::new(pool, max_in_flight, length(1_000), &waker)
}

fn length(length: usize) -> QueueConfig {
    QueueConfig {
        length,
        ..QueueConfig::default()
    }
}

fn wish() -> Wish {
    with(CallOptions::default())
}

fn tried(key: impl Into<fairkey_core::Tenure>) -> Option<Box<Tried>> {
    let mut tried = Tried::new();
    tried.add_key(key);
    Some(Box::new(tried))
}

/// What a call with these options wants.
fn with(options: CallOptions) -> Wish {
    Wish {
        job: Arc::new(Job::of_options(options)),
        model: None,
        cost: Cost::ONE,
        deadline: None,
        tried: None,
        patience: None,
    }
}

fn of(model: &str) -> Wish {
    Wish {
        model: Some(model.into()),
        ..wish()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn fault(secs: u64) -> Outcome {
    Outcome::fault(Scope::Key, FaultKind::Throttled)
        .with_retry(fairkey_core::Retry::After(Duration::from_secs(secs)))
}

/// Lets every task run until all of them wait.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_is_served_first() {
    let admission = admission(1, TestGate::cap(1), None);
    let first = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap();
    let (send, mut order) = tokio::sync::mpsc::unbounded_channel();
    for n in 0..20 {
        let (admission, send) = (Arc::clone(&admission), send.clone());
        tokio::spawn(async move {
            let held = admission
                .acquire(wish(), after(MINUTE), &mut None)
                .await
                .unwrap();
            send.send(n).unwrap();
            tokio::task::yield_now().await;
            drop(held);
        });
        settle().await;
    }
    assert_eq!(admission.waiting(), 20);
    assert!(
        admission.try_acquire(&wish()).is_err(),
        "nobody passes those who wait"
    );
    drop(first);
    settle().await;
    for n in 0..20 {
        assert_eq!(order.try_recv(), Ok(n));
    }
    assert_eq!((admission.waiting(), admission.pool.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_was_given_a_key_in_vain_keeps_its_place() {
    let admission = admission(1, TestGate::cap(1), None);
    let mut ticket = None;
    let first = admission
        .acquire(wish(), after(MINUTE), &mut ticket)
        .await
        .unwrap();
    let spawn = |mut ticket| {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move { admission.acquire(wish(), after(MINUTE), &mut ticket).await })
    };
    let second = spawn(None);
    settle().await;
    first.lease.finish(fault(5));
    let again = spawn(ticket);
    settle().await;
    let held = again.await.unwrap().unwrap();
    assert!(!second.is_finished());
    drop(held);
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_out_holds_up_nobody_else() {
    let admission = admission(2, TestGate::cap(1), None);
    let held = [
        admission
            .acquire(of("m/a"), after(MINUTE), &mut None)
            .await
            .unwrap(),
        admission
            .acquire(of("m/a"), after(MINUTE), &mut None)
            .await
            .unwrap(),
    ];
    let [out, a, b] = ["m/out", "m/a", "m/b"].map(|model| {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            admission
                .acquire(of(model), after(10 * MINUTE), &mut None)
                .await
        })
    });
    settle().await;
    assert_eq!(admission.waiting(), 3);
    drop(held);
    assert!(a.await.unwrap().is_ok() && b.await.unwrap().is_ok());
    assert!(!out.is_finished());
    out.abort();
    settle().await;
    assert_eq!((admission.waiting(), admission.pool.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_is_waited_for_and_not_a_moment_longer() {
    let admission = admission(1, TestGate::cap(5), None);
    let began = Instant::now();
    admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap()
        .lease
        .finish(fault(7));
    let both = [0, 1].map(|_| {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            admission
                .acquire(wish(), after(MINUTE), &mut None)
                .await
                .unwrap()
        })
    });
    for waiter in both {
        let _held = waiter.await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_open_in_time_is_refused_at_once_with_the_time() {
    let admission = admission(2, TestGate::cap(5), None);
    for _ in 0..2 {
        admission
            .acquire(wish(), after(MINUTE), &mut None)
            .await
            .unwrap()
            .lease
            .finish(fault(61));
    }
    let began = Instant::now();
    let refusal = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap_err();
    let Refusal::Hopeless { unavailable } = refusal else {
        panic!("{refusal:?}")
    };
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(
        unavailable.retry_at,
        Some(admission.pool.now() + Duration::from_secs(61))
    );
}

#[tokio::test(start_paused = true)]
async fn when_every_key_is_dead_nobody_waits() {
    let admission = admission(2, TestGate::cap(1), None);
    let dead = Outcome::fault(Scope::Key, FaultKind::Refused);
    let [a, b] = [(); 2].map(|()| admission.try_acquire(&wish()).unwrap());
    let waits = {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move { admission.acquire(wish(), after(MINUTE), &mut None).await })
    };
    settle().await;
    a.lease.finish(dead);
    settle().await;
    assert!(!waits.is_finished(), "the other key's call is under way");
    b.lease.finish(dead);
    let refusal = waits.await.unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::Hopeless { .. }), "{refusal:?}");
    // A reload brings what waiting could not.
    admission.pool.reload([Key::new("new", "sk-new")]).unwrap();
    assert!(
        admission
            .acquire(wish(), after(MINUTE), &mut None)
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_wakes_those_who_wait() {
    let admission = admission(1, TestGate::cap(1), None);
    let _held = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap();
    let waits = {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            admission
                .acquire(wish(), after(MINUTE), &mut None)
                .await
                .unwrap()
        })
    };
    settle().await;
    admission
        .pool
        .reload([Key::new("k0", "sk-0"), Key::new("k1", "sk-1")])
        .unwrap();
    assert_eq!(waits.await.unwrap().lease.key().id().as_str(), "k1");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_its_limit_and_leaves_no_trace() {
    let admission = admission(1, TestGate::cap(1), None);
    let held = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap();
    let began = Instant::now();
    let refusal = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap_err();
    assert!(
        matches!(refusal, Refusal::TimedOut { opens: None }),
        "{refusal:?}"
    );
    assert_eq!(began.elapsed(), MINUTE);
    drop(held);
    assert_eq!((admission.waiting(), admission.pool.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_may_wait() {
    let waker = Waker::default();
    let pool = Pool::builder()
        .key(Key::new("k", "sk"))
        .gate(TestGate::cap(1))
        .clock(TokioClock::new())
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    let admission = Admission::new(pool, None, length(1), &waker);
    let _held = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap();
    let waits = {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            admission
                .acquire(wish(), after(MINUTE), &mut None)
                .await
                .is_ok()
        })
    };
    settle().await;
    let refusal = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Overloaded { .. }), "{refusal:?}");
    waits.abort();
}

#[tokio::test(start_paused = true)]
async fn permits_bound_the_leases_and_wake_in_order() {
    let admission = admission(8, TestGate::cap(100), Some(3));
    let most = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let (admission, most) = (Arc::clone(&admission), Arc::clone(&most));
            let model = ["m/a", "m/b"][n % 2];
            tokio::spawn(async move {
                let held = admission
                    .acquire(of(model), after(MINUTE), &mut None)
                    .await
                    .unwrap();
                let in_flight = admission.pool.in_flight() as u32;
                most.fetch_max(in_flight, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                drop(held);
            })
        })
        .collect();
    let began = Instant::now();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(
        began.elapsed(),
        Duration::from_millis(1_700),
        "17 rounds of 3: no gap"
    );
    assert_eq!(admission.pool.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_excludes_keys_does_not_hold_up_those_behind_it() {
    let admission = admission(2, TestGate::cap(1), None);
    let [a, b] = [(); 2].map(|()| admission.try_acquire(&wish()).unwrap());
    let mut picky = wish();
    picky.tried = tried(a.lease.key());
    let spawn = |wish| {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            admission
                .acquire(wish, after(MINUTE), &mut None)
                .await
                .unwrap()
        })
    };
    let picky = spawn(picky);
    settle().await;
    let plain = spawn(wish());
    settle().await;
    let (id_a, id_b) = (a.lease.key().id().clone(), b.lease.key().id().clone());
    drop(a);
    let plain = plain.await.unwrap();
    assert_eq!(*plain.lease.key().id(), id_a);
    assert!(!picky.is_finished());
    drop(b);
    assert_eq!(*picky.await.unwrap().lease.key().id(), id_b);
}

/// Polls a call that waits `k` times, with things happening in between, then drops it.
#[tokio::test(start_paused = true)]
async fn dropped_at_any_point_a_waiting_call_leaves_everything_to_the_next() {
    for k in 0..6 {
        let admission = admission(1, TestGate::cap(1), Some(1));
        let held = admission
            .acquire(wish(), after(MINUTE), &mut None)
            .await
            .unwrap();
        let mut dropped = tokio_test_spawn(Arc::clone(&admission));
        let behind = {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move {
                admission
                    .acquire(wish(), after(MINUTE), &mut None)
                    .await
                    .unwrap()
            })
        };
        let mut held = Some(held);
        for step in 0..k {
            let poll = futures_poll(&mut dropped);
            if step == 2 {
                drop(held.take());
            }
            if poll {
                break;
            }
        }
        settle().await;
        drop(dropped);
        drop(held);
        let next = tokio::time::timeout(Duration::from_secs(1), behind).await;
        drop(next.expect("the next in line is served").unwrap());
        assert_eq!(
            (admission.waiting(), admission.pool.in_flight()),
            (0, 0),
            "after {k} polls"
        );
        assert_eq!(admission.state().free, Some(1), "after {k} polls");
    }
}

type Acquiring = std::pin::Pin<Box<dyn Future<Output = Result<Held, Refusal>>>>;

fn tokio_test_spawn(admission: Arc<Admission>) -> Acquiring {
    Box::pin(async move { admission.acquire(wish(), after(MINUTE), &mut None).await })
}

/// Polls once; tells whether it is done. What it is done with is dropped.
fn futures_poll(future: &mut Acquiring) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut cx).is_ready()
}

#[test]
fn many_threads_lose_no_wake_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let admission = admission(3, TestGate::cap(1), Some(2));
        let tasks: Vec<_> = (0..64)
            .map(|n| {
                let admission = Arc::clone(&admission);
                tokio::spawn(async move {
                    for _ in 0..200 {
                        let wish = of(["m/a", "m/b", "m/c"][n % 3]);
                        let held = admission
                            .acquire(wish, after(10 * MINUTE), &mut None)
                            .await
                            .unwrap();
                        if n % 2 == 0 {
                            tokio::task::yield_now().await;
                        }
                        drop(held);
                    }
                })
            })
            .collect();
        let all = async {
            for task in tasks {
                task.await.unwrap();
            }
        };
        // A lost wake-up would wait for ten minutes.
        tokio::time::timeout(MINUTE, all)
            .await
            .expect("nobody is left waiting");
        assert_eq!((admission.waiting(), admission.pool.in_flight()), (0, 0));
    });
}
