//! The breaker beside a naive one that remembers everything: they agree after any sequence.

use std::time::Duration;

use fairkey_core::{FaultKind, Lease, Outcome, Scope};
use fairkey_strategy::{BreakerConfig, SlidingWindowBreaker};
use fairkey_testkit::generate;
use fairkey_testkit::prelude::*;
use proptest::collection::vec;
use proptest::option;

use crate::support::{Rig, failed, throttled};

/// What one breaker must do, said as simply as possible.
struct Model {
    config: BreakerConfig,
    state: State,
    /// Of which state of the breaker a call began in.
    epoch: u32,
    trips: u32,
    run: u32,
    /// When calls of this epoch ended, and whether they failed.
    ended: Vec<(Duration, bool)>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open { until: Duration },
    Probing { deadline: Duration, out: u32 },
    Ramp { limit: u32, inside: u32, done: u32 },
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed,
            epoch: 0,
            trips: 0,
            run: 0,
            ended: Vec::new(),
        }
    }

    fn admits(&self, now: Duration) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now >= until,
            State::Probing { deadline, .. } => now >= deadline,
            State::Ramp { limit, inside, .. } => inside < limit,
        }
    }

    /// Lets a call in; returns its epoch, and whether it is a probe.
    fn enter(&mut self, now: Duration) -> (u32, bool) {
        let new_deadline = now + self.config.probe_timeout;
        let is_probe = match &mut self.state {
            State::Open { .. } => {
                self.state = State::Probing {
                    deadline: new_deadline,
                    out: 1,
                };
                true
            }
            State::Probing { deadline, out } => {
                (*deadline, *out) = (new_deadline, *out + 1);
                true
            }
            State::Ramp { inside, .. } => {
                *inside += 1;
                false
            }
            State::Closed => false,
        };
        (self.epoch, is_probe)
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        self.run = 0;
        self.ended.clear();
    }

    fn close(&mut self) {
        self.trips = 0;
        self.go(State::Closed);
    }

    fn trip(&mut self, now: Duration) {
        let doubled = self.config.open_for * 2_u32.saturating_pow(self.trips);
        self.trips += 1;
        let until = now + doubled.min(self.config.open_cap);
        self.go(State::Open { until });
    }

    fn end(&mut self, (epoch, is_probe): (u32, bool), outcome: Outcome, now: Duration) {
        if epoch != self.epoch {
            return;
        }
        if is_probe && matches!(self.state, State::Ramp { .. }) && !is_failure(outcome) {
            // Another probe has opened the ramp.
            return;
        }
        let failure = match outcome {
            Outcome::Success => None,
            Outcome::Fault { kind, .. } if is_failure(outcome) => Some(kind),
            _ => return self.end_silent(now),
        };
        match (self.state, failure) {
            (State::Closed, failure) => self.count(failure, now),
            (State::Probing { .. }, None) if self.config.ramp < 2 => self.close(),
            (State::Probing { .. }, None) => {
                self.state = State::Ramp {
                    limit: 2,
                    inside: 0,
                    done: 0,
                };
            }
            (
                State::Ramp {
                    limit,
                    inside,
                    done,
                },
                None,
            ) => {
                let (inside, done) = (inside - 1, done + 1);
                self.state = State::Ramp {
                    limit,
                    inside,
                    done,
                };
                if done == limit {
                    if 2 * limit > self.config.ramp {
                        self.close();
                    } else {
                        self.state = State::Ramp {
                            limit: 2 * limit,
                            inside,
                            done: 0,
                        };
                    }
                }
            }
            (State::Probing { .. } | State::Ramp { .. }, Some(_)) => self.trip(now),
            (State::Open { .. }, _) => {}
        }
    }

    fn end_silent(&mut self, now: Duration) {
        match &mut self.state {
            State::Probing { out, .. } if *out > 1 => *out -= 1,
            State::Probing { .. } => self.state = State::Open { until: now },
            State::Ramp { inside, .. } => *inside -= 1,
            _ => {}
        }
    }

    /// Counts the end of a call of the closed breaker, and applies the three rules.
    fn count(&mut self, failure: Option<FaultKind>, now: Duration) {
        self.ended.push((now, failure.is_some()));
        match failure {
            None => {
                self.run = 0;
                return;
            }
            Some(FaultKind::Throttled) => {}
            Some(_) => self.run += 1,
        }
        let tenth = |time: Duration| time.as_nanos() / (self.config.window.as_nanos() / 10);
        let in_window = |(ended, _): &&(Duration, bool)| tenth(now) - tenth(*ended) < 10;
        let calls = self.ended.iter().filter(in_window).count() as u32;
        let failures = self
            .ended
            .iter()
            .filter(in_window)
            .filter(|(_, failed)| *failed);
        let failures = failures.count() as u32;
        let lengthened = failure != Some(FaultKind::Throttled);
        let by_run = self
            .config
            .consecutive
            .is_some_and(|n| lengthened && self.run >= n);
        let by_count = self.config.count.is_some_and(|n| failures >= n);
        let by_ratio = self.config.ratio.is_some_and(|ratio| {
            calls >= self.config.min_calls && f64::from(failures) >= ratio * f64::from(calls)
        });
        if by_run || by_count || by_ratio {
            self.trip(now);
        }
    }
}

