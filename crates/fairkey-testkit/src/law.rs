//! The laws: what every [`Strategy`](fairkey_core::Strategy) and every
//! [`Gate`](fairkey_core::Gate) must obey, as functions that a test calls.
//!
//! A law takes a function that makes the thing under test, tries it on generated pools, asks and
//! sequences of calls, and returns `Ok` or a [`LawBroken`] with the smallest input that breaks it.
//! It returns instead of panicking so that a test can also see a law broken, by something that is
//! wrong on purpose: [`assert_broken`].
//!
//! Two environment variables steer all laws: `FAIRKEY_LAW_CASES` is how many inputs a law tries
//! (default 64; a quarter of that where each takes thousands of calls), `FAIRKEY_LAW_SEED` is where
//! the inputs come from (default 0). The same seed gives the same inputs in every run.

use std::fmt;

use proptest::strategy::Strategy as Generator;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

pub mod gate;
pub mod strategy;

/// What a law says: `Ok`, or how it is broken.
pub type Verdict = Result<(), LawBroken>;

/// A law that does not hold, with the smallest input found that breaks it.
///
/// `Debug` prints the same as `Display`, so that `unwrap` and a test that returns it read well.
#[derive(Clone)]
pub struct LawBroken {
    law: &'static str,
    reason: String,
    input: Option<String>,
    seed: u64,
}

impl LawBroken {
    /// Returns the name of the law: the function's.
    #[must_use]
    pub fn law(&self) -> &'static str {
        self.law
    }

    /// Returns what was seen, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the smallest input found that breaks the law, as `Debug` prints it. `None` for a
    /// law that has no input.
    #[must_use]
    pub fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }

    /// Returns the seed of the inputs: the same seed shows the same failure.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl fmt::Display for LawBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law `{}` is broken: {}", self.law, self.reason)?;
        if let Some(input) = &self.input {
            write!(f, "\nsmallest input that shows it: {input}")?;
            write!(f, "\nto see it again: FAIRKEY_LAW_SEED={}", self.seed)?;
        }
        Ok(())
    }
}

impl fmt::Debug for LawBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for LawBroken {}

/// Asserts that a law holds.
///
/// # Panics
///
/// With everything that is known of the failure, where it does not.
#[track_caller]
pub fn assert_holds(verdict: Verdict) {
    if let Err(broken) = verdict {
        panic!("{broken}");
    }
}

/// Asserts that the law called `law` is broken, and no other: what a test of something that is
/// wrong on purpose wants.
///
/// # Panics
///
/// Where the law holds, or another one is broken.
#[track_caller]
pub fn assert_broken(verdict: Verdict, law: &str) {
    match verdict {
        Ok(()) => panic!("law `{law}` holds for something that is wrong on purpose"),
        Err(broken) => assert_eq!(broken.law(), law, "{broken}"),
    }
}

/// Tries `test` on every input that `inputs` generates, and shrinks the first that fails. A panic
/// fails too.
pub(crate) fn for_all<G: Generator>(
    law: &'static str,
    inputs: &G,
    test: impl Fn(&G::Value) -> Result<(), String>,
) -> Verdict {
    for_one_in(1, law, inputs, test)
}

/// Tries `test` on one in `part` as many inputs: for laws that make thousands of calls for each.
pub(crate) fn for_one_in<G: Generator>(
    part: u64,
    law: &'static str,
    inputs: &G,
    test: impl Fn(&G::Value) -> Result<(), String>,
) -> Verdict {
    let seed = from_env("FAIRKEY_LAW_SEED", 0);
    let config = Config {
        cases: u32::try_from(from_env("FAIRKEY_LAW_CASES", 64).div_ceil(part)).unwrap_or(u32::MAX),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let run =
        TestRunner::new(config).run(inputs, |input| test(&input).map_err(TestCaseError::fail));
    run.map_err(|error| match error {
        TestError::Fail(reason, input) => LawBroken {
            law,
            reason: reason.message().to_owned(),
            input: Some(format!("{input:#?}")),
            seed,
        },
        TestError::Abort(reason) => LawBroken {
            law,
            reason: format!("no input could be made: {}", reason.message()),
            input: None,
            seed,
        },
    })
}

/// Tries `test` once: for laws of which every input would be the same.
pub(crate) fn once(law: &'static str, test: impl FnOnce() -> Result<(), String>) -> Verdict {
    test().map_err(|reason| LawBroken {
        law,
        reason,
        input: None,
        seed: 0,
    })
}

/// Says in words what is wrong, unless `holds`.
pub(crate) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn from_env(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    match text.parse() {
        Ok(number) => number,
        Err(_) => panic!("{name} is {text:?}: it takes a whole number"),
    }
}
