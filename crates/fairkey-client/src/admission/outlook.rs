//! What waiting can bring: [`Outlook`].

use std::collections::HashMap;

use fairkey_core::{AccountId, Denied, Explanation, KeyId, Scope, Timestamp};

/// What waiting can bring to a call, and what stands before every key it has not tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    /// Whether the end of another call may free a key.
    pub(crate) release: bool,
    /// When the first key opens by the passing of time alone.
    pub(crate) soonest: Option<Timestamp>,
    /// For each key: who bars it, and until when. Empty where every key was tried.
    pub(crate) keys: Vec<(KeyId, Option<Denied>)>,
}

/// Reads an explanation.
///
/// A key that is denied for good by anybody but us is dead, unless a call with it, or with its
/// account, is under way: its end may change what is thought of it.
pub(crate) fn outlook(explanation: &Explanation) -> Outlook {
    let mut busy: HashMap<&AccountId, u32> = HashMap::new();
    for key in &explanation.keys {
        if let Some(account) = &key.account {
            *busy.entry(account).or_default() += key.in_flight;
        }
    }
    let mut outlook = Outlook::default();
    for key in explanation.keys.iter().filter(|key| !key.tried) {
        let denials = || key.denied.iter().map(|denial| denial.denied);
        let in_flight = key
            .account
            .as_ref()
            .map_or(key.in_flight, |account| busy[account]);
        let is_endless =
            |d: &Denied| d.until.is_none() && d.by != Scope::Local && !d.may_open_sooner;
        let endless = denials().find(is_endless);
        let ours = denials().find(|d| d.until.is_none());
        let last = denials().max_by_key(|d| d.until);
        match (endless.filter(|_| in_flight == 0), ours, last) {
            (Some(dead), _, _) => outlook.keys.push((key.id.clone(), Some(dead))),
            (None, Some(until_release), _) => {
                outlook.release = true;
                outlook.keys.push((key.id.clone(), Some(until_release)));
            }
            (None, None, Some(timed)) => {
                outlook.release |= timed.may_open_sooner;
                outlook.soonest = match (outlook.soonest, timed.until) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                outlook.keys.push((key.id.clone(), Some(timed)));
            }
            // Free by now, or declined by the strategy: it may be accepted when loads change.
            (None, None, None) => {
                outlook.release = true;
                outlook.keys.push((key.id.clone(), None));
            }
        }
    }
    outlook
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fairkey_core::{Denial, Detail, KeyExplanation};

    use super::*;

    fn key(id: &str, in_flight: u32, denied: &[Denied]) -> KeyExplanation {
        KeyExplanation {
            id: id.into(),
            account: Some("acme".into()),
            weight: 1,
            in_flight,
            tried: false,
            denied: (denied.iter())
                .map(|denied| Denial {
                    gate: "gate",
                    denied: *denied,
                    detail: Detail::default(),
                })
                .collect(),
            score: None,
        }
    }

    fn read(keys: Vec<KeyExplanation>) -> (bool, Option<Timestamp>) {
        let outlook = outlook(&Explanation {
            now: Timestamp::ZERO,
            keys,
        });
        (outlook.release, outlook.soonest)
    }

    const DEAD: Denied = Denied::for_good(Scope::Key);
    const FULL: Denied = Denied::for_good(Scope::Local);

    fn until(secs: u64) -> Denied {
        Denied::until(Scope::Account, Timestamp::ZERO + Duration::from_secs(secs))
    }

    #[test]
    fn dead_keys_bring_nothing_unless_a_call_is_under_way() {
        assert_eq!(
            read(vec![key("a", 0, &[DEAD]), key("b", 0, &[FULL, DEAD])]),
            (false, None)
        );
        assert_eq!(
            read(vec![key("a", 0, &[DEAD]), key("b", 1, &[])]),
            (true, None)
        );
        assert_eq!(read(vec![key("a", 1, &[DEAD])]), (true, None));
    }

    #[test]
    fn the_end_of_a_call_with_another_key_may_open_what_all_keys_share() {
        let ramping = Denied::for_good(Scope::Service).or_sooner();
        assert_eq!(read(vec![key("a", 0, &[ramping])]), (true, None));
        let dead = Denied::for_good(Scope::Service);
        assert_eq!(read(vec![key("a", 0, &[dead])]), (false, None));
    }

    #[test]
    fn the_end_of_a_probe_may_come_before_its_time_is_over() {
        let at = Some(Timestamp::ZERO + Duration::from_secs(60));
        let probing = key("a", 1, &[until(60).or_sooner()]);
        assert_eq!(read(vec![probing]), (true, at));
        assert_eq!(read(vec![key("a", 1, &[until(60)])]), (false, at));
    }

    #[test]
    fn a_cap_of_ours_opens_with_a_release_and_a_cooldown_with_time() {
        assert_eq!(
            read(vec![key("a", 0, &[FULL]), key("b", 0, &[DEAD])]),
            (true, None)
        );
        let at = |secs| Some(Timestamp::ZERO + Duration::from_secs(secs));
        let keys = vec![
            key("a", 0, &[until(9), until(5)]),
            key("b", 0, &[until(30)]),
        ];
        assert_eq!(
            read(keys),
            (false, at(9)),
            "a key opens when the last of its gates does"
        );
        let keys = vec![key("a", 0, &[until(9), FULL]), key("b", 0, &[until(30)])];
        assert_eq!(read(keys), (true, at(30)));
    }

    #[test]
    fn keys_that_the_call_has_tried_do_not_count() {
        let mut tried = key("a", 0, &[]);
        tried.tried = true;
        assert_eq!(read(vec![tried]), (false, None));
    }
}
