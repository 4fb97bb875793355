//! Whole stacks on virtual time: the real client, the real transport and the mock, in one process
//! and without a socket. A minute takes milliseconds, and the same seed gives the same run.
//!
//! - [`world`]: the mock, a transport into it, and its time of day.
//! - [`caller`]: who calls: fairkey, or a [hand-written key pool](three_strikes).
//! - [`load`]: calls at a steady rate while things happen, and what came of them.
//! - [`faults`]: one scenario for each row of the table of faults.
//! - [`goodput`]: how much of what accounts allow is had, over a [`network`] that takes its time.
//! - [`anchors`]: published results, reproduced by simulation around the real policy code.

pub mod anchors;
pub mod caller;
pub mod faults;
pub mod goodput;
pub mod load;
pub mod network;
pub mod three_strikes;
pub mod world;

/// Runs the program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
