//! What the gateway counts.
