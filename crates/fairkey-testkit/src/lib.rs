#![doc = include_str!("../README.md")]

pub mod generate;
pub mod law;
mod model;
pub mod simulate;
mod spy;
mod stage;
pub mod wrong;

pub use law::{LawBroken, Verdict, assert_broken, assert_holds};
pub use model::{LeaseId, PoolModel};
pub use spy::{Spy, SpyGate, SpyReport, Twice};
pub use stage::{Stage, Step, Wanted};

/// What a file of property tests wants in scope.
///
/// The traits of fairkey are here by name. proptest has a `Strategy` too: it is in scope for its
/// methods and has no name, so that `Strategy` means ours.
pub mod prelude {
    pub use fairkey_core::{Ask, Candidate, Gate, Key, Outcome, Pool, Strategy, Turn};
    pub use proptest::prelude::{
        Arbitrary, Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_assert_ne,
        prop_oneof, proptest,
    };
    pub use proptest::strategy::Strategy as _;

    pub use crate::{PoolModel, Stage, assert_broken, assert_holds, generate, law};
}
