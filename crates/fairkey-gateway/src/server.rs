//! The listener, its connections, and how they end.
