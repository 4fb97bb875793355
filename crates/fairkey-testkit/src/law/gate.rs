//! Laws of gates. Each takes a function that makes the gate afresh.
//!
//! | law | who must obey |
//! | --- | --- |
//! | [`check_has_no_effect`] | all |
//! | [`narrow_agrees_with_check`] | all |
//! | [`enter_agrees_with_check`] | all |
//! | [`until_is_honest`] | all |
//! | [`enter_and_leave_balance`] | all |
//! | [`enter_and_leave_balance_across_threads`] | all |
//! | [`picks_twice_loses_no_permit`] | all |
//! | [`opens_again`] | all whose denials time and success can end |
//! | [`survives_reload`], [`a_new_key_inherits_nothing`] | all |
//! | [`only_own_scope_is_heard`] | what hears some scopes |
//! | [`never_shrinks_without_evidence`] | what closes until a time |
//! | [`closes_its_key_and_no_other`] | what closes a key |
//! | [`closes_its_account_and_no_other`] | what closes an account |
//! | [`closes_everything`] | what closes all keys at once |
//! | [`at_most_one_probe`], [`stragglers_change_nothing`] | breakers |
//! | [`never_more_than`], [`never_more_than_per_account`] | caps |
//! | [`keeps_its_limits`], [`admits_what_fits`] | limiters |
//!
//! [`check`] runs all laws that every gate must obey, and [`check_breaker`] those of breakers:
//!
//! ```
//! use std::sync::Arc;
//! use fairkey_testkit::law;
//! # use fairkey_testkit::wrong;
//!
//! law::assert_holds(law::gate::check(|| Arc::new(wrong::Cap::new(2, None))));
//! ```
//!
//! Some laws compare two gates that saw the same: a gate that draws lots must take its seed from
//! the function that makes it.

mod balance;
mod breaker;
mod cap;
mod closing;
mod door;
mod honest;
mod limit;
mod reload;

pub use balance::{
    enter_and_leave_balance, enter_and_leave_balance_across_threads, only_own_scope_is_heard,
    opens_again, picks_twice_loses_no_permit,
};
pub use breaker::{at_most_one_probe, stragglers_change_nothing};
pub use cap::{never_more_than, never_more_than_per_account};
pub use closing::{
    closes_everything, closes_its_account_and_no_other, closes_its_key_and_no_other,
    never_shrinks_without_evidence,
};
pub use honest::{
    check_has_no_effect, enter_agrees_with_check, narrow_agrees_with_check, until_is_honest,
};
pub use limit::{Limited, admits_what_fits, keeps_its_limits};
pub use reload::{a_new_key_inherits_nothing, survives_reload};

use std::sync::Arc;

use fairkey_core::Gate;

use super::Verdict;

/// Runs the laws that every gate must obey.
///
/// # Errors
///
/// The first law that is broken.
pub fn check(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    check_of_all(&make)?;
    a_new_key_inherits_nothing(&make)
}

/// Runs the laws that every gate must obey, but for [`a_new_key_inherits_nothing`], which no gate
/// can that has one state for all keys.
///
/// # Errors
///
/// The first law that is broken.
pub fn check_of_all(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    check_has_no_effect(&make)?;
    narrow_agrees_with_check(&make)?;
    enter_agrees_with_check(&make)?;
    until_is_honest(&make)?;
    enter_and_leave_balance(&make)?;
    enter_and_leave_balance_across_threads(&make)?;
    picks_twice_loses_no_permit(&make)?;
    opens_again(&make)?;
    survives_reload(&make)
}

/// Runs the laws that every breaker must obey: those of all gates, and its own.
///
/// # Errors
///
/// The first law that is broken.
pub fn check_breaker(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    check(&make)?;
    never_shrinks_without_evidence(&make)?;
    at_most_one_probe(&make)?;
    stragglers_change_nothing(&make)
}
