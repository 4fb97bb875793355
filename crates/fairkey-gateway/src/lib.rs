#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! | module | has |
//! | --- | --- |
//! | `gateway` | what all connections share, and how it is built |
//! | `settings` | what can be set |
//! | `server` | listeners, their connections, and how they end |
//! | `lifecycle` | whether calls are taken, and which are under way |
//! | `admin` | what operators may ask, and say |
//! | `endpoint` | which path is what: inference, job, file, catalogue, administration |
//! | `dispatch` | one request, from its head to its answer |
//! | `catalogue` | answers that are the same for everybody |
//! | `homes` | which key made what |
//! | `headers` | which headers travel, which way |
//! | `relay` | answers on their way to the caller: streams, broken ones, callers that leave |
//! | `reply` | what the gateway says itself, in the caller's own format |
//! | `tenant` | client tokens, and what each may do |
//! | `spend` | what was spent, by tenant, key and model, over restarts |
//! | `guard` | who may ask at all: `Host` and `Origin` |
//! | `limits` | bounds against abuse, and shapes that could be read in two ways |
//! | `report` | what is learned of one request, until it is over |
//! | `record` | one request that is over, as metrics and the access log hear of it |
//! | `metrics` | counts, and their text for Prometheus |
//! | `access_log` | one line of JSON for each request |
//! | `trace` | where a request belongs in a trace of its caller |
//! | `otlp` | spans and metrics for a collector of OpenTelemetry |

mod access_log;
mod admin;
mod catalogue;
mod dispatch;
mod endpoint;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod guard;
mod headers;
mod homes;
mod lifecycle;
mod limits;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod record;
mod relay;
mod reply;
mod report;
mod server;
mod settings;
mod spend;
mod tenant;
mod trace;

pub use access_log::AccessLog;
pub use admin::{AdminConfig, Reloading};
pub use endpoint::Operation;
pub use gateway::{Bookkeeper, Gateway, GatewayBuilder};
pub use guard::{Admitted, Cors, Guard, GuardError, Origins};
pub use limits::ServerLimits;
pub use metrics::{Metrics, MetricsConfig, MetricsText};
#[cfg(feature = "otlp")]
pub use otlp::{Otlp, OtlpConfig};
pub use record::{CallRecord, Observer};
pub use relay::{End, Ended};
pub use reply::{BrokenStream, Failure, Format, MAX_RETRY_WAIT, Origin, Reason};
pub use server::{Drained, ListenAddr, Listener, ParseListenAddrError, Serving};
#[cfg(feature = "tls")]
pub use server::{Tls, TlsError};
pub use settings::{Departure, Settings};
pub use spend::{SpendConfig, SpendError, SpendRow, SpendStore};
pub use tenant::{
    ANYBODY, Budget, Globs, ParseTokenHashError, Per, Permit, Rate, TOKEN_HEADERS, Tenant,
    TenantConfig, TenantError, TenantLimits, Tenants, TokenHash, Used,
};
pub use trace::TraceParent;
