//! Client tokens, and what each may do.
