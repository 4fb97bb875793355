//! The laws themselves are tested here: each holds for something sound, and each is seen broken by
//! something that is wrong on purpose.

mod flawed_gates;
mod flawed_limiters;
mod flawed_strategies;
mod generators;
mod simulate;
mod verdicts;
