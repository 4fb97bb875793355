//! Learned ceilings: the rules one by one, the laws of gates, and whether they converge.

mod laws;
mod rules;
#[expect(unreachable_pub, dead_code, reason = "an example uses it too")]
mod sim;
