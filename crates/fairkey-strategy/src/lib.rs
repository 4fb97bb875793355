#![doc = include_str!("../README.md")]

mod breaker;
mod ceilings;
mod cooldown;
mod group;
mod headroom;
mod hot_cold;
mod latency;
mod least_in_flight;
mod limits;
mod max_in_flight;
mod model_breaker;
mod peak_ewma;
mod power_of_two;
pub mod queue;
mod recovery;
mod round_robin;
mod smooth_weighted;
mod status;
mod sticky;
mod switch;
mod window;

pub use breaker::{BreakerConfig, BreakerConfigError, SlidingWindowBreaker};
pub use ceilings::{Ceilings, CeilingsConfig, Excess, Learned, LearnedGroup, Refusal};
pub use cooldown::{Cooldown, CooldownConfig, Due, Why, is_free_model};
pub use group::Group;
pub use headroom::Headroom;
pub use hot_cold::HotColdLexicographic;
pub use least_in_flight::WeightedLeastInFlight;
pub use limits::{
    Dimension, Limit, LimitAccount, LimitBar, LimitError, LimitGroup, LimitOwner, LimitSet,
    LimitUse, LimitWords, Limits, LimitsConfig, Usage,
};
pub use max_in_flight::MaxInFlight;
pub use model_breaker::{ModelBreaker, ModelBreakerConfig, ModelBreakerConfigError, ModelStatus};
pub use peak_ewma::PeakEwma;
pub use power_of_two::PowerOfTwo;
pub use round_robin::RoundRobin;
pub use smooth_weighted::SmoothWeighted;
pub use status::{Health, Status};
pub use sticky::Sticky;
pub use switch::{Pinnable, Switch};
