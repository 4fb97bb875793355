//! Strategies and gates that are wrong on purpose, to see the laws fail.
//!
//! Each is a small sound thing with one flaw to choose; without a flaw (`None`) it obeys every
//! law that it should. The flaws are those that systems of this kind have had.

mod gate;
mod limiter;
mod strategy;

pub use gate::{Cap, CapFlaw, Prober, ProberFlaw, Rest, RestFlaw};
pub use limiter::{Limiter, LimiterFlaw};
pub use strategy::{
    Least, LeastFlaw, Rotation, RotationFlaw, Sessions, SessionsFlaw, Wrapper, WrapperFlaw,
};
