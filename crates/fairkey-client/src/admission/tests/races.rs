//! What happens to one who waits while the pool is asked for it, with no lock held.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use fairkey_core::ManualClock;

use super::*;

type Meanwhile = Box<dyn FnOnce() + Send>;

/// Lets nobody in while it is `shut`, and does something the first time that it is asked.
#[derive(Default)]
struct Slow {
    shut: AtomicBool,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

impl Slow {
    fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::SeqCst);
    }

    fn meanwhile(&self, meanwhile: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    }
}

impl Gate for Slow {
    fn check(&self, _: &At<'_>) -> Result<(), Denied> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        if self.shut.load(Ordering::SeqCst) {
            // As a limit does that the end of a call opens.
            return Err(Denied::for_good(Scope::Local));
        }
        Ok(())
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at)?;
        Ok(Ticket::default())
    }

    fn leave(&self, _: Candidate<'_>, _: Ticket, _: &Report) {}

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }
}

fn slow() -> (Arc<Admission>, Arc<Slow>, Arc<ManualClock>) {
    let (waker, gate) = (Waker::default(), Arc::new(Slow::default()));
    let clock = Arc::new(ManualClock::new());
    let pool = Pool::builder()
        .key(Key::new("k", "sk"))
        .shared_gate(Arc::<Slow>::clone(&gate))
        .clock(Arc::clone(&clock))
        .observer(Arc::new(waker.clone()))
        .build()
        .unwrap();
    gate.shut(true);
    (
        Admission::new(pool, None, length(1_000), &waker),
        gate,
        clock,
    )
}

#[tokio::test(start_paused = true)]
async fn who_is_let_go_while_the_pool_is_asked_for_it_hears_so_and_not_that_it_was_refused() {
    let (admission, gate, clock) = slow();
    let place = admission.enter(wish(), after(MINUTE), None).unwrap();
    let (keeper, late) = (Arc::clone(&admission), Arc::clone(&clock));
    gate.meanwhile(move || {
        late.advance(MINUTE);
        keeper.let_go();
    });
    admission.pump();
    assert_eq!(admission.waiting(), 0);
    let heard = poll_fn(|cx| place.poll(cx, || after(MINUTE)));
    let heard = tokio::time::timeout(MINUTE, heard).await;
    let heard = heard.expect("nobody tells it any more");
    assert!(matches!(heard, Err(Refusal::TimedOut { .. })), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_and_comes_again_while_the_pool_is_asked_for_it_is_served() {
    let (admission, gate, _) = slow();
    let first = admission.enter(wish(), after(MINUTE), None).unwrap();
    let ticket = first.ticket();
    let (send, mut again) = tokio::sync::mpsc::unbounded_channel();
    let queue = Arc::clone(&admission);
    gate.meanwhile(move || {
        drop(first);
        let place = queue.enter(wish(), after(MINUTE), Some(ticket));
        send.send(place.unwrap()).ok().unwrap();
    });
    gate.shut(false);
    admission.pump();
    let again = again.recv().await.unwrap();
    let held = poll_fn(|cx| again.poll(cx, || after(MINUTE)));
    let held = tokio::time::timeout(MINUTE, held).await;
    let held = held.expect("it was taken out of the queue, and given nothing");
    drop(held.unwrap());
    assert_eq!((admission.waiting(), admission.pool.in_flight()), (0, 0));
}
