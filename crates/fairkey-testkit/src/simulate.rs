//! A simulator: the real pool, strategies and gates under virtual time, against backends that are
//! numbers by chance.
//!
//! An hour of calls takes a second, the same seed gives the same results, and two strategies with
//! the same seed meet the same calls. A strategy of your own against two that are ready:
//!
//! ```
//! use fairkey_testkit::prelude::*;
//! use fairkey_testkit::simulate::{Arrivals, Backend, Distribution, Simulation};
//! use std::time::Duration;
//!
//! /// Gives nobody more than it has to.
//! #[derive(Debug)]
//! struct LeastInFlight;
//!
//! impl Strategy for LeastInFlight {
//!     fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
//!         turn.least(|key| key.in_flight().into())
//!     }
//! }
//!
//! /// Does not look.
//! #[derive(Debug)]
//! struct Chance;
//!
//! impl Strategy for Chance {
//!     fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
//!         turn.random()
//!     }
//! }
//!
//! let simulation = Simulation::new()
//!     .backends(9, &Backend::new(Distribution::lognormal(0.05, 0.3)).workers(4))
//!     .backend(Backend::new(Distribution::lognormal(0.8, 0.3)).workers(4))
//!     .arrivals(Arrivals::poisson(100.0))
//!     .lasting(Duration::from_secs(60));
//! let (least, chance) = (simulation.run(LeastInFlight), simulation.run(Chance));
//! assert!(least.percentile(0.95) < chance.percentile(0.95));
//! ```
//!
//! # What is real, and what is not
//!
//! The [`Pool`], its strategy and its gates are the real ones, on a clock that moves from event to
//! event. So is a backoff or a retry budget that [`Retries`] hands on to. Backends, quotas and the
//! way there are models: no connection, no stream, no bytes.
//!
//! # The life of a simulated call
//!
//! It comes in and asks the pool for a key. Where nothing is free it waits in one line, first come
//! first served, for as long as [`Simulation::patience`] allows. With a key it goes to the key's
//! [`Backend`], after the time of [`Simulation::network`]; there the [`Quota`] of its account may
//! refuse it, and it may wait until a worker is free. What a quota refuses goes on to another key
//! at once, up to [`Simulation::failovers`] times; what fails otherwise is tried again as
//! [`Retries`] says. A call that takes longer than [`Simulation::timeout`] is given up; its backend
//! goes on working on it.
//!
//! [`Events`] is what all of this stands on: a plan of events with a clock, for simulations of
//! another kind.

mod arrivals;
mod backend;
mod distribution;
mod engine;
mod events;
mod results;

pub use arrivals::{Arrivals, AtOnce, Call, NoRetries, Retries};
pub use backend::{Backend, Quota};
pub use distribution::Distribution;
pub use events::Events;
pub use results::{BackendResults, Results};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Pool, PoolBuilder, Random, Strategy};

type MakeCall = Arc<dyn Fn(&mut Random) -> Call>;
type MakeRetries = Arc<dyn Fn() -> Box<dyn Retries>>;

/// A scenario: backends, calls, and how they are made. It can be run with any number of strategies.
///
/// | setting | default |
/// | --- | --- |
/// | `arrivals` | 100 a second, Poisson |
/// | `lasting` | 60 s |
/// | `warm_up` | none |
/// | `calls` | one request each, of unknown size |
/// | `network` | no time |
/// | `timeout` | none |
/// | `patience` | without end |
/// | `failovers` | 16 |
/// | `retries` | none |
/// | `seed` | 0 |
#[derive(Clone)]
pub struct Simulation {
    pub(crate) backends: Vec<Backend>,
    pub(crate) quotas: Vec<(String, Quota)>,
    pub(crate) arrivals: Arrivals,
    pub(crate) lasting: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) make_call: MakeCall,
    pub(crate) network: Distribution,
    pub(crate) timeout: Option<Duration>,
    pub(crate) patience: Duration,
    pub(crate) failovers: u32,
    pub(crate) callers: usize,
    pub(crate) make_retries: MakeRetries,
    pub(crate) seed: u64,
}

