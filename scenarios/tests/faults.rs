//! What must hold for every row of the table of faults.

use std::sync::LazyLock;
use std::time::Duration;

use fairkey_scenarios::faults::{BEGINS, ENDS, Row, rows};
use fairkey_scenarios::load::Tally;

fn play<F: Future<Output = Tally>>(run: F) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(run)
}

/// Every row with fairkey, played once for all tests.
static PLAYED: LazyLock<Vec<(Row, Tally)>> = LazyLock::new(|| {
    let play = |row: Row| {
        let tally = play(row.with_fairkey());
        (row, tally)
    };
    rows().into_iter().map(play).collect()
});

fn tally(name: &str) -> &'static Tally {
    let mut found = PLAYED.iter().filter(|(row, _)| row.name.starts_with(name));
    let (_, tally) = found.next().unwrap_or_else(|| panic!("no row {name:?}"));
    assert!(found.next().is_none(), "two rows {name:?}");
    tally
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn no_error_is_ever_handed_over_as_an_answer() {
    for (row, tally) in PLAYED.iter() {
        assert_eq!(tally.deceived, 0, "{}", row.name);
        assert_eq!(tally.answered + tally.failed, tally.calls, "{}", row.name);
    }
}

#[test]
fn what_the_request_is_to_blame_for_is_sent_once() {
    for (row, tally) in PLAYED.iter().filter(|(row, _)| !row.curable) {
        assert_eq!(tally.upstream, tally.calls, "{}", row.name);
        // And costs nobody afterwards.
        assert_eq!(tally.failed, 80, "{}", row.name);
    }
}

#[test]
fn what_can_be_cured_is_cured_at_the_cost_of_few_requests() {
    for (row, tally) in PLAYED.iter().filter(|(row, _)| row.curable) {
        // Of 240 calls, a few had used up their attempts before anything was known.
        assert!(tally.failed <= 3, "{}: {} failed", row.name, tally.failed);
        let most = match row.name {
            // One call in four fails for 20 s, and each that fails is sent again.
            name if name.contains("one in four") || name.contains("one call in four") => 1.13,
            // A request that is too big for one account says nothing of the next request.
            name if name.contains("too big") || name.contains("weight_exceeds") => 1.26,
            // Limits that nobody has told are found by running into them.
            name if name.contains("limit of") => 1.08,
            _ => 1.06,
        };
        let found = tally.amplification();
        assert!(found <= most, "{}: {found:.3} requests a call", row.name);
    }
}

#[test]
fn a_dead_key_is_asked_once() {
    let tally = tally("401 a key is revoked");
    assert_eq!(tally.count("a1", BEGINS..secs(90)), 1);
    assert_eq!(tally.failed, 0);
}

#[test]
fn a_spent_cap_comes_back_at_its_reset_and_is_not_asked_before() {
    let tally = tally("403 one key's daily cap is spent");
    // The day ends thirty seconds after the first call.
    // Spent after ten seconds or so, and found to be nearly so shortly before.
    assert!(tally.count("a1", secs(17)..secs(30)) <= 1);
    let back = tally.with_key("a1").find(|at| *at >= secs(30)).unwrap();
    assert!(back < secs(36), "{back:?}");
    for other in ["a2", "b1", "b2"] {
        assert!(tally.count(other, secs(12)..secs(30)) > 10, "{other}");
    }
}

#[test]
fn an_account_without_credit_leaves_its_siblings_in_peace() {
    let tally = tally("402 an account's balance is spent");
    let asked = tally.count("a1", BEGINS..ENDS) + tally.count("a2", BEGINS..ENDS);
    assert!(asked <= 3, "one refusal, and a look now and then: {asked}");
}

#[test]
fn healthy_keys_do_not_pay_for_a_full_provider() {
    for name in ["429 a provider is full", "502 a provider fails", "529 "] {
        let exact = PLAYED.iter().find(|(row, _)| row.name.starts_with(name));
        let (row, tally) = exact.unwrap();
        for key in ["a1", "a2", "b1", "b2"] {
            let used = tally.count(key, BEGINS + secs(2)..ENDS);
            // The other model goes on with all keys: 36 calls in 18 s.
            assert!(used >= 1, "{}: {key} was used {used} times", row.name);
        }
    }
}

#[test]
fn a_dead_service_and_a_dead_network_are_looked_for_by_one_probe_at_a_time() {
    for name in ["500 ", "5xx ", "net every connection"] {
        let tally = tally(name);
        let asked = tally
            .requests
            .iter()
            .filter(|(at, _)| (BEGINS + secs(2)..ENDS).contains(at))
            .count();
        // Probes after 1, 2, 4, 8 and 10 s at most, and no herd.
        assert!(asked <= 24, "{name}: {asked}");
        let first = tally.requests.iter().find(|(at, _)| *at >= ENDS).unwrap().0;
        assert!(first < ENDS + secs(11), "{name}: looked for at {first:?}");
    }
}

#[test]
fn the_same_row_gives_the_same_run() {
    for (row, first) in PLAYED.iter().step_by(9) {
        assert_eq!(*first, play(row.with_fairkey()), "{}", row.name);
    }
}
