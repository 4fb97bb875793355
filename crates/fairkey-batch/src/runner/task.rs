//! Sending one row, however long it takes: [`Sending`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::book::Book;
use crate::caller::{Allowance, Attempt, Caller, Failure, KeyOut, Reply, Spend, Then};
use crate::money::OutOfMoney;
use crate::result::Took;
use crate::row::Request;
use crate::stop::Stop;

/// The shortest and the longest wait before a row is sent again for which no key was to be had.
/// The caller waits for keys itself; this only spaces its refusals.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// A row on its way.
pub(super) struct Sending<C> {
    pub(super) caller: Arc<C>,
    pub(super) index: u64,
    pub(super) request: Request,
    /// What the row may spend, over all calls.
    pub(super) allowance: Allowance,
    pub(super) book: Arc<Book>,
    pub(super) halt: Stop,
}

/// How a row ended.
pub(super) enum End {
    Answered { reply: Reply, tally: Tally },
    Failed { failure: Failure, tally: Tally },
    KeysOut { keys: Vec<KeyOut> },
    OutOfMoney(OutOfMoney),
    Abandoned,
}

/// The attempts of a row over all its calls.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) attempts: u64,
    pub(super) slow_downs: u64,
    /// What they cost.
    pub(super) spend: Spend,
}

impl Tally {
    pub(super) fn took(&self) -> Took {
        Took {
            attempts: self.attempts,
            spend: self.spend,
        }
    }

    fn add(&mut self, attempts: &[Attempt]) {
        let slow = |attempt: &&Attempt| {
            attempt
                .refusal
                .as_ref()
                .is_some_and(|refusal| refusal.is_slow_down())
        };
        self.attempts += attempts.len() as u64;
        self.slow_downs += attempts.iter().filter(slow).count() as u64;
    }
}

impl<C: Caller> Sending<C> {
    pub(super) async fn send(self) -> End {
        let mut tally = Tally::default();
        let mut left = self.allowance;
        let began = Instant::now();
        loop {
            let under_way = self.book.call_begins(self.index);
            let result = self.caller.call(&self.request, left).await;
            drop(under_way);
            let mut failure = match result {
                Ok(reply) => {
                    tally.add(&reply.attempts);
                    tally.spend += reply.spend();
                    self.book.answered(began, &reply);
                    return End::Answered { reply, tally };
                }
                Err(failure) => failure,
            };
            tally.add(&failure.attempts);
            tally.spend += failure.spend();
            left = left.less(&failure.attempts);
            self.book.refused(&failure);
            match failure.then {
                Then::Fail => return End::Failed { failure, tally },
                Then::Leave => return End::Abandoned,
                Then::Stop { keys } => return End::KeysOut { keys },
                Then::OutOfMoney(why) => return End::OutOfMoney(why),
                Then::Wait { .. } if left.is_used_up() => {
                    failure.message = format!(
                        "{}; the row has used its attempts ({})",
                        failure.message, tally.attempts
                    );
                    return End::Failed { failure, tally };
                }
                Then::Wait { after, barred } => {
                    if !barred.is_empty() {
                        self.book.barred(barred, after);
                    }
                    let wait = after
                        .unwrap_or(Duration::from_secs(1))
                        .clamp(WAITS.0, WAITS.1);
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = self.halt.stopping() => return End::Abandoned,
                    }
                }
            }
        }
    }
}
