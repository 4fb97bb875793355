use fairkey_core::{Cost, FaultKind};
use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(ms)
}

fn report(ended_ms: u64, outcome: Outcome, first_ms: Option<u64>) -> Report {
    Report {
        outcome,
        begun: at(ended_ms.saturating_sub(5_000)),
        first_content: first_ms.map(|ms| at(ended_ms.saturating_sub(5_000) + ms)),
        ended: at(ended_ms),
        reserved: Cost::default(),
        actual: Some(Cost {
            requests: 1,
            tokens: 3,
            micro_usd: 7,
        }),
    }
}

fn fault(scope: Scope) -> Outcome {
    Outcome::fault(scope, FaultKind::Failed)
}

fn minute(windows: &Windows, now_ms: u64) -> WindowStats {
    windows.sum(Span::Minute, at(now_ms)).stats()
}

#[test]
fn what_was_given_up_is_no_call_and_the_rest_is_counted_by_who_was_charged() {
    let mut windows = Windows::default();
    windows.record(&report(10_000, Outcome::Neutral, None));
    assert!(!windows.worked);
    windows.record(&report(10_000, fault(Scope::Key), None));
    windows.record(&report(10_000, fault(Scope::Request), None));
    windows.record(&report(10_000, Outcome::Success, Some(300)));
    let stats = minute(&windows, 12_000);
    assert_eq!(
        (stats.calls, stats.failed(), stats.failed_upstream()),
        (3, 2, 1)
    );
    assert_eq!(stats.charged_to(Scope::Key), 1);
    assert_eq!(stats.micro_usd, 21);
    assert_eq!(stats.timed, 1);
    assert!(windows.worked);
}

#[test]
fn a_minute_forgets_what_the_quarter_remembers() {
    let mut windows = Windows::default();
    windows.record(&report(10_000, Outcome::Success, None));
    windows.record(&report(69_000, Outcome::Success, None));
    assert_eq!(minute(&windows, 69_999).calls, 2);
    assert_eq!(minute(&windows, 70_000).calls, 1);
    assert_eq!(minute(&windows, 900_000).calls, 0);
    let quarter = |now_ms| windows.sum(Span::Quarter, at(now_ms)).stats().calls;
    assert_eq!(quarter(899_999), 2);
    assert_eq!(quarter(900_000), 1);
    assert_eq!(quarter(9_000_000), 0);
}

#[test]
fn quantiles_are_those_of_the_calls_within_a_step_of_the_histogram() {
    let mut windows = Windows::default();
    for n in 1..=100 {
        windows.record(&report(10_000, Outcome::Success, Some(n * 10)));
    }
    let stats = minute(&windows, 10_000);
    let ms = |d: Duration| d.as_millis();
    assert!(
        (500..=750).contains(&ms(stats.first_content_p50)),
        "{stats:?}"
    );
    assert!(
        (950..=1_425).contains(&ms(stats.first_content_p95)),
        "{stats:?}"
    );
    windows.record(&report(10_000, Outcome::Success, Some(4_999)));
    assert_eq!(minute(&windows, 10_000).timed, 101);
}

fn of(calls: u64, failed: u64, p50_ms: u64) -> WindowStats {
    let mut stats = WindowStats {
        calls,
        timed: calls,
        first_content_p50: Duration::from_millis(p50_ms),
        ..WindowStats::default()
    };
    stats.faults[Scope::Provider as usize] = failed;
    stats
}

#[test]
fn a_key_that_fails_more_than_its_siblings_is_flagged() {
    let flagged = degraded(&of(40, 8, 500), &of(120, 4, 500));
    assert!(
        matches!(flagged, Some(Degraded::Failing { .. })),
        "{flagged:?}"
    );
    let slow = degraded(&of(40, 0, 1_281), &of(120, 0, 570));
    assert!(matches!(slow, Some(Degraded::Slow { .. })), "{slow:?}");
}

#[test]
fn a_key_that_does_as_its_siblings_do_is_not_flagged() {
    // Everybody suffers alike; too few calls; a few failures; a step of the histogram.
    for (own, siblings) in [
        (of(40, 20, 500), of(120, 50, 500)),
        (of(19, 19, 9_000), of(120, 0, 500)),
        (of(40, 20, 9_000), of(19, 0, 500)),
        (of(200, 4, 500), of(200, 0, 500)),
        (of(200, 15, 500), of(200, 0, 500)),
        (of(200, 0, 854), of(200, 0, 570)),
        (of(200, 0, 253), of(200, 0, 50)),
    ] {
        assert_eq!(degraded(&own, &siblings), None, "{own:?} {siblings:?}");
    }
}

proptest! {
    #[test]
    fn a_window_has_what_a_list_of_all_calls_has(
        calls in prop::collection::vec((0..2_000_000_u64, 0..11_usize), 0..200),
        later in 0..1_000_000_u64,
    ) {
        let mut calls = calls;
        calls.sort_unstable();
        let mut windows = Windows::default();
        for (ms, what) in &calls {
            let outcome = Scope::ALL.get(*what).map_or(Outcome::Success, |scope| fault(*scope));
            windows.record(&report(*ms, outcome, None));
        }
        let now = calls.last().map_or(0, |(ms, _)| *ms) + later;
        for (span, slice, slices) in [(Span::Minute, 10_000, 6), (Span::Quarter, 60_000, 15)] {
            let within = |ms: u64| ms / slice + slices > now / slice;
            let expected = calls.iter().filter(|(ms, _)| within(*ms)).count() as u64;
            let sum = windows.sum(span, at(now));
            prop_assert_eq!(sum.stats().calls, expected);
            prop_assert_eq!(sum.without(&sum).stats(), WindowStats::default());
        }
    }
}
