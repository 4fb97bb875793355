//! Runs the programs of the book as tests: each chapter with code is documentation of a module.

#[doc = include_str!("src/writing-a-strategy.md")]
#[doc(hidden)]
pub mod writing_a_strategy {}

#[doc = include_str!("src/writing-a-gate.md")]
#[doc(hidden)]
pub mod writing_a_gate {}

#[doc = include_str!("src/testing-against-the-mock.md")]
#[doc(hidden)]
pub mod testing_against_the_mock {}

#[doc = include_str!("src/coming-from-a-key-pool.md")]
#[doc(hidden)]
pub mod coming_from_a_key_pool {}
