//! Foreign code that panics while somebody else's call hands out what is free.

use super::*;

/// One call at a time; panics when asked about the model `m/bad` while `armed`.
#[derive(Debug, Default)]
struct Fragile {
    busy: AtomicU32,
    armed: AtomicU32,
    panics: AtomicU32,
}

impl Gate for Fragile {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if at.ask.model == Some("m/bad") && self.armed.load(Ordering::SeqCst) > 0 {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("this gate is broken");
        }
        if self.busy.load(Ordering::SeqCst) > 0 {
            return Err(Denied::for_good(Scope::Local));
        }
        Ok(())
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at)?;
        self.busy.fetch_add(1, Ordering::SeqCst);
        Ok(Ticket::default())
    }

    fn leave(&self, _: Candidate<'_>, _: Ticket, _: &Report) {
        self.busy.fetch_sub(1, Ordering::SeqCst);
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }
}

fn fragile(max_in_flight: Option<usize>) -> (Arc<Admission>, Arc<Fragile>) {
    let (waker, gate) = (Waker::default(), Arc::new(Fragile::default()));
    let pool = Pool::builder()
        .key(Key::new("k", "sk"))
        .shared_gate(Arc::<Fragile>::clone(&gate))
        .clock(TokioClock::new())
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    (
        Admission::new(pool, max_in_flight, length(1_000), &waker),
        gate,
    )
}

type Task = tokio::task::JoinHandle<Result<Held, Refusal>>;

fn wait_for(admission: &Arc<Admission>, model: &str) -> Task {
    let (admission, wish) = (Arc::clone(admission), of(model));
    tokio::spawn(async move { admission.acquire(wish, after(MINUTE), &mut None).await })
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_one_who_waits_is_its_own_and_the_others_are_served() {
    for max_in_flight in [None, Some(1), Some(5)] {
        let (admission, gate) = fragile(max_in_flight);
        let first = admission.try_acquire(&of("m/good")).unwrap();
        let mut tasks = Vec::new();
        for model in ["m/bad", "m/good", "m/bad", "m/bad", "m/other"] {
            tasks.push(wait_for(&admission, model));
            settle().await;
        }
        gate.armed.store(1, Ordering::SeqCst);
        // Neither the one who frees the key nor anybody else is harmed.
        drop(first);
        let mut panicked = 0;
        for task in tasks {
            match task.await {
                Ok(held) => drop(held.unwrap()),
                Err(error) => {
                    let words = error.into_panic();
                    assert_eq!(words.downcast_ref(), Some(&"this gate is broken"));
                    panicked += 1;
                }
            }
        }
        assert_eq!(panicked, 3);
        assert_eq!(
            gate.panics.load(Ordering::SeqCst),
            3,
            "once for each, and not again"
        );
        assert_eq!((admission.waiting(), admission.pool.in_flight()), (0, 0));
        let again = admission.try_acquire(&of("m/good"));
        assert!(again.is_ok(), "every permit is back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_the_call_itself_leaves_nothing_behind() {
    let (admission, gate) = fragile(Some(2));
    let first = admission.try_acquire(&of("m/good")).unwrap();
    let waits = wait_for(&admission, "m/good");
    settle().await;
    gate.armed.store(1, Ordering::SeqCst);
    assert!(wait_for(&admission, "m/bad").await.unwrap_err().is_panic());
    drop(first);
    drop(waits.await.unwrap().unwrap());
    assert_eq!((admission.waiting(), admission.pool.in_flight()), (0, 0));
    assert_eq!(admission.state().free, Some(2));
}
