//! The client against a scripted transport, on tokio's paused time.

mod account;
mod budget;
mod cancel;
mod faults;
mod map;
mod scripted;
mod secrets;
mod send;
mod streams;
mod waiting;
