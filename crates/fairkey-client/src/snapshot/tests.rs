use proptest::prelude::*;

use super::*;
use crate::key_facts::Layer;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

fn out(cause: Cause, proof: Proof, until: Option<Duration>) -> OutMemory {
    OutMemory {
        until,
        since: NOW - HOUR,
        cause: cause.as_str().to_owned(),
        proof: proof.as_str().to_owned(),
        status: Some(403),
        is_budget: false,
    }
}

fn with_key(out: OutMemory) -> Snapshot {
    let mut snapshot = Snapshot::new(NOW);
    snapshot.keys.push(KeyMemory {
        id: "a".to_owned(),
        fingerprint: 7,
        out: Some(out),
        facts: Some(KeyFacts {
            read_at: NOW,
            owner: Some("org_1".to_owned()),
            layers: vec![Layer {
                limit_usd: Some(5.0),
                remaining_usd: Some(-0.25),
                resets_at: Some(NOW + HOUR),
                ..Layer::default()
            }],
            ..KeyFacts::default()
        }),
    });
    snapshot
}

#[test]
fn what_is_written_is_read_the_same() {
    let mut snapshot = with_key(out(Cause::KeyCapSpent, Proof::Typed, Some(NOW + HOUR)));
    snapshot.accounts.push(AccountMemory {
        id: "acme".to_owned(),
        lone_fingerprint: None,
        out: Some(out(
            Cause::InFlightBudget,
            Proof::Typed,
            Some(NOW + HOUR / 60),
        )),
        free: Some(out(Cause::FreeDaily, Proof::Status, Some(NOW + HOUR))),
        learned: vec![LearnedMemory {
            model: Some("m/x".to_owned()),
            is_free: false,
            dimension: "requests".to_owned(),
            amount: 60,
            is_told: false,
            refused: Duration::from_secs(1_700_000_000),
        }],
    });
    assert_eq!(
        Snapshot::parse(&snapshot.to_json(), NOW),
        (snapshot, vec![])
    );
}

#[test]
fn deadlines_are_cut_to_what_their_class_allows() {
    let until = |out: OutMemory| {
        let (read, _) = Snapshot::parse(&with_key(out).to_json(), NOW);
        read.keys[0]
            .out
            .clone()
            .map(|out| out.until.map(|until| until - NOW))
    };
    let year = NOW + HOUR * 24 * 365;
    let throttled = out(Cause::KeyCapTooSmall, Proof::Typed, Some(year));
    assert_eq!(until(throttled), Some(Some(Duration::from_secs(300))));
    let month = out(Cause::KeyCapSpent, Proof::Typed, None);
    assert_eq!(until(month), Some(Some(Cause::KeyCapSpent.max_wait())));
    let over = out(Cause::KeyCapSpent, Proof::Typed, Some(NOW));
    assert_eq!(until(over), None);
    // For good only what is proven.
    let proven = out(Cause::KeyInvalid, Proof::KeyInfo, None);
    assert_eq!(until(proven), Some(None));
    let unproven = out(Cause::KeyInvalid, Proof::Status, None);
    assert_eq!(until(unproven), Some(Some(UNPROVEN)));
}

