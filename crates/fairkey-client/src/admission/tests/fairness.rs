//! Order under odd circumstances.

use super::*;

/// Admits calls as long as their tokens fit into a room of 10.
#[derive(Debug, Default)]
struct Room(std::sync::Mutex<u64>);

impl Gate for Room {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let taken = *self.0.lock().unwrap();
        let fits = taken + at.ask.cost.tokens <= 10;
        if fits {
            Ok(())
        } else {
            Err(Denied::for_good(Scope::Local))
        }
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at)?;
        *self.0.lock().unwrap() += at.ask.cost.tokens;
        Ok(Ticket::default())
    }

    fn leave(&self, _: Candidate<'_>, _: Ticket, report: &Report) {
        *self.0.lock().unwrap() -= report.reserved.tokens;
    }
}

fn pool_of(gate: impl Gate + 'static, observer: Arc<dyn Observer>) -> Arc<Admission> {
    let waker = Waker::default();
    let pool = Pool::builder()
        .key(Key::new("k", "sk"))
        .gate(gate)
        .clock(TokioClock::new())
        .observer(observer)
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    Admission::new(pool, None, 100, &waker)
}

#[tokio::test(start_paused = true)]
async fn a_large_call_is_not_starved_by_small_ones() {
    let admission = pool_of(Room::default(), Arc::new(Waker::default()));
    let sized = |tokens| Wish {
        cost: Cost {
            tokens,
            ..Cost::ONE
        },
        ..wish()
    };
    let held = admission
        .acquire(sized(5), after(MINUTE), &mut None)
        .await
        .unwrap();
    let large = {
        let (admission, wish) = (Arc::clone(&admission), sized(10));
        tokio::spawn(async move {
            admission
                .acquire(wish, after(MINUTE), &mut None)
                .await
                .unwrap()
        })
    };
    settle().await;
    assert!(
        admission.try_acquire(&sized(1)).is_err(),
        "there is room, and somebody before"
    );
    let small = {
        let (admission, wish) = (Arc::clone(&admission), sized(1));
        tokio::spawn(async move {
            admission
                .acquire(wish, after(MINUTE), &mut None)
                .await
                .unwrap()
        })
    };
    settle().await;
    assert!(!small.is_finished());
    drop(held);
    drop(large.await.unwrap());
    small.await.unwrap();
}

/// Gives a lease back while the queue is being served.
#[derive(Debug, Default)]
struct GivesBack {
    refusals: AtomicU32,
    held: std::sync::Mutex<Option<Held>>,
}

