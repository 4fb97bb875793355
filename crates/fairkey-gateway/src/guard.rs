//! Who may ask at all: `Host` and `Origin`.
