//! A pool under a manual clock, driven by operations, with a model beside it: [`Stage`].

use std::sync::Arc;

use fairkey_core::{
    Ask, At, Candidate, Clock, Denied, Gate, Key, Lease, ManualClock, Outcome, Pool, Reload,
    Strategy, Timestamp, Tried, Turn, Unavailable,
};

use crate::generate::{AskSpec, Change, KeySpec, Op, keys_of};
use crate::{LeaseId, PoolModel};

/// Picks the key that the ask names, by its number, and declines where it is not offered; where the
/// ask names none, the first of those with the fewest calls. What tests of gates put behind the
/// gate: nothing is left to chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted;

impl Strategy for Wanted {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let Some(n) = turn.ask().affinity else {
            return turn.iter().min_by_key(Candidate::in_flight);
        };
        let keys = turn.keys();
        let key = keys.iter().nth(n as usize % keys.len())?;
        turn.offers(key.slot()).then_some(key)
    }
}

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A lease on the key of this label.
    Selected(String),
    /// Nothing was free.
    Refused(Unavailable),
    /// The keys are others.
    Reloaded(Reload),
    /// Done, or there was nothing to do it to.
    Done,
}

/// A real pool with a fixed seed, under a clock that moves only when told to, driven by [`Op`]s.
/// A [`PoolModel`] beside it is compared after each.
///
/// Keys are named by number: the `n`th in the order of slots, counted around.
#[derive(Debug)]
pub struct Stage {
    pool: Pool,
    clock: ManualClock,
    specs: Vec<KeySpec>,
    model: PoolModel,
    live: Vec<(Lease, LeaseId)>,
}

impl Stage {
    /// Puts `strategy` behind `gates` in a pool of `specs`.
    ///
    /// # Panics
    ///
    /// Where two of `specs` have the same name, or there are none.
    #[must_use]
    pub fn new(
        specs: &[KeySpec],
        strategy: impl Strategy + 'static,
        gates: &[Arc<dyn Gate>],
    ) -> Self {
        let (clock, keys) = (ManualClock::new(), keys_of(specs));
        let mut builder = Pool::builder()
            .strategy(strategy)
            .clock(clock.clone())
            .seed(7)
            .keys(keys.clone());
        for gate in gates {
            builder = builder.shared_gate(Arc::clone(gate));
        }
        let pool = builder.build().expect("generated keys differ");
        let model = PoolModel::new(&pool, &keys).expect("the pool has the keys it is built of");
        Self {
            pool,
            clock,
            specs: specs.to_vec(),
            model,
            live: Vec::new(),
        }
    }