impl Observer for GivesBack {
    fn refused(&self, _: &Ask<'_>, _: &Unavailable) {
        if self.refusals.fetch_add(1, Ordering::SeqCst) == 1 {
            let held = self.held.lock().unwrap().take();
            drop(held);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_freed_while_the_queue_is_served_is_not_overlooked() {
    let observer = Arc::new(GivesBack::default());
    let admission = pool_of(TestGate::cap(1), Arc::<GivesBack>::clone(&observer));
    let held = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap();
    *observer.held.lock().unwrap() = Some(held);
    let began = Instant::now();
    // Refused once before it stands in line, and once more while it does; then the key is free.
    admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap();
    assert_eq!(observer.refusals.load(Ordering::SeqCst), 2);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Callers that come, wait, are refused, give up and leave, at every moment that chance finds.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_and_leaves_leaves_nothing_behind() {
    for seed in 0..20 {
        let admission = admission(3, TestGate::cap(2), Some(4));
        let seeds = fairkey_core::Seeds::new(seed);
        let tasks: Vec<_> = (0..120)
            .map(|n| {
                let (admission, mut chance) = (Arc::clone(&admission), seeds.draw());
                tokio::spawn(async move {
                    let millis = |n: u32| Duration::from_millis(n.into());
                    tokio::time::sleep(millis(chance.below(300))).await;
                    let (patience, work) = (millis(chance.below(400)), millis(chance.below(60)));
                    let call = async {
                        let wish = of(["m/a", "m/b"][n % 2]);
                        let Ok(held) = admission.acquire(wish, after(MINUTE), &mut None).await
                        else {
                            return;
                        };
                        tokio::time::sleep(work).await;
                        match chance.below(8) {
                            0 => held.lease.finish(fault(1)),
                            1 => drop(admission.pool.reload(
                                (0..3).map(|n| Key::new(format!("k{n}"), format!("sk-{n}"))),
                            )),
                            _ => held.lease.finish(Outcome::Success),
                        }
                    };
                    // Some have patience to the end, the others leave.
                    let patience = if n % 3 == 0 { MINUTE } else { patience };
                    tokio::time::timeout(patience, call).await.is_ok()
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert!(
                task.await.unwrap() || n % 3 != 0,
                "seed {seed}: {n} was forgotten"
            );
        }
        assert_eq!(
            (admission.waiting(), admission.pool.in_flight()),
            (0, 0),
            "seed {seed}"
        );
        let state = admission.state();
        assert_eq!((state.free, state.pumping), (Some(4), false), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_that_exclude_a_key_keep_it_from_nobody_behind_them() {
    let admission = admission(2, TestGate::cap(1), None);
    let (mut one, mut two) = (None, None);
    let first = admission.acquire(wish(), after(MINUTE), &mut one);
    let first = first.await.unwrap();
    let second = admission.acquire(wish(), after(MINUTE), &mut two);
    let _second = second.await.unwrap();
    let first_key = first.lease.key().tenure();
    for _ in 0..40 {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            let mut picky = wish();
            picky.tried.add_key(first_key);
            let _ = admission.acquire(picky, after(MINUTE), &mut None).await;
        });
    }
    settle().await;
    let plain = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move { admission.acquire(wish(), after(MINUTE), &mut None).await }
    });
    settle().await;
    drop(first);
    let held = plain
        .await
        .unwrap()
        .expect("the key that the others exclude is free");
    assert_eq!(held.lease.key().tenure(), first_key);
}

/// Closed for the model `m/w` until somebody asks for `m/x`, which is refused, and wakes the queue
/// meanwhile.
#[derive(Debug, Default)]
struct OpensMeanwhile {
    open: std::sync::atomic::AtomicBool,
    waker: Waker,
}

impl Gate for OpensMeanwhile {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if at.ask.model == Some("m/x") {
            self.open.store(true, Ordering::SeqCst);
            if let Some(admission) = self.waker.admission() {
                admission.pump();
            }
        } else if self.open.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Denied::for_good(Scope::Local))
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_turned_away_gives_its_permit_to_who_looked_for_one() {
    let gate = OpensMeanwhile::default();
    let waker = gate.waker.clone();
    let pool = Pool::builder()
        .key(Key::new("k", "sk"))
        .gate(gate)
        .clock(TokioClock::new())
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    let admission = Admission::new(pool, Some(1), 1, &waker);
    let waits = {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move { admission.acquire(of("m/w"), after(MINUTE), &mut None).await })
    };
    settle().await;
    let refused = admission.acquire(of("m/x"), after(MINUTE), &mut None).await;
    assert!(matches!(refused, Err(Refusal::Overloaded)));
    settle().await;
    assert!(waits.is_finished(), "nothing else would wake it");
    assert!(waits.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_free_goes_to_whoever_can_still_be_answered() {
    let second = Duration::from_secs(1);
    let admission = admission(1, TestGate::cap(1), None);
    let mut held = admission
        .acquire(wish(), after(MINUTE), &mut None)
        .await
        .unwrap();
    for _ in 0..3 {
        // Answers take four seconds.
        tokio::time::advance(4 * second).await;
        held.lease.record(Outcome::Success);
        drop(held);
        held = admission
            .acquire(wish(), after(MINUTE), &mut None)
            .await
            .unwrap();
    }
    let call = |seconds: u32| {
        let admission = Arc::clone(&admission);
        let wish = Wish {
            deadline: Some(admission.pool.now() + seconds * second),
            ..wish()
        };
        tokio::spawn(async move {
            let limit = after(seconds * second);
            admission.acquire(wish, limit, &mut None).await
        })
    };
    let (hopeless, hopeful) = (call(5), call(20));
    tokio::time::sleep(2 * second).await;
    drop(held);
    let refused = hopeless.await.unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::TimedOut { .. }), "{refused:?}");
    let held = hopeful.await.unwrap().unwrap();
    // Alone in line, it is sent all the same: nobody loses by it.
    let alone = call(3);
    tokio::time::sleep(second).await;
    drop(held);
    assert!(alone.await.unwrap().is_ok());
}
