//! Published results hold for shorter runs, too, and each run gives the same.

use std::sync::OnceLock;

use fairkey_scenarios::anchors::{ANCHORS, Gate, Length, Row};

/// The rows of an anchor, played once for all tests.
fn rows(wanted: &str) -> &'static [Row] {
    static PLAYED: [OnceLock<Vec<Row>>; ANCHORS.len()] = [const { OnceLock::new() }; ANCHORS.len()];
    let at = ANCHORS
        .iter()
        .position(|(name, _)| *name == wanted)
        .unwrap();
    PLAYED[at].get_or_init(|| play(wanted))
}

fn play(wanted: &str) -> Vec<Row> {
    let (_, rows) = ANCHORS
        .into_iter()
        .find(|(name, _)| *name == wanted)
        .unwrap();
    rows(Length::Short)
}

#[track_caller]
fn every_gate_holds(rows: &[Row]) {
    let gates = rows.iter().filter(|row| row.gate != Gate::None).count();
    assert!(gates > 0, "an anchor has a gate");
    for row in rows {
        assert!(row.holds(), "{row}");
    }
}

#[test]
fn one_slow_server_costs_what_was_published() {
    every_gate_holds(rows("slow_backend"));
}

#[test]
fn two_choices_wait_as_long_as_theory_says() {
    every_gate_holds(rows("supermarket"));
}

#[test]
fn jitter_saves_as_many_calls_as_was_published_and_each_run_gives_the_same() {
    every_gate_holds(rows("jitter"));
    assert_eq!(rows("jitter"), play("jitter"));
}

#[test]
fn the_retry_budget_bounds_the_load_at_any_rate_of_failure() {
    every_gate_holds(rows("retries"));
}

#[test]
fn hot_cold_avoids_slow_servers_and_is_not_for_equal_ones() {
    every_gate_holds(rows("prequal"));
    assert_eq!(rows("prequal"), play("prequal"));
}

#[test]
fn headroom_is_refused_least_of_all() {
    every_gate_holds(rows("accounts"));
    assert_eq!(rows("accounts"), play("accounts"));
}

#[test]
fn a_gate_that_is_broken_says_so() {
    let row = |ours, gate| Row {
        anchor: "a",
        what: "b".into(),
        published: Some(2.0),
        ours,
        gate,
        digits: 1,
    };
    for (ours, gate, holds) in [
        (2.3, Gate::Within(0.3), true),
        (2.4, Gate::Within(0.3), false),
        (1.91, Gate::WithinPart(0.05), true),
        (1.8, Gate::WithinPart(0.05), false),
        (1.0, Gate::AtMost(1.0), true),
        (1.1, Gate::AtMost(1.0), false),
        (1.0, Gate::MoreThan(1.0), false),
        (f64::NAN, Gate::AtMost(1.0), false),
        (9.0, Gate::None, true),
    ] {
        let row = row(ours, gate);
        assert_eq!(row.holds(), holds, "{row}");
        assert_eq!(row.to_string().contains("BROKEN"), !holds);
    }
}

#[test]
fn the_book_has_a_row_for_each_row_of_the_table() {
    let book = include_str!("../../docs/src/simulation.md");
    for row in ANCHORS.into_iter().flat_map(|(name, _)| rows(name)) {
        let start = format!("| {} | {} | ", row.anchor, row.what);
        assert!(
            book.contains(&start),
            "print the table anew: {start:?} is not in the book"
        );
    }
}
