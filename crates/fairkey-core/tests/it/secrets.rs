//! A secret is in nothing that is printed.

use std::sync::{Arc, Mutex};

use fairkey_core::{Ask, FaultKind, Key, Outcome, Pool, Scope, Tried};
use fairkey_testkit::SpyGate;

use crate::support::{Notes, strategy};

const CANARY: &str = "sk-or-v1-canary-in-the-mine";

#[test]
fn no_debug_output_and_no_message_has_a_secret() {
    let printed: Arc<Mutex<Vec<String>>> = Arc::default();
    let turns = Arc::clone(&printed);
    let notes = Arc::new(Notes::default());
    let keys = || {
        [
            Key::new("a", CANARY).account("acme"),
            Key::new("b", format!("{CANARY}-2")),
        ]
    };
    let builder = Pool::builder()
        .keys(keys())
        .gate(SpyGate::new())
        .observer(Arc::clone(&notes) as _)
        .strategy(strategy(move |turn| {
            let key = turn.random()?;
            let at = turn.at(key);
            turns
                .lock()
                .unwrap()
                .push(format!("{turn:?} {turn:#?} {key:?} {at:?}"));
            Some(key)
        }));
    let print = |text: String| printed.lock().unwrap().push(text);
    print(format!("{builder:?} {builder:#?}"));
    let pool = builder.build().unwrap();
    print(format!("{pool:?} {pool:#?}"));
    pool.with_keys(|keys| print(format!("{keys:?} {keys:#?}")));
    let mut lease = pool.select(&Ask::new()).unwrap();
    lease.record(Outcome::fault(Scope::Key, FaultKind::Refused));
    let exposed = lease.expose_key();
    print(format!("{lease:?} {lease:#?} {exposed:?} {exposed:#?}"));
    drop(lease);
    print(format!("{:?}", notes.take()));
    let explanation = pool.explain(&Ask::new());
    print(format!("{explanation:?} {explanation}"));
    print(format!("{:?}", pool.reload(keys()).unwrap()));
    print(format!("{:?}", pool.expose_key("a")));
    let mut tried = Tried::new();
    pool.with_keys(|keys| keys.iter().for_each(|key| tried.add_key(key)));
    let refused = pool.select(&Ask::new().with_tried(&tried)).unwrap_err();
    print(format!("{refused:?} {refused} {tried:?}"));

    let key = &keys()[0];
    print(format!("{key:?} {key:#?} {:?}", key.secret()));
    let same = [Key::new("a", CANARY), Key::new("b", CANARY)];
    let empty = [Key::new("a", "")];
    let twice = [Key::new("a", CANARY), Key::new("a", format!("{CANARY}-2"))];
    for keys in [&same[..], &empty, &twice, &[]] {
        let error = Pool::builder().keys(keys.to_vec()).build().unwrap_err();
        print(format!("{error:?} {error}"));
        let error = pool.reload(keys.to_vec()).unwrap_err();
        print(format!("{error:?} {error}"));
    }

    let printed = printed.lock().unwrap();
    assert!(printed.len() > 15);
    assert!(printed.iter().any(|text| text.contains("ApiKey(..)")));
    for text in printed.iter() {
        assert!(!text.contains("canary"), "a secret was printed: {text}");
    }
}
