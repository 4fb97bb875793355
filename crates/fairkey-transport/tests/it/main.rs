//! The transport against real sockets on loopback.

mod deadlines;
mod http1;
#[cfg(feature = "http2")]
mod http2;
#[cfg(feature = "http2")]
mod http2_cancel;
#[cfg(feature = "http2")]
mod http2_endings;
#[cfg(feature = "http2")]
mod http2_flow;
#[cfg(feature = "http2")]
mod http2_goaway;
#[cfg(feature = "http2")]
mod http2_turns;
mod joined;
mod limits;
mod proxy;
mod secrets;
mod server;
mod settling;
mod streamed;
mod tls;
