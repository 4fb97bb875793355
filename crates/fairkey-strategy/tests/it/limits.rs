//! Limits: never above, up to the last one, and honest about when.

mod changes;
mod laws;
mod load;
mod rules;
