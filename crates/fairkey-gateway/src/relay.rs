//! Answers on their way to the caller.
