//! Laws of strategies. Each takes a function that makes the strategy afresh.
//!
//! | law | who must obey |
//! | --- | --- |
//! | [`only_offered_keys`] | all |
//! | [`some_key_whenever_one_is_offered`] | all that never decline |
//! | [`asks_again_after_a_refusal`] | the same |
//! | [`counts_return_to_zero`] | all |
//! | [`survives_reload`] | all |
//! | [`even_share`] | what rotates |
//! | [`one_key_down_leaves_the_others_even`] | what treats equal keys alike |
//! | [`ties_are_broken_evenly`] | the same |
//! | [`share_follows_weight`] | what heeds weights |
//! | [`sessions_keep_their_key`] | what heeds affinity |
//! | [`wrapper_forwards`], [`wrapper_loses_no_permit`] | what wraps another strategy |
//!
//! [`check`] runs all laws that every strategy must obey:
//!
//! ```
//! use fairkey_testkit::law;
//! # use fairkey_testkit::prelude::*;
//! # #[derive(Debug)]
//! # struct MyStrategy;
//! # impl Strategy for MyStrategy {
//! #     fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> { turn.random() }
//! # }
//!
//! law::assert_holds(law::strategy::check(|| Box::new(MyStrategy)));
//! ```
//!
//! A strategy takes its chance from [`Turn::chance`](fairkey_core::Turn::chance) or from a seed
//! that the function gives it: some laws compare two runs.

mod offer;
mod share;
mod state;
mod wrapper;

pub use offer::{asks_again_after_a_refusal, only_offered_keys, some_key_whenever_one_is_offered};
pub use share::{
    even_share, one_key_down_leaves_the_others_even, sessions_keep_their_key, share_follows_weight,
    ties_are_broken_evenly,
};
pub use state::{counts_return_to_zero, survives_reload};
pub use wrapper::{wrapper_forwards, wrapper_loses_no_permit};

use fairkey_core::Strategy;

use super::Verdict;

/// Runs the laws that every strategy must obey.
///
/// # Errors
///
/// The first law that is broken.
pub fn check(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    check_decliner(&make)?;
    some_key_whenever_one_is_offered(&make)?;
    asks_again_after_a_refusal(&make)
}

/// Runs the laws that a strategy must obey which declines some calls on purpose, although a key
/// is offered.
///
/// # Errors
///
/// The first law that is broken.
pub fn check_decliner(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    only_offered_keys(&make)?;
    counts_return_to_zero(&make)?;
    survives_reload(&make)
}
