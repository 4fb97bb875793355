//! The catalogue: the models that OpenRouter offers, who serves them, and what they cost.
//!
//! All of it is read leniently: an odd member costs only itself, and what this version does not
//! know is kept. Fetching is somebody else's affair.

mod endpoint;
mod filter;
mod model;
mod pricing;
mod provider;

pub use endpoint::{Endpoint, ModelEndpoints, Statistics, ZdrEndpoints};
pub(crate) use filter::per_million;
pub use filter::{ModelFilter, ModelOrder};
pub use model::{AliasTarget, Architecture, Model, ModelList, ModelReasoning, TopProvider};
pub(crate) use pricing::amount as price_amount;
pub use pricing::{Conditions, Pricing, PricingOverride};
pub use provider::{Provider, ProviderList};
