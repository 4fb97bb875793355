//! What happens, one event after the other: [`play`].

use std::collections::VecDeque;
use std::time::Duration;

use fairkey_core::{
    Ask, FaultKind, Lease, ManualClock, Outcome, Pool, Random, Retry, Scope, Timestamp, Tried,
};

use super::arrivals::Kind;
use super::backend::Meter;
use super::results::BackendResults;
use super::{Call, Events, Results, Retries, Simulation};

/// Asking again sooner than this makes no sense, whatever was said.
const SHORTEST: Duration = Duration::from_millis(1);

/// One attempt of one call. Its number is given once, so that news of an attempt that is over
/// concerns nobody.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    call: usize,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The next call of an open loop.
    Arrive,
    /// The next call of one caller of a closed loop.
    Next(usize),
    /// A call is at its backend.
    Reach(Attempt, usize),
    /// A worker of a backend is done with a call.
    Done(usize, Job),
    /// The caller has the answer.
    Answer(Attempt, Outcome),
    Timeout(Attempt),
    /// A call is tried again.
    Again(Attempt),
    /// Something may be free for the first in line.
    Wake,
    /// A call has waited in line for as long as it wants to.
    Leave(Attempt),
}

/// What a worker does.
#[derive(Clone, Copy, Debug)]
struct Job {
    attempt: Attempt,
    takes: Duration,
    outcome: Outcome,
}

/// A call that has come in and not ended.
#[derive(Debug)]
struct Underway {
    arrived: Timestamp,
    caller: usize,
    call: Call,
    /// Its own chance, so that every strategy meets the same calls.
    random: Random,
    number: u64,
    lease: Option<Lease>,
    tried: Tried,
    failovers: u32,
    retries: u32,
}

#[derive(Debug)]
struct Workers {
    busy: usize,
    waiting: VecDeque<Job>,
    /// Which of the quotas, if any.
    meter: Option<usize>,
}

/// Plays a scenario; `build` makes the pool with the clock that will move.
pub(super) fn play(simulation: &Simulation, build: impl FnOnce(ManualClock) -> Pool) -> Results {
    let events = Events::new();
    let pool = build(events.clock());
    Engine::new(simulation, pool, events).play()
}

enum End {
    Answered,
    Failed,
    Refused,
}

struct Engine<'a> {
    simulation: &'a Simulation,
    pool: Pool,
    events: Events<Event>,
    /// When calls come in, and of whom, by chance.
    arriving: Random,
    /// What each call is, by chance.
    choosing: Random,
    come: usize,
    calls: Vec<Option<Underway>>,
    free: Vec<usize>,
    numbers: u64,
    /// Which backend a slot is.
    backend_of: Vec<usize>,
    workers: Vec<Workers>,
    meters: Vec<Meter>,
    callers: Vec<Box<dyn Retries>>,
    line: VecDeque<Attempt>,
    wake_at: Option<Timestamp>,
    results: Results,
}

impl<'a> Engine<'a> {
    fn new(simulation: &'a Simulation, pool: Pool, events: Events<Event>) -> Self {
        let backends = &simulation.backends;
        for (account, _) in &simulation.quotas {
            let known = backends.iter().any(|b| b.account.as_ref() == Some(account));
            assert!(known, "no backend is of the account {account:?}");
        }
        let meter_of = |account: &String| {
            let mut quotas = simulation.quotas.iter();
            quotas.position(|(name, _)| name == account)
        };
        let workers = backends.iter().map(|backend| Workers {
            busy: 0,
            waiting: VecDeque::new(),
            meter: backend.account.as_ref().and_then(meter_of),
        });
        let backend_of = pool.with_keys(|keys| {
            let mut backend_of = vec![0; keys.slots()];
            for n in 0..backends.len() {
                let key = keys.find(&format!("k{n}")).expect("it was added");
                backend_of[key.slot().index()] = n;
            }
            backend_of
        });
        let callers = match simulation.arrivals.0 {
            Kind::Closed { callers, .. } => callers,
            _ => simulation.callers,
        };
        let mut random = Random::new(fairkey_core::mix(simulation.seed));
        Self {
            simulation,
            pool,
            events,
            arriving: Random::new(random.next_u64()),
            choosing: Random::new(random.next_u64()),
            come: 0,
            calls: Vec::new(),
            free: Vec::new(),
            numbers: 0,
            backend_of,
            workers: workers.collect(),
            meters: (simulation.quotas.iter())
                .map(|(_, quota)| Meter::new(quota.clone()))
                .collect(),
            callers: (0..callers).map(|_| (simulation.make_retries)()).collect(),
            line: VecDeque::new(),
            wake_at: None,
            results: Results {
                backends: vec![BackendResults::default(); backends.len()],
                ..Results::default()
            },
        }
    }

