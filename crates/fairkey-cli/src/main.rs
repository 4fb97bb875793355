//! The fairkey binary.
fn main() {}
