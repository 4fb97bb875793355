//! Calls that only some keys may serve.

use fairkey_core::Only;

use super::*;

fn restricted_to(key: &str) -> Wish {
    with(CallOptions::default().only(Only::keys([key])))
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_own_key_holds_up_nobody_else_and_gets_that_key() {
    let admission = admission(2, TestGate::cap(1), None);
    let taken = admission.try_acquire(&restricted_to("k0")).unwrap();
    assert_eq!(taken.lease.key().id().as_str(), "k0");
    let waits = {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            let wish = restricted_to("k0");
            admission.acquire(wish, after(MINUTE), &mut None).await
        })
    };
    settle().await;
    assert_eq!(admission.waiting(), 1);
    // Of the same model and class: a line of its own all the same.
    let other = admission.acquire(wish(), after(MINUTE), &mut None).await;
    let other = other.unwrap();
    assert_eq!(other.lease.key().id().as_str(), "k1");
    drop(other);
    settle().await;
    assert_eq!(admission.waiting(), 1, "k1 is not for the one who waits");
    drop(taken);
    settle().await;
    let held = waits.await.unwrap().unwrap();
    assert_eq!(held.lease.key().id().as_str(), "k0");
}