    fn play(mut self) -> Results {
        match &self.simulation.arrivals.0 {
            Kind::Closed { callers, think } => {
                for caller in 0..*callers {
                    let wait = think.draw_time(&mut self.arriving);
                    self.events.after(wait, Event::Next(caller));
                }
            }
            _ => self.plan_arrival(),
        }
        while let Some(event) = self.events.next() {
            self.happen(event);
        }
        // What is still in line has nothing to wait for.
        while let Some(attempt) = self.line.pop_front() {
            if self.is_current(attempt) {
                self.end(attempt.call, &End::Refused);
            }
        }
        assert_eq!(self.pool.in_flight(), 0, "every call has ended");
        self.results.latencies.sort_unstable();
        self.results
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => {
                self.plan_arrival();
                let caller = self.arriving.below(self.callers.len() as u32) as usize;
                self.arrive(caller);
            }
            Event::Next(caller) if self.is_open() => self.arrive(caller),
            Event::Next(_) => {}
            Event::Reach(attempt, backend) => self.reach(attempt, backend),
            Event::Done(backend, job) => self.done(backend, job),
            Event::Answer(attempt, outcome) => self.answer(attempt, outcome, false),
            Event::Timeout(attempt) => {
                let outcome = Outcome::fault(Scope::Key, FaultKind::Failed);
                self.answer(attempt, outcome, true);
            }
            Event::Again(attempt) if self.is_current(attempt) => self.send_or_wait(attempt.call),
            Event::Again(_) => {}
            Event::Wake => {
                self.wake_at = None;
                self.serve_line();
            }
            Event::Leave(attempt) => {
                // It may have left the line, and come back: then its number is another one.
                if self.is_current(attempt) {
                    self.line.retain(|other| other.number != attempt.number);
                    self.end(attempt.call, &End::Refused);
                    self.serve_line();
                }
            }
        }
    }

    fn is_open(&self) -> bool {
        self.events.now().since(Timestamp::ZERO) < self.simulation.lasting
    }

    fn plan_arrival(&mut self) {
        let at = match &self.simulation.arrivals.0 {
            Kind::Open { between } => self.events.now() + between.draw_time(&mut self.arriving),
            Kind::At(times) => match times.get(self.come) {
                Some(time) => Timestamp::ZERO + *time,
                None => return,
            },
            Kind::Closed { .. } => return,
        };
        self.come += 1;
        if at.since(Timestamp::ZERO) < self.simulation.lasting {
            self.events.at(at, Event::Arrive);
        }
    }

    fn arrive(&mut self, caller: usize) {
        let now = self.events.now();
        let mut random = Random::new(self.choosing.next_u64());
        let underway = Underway {
            arrived: now,
            caller,
            call: (self.simulation.make_call)(&mut random),
            random,
            number: 0,
            lease: None,
            tried: Tried::new(),
            failovers: 0,
            retries: 0,
        };
        self.results.calls += u64::from(self.counts(now));
        self.callers[caller].begin(now);
        let call = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[call] = Some(underway);
        if self.line.is_empty() {
            self.send_or_wait(call);
        } else {
            self.wait_in_line(call, None);
        }
    }

    /// Returns whether calls that came in then are in the results.
    fn counts(&self, arrived: Timestamp) -> bool {
        arrived.since(Timestamp::ZERO) >= self.simulation.warm_up
    }

    fn is_current(&self, attempt: Attempt) -> bool {
        let underway = self.calls[attempt.call].as_ref();
        underway.is_some_and(|underway| underway.number == attempt.number)
    }

    fn underway(&mut self, call: usize) -> &mut Underway {
        self.calls[call].as_mut().expect("the call is under way")
    }

    /// Gives the call another number: whatever its last one is in, does not concern it any more.
    fn renumber(&mut self, call: usize) -> Attempt {
        self.numbers += 1;
        let number = self.numbers;
        self.underway(call).number = number;
        Attempt { call, number }
    }

    fn send_or_wait(&mut self, call: usize) {
        let Err(until) = self.send(call) else {
            return;
        };
        let underway = self.underway(call);
        if underway.tried.is_empty() {
            self.wait_in_line(call, until);
        } else {
            // All others are out, too: whichever opens first.
            underway.tried.clear();
            if let Err(until) = self.send(call) {
                self.wait_in_line(call, until);
            }
        }
    }

    /// Gets a key and sends the call; or returns when a key may be free.
    fn send(&mut self, call: usize) -> Result<(), Option<Timestamp>> {
        let now = self.events.now();
        let underway = self.calls[call].as_mut().expect("the call is under way");
        let ask = Ask {
            cost: underway.call.estimate,
            affinity: underway.call.affinity,
            model: underway.call.model,
            tried: Some(&underway.tried),
            ..Ask::default()
        };
        let lease = match self.pool.select(&ask) {
            Ok(lease) => lease,
            Err(unavailable) => return Err(unavailable.retry_at),
        };
        let backend = self.backend_of[lease.key().slot().index()];
        let in_flight = lease.key().in_flight();
        underway.lease = Some(lease);
        let way = self.simulation.network.draw_time(&mut underway.random);
        let arrived = underway.arrived;
        let counts = self.counts(arrived);
        let attempt = self.renumber(call);
        self.results.attempts += u64::from(counts);
        let results = &mut self.results.backends[backend];
        results.attempts += u64::from(counts);
        results.most_in_flight = results.most_in_flight.max(in_flight);
        if let Some(timeout) = self.simulation.timeout {
            self.events.at(now + timeout, Event::Timeout(attempt));
        }
        if way.is_zero() {
            self.reach(attempt, backend);
        } else {
            self.events.after(way, Event::Reach(attempt, backend));
        }
        Ok(())
    }

    fn reach(&mut self, attempt: Attempt, backend: usize) {
        if !self.is_current(attempt) {
            // It was given up on the way.
            return;
        }
        let now = self.events.now();
        let underway = self.calls[attempt.call].as_mut().expect("it is current");
        if let Some(meter) = self.workers[backend].meter {
            let used = underway.call.actual.unwrap_or(underway.call.estimate);
            if let Err(refusal) = self.meters[meter].admit(now, used.tokens) {
                let way = self.simulation.network.draw_time(&mut underway.random);
                self.events.after(way, Event::Answer(attempt, refusal));
                return;
            }
        }
        let model = &self.simulation.backends[backend];
        let behavior = model.at(now);
        let random = &mut underway.random;
        // Drawn in any case, so that what follows is the same for every backend.
        let (drawn, luck) = (behavior.service.draw_time(random), random.unit());
        let job = Job {
            attempt,
            takes: underway.call.service.unwrap_or(drawn),
            outcome: if luck < behavior.failing {
                behavior.fault
            } else {
                Outcome::Success
            },
        };
        let workers = &mut self.workers[backend];
        if workers.busy < model.workers {
            workers.busy += 1;
            self.events.after(job.takes, Event::Done(backend, job));
        } else {
            workers.waiting.push_back(job);
        }
    }

    fn done(&mut self, backend: usize, job: Job) {
        let workers = &mut self.workers[backend];
        match workers.waiting.pop_front() {
            Some(next) => self.events.after(next.takes, Event::Done(backend, next)),
            None => workers.busy -= 1,
        }
        if !self.is_current(job.attempt) {
            return;
        }
        let random = &mut self.underway(job.attempt.call).random.branch();
        let way = self.simulation.network.draw_time(random);
        if way.is_zero() {
            self.answer(job.attempt, job.outcome, false);
        } else {
            self.events
                .after(way, Event::Answer(job.attempt, job.outcome));
        }
    }

    fn answer(&mut self, attempt: Attempt, outcome: Outcome, timed_out: bool) {
        if !self.is_current(attempt) {
            return;
        }
        let underway = self.underway(attempt.call);
        let mut lease = underway.lease.take().expect("it was sent with a key");
        let arrived = underway.arrived;
        let counts = u64::from(self.counts(arrived));
        let underway = self.underway(attempt.call);
        match outcome {
            Outcome::Success => {
                if let Some(actual) = underway.call.actual {
                    lease.note_actual(actual);
                }
                lease.finish(outcome);
                self.end(attempt.call, &End::Answered);
            }
            Outcome::Fault {
                kind: FaultKind::Throttled,
                retry,
                ..
            } => {
                underway.tried.add_key(lease.key());
                lease.finish(outcome);
                self.results.throttled += counts;
                self.fail_over(attempt.call, outcome, retry);
            }
            _ => {
                lease.finish(outcome);
                self.results.timed_out += counts * u64::from(timed_out);
                self.try_again(attempt.call, outcome);
            }
        }
        self.serve_line();
    }

    fn fail_over(&mut self, call: usize, outcome: Outcome, retry: Retry) {
        let now = self.events.now();
        let most = self.simulation.failovers;
        let underway = self.underway(call);
        if underway.failovers >= most {
            self.try_again(call, outcome);
            return;
        }
        underway.failovers += 1;
        let Err(until) = self.send(call) else {
            return;
        };
        // No other key is free. This one is not either, for as long as it said; nor before that
        // what a gate has closed.
        self.underway(call).tried.clear();
        let said = retry.at(now);
        let until = match (said, until) {
            (Some(said), Some(until)) => Some(said.min(until)),
            (said, until) => said.or(until),
        };
        let attempt = self.renumber(call);
        let until = until.unwrap_or(now).max(now + SHORTEST);
        if self.leave_in_time(attempt) {
            self.events.at(until, Event::Again(attempt));
        }
    }

    fn try_again(&mut self, call: usize, outcome: Outcome) {
        let now = self.events.now();
        let underway = self.calls[call].as_mut().expect("the call is under way");
        let retries = &mut self.callers[underway.caller];
        match retries.again(now, underway.retries, &outcome, &mut underway.random) {
            None => self.end(call, &End::Failed),
            Some(wait) => {
                underway.retries += 1;
                underway.tried.clear();
                let attempt = self.renumber(call);
                self.events.after(wait, Event::Again(attempt));
            }
        }
    }

    fn wait_in_line(&mut self, call: usize, until: Option<Timestamp>) {
        let attempt = self.renumber(call);
        if !self.leave_in_time(attempt) {
            return;
        }
        // Who has come first is served first, also after a failover.
        let arrived = self.underway(call).arrived;
        let calls = &self.calls;
        let at = self.line.partition_point(|other| {
            calls[other.call]
                .as_ref()
                .is_some_and(|other| other.arrived <= arrived)
        });
        self.line.insert(at, attempt);
        self.wake(until);
    }

    /// Plans that a call leaves when its patience ends; `false` where it has left at once.
    fn leave_in_time(&mut self, attempt: Attempt) -> bool {
        let patience = self.simulation.patience;
        if patience == Duration::MAX {
            return true;
        }
        let leaves = self.underway(attempt.call).arrived + patience;
        if leaves <= self.events.now() {
            self.end(attempt.call, &End::Refused);
            return false;
        }
        self.events.at(leaves, Event::Leave(attempt));
        true
    }

    fn wake(&mut self, at: Option<Timestamp>) {
        let Some(at) = at else {
            return;
        };
        let at = at.max(self.events.now() + SHORTEST);
        if self.wake_at.is_none_or(|planned| at < planned) {
            self.wake_at = Some(at);
            self.events.at(at, Event::Wake);
        }
    }

    /// Sends the first in line, and those behind it, while there is something free.
    fn serve_line(&mut self) {
        while let Some(attempt) = self.line.front().copied() {
            match self.send(attempt.call) {
                Ok(()) => {
                    self.line.pop_front();
                }
                Err(until) => {
                    self.wake(until);
                    return;
                }
            }
        }
    }

    fn end(&mut self, call: usize, end: &End) {
        let now = self.events.now();
        let underway = self.calls[call].take().expect("a call ends once");
        self.free.push(call);
        if self.counts(underway.arrived) {
            match end {
                End::Answered => {
                    self.results.answered += 1;
                    let took = now.as_nanos() - underway.arrived.as_nanos();
                    self.results.latencies.push(took);
                }
                End::Failed => self.results.failed += 1,
                End::Refused => self.results.refused += 1,
            }
        }
        if let Kind::Closed { think, .. } = &self.simulation.arrivals.0 {
            let wait = think.draw_time(&mut self.arriving);
            self.events.after(wait, Event::Next(underway.caller));
        }
    }
}
