//! What the fuzz target of this crate runs, and the test that replays its seeds.
//!
//! Not part of the API.

use std::time::Duration;

use crate::snapshot::Snapshot;

/// A state file is read whatever it holds: what is believed ends within its bounds, warnings are
/// fit for a terminal, and what was believed is believed again.
pub fn snapshot(input: &[u8]) {
    for now in [0, 1_800_000_000, 1 << 60].map(Duration::from_secs) {
        let (read, warnings) = Snapshot::parse(input, now);
        assert!(warnings.len() <= 3, "{warnings:?}");
        for text in &warnings {
            let fit = text.len() <= 512 && text.chars().all(|c| !c.is_control());
            assert!(fit, "{text:?}");
        }
        assert!(read.saved_at <= now, "it was written before it is read");
        let keys = read.keys.iter().filter_map(|key| key.out.as_ref());
        let accounts = read.accounts.iter();
        let accounts = accounts.flat_map(|account| [&account.out, &account.free]);
        for out in keys.chain(accounts.flatten()) {
            assert!(out.since <= now);
            let longest = out.cause().map(|cause| cause.max_wait());
            assert!(longest.is_some() && out.proof().is_some(), "{out:?}");
            if let Some(until) = out.until {
                let longest = longest.unwrap_or_default().max(Duration::from_secs(900));
                assert!(
                    until > now && until <= now.saturating_add(longest),
                    "{out:?}"
                );
            }
        }
        for facts in read.keys.iter().filter_map(|key| key.facts.as_ref()) {
            let _ = (facts.bar(now), facts.purse(now), facts.free_until());
            assert!(facts.next_change(now).is_none_or(|at| at > now));
        }
        assert!(read.models.len() <= 512);
        for model in &read.models {
            let sound = model.tokens_per_byte > 0.0 && model.tokens_per_byte <= 2.0;
            assert!(
                sound && model.at <= now.as_secs() && !model.model.is_empty(),
                "{model:?}"
            );
            assert!(model.weight(now.as_secs()) <= 20.0, "{model:?}");
        }
        let (again, warnings) = Snapshot::parse(&read.to_json(), now);
        assert_eq!(warnings, [""; 0], "its own words");
        assert_eq!(again.accounts, read.accounts);
        assert_eq!(again.models, read.models);
        let outs = |read: &Snapshot| {
            let key = |key: &crate::snapshot::KeyMemory| (key.id.clone(), key.out.clone());
            read.keys.iter().map(key).collect::<Vec<_>>()
        };
        assert_eq!(outs(&again), outs(&read));
    }
}
