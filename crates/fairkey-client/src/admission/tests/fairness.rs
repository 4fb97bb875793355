//! Order under odd circumstances.

use fairkey_strategy::queue::Tenant;

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
    Admission::new(pool, None, length(100), &waker)
}

fn sized(tokens: u64) -> Wish {
    Wish {
        cost: Cost {
            tokens,
            ..Cost::ONE
        },
        ..wish()
    }
}

fn wait_for(admission: &Arc<Admission>, wish: Wish) -> tokio::task::JoinHandle<Held> {
    let admission = Arc::clone(admission);
    tokio::spawn(async move {
        let held = admission.acquire(wish, after(MINUTE), &mut None).await;
        held.unwrap()
    })
}

#[tokio::test(start_paused = true)]
async fn a_large_call_is_passed_by_small_ones_and_not_starved_by_them() {
    let admission = pool_of(Room::default(), Arc::new(Waker::default()));
    let mut held = admission.try_acquire(&sized(5)).unwrap();
    let large = wait_for(&admission, sized(10));
    settle().await;
    assert!(
        admission.try_acquire(&sized(1)).is_err(),
        "there is room, and somebody before"
    );
    // Small ones come and go, so that there is never room for a large one.
    let (mut passed, mut last) = (0, None);
    while !large.is_finished() {
        let small = wait_for(&admission, sized(5));
        settle().await;
        if small.is_finished() {
            held = small.await.unwrap();
            passed += 1;
        } else {
            last = Some(small);
            drop(held);
            settle().await;
            break;
        }
        settle().await;
        assert!(passed < 40, "it is starved");
    }
    assert!((16..=17).contains(&passed), "{passed} were served past it");
    let large = large.await.unwrap();
    let last = last.unwrap();
    assert!(!last.is_finished());
    drop(large);
    last.await.unwrap();
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
        assert_eq!(
            (state.free, admission.baton.is_taken()),
            (Some(4), false),
            "seed {seed}"
        );
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
            picky.tried = tried(first_key);
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
async fn a_call_that_gets_nothing_gives_its_permit_to_who_looked_for_one() {
    let gate = OpensMeanwhile::default();
    let waker = gate.waker.clone();
    let pool = Pool::builder()
        .key(Key::new("k", "sk"))
        .gate(gate)
        .clock(TokioClock::new())
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    let admission = Admission::new(pool, Some(1), length(1), &waker);
    let waits = {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move { admission.acquire(of("m/w"), after(MINUTE), &mut None).await })
    };
    settle().await;
    assert!(admission.try_acquire(&of("m/x")).is_err());
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

#[tokio::test(start_paused = true)]
async fn however_many_models_are_waited_for_what_is_free_goes_to_whoever_can_use_it() {
    // All but the last one is out, by a gate that says nothing of it.
    #[derive(Debug, Default)]
    struct Only(std::sync::atomic::AtomicBool);

    impl Gate for Only {
        fn check(&self, at: &At<'_>) -> Result<(), Denied> {
            match at.ask.model {
                Some("m/free") if self.0.load(Ordering::SeqCst) => Ok(()),
                Some("m/first") => Ok(()),
                _ => Err(Denied::for_good(Scope::Local)),
            }
        }

        fn hears(&self) -> Scopes {
            Scopes::NONE
        }
    }

    let (waker, gate) = (Waker::default(), Arc::new(Only::default()));
    let pool = Pool::builder()
        .key(Key::new("k", "sk"))
        .shared_gate(Arc::<Only>::clone(&gate))
        .clock(TokioClock::new())
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    let admission = Admission::new(pool, None, QueueConfig::default(), &waker);
    let first = admission.try_acquire(&of("m/first")).unwrap();
    let others: Vec<_> = (0..200)
        .map(|n| wait_for(&admission, of(&format!("m/{n}"))))
        .collect();
    settle().await;
    let free = wait_for(&admission, of("m/free"));
    settle().await;
    gate.0.store(true, Ordering::SeqCst);
    let began = Instant::now();
    drop(first);
    drop(free.await.unwrap());
    assert!(
        began.elapsed() <= Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
    for other in others {
        other.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_that_wait_share_by_weight_and_what_they_really_used() {
    let admission = admission(1, TestGate::cap(1), None);
    let spawn = |name: &'static str, weight| {
        let tenant = Tenant::new(name).weight(weight);
        let wish = Wish {
            cost: sized(100).cost,
            ..with(CallOptions::default().tenant(tenant))
        };
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            let (began, mut used, mut rounds) = (Instant::now(), 0_u64, 0);
            while rounds < 1_000 {
                let limit = after(10 * MINUTE);
                let Ok(mut held) = admission.acquire(wish.clone(), limit, &mut None).await else {
                    break;
                };
                tokio::time::sleep(Duration::from_millis(10)).await;
                // Those of "a" turn out twice as large as those of "b".
                let tokens = if name == "a" { 200 } else { 100 };
                held.note_actual(Cost {
                    tokens,
                    ..Cost::ONE
                });
                used += tokens;
                rounds += 1;
                if began.elapsed() >= Duration::from_secs(10) {
                    break;
                }
            }
            used
        })
    };
    // So many callers that both always wait.
    let tasks: Vec<_> = (0..8)
        .map(|_| spawn("a", 1))
        .chain((0..8).map(|_| spawn("b", 3)))
        .collect();
    let mut had = [0; 2];
    for (n, task) in tasks.into_iter().enumerate() {
        had[n / 8] += task.await.unwrap();
    }
    let part = had[0] as f64 / (had[0] + had[1]) as f64;
    assert!((0.2375..=0.2625).contains(&part), "{part}: {had:?}");
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_ends_leaves_the_time_to_those_who_wait_in_another_one() {
    let admission = admission(1, TestGate::cap(5), None);
    let held = admission.try_acquire(&wish()).unwrap();
    held.lease.finish(fault(7));
    let (waits, has_come) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    // Whoever waits first has the queue's time kept in its runtime.
    let other = {
        let admission = Arc::clone(&admission);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (mut never, limit) = (None, after(MINUTE));
                let mut wait = Box::pin(admission.acquire(wish(), limit, &mut never));
                std::future::poll_fn(|cx| {
                    assert!(wait.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
                waits.send(()).unwrap();
                ends.recv().unwrap();
            });
        })
    };
    has_come.recv().unwrap();
    let stays = wait_for(&admission, wish());
    settle().await;
    assert_eq!(admission.waiting(), 2);
    end.send(()).unwrap();
    other.join().unwrap();
    let began = Instant::now();
    drop(stays.await.unwrap());
    assert!(
        began.elapsed() <= Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
}
