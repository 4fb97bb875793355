//! What is known of closed keys from elsewhere than their calls: [`Due`] and what answers it.

use fairkey_core::{Candidate, FaultKind, KeySet, Timestamp};

use super::{Closing, Cooldown};
use crate::recovery::{Inner, Phase};
use crate::{Health, Status};

/// Why a look at something that is closed is worth a request that costs no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// Its time is over, and no call has tried it yet.
    Over,
    /// Nobody named a time: it may be open sooner, or later, than our schedule has it.
    Unproven,
    /// It is closed for good: a refused credential.
    ForGood,
}

/// Something closed that a checker should look at.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// The key; of a group of several, any one of them.
    pub key: Candidate<'a>,
    /// Why.
    pub why: Why,
    /// How it is.
    pub status: Status,
}

/// Evidence from elsewhere than calls: from a checker that asks about keys without spending tokens,
/// and from an operator. Nothing depends on a checker: what is closed until a time opens at that
/// time, or [`check_wait`](crate::CooldownConfig::check_wait) later where that is set.
impl Cooldown {
    /// Returns what is worth a look now. It is the checker who spaces its requests: what is due
    /// stays so until something is known of it.
    #[must_use]
    pub fn due<'a>(&self, keys: &'a KeySet, now: Timestamp) -> Vec<Due<'a>> {
        let mut due = Vec::new();
        for index in 0..self.group.len(keys) {
            if !self.closed.contains(index) {
                continue;
            }
            let Some(track) = self.tracks.get(index) else {
                continue;
            };
            let inner = track.lock();
            let (Phase::Out { .. }, more) = (inner.recovery.phase(), inner.more) else {
                continue;
            };
            let why = match more {
                Closing {
                    end: Timestamp::MAX,
                    ..
                } => Why::ForGood,
                _ if more.end <= now => Why::Over,
                _ if !more.is_stamp => Why::Unproven,
                _ => continue,
            };
            if let Some(key) = self.group.representative(keys, index) {
                let status = self.status_of(&inner, now);
                due.push(Due { key, why, status });
            }
        }
        due
    }

    /// Takes note that the group that `key` belongs to works, as somebody found out who asked at
    /// `asked` or later. If it is closed, even for good or until later, its time is over: the next
    /// call is the probe.
    ///
    /// Returns `false`, and changes nothing, where it was closed after `asked`: the answer may be
    /// from before that.
    pub fn confirm(&self, key: Candidate<'_>, asked: Timestamp) -> bool {
        let index = self.group.index(key);
        let Some(track) = self.tracks.get(index) else {
            return true;
        };
        let mut inner = track.lock();
        if let Phase::Out { .. } = inner.recovery.phase() {
            if asked < inner.more.told {
                return false;
            }
            inner.more.end = inner.more.end.min(asked);
            inner.recovery.set_until(Timestamp::ZERO);
            track.publish(&inner);
        }
        true
    }

    /// Takes note at `now` that the group that `key` belongs to is out until a time, capped by its
    /// kind as the hint of a fault is; [`Timestamp::MAX`] for a credential that is refused. It
    /// closes what is open, and moves the end of what is closed out, never in.
    ///
    /// Also what a snapshot is restored by.
    pub fn close_until(
        &self,
        key: Candidate<'_>,
        until: Timestamp,
        kind: FaultKind,
        now: Timestamp,
    ) {
        let index = self.group.index(key);
        let end = until.min(now + self.config.cap(kind));
        if let (true, Some(track)) = (end > now, self.tracks.get(index)) {
            let is_stamp = end < Timestamp::MAX;
            let inner = &mut track.lock();
            self.close(index, track, inner, (end, is_stamp, kind), now);
        }
    }

    /// Opens the group that `key` belongs to at once, without a probe: an operator knows better.
    /// Calls in flight no longer count.
    pub fn clear(&self, key: Candidate<'_>) {
        self.open_at(self.group.index(key));
    }

    pub(super) fn open_at(&self, index: usize) {
        if let Some(track) = self.tracks.get(index) {
            let mut inner = track.lock();
            inner.recovery.make_well();
            self.open(index, track, &mut inner);
        }
    }

    pub(super) fn status_of(&self, inner: &Inner<Closing>, now: Timestamp) -> Status {
        let mut status = inner.recovery.status(now);
        if status.is_well() {
            return status;
        }
        status.cause = inner.more.kind;
        if status.health == Health::Out && inner.more.end <= now {
            status.health = Health::AwaitingCheck;
        } else if status.health == Health::Out {
            status.until = Some(inner.more.end).filter(|end| *end < Timestamp::MAX);
        }
        status
    }
}
