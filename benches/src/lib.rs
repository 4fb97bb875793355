//! What the benches share: [`measure`], figures as ratios to a baseline of the same run.
//!
//! Machines are shared and noisy: a time alone says little. So a subject and its baseline are run
//! in turns, many short rounds each, and what is told is the ratio of the quick ones.

pub mod measure;