    /// Returns the pool.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the leases that live, oldest first.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &Lease> {
        self.live.iter().map(|(lease, _)| lease)
    }

    /// Carries out one operation.
    ///
    /// # Errors
    ///
    /// Where the pool and the model of it differ afterwards.
    pub fn apply(&mut self, op: &Op) -> Result<Step, String> {
        let step = match op {
            Op::Select(ask) => match self.select(ask)? {
                Ok(label) => Step::Selected(label),
                Err(unavailable) => Step::Refused(unavailable),
            },
            Op::End(n, outcome) => {
                self.end(usize::from(*n), *outcome);
                Step::Done
            }
            Op::Drop(n) => {
                if let Some((lease, id)) = self.take(usize::from(*n)) {
                    drop(lease);
                    self.model.ended(id);
                }
                Step::Done
            }
            Op::EndElsewhere(n, outcome) => {
                if let Some((lease, id)) = self.take(usize::from(*n)) {
                    std::thread::scope(|scope| scope.spawn(|| lease.finish(*outcome)).join())
                        .map_err(|_| "the end of a call panicked".to_owned())?;
                    self.model.ended(id);
                }
                Step::Done
            }
            Op::Advance(by) => {
                self.clock.advance(*by);
                Step::Done
            }
            Op::Reload(changes) => Step::Reloaded(self.reload(changes)?),
        };
        self.model.agrees(&self.pool)?;
        Ok(step)
    }

    /// Asks for a key, and keeps the lease. Returns the key's label.
    ///
    /// # Errors
    ///
    /// Where the lease is not what the model expects.
    pub fn select(&mut self, spec: &AskSpec) -> Result<Result<String, Unavailable>, String> {
        match with_ask(&self.pool, spec, |ask| self.pool.select(ask)) {
            Ok(lease) => {
                let (id, label) = (self.model.selected(&lease)?, lease.key().id().to_string());
                self.live.push((lease, id));
                Ok(Ok(label))
            }
            Err(unavailable) => Ok(Err(unavailable)),
        }
    }

    /// Asks for the `n`th key, which is what [`Wanted`] picks, and keeps the lease.
    ///
    /// # Errors
    ///
    /// Where it is not to be had.
    pub fn enter(&mut self, n: usize) -> Result<(), Unavailable> {
        let lease = with_ask(&self.pool, &AskSpec::for_key(n), |ask| {
            self.pool.select(ask)
        })?;
        let id = self
            .model
            .selected(&lease)
            .expect("a lease of a key it has");
        self.live.push((lease, id));
        Ok(())
    }

    /// Makes one call with the `n`th key that ends at once.
    ///
    /// # Errors
    ///
    /// Where the key is not to be had.
    pub fn call(&mut self, n: usize, outcome: Outcome) -> Result<(), Unavailable> {
        self.enter(n)?;
        self.end(self.live.len() - 1, outcome);
        Ok(())
    }

    /// Ends the `n`th live lease, counted around; does nothing where none lives.
    pub fn end(&mut self, n: usize, outcome: Outcome) {
        if let Some((lease, id)) = self.take(n) {
            lease.finish(outcome);
            self.model.ended(id);
        }
    }

    /// Ends every live lease.
    pub fn end_all(&mut self, outcome: Outcome) {
        while !self.live.is_empty() {
            self.end(0, outcome);
        }
    }

    /// Reloads the keys with changes.
    ///
    /// # Errors
    ///
    /// Where the report of the reload is wrong.
    pub fn reload(&mut self, changes: &[Change]) -> Result<Reload, String> {
        for change in changes {
            change.apply(&mut self.specs);
        }
        let keys: Vec<Key> = keys_of(&self.specs);
        let reload = self
            .pool
            .reload(keys.clone())
            .map_err(|error| error.to_string())?;
        self.model.reloaded(&self.pool, &keys, &reload)?;
        Ok(reload)
    }

    /// Asks a gate about the `n`th key, as of `now`.
    ///
    /// # Errors
    ///
    /// The gate's denial.
    pub fn check(&self, gate: &dyn Gate, n: usize, now: Timestamp) -> Result<(), Denied> {
        let ask = Ask::new();
        self.pool.with_keys(|keys| {
            let key = (keys.iter().nth(n % keys.len())).expect("there is a key for every number");
            let ask = &ask;
            gate.check(&At { key, ask, now })
        })
    }

    /// Returns how many calls at a time the `n`th key admits, up to `most`; gives them back as
    /// calls that were given up.
    pub fn capacity(&mut self, n: usize, most: u32) -> u32 {
        let before = self.live.len();
        let mut taken = 0;
        while taken < most && self.enter(n).is_ok() {
            taken += 1;
        }
        while self.live.len() > before {
            self.end(self.live.len() - 1, Outcome::Neutral);
        }
        taken
    }

    fn take(&mut self, n: usize) -> Option<(Lease, LeaseId)> {
        let len = self.live.len();
        (len > 0).then(|| self.live.remove(n % len))
    }
}

/// Calls `f` with the ask that `spec` describes, for the keys that `pool` has now.
pub(crate) fn with_ask<R>(pool: &Pool, spec: &AskSpec, f: impl FnOnce(&Ask<'_>) -> R) -> R {
    let mut tried = Tried::new();
    pool.with_keys(|keys| {
        let nth = |n: u8| keys.iter().nth(usize::from(n) % keys.len());
        for key in spec.tried_keys.iter().filter_map(|n| nth(*n)) {
            tried.add_key(key);
        }
        for key in spec.tried_accounts.iter().filter_map(|n| nth(*n)) {
            tried.add_account(key);
        }
    });
    f(&Ask {
        model: spec.model,
        affinity: spec.affinity,
        class: spec.class,
        cost: spec.cost,
        deadline: None,
        tried: Some(&tried),
        providers: &[],
        only: None,
        yields: false,
    })
}
