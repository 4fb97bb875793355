//! The mock over real sockets.

mod auth;
mod batches;
mod behavior;
mod cache;
mod cancel;
mod catalog;
mod chance;
mod clock;
mod endpoints;
mod faults;
mod garbage;
mod http2;
mod limits;
mod management;
mod media;
mod money;
mod reading;
mod routing;
mod scenario;
mod script;
mod server;
mod skins;
mod stream;
mod support;
