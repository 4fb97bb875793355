//! What all clones of a client share: [`Core`].

use std::fmt;
use std::sync::Arc;

use fairkey_core::{Candidate, KeyId, KeySet, Observer, Report, Seeds, WallClock};
use fairkey_openrouter::Fault;
use fairkey_strategy::{Ceilings, Cooldown, Limits};
use fairkey_transport::{Deadlines, Transport};
use http::HeaderMap;

use crate::activity::Records;
use crate::admission::Admission;
use crate::attribution::Attribution;
use crate::authorization::Authorizations;
use crate::catalog::Catalog;
use crate::estimate::Estimates;
use crate::gates::Gates;
use crate::hedge::Hedging;
use crate::knowledge::Knowledge;
use crate::origin::BaseUrl;
use crate::pace::PaceConfig;
use crate::standing::Standings;
use crate::state_file::StateFile;
use crate::stats::Counters;
use crate::{QueueConfig, RetryBudget, RetryConfig};

/// What all clones of a client share.
pub(crate) struct Core {
    pub(crate) admission: Arc<Admission>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) base: BaseUrl,
    /// Set where the caller sets none.
    pub(crate) headers: HeaderMap,
    /// What a call of plain JSON has whose caller sets none.
    pub(crate) json: HeaderMap,
    pub(crate) retry: RetryConfig,
    pub(crate) budget: RetryBudget,
    /// `None`: no call is hedged.
    pub(crate) hedging: Option<Hedging>,
    pub(crate) deadlines: Deadlines,
    pub(crate) queue: QueueConfig,
    pub(crate) max_body_bytes: usize,
    pub(crate) wall: Arc<dyn WallClock>,
    pub(crate) keyed: Arc<Keyed>,
    pub(crate) counters: Arc<Counters>,
    /// Of each account's free models, which a report does not tell from its others.
    pub(crate) free_models: Arc<Cooldown>,
    /// Before every selection, with limits or without.
    pub(crate) limits: Arc<Limits>,
    /// What is learned of limits that nobody told of; `None` where nothing is.
    pub(crate) ceilings: Option<Arc<Ceilings>>,
    pub(crate) seeds: Seeds,
    /// The default gates, where they stand.
    pub(crate) gates: Option<Gates>,
    pub(crate) knowledge: Arc<Knowledge>,
    pub(crate) pace: PaceConfig,
    pub(crate) state_file: Option<StateFile>,
    pub(crate) catalog: Catalog,
    pub(crate) estimates: Arc<Estimates>,
    /// What was wrong at the start, for whoever asks how keys stand.
    pub(crate) warnings: Vec<String>,
}

impl Core {
    #[cfg_attr(
        not(feature = "tracing"),
        expect(clippy::unused_self, reason = "only logs")
    )]
    pub(crate) fn log_fault(&self, key: &KeyId, fault: &Fault) {
        #[cfg(feature = "tracing")]
        tracing::debug!(
            %key,
            scope = fault.scope().as_str(),
            cause = fault.cause().as_str(),
            status = fault.status(),
            "an attempt failed"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = (key, fault);
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("pool", &self.admission.pool)
            .field("transport", &self.transport)
            .field("base_url", &self.base)
            .field("retry", &self.retry)
            .field("deadlines", &self.deadlines)
            .field("queue", &self.queue)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish_non_exhaustive()
    }
}

/// What is kept for each key beside the pool, and forgotten when a reload takes the key away.
#[derive(Debug, Default)]
pub(crate) struct Keyed {
    pub(crate) authorizations: Authorizations,
    pub(crate) counters: Arc<Counters>,
    pub(crate) records: Records,
    pub(crate) attribution: Attribution,
    pub(crate) standings: Standings,
    pub(crate) knowledge: Arc<Knowledge>,
}

impl Observer for Keyed {
    fn settled(&self, key: Candidate<'_>, report: &Report) {
        self.records.settled(key, report);
    }

    fn reloaded(&self, keys: &KeySet) {
        self.authorizations.retain(keys);
        self.counters.retain(keys);
        self.records.reloaded(keys);
        self.attribution.rekey(keys);
        self.standings.retain(keys);
        self.knowledge.retain(keys);
    }
}
