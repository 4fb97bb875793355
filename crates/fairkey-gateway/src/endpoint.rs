//! Which path is what.
