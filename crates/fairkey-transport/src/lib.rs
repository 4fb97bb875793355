#![doc = include_str!("../README.md")]

mod body;
mod connect;
mod deadlines;
mod error;
mod exchange;
mod failure;
mod hop_by_hop;
mod http_transport;
mod pool;
mod proxy;
mod request_body;
mod stats;
mod target;
mod tls;
mod transport;

pub use self::body::{Body, collect_bounded};
pub use self::connect::{ByteStream, Dial};
pub use self::deadlines::Deadlines;
pub use self::error::{BoxError, Phase, TransportBuildError, TransportError, TransportErrorKind};
pub use self::hop_by_hop::{is_hop_by_hop, strip_hop_by_hop};
pub use self::http_transport::{HttpTransport, HttpTransportBuilder};
pub use self::proxy::ProxyOptions;
pub use self::request_body::StreamedBody;
pub use self::stats::Stats;
pub use self::tls::{Roots, TlsOptions};
pub use self::transport::Transport;
