//! What must hold for every row of the table of faults.

use fairkey_scenarios::faults::{Row, rows};
use fairkey_scenarios::load::Tally;

fn play<F: Future<Output = Tally>>(run: F) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(run)
}

#[test]
fn no_error_is_ever_handed_over_as_an_answer() {
    for row in rows() {
        let tally = play(row.with_fairkey());
        assert_eq!(tally.deceived, 0, "{}", row.name);
        assert_eq!(tally.answered + tally.failed, tally.calls, "{}", row.name);
    }
}

#[test]
fn what_the_request_is_to_blame_for_is_sent_once() {
    for row in rows().into_iter().filter(|row: &Row| !row.curable) {
        let tally = play(row.with_fairkey());
        assert_eq!(tally.upstream, tally.calls, "{}", row.name);
    }
}

#[test]
fn the_same_row_gives_the_same_run() {
    for row in rows().into_iter().step_by(7) {
        let (first, second) = (play(row.with_fairkey()), play(row.with_fairkey()));
        assert_eq!(first, second, "{}", row.name);
    }
}