impl Simulation {
    /// Makes a scenario with the defaults, and no backend.
    #[must_use]
    pub fn new() -> Self {
        Self {
            backends: Vec::new(),
            quotas: Vec::new(),
            arrivals: Arrivals::poisson(100.0),
            lasting: Duration::from_secs(60),
            warm_up: Duration::ZERO,
            make_call: Arc::new(|_| Call::default()),
            network: Distribution::constant(0.0),
            timeout: None,
            patience: Duration::MAX,
            failovers: 16,
            callers: 1,
            make_retries: Arc::new(|| Box::new(NoRetries)),
            seed: 0,
        }
    }

    /// Adds a backend. Its key is labelled `k0`, `k1` and so on, in the order of adding.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backends.push(backend);
        self
    }

    /// Adds so many backends that are alike.
    #[must_use]
    pub fn backends(mut self, n: usize, backend: &Backend) -> Self {
        self.backends.extend((0..n).map(|_| backend.clone()));
        self
    }

    /// Sets what the other side lets an account have.
    #[must_use]
    pub fn quota(mut self, account: impl Into<String>, quota: Quota) -> Self {
        self.quotas.push((account.into(), quota));
        self
    }

    /// Sets when calls come in.
    #[must_use]
    pub fn arrivals(mut self, arrivals: Arrivals) -> Self {
        self.arrivals = arrivals;
        self
    }

    /// Sets for how long calls come in. What is under way then goes on to its end.
    #[must_use]
    pub fn lasting(mut self, lasting: Duration) -> Self {
        self.lasting = lasting;
        self
    }

    /// Leaves the calls that come in before this time out of the results.
    #[must_use]
    pub fn warm_up(mut self, warm_up: Duration) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Sets what calls need, each drawn as it comes in.
    #[must_use]
    pub fn calls(mut self, make: impl Fn(&mut Random) -> Call + 'static) -> Self {
        self.make_call = Arc::new(make);
        self
    }

    /// Sets how long a call takes to its backend, and an answer back, in seconds.
    #[must_use]
    pub fn network(mut self, one_way: Distribution) -> Self {
        self.network = one_way;
        self
    }

    /// Sets when an attempt is given up. It then counts as [`Failed`](fairkey_core::FaultKind), of
    /// [`Scope::Key`](fairkey_core::Scope).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how long after it came in a call may still be given a key. With zero none waits.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how often a call that a quota refused goes on to another key.
    #[must_use]
    pub fn failovers(mut self, failovers: u32) -> Self {
        self.failovers = failovers;
        self
    }

    /// Sets what is done about failures, by so many callers that each know of their own calls
    /// only: each call is one of theirs, by chance. In a closed loop there are as many as that has.
    #[must_use]
    pub fn retries<R: Retries + 'static>(
        mut self,
        callers: usize,
        make: impl Fn() -> R + 'static,
    ) -> Self {
        self.callers = callers.max(1);
        self.make_retries = Arc::new(move || Box::new(make()));
        self
    }

    /// Sets where chance begins: the same seed, the same results.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Plays the scenario with a strategy; one behind gates is one, too. What has a seed of its own
    /// needs one, for the results to be the same each time.
    ///
    /// # Panics
    ///
    /// Where there is no backend, or a quota of an account that no backend has.
    #[must_use]
    pub fn run(&self, strategy: impl Strategy + 'static) -> Results {
        self.run_pool(|pool| pool.strategy(strategy))
    }

    /// Plays the scenario with a pool that has the keys, the clock and the seed, and to which
    /// `build` adds the rest.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run), and where the pool cannot be built.
    #[must_use]
    pub fn run_pool(&self, build: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Results {
        assert!(!self.backends.is_empty(), "a simulation needs a backend");
        let keys = self.backends.iter().zip(0..);
        let keys = keys.map(|(backend, n)| backend.key(format!("k{n}")));
        engine::play(self, |clock| {
            let pool = Pool::builder().keys(keys).clock(clock).seed(self.seed);
            build(pool).build().expect("the pool can be built")
        })
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("backends", &self.backends.len())
            .field("arrivals", &self.arrivals)
            .field("lasting", &self.lasting)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
