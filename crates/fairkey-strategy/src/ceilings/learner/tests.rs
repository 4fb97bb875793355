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
        ratio: 1.0,
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
    assert_eq!(learner.ceilings[TOKENS].unwrap().alone, 1);
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

/// Of an account that is refused at 600 requests, calls of 480,000 tokens on average: after a window
/// in which they had more, no number of tokens below that is blamed.
#[test]
fn what_was_accepted_before_is_not_blamed() {
    let mut learner = Learner::new();
    refuse(&mut learner, 600, 480_000, 1);
    learner.prove([600, 560_000, 1]);
    for window in 3..9 {
        refuse(&mut learner, 600, 470_000 + 1_000 * window, window);
        let [requests, tokens] = amounts(&learner).map(Option::unwrap);
        assert!((540..=600).contains(&requests), "{requests}");
        assert_eq!(tokens, 480_000, "of window {window}");
    }
    let alone = [REQUESTS, TOKENS].map(|at| learner.ceilings[at].unwrap().alone);
    assert_eq!(alone, [6, 0]);
}

#[test]
fn what_nothing_explains_is_a_guess_and_no_evidence() {
    let mut learner = Learner::new();
    learner.prove([600, 900_000, 1]);
    refuse(&mut learner, 300, 200_000, 1);
    assert!(learner.is_guess);
    let alone = learner.ceilings.iter().flatten().map(|it| it.alone);
    assert_eq!(alone.sum::<u32>(), 0);
}

/// Ten calls in a burst, of which those that arrived last are refused: whoever was sent last and
/// arrived in time has seen all ten.
#[test]
fn calls_that_were_refused_do_not_prove_that_so_many_fit() {
    let mut learner = Learner::new();
    let config = CeilingsConfig::default();
    let begun = |n: u64| 5 * WINDOW + n * WINDOW / 100_000;
    for n in [3, 5, 8] {
        let seen = Seen {
            begun: begun(n),
            ..seen(10, 8_000, 5)
        };
        learner.refused(&seen, Excess::Unsaid, None, None, &config);
    }
    let levels = |n| learner.without_refused([n + 1, 800 * (n + 1), n + 1], begun(n));
    assert_eq!(levels(9), [7, 5_600, 10]);
    assert!(levels(2)[REQUESTS] <= 3);
    let long_after = learner.without_refused([10, 8_000, 1], 7 * WINDOW);
    assert_eq!(long_after, [10, 8_000, 1]);
}

/// Of 100 calls, 50 under way hold twice what they will use: 150 shares are counted where 100 are.
#[test]
fn reservations_of_calls_under_way_are_read_as_what_they_will_use() {
    assert_eq!(really(150_000, 100, 50, 0.5), 100_000);
    assert_eq!(really(150_000, 100, 0, 0.5), 150_000);
    assert_eq!(really(75_000, 100, 50, 2.0), 100_000);
    assert_eq!(really(700, 0, 0, 0.5), 700);
}
