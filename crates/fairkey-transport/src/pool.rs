//! Connections by origin.
//!
//! hyper-util's pooled client keeps one HTTP/2 connection per origin. With a peer that allows 10
//! streams at once, call 11 then waits for one of the 10, and calls that answer for minutes make
//! such queues long. So the pool is our own: it counts the streams of every connection, learns the
//! peer's limit from its SETTINGS, and opens another connection when all are full.
//!
//! One [`OriginPool`] holds the state of one origin behind one short lock. Calls take a [`Lease`]
//! and give it back by dropping it; a call that finds nothing free waits in line. One task per
//! connection (see [`driver`]) ends with it; there is no other task, and none for a call. With HTTP/1.1 it is the call
//! that drives its connection, and the task only watches it while it is idle.

mod arriving;
mod driver;
mod lease;
mod origin;
mod state;
#[cfg(feature = "http2")]
mod upload;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

pub(crate) use self::arriving::Arriving;
pub(crate) use self::lease::{Broken, Lease};
use self::origin::OriginPool;
use crate::connect::Connector;
use crate::stats::Counters;
use crate::target::Origin;
use crate::{TransportError, TransportErrorKind};

/// Bounds of the pool, all of them checked when the transport is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections_per_origin: usize,
    #[cfg(feature = "http2")]
    pub(crate) streams_per_connection: usize,
    pub(crate) waiting_per_origin: usize,
    pub(crate) origins: usize,
    pub(crate) head_bytes: usize,
    pub(crate) idle_timeout: Duration,
    #[cfg(feature = "http2")]
    pub(crate) ping_interval: Option<Duration>,
}

/// All origins of one transport.
pub(crate) struct Pool {
    connector: Arc<Connector>,
    limits: Limits,
    pub(crate) counters: Arc<Counters>,
    origins: Mutex<HashMap<Arc<Origin>, Arc<OriginPool>, RandomState>>,
}

impl Pool {
    pub(crate) fn new(connector: Connector, limits: Limits) -> Self {
        Self {
            connector: Arc::new(connector),
            limits,
            counters: Arc::default(),
            origins: Mutex::default(),
        }
    }

    /// Returns a connection or a stream to `origin`, waiting for one if need be.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped leaves the line; a connection that was being opened for it is kept
    /// for others.
    pub(crate) async fn acquire(
        &self,
        origin: &Arc<Origin>,
        connect: Duration,
    ) -> Result<Lease, TransportError> {
        self.origin(origin)?.acquire(connect).await
    }

    /// Returns a connection or a stream to `origin` that is free `now`, where nobody waits for one.
    pub(crate) fn free(
        &self,
        origin: &Arc<Origin>,
        now: Instant,
    ) -> Result<Option<Lease>, TransportError> {
        Ok(self.origin(origin)?.free(now))
    }

    fn origin(&self, origin: &Arc<Origin>) -> Result<Arc<OriginPool>, TransportError> {
        let mut origins = lock(&self.origins);
        if let Some(found) = origins.get(origin) {
            return Ok(Arc::clone(found));
        }
        if origins.len() >= self.limits.origins {
            origins.retain(|_, pool| !pool.is_unused());
        }
        if origins.len() >= self.limits.origins {
            let message = "too many origins are in use at once; raise the bound, or build a \
                           transport per group of origins";
            return Err(TransportError::new(TransportErrorKind::Overloaded, message));
        }
        let pool = Arc::new(OriginPool::new(
            Arc::clone(origin),
            Arc::clone(&self.connector),
            self.limits,
            Arc::clone(&self.counters),
        ));
        origins.insert(Arc::clone(origin), Arc::clone(&pool));
        Ok(pool)
    }
}

impl Drop for Pool {
    /// Closes what is idle; exchanges under way go on to their end.
    fn drop(&mut self) {
        for (_, pool) in std::mem::take(&mut *lock(&self.origins)) {
            pool.close();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("connector", &self.connector)
            .field("limits", &self.limits)
            .field("stats", &self.counters.read())
            .finish_non_exhaustive()
    }
}

/// Locks without the detour over poison: no code of ours panics while it holds a lock, and a drop
/// must not.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
