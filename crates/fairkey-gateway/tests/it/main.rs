//! Whole servers over real sockets, in front of the mock.