fn is_failure(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Fault { scope: Scope::Key, kind, .. } if kind != FaultKind::Exhausted)
}

#[derive(Clone, Debug)]
enum Op {
    Begin,
    End(u8, Outcome),
    Advance(Duration),
    Wait,
    Clear,
    Reload,
}

fn ops() -> impl proptest::strategy::Strategy<Value = Vec<Op>> {
    let outcome = prop_oneof![
        5 => Just(Outcome::Success),
        5 => Just(failed()),
        1 => Just(throttled()),
        2 => Just(Outcome::Neutral),
        1 => generate::outcomes(),
    ];
    let short = (0_u64..8_000).prop_map(Duration::from_millis);
    let op = prop_oneof![
        8 => Just(Op::Begin),
        8 => (any::<u8>(), outcome).prop_map(|(n, outcome)| Op::End(n, outcome)),
        2 => short.prop_map(Op::Advance),
        1 => generate::durations().prop_map(Op::Advance),
        3 => Just(Op::Wait),
        1 => Just(Op::Reload),
        1 => proptest::bool::weighted(0.2).prop_map(|yes| if yes { Op::Clear } else { Op::Begin }),
    ];
    vec(op, 1..150)
}

fn configs() -> impl proptest::strategy::Strategy<Value = BreakerConfig> {
    let rules = (
        option::of(1_u32..5),
        option::of(1_u32..5),
        option::of(1_u32..10),
        1_u32..6,
    );
    let times = (1_u64..12, 1_u64..20, 1_u64..60, 1_u64..30);
    (rules, times, 0_u32..10).prop_map(
        |((consecutive, count, ratio, min_calls), (window, open_for, more, probe), ramp)| {
            BreakerConfig {
                consecutive,
                count,
                ratio: ratio.map(|tenths| f64::from(tenths) / 10.0),
                min_calls,
                window: Duration::from_secs(5 * window),
                open_for: Duration::from_secs(open_for),
                open_cap: Duration::from_secs(open_for + more),
                jitter: 0.0,
                ramp,
                probe_timeout: Duration::from_secs(probe),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_naive_one_does(config in configs(), ops in ops()) {
        let rig = Rig::new(SlidingWindowBreaker::new(config.clone()));
        let mut model = Model::new(config);
        let mut calls: Vec<(Lease, (u32, bool))> = Vec::new();
        for op in ops {
            let now = rig.pool.now().since(fairkey_core::Timestamp::ZERO);
            match op {
                Op::Begin => {
                    let lease = rig.select(0);
                    prop_assert_eq!(lease.is_ok(), model.admits(now), "{:?} at {:?}", lease, now);
                    if let Ok(lease) = lease {
                        calls.push((lease, model.enter(now)));
                    }
                }
                Op::End(n, outcome) if !calls.is_empty() => {
                    let (lease, epoch) = calls.remove(usize::from(n) % calls.len());
                    lease.finish(outcome);
                    model.end(epoch, outcome, now);
                }
                Op::Advance(by) => rig.advance(by),
                Op::Wait => {
                    if let State::Open { until } | State::Probing { deadline: until, .. } = model.state {
                        rig.advance_to(fairkey_core::Timestamp::ZERO + until);
                    }
                }
                Op::Clear => {
                    rig.key(0, |key| rig.gate.clear(key));
                    model.close();
                }
                Op::Reload => drop(rig.pool.reload(crate::support::keys(1)).unwrap()),
                Op::End(..) => {}
            }
            let now = rig.pool.now().since(fairkey_core::Timestamp::ZERO);
            prop_assert_eq!(rig.is_closed(), model.state == State::Closed, "at {:?}", now);
            let until = match model.state {
                State::Open { until } | State::Probing { deadline: until, .. } if until > now => Some(until),
                _ => None,
            };
            let said = rig.until(0).flatten();
            prop_assert_eq!(said.map(|at| at.since(fairkey_core::Timestamp::ZERO)), until);
            prop_assert_eq!(rig.until(0).is_none(), model.admits(now));
        }
    }
}