#[test]
fn what_is_corrupt_old_or_of_another_version_is_said_and_nothing_is_believed() {
    let json = with_key(out(Cause::KeyInvalid, Proof::Typed, None)).to_json();
    let text = String::from_utf8(json.clone()).unwrap();
    for (bytes, now, word) in [
        (b"".as_slice(), NOW, "no JSON"),
        (&json[..json.len() / 2], NOW, "no JSON"),
        (b"[1,2]", NOW, "version"),
        (
            br#"{"version":2,"saved_at":{"secs":1,"nanos":0}}"#,
            NOW,
            "version",
        ),
        (br#"{"version":1,"keys":[]}"#, NOW, "when it was written"),
        (text.as_bytes(), NOW + OLDEST * 2, "long ago"),
    ] {
        let (read, warnings) = Snapshot::parse(bytes, now);
        assert!(read.keys.is_empty() && read.accounts.is_empty());
        assert!(
            warnings.len() == 1 && warnings[0].contains(word),
            "{word}: {warnings:?}"
        );
    }
}

#[test]
fn from_the_future_only_what_is_capped_is_believed() {
    let snapshot = with_key(out(Cause::KeyCapTooSmall, Proof::Typed, Some(NOW + HOUR)));
    let (read, warnings) = Snapshot::parse(&snapshot.to_json(), NOW - HOUR);
    assert!(warnings[0].contains("in the future"), "{warnings:?}");
    let key = &read.keys[0];
    assert_eq!(key.facts, None);
    let out = key.out.as_ref().unwrap();
    assert_eq!(out.until, Some(NOW - HOUR + Duration::from_secs(300)));
    assert!(out.since <= NOW - HOUR);
}

#[test]
fn one_entry_that_makes_no_sense_does_not_take_the_others_with_it() {
    let json = format!(
        r#"{{"version":1,"saved_at":{{"secs":{},"nanos":0}},"keys":[
        {{"id":"bad","fingerprint":-1}}, 7, {{"id":"a","fingerprint":9}},
        {{"id":"b","fingerprint":9,"out":{{"until":null,"since":{{"secs":0,"nanos":0}},
            "cause":"gremlins","proof":"typed"}}}}]}}"#,
        NOW.as_secs()
    );
    let (read, warnings) = Snapshot::parse(json.as_bytes(), NOW);
    assert_eq!(read.keys.len(), 1);
    assert!(warnings[1].contains('3'), "{warnings:?}");
}

#[test]
fn a_fingerprint_tells_another_secret() {
    assert_ne!(fingerprint("sk-or-v1-a"), fingerprint("sk-or-v1-b"));
    // Written to files: it must never change.
    assert_eq!(fingerprint(""), (mix(0xcbf2_9ce4_8422_2325) >> 32) as u32);
}

fn any_out() -> impl Strategy<Value = OutMemory> {
    let causes: Vec<Cause> = Cause::all().collect();
    let proofs = [Proof::Typed, Proof::Status, Proof::Phrase, Proof::KeyInfo];
    (
        prop::sample::select(causes),
        prop::sample::select(proofs.to_vec()),
        prop::option::of(0..90_000_000_u64),
        any::<bool>(),
    )
        .prop_map(|(cause, proof, secs, is_budget)| OutMemory {
            is_budget,
            ..out(
                cause,
                proof,
                secs.map(|secs| NOW - HOUR + Duration::from_secs(secs)),
            )
        })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), now in any::<u64>(),
    ) {
        Snapshot::parse(&bytes, Duration::from_secs(now));
    }

    #[test]
    fn a_torn_file_is_never_half_believed(at in 0.0..1.0_f64) {
        let json = with_key(out(Cause::KeyInvalid, Proof::Typed, None)).to_json();
        let cut = ((json.len() - 2) as f64 * at) as usize;
        let (read, warnings) = Snapshot::parse(&json[..cut], NOW);
        prop_assert!(read.keys.is_empty());
        prop_assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn what_is_read_is_sound_and_reading_it_again_changes_nothing(
        outs in prop::collection::vec((any_out(), any::<u32>()), 0..8),
    ) {
        let mut snapshot = Snapshot::new(NOW);
        for (n, (out, fingerprint)) in outs.into_iter().enumerate() {
            snapshot.keys.push(KeyMemory {
                id: format!("k{n}"), fingerprint, out: Some(out), facts: None,
            });
        }
        let (read, warnings) = Snapshot::parse(&snapshot.to_json(), NOW);
        prop_assert_eq!(warnings, Vec::<String>::new());
        prop_assert_eq!(read.keys.len(), snapshot.keys.len());
        for out in read.keys.iter().filter_map(|key| key.out.as_ref()) {
            let Some(until) = out.until else {
                prop_assert_eq!(out.cause().unwrap().kind(), FaultKind::Refused);
                continue;
            };
            prop_assert!(until > NOW);
            prop_assert!(until - NOW <= Duration::from_secs(32 * 86_400));
        }
        prop_assert_eq!(Snapshot::parse(&read.to_json(), NOW).0, read);
    }
}
