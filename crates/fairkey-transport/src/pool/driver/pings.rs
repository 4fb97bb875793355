//! Whether a peer of HTTP/2 is still there: [`Pings`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use h2::{Ping, PingPong};
use tokio::time::{Duration, Instant};

use super::http2::Connection;
use crate::deadlines::after;

/// How long the answer to a ping may take.
const ANSWER: Duration = Duration::from_secs(20);

/// It is looked so many times within the interval: a ping may go out that much late.
const LOOKS: u32 = 4;

/// Pings a peer that has been silent for an interval while it owes answers. Each read counts as an
/// answer; nothing is written down for that but its number.
pub(super) struct Pings {
    /// Taken with the first ping: from then on h2 looks for pings of ours with each frame it reads.
    ping_pong: Option<PingPong>,
    interval: Duration,
    /// How often something was read.
    heard: Arc<AtomicU64>,
    /// The same, when it was last looked.
    known: u64,
    /// Since when nothing was.
    silent_since: Instant,
    /// Until when the answer to a ping is to come.
    answer_until: Option<Instant>,
    look_at: Instant,
}

/// Nobody has answered a ping.
#[derive(Debug)]
pub(super) struct Gone;

impl Pings {
    pub(super) fn new(interval: Duration, heard: Arc<AtomicU64>) -> Self {
        let now = Instant::now();
        Self {
            ping_pong: None,
            interval,
            heard,
            known: 0,
            silent_since: now,
            answer_until: None,
            look_at: after(now, interval / LOOKS),
        }
    }

    /// Returns when to look again.
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// Looks whether the peer was heard, and pings it where it was not for too long.
    pub(super) fn look(
        &mut self,
        connection: &mut Connection,
        now: Instant,
        is_idle: bool,
    ) -> Result<(), Gone> {
        if now < self.look_at {
            return Ok(());
        }
        self.look_at = after(now, self.interval.min(ANSWER) / LOOKS);
        // Relaxed: see where it is counted.
        let heard = self.heard.load(Ordering::Relaxed);
        if heard != self.known {
            self.known = heard;
            self.silent_since = now;
            self.answer_until = None;
        } else if self.answer_until.is_some_and(|until| until <= now) {
            return Err(Gone);
        }
        // A peer without streams owes nothing.
        if is_idle {
            self.silent_since = now;
        }
        let is_due = now.duration_since(self.silent_since) >= self.interval;
        if is_due && self.answer_until.is_none() {
            self.ping(connection);
            self.answer_until = Some(after(now, ANSWER));
        }
        Ok(())
    }

    fn ping(&mut self, connection: &mut Connection) {
        if self.ping_pong.is_none() {
            self.ping_pong = connection.ping_pong();
        }
        if let Some(ping_pong) = &mut self.ping_pong {
            // Makes room for this one; nobody has to be woken for it.
            let mut unheard = Context::from_waker(Waker::noop());
            drop(ping_pong.poll_pong(&mut unheard));
            // It fails where the one before has no answer: then that one's counts.
            let _ = ping_pong.send_ping(Ping::opaque());
        }
    }
}
