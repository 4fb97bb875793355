//! Which headers travel, which way.
