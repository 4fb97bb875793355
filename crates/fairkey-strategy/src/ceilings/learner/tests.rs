//! What a refusal is blamed on.

use super::*;

const WINDOW: u64 = 60_000_000_000;

/// So much is used when a call of 800 tokens is refused, in the window of that number.
fn seen(requests: u64, tokens: u64, window: u64) -> Seen {
    let now = window * WINDOW;
    Seen {
        used: [requests + 1, tokens + 800, 1, 0],
        need: [1, 800, 1, 0],
        begun: now - WINDOW / 60,
        now,
        window: WINDOW,
    }
}

fn refuse(learner: &mut Learner, requests: u64, tokens: u64, window: u64) {
    let config = CeilingsConfig::default();
    // Calls at a time are above suspicion.
    learner.innocent = 1_000;
    let seen = seen(requests, tokens, window);
    learner.refused(&seen, Excess::Unsaid, None, None, &config);
}

fn amounts(learner: &Learner) -> [Option<u64>; 2] {
    [REQUESTS, TOKENS].map(|at| Some(learner.ceilings[at]?.amount))
}

#[test]
fn what_is_refused_at_the_same_count_again_is_blamed_alone() {
    let mut learner = Learner::new();
    refuse(&mut learner, 600, 480_000, 1);
    assert_eq!(amounts(&learner), [Some(600), Some(480_000)], "either");
    // What was once blamed with something else is tried soon, and what is likelier is not.
    let mut now = WINDOW;
    while now < 2 * WINDOW {
        now += WINDOW / LOOKS;
        let used = [600, learner.ceilings[TOKENS].unwrap().amount, 1, 0];
        learner.look(&used, now, WINDOW, &CeilingsConfig::default());
    }
    let [requests, tokens] = amounts(&learner).map(Option::unwrap);
    assert!(requests <= 610 && tokens >= 700_000, "{requests} {tokens}");
    refuse(&mut learner, 600, 520_000, 3);
    let [requests, after] = amounts(&learner).map(Option::unwrap);
    assert_eq!((requests, after), (600, tokens), "requests it was");
}

#[test]
fn what_is_refused_at_fewer_requests_is_blamed_on_its_tokens() {
    let mut learner = Learner::new();
    refuse(&mut learner, 150, 100_000, 1);
    refuse(&mut learner, 110, 101_000, 3);
    let [requests, tokens] = amounts(&learner).map(Option::unwrap);
    assert_eq!(requests, 150);
    assert!((90_000..=101_000).contains(&tokens), "{tokens}");
    assert!(learner.ceilings[TOKENS].unwrap().is_sure);
}

#[test]
fn a_ceiling_that_is_tried_grows_a_step_at_a_time() {
    let mut learner = Learner::new();
    refuse(&mut learner, 600, 480_000, 1);
    // A look long after the last: nothing is known of what lies in between.
    let config = CeilingsConfig::default();
    for n in 2..4 {
        let before = learner.ceilings[TOKENS].unwrap().amount;
        learner.look(&[600, before, 1, 0], n * 9 * WINDOW, WINDOW, &config);
        let after = learner.ceilings[TOKENS].unwrap().amount;
        assert!(after <= before + before / 4 + 1, "{before} {after}");
    }
}
