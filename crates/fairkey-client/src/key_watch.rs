//! Keys that are asked about themselves in the background: [`KeyWatch`].

mod learning;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use fairkey_core::{KeyId, Timestamp};
use fairkey_openrouter::{Fault, KeyInfo, endpoint};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;

use crate::Client;
use crate::account;
use crate::core::Core;
use crate::schedule::{Schedule, WatchConfig};

/// Keys that are asked about themselves in the background, as long as this lives.
///
/// Dropped, it stops at once; what was learned stays. It keeps its client alive.
#[derive(Debug)]
#[must_use = "dropping it stops the watch"]
pub struct KeyWatch {
    core: Arc<Core>,
    task: JoinHandle<()>,
}

impl Drop for KeyWatch {
    fn drop(&mut self) {
        self.task.abort();
        self.core.knowledge.watch(false);
        self.core.save_if_changed();
    }
}

impl Client {
    /// Starts to ask every key about itself by `GET /key`, which costs no tokens: each once in a
    /// while, and at once when it was refused. Never on the path of a call.
    ///
    /// - A key that is out comes back as soon as it says that it may: a cap that was raised or has
    ///   started anew, a credential that is accepted again. A cap that is still spent at its reset
    ///   stays out until the new one.
    /// - A spent cap or budget, an expiry and a management key are found out before a call meets
    ///   them; keys that share a budget are out and back together.
    /// - Keys of one owner are grouped where the configuration names no account.
    /// - Keys are weighed by what remains to them: see [`PaceConfig`](crate::PaceConfig).
    /// - The state file is written a moment after something has changed.
    ///
    /// Gates are opened and closed only where they are the default ones. A second watch of the
    /// same client asks keys a second time, and is of no use.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time.
    pub fn watch_keys(&self, config: WatchConfig) -> KeyWatch {
        let core = self.core();
        core.knowledge.watch(true);
        let schedule = Schedule::new(config.clone(), core.seeds.draw());
        let task = tokio::spawn(watch(Arc::clone(&core), schedule, config));
        KeyWatch { core, task }
    }
}

/// The longest sleep: the pool's clock need not be the runtime's.
const LONGEST: Duration = Duration::from_secs(60);

struct Answer {
    key: KeyId,
    asked: Timestamp,
    info: Result<KeyInfo, Fault>,
}

async fn watch(core: Arc<Core>, mut schedule: Schedule, config: WatchConfig) {
    let pool = &core.admission.pool;
    let mut asking = FuturesUnordered::new();
    let mut save_at: Option<Timestamp> = None;
    loop {
        let now = pool.now();
        let keys: Vec<KeyId> = pool.with_keys(|keys| keys.iter().map(|k| k.id().clone()).collect());
        schedule.retain(&keys, now);
        core.arrange();
        for key in core.knowledge.take_alarms() {
            schedule.alarm(&key, now);
        }
        while let Some(key) = schedule.next(now) {
            asking.push(ask(Arc::clone(&core), key, now));
        }
        if core.knowledge.take_change() {
            save_at.get_or_insert(now + config.save_after);
        }
        if save_at.is_some_and(|at| at <= now) {
            save_at = None;
            core.save();
        }
        let wake = [schedule.due(), save_at].into_iter().flatten().min();
        let wait = wake.map_or(LONGEST, |at| at.since(now).min(LONGEST));
        let mut slept = pin!(tokio::time::sleep(wait));
        let mut rung = pin!(core.knowledge.bell.notified());
        let answer = poll_fn(|cx| {
            if let Poll::Ready(Some(answer)) = asking.poll_next_unpin(cx) {
                return Poll::Ready(Some(answer));
            }
            let woken = slept.as_mut().poll(cx).is_ready() || rung.as_mut().poll(cx).is_ready();
            if woken {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        })
        .await;
        if let Some(Answer { key, asked, info }) = answer {
            let answered = info.is_ok();
            let next = core.learn(&key, asked, info);
            let wait = schedule.answered(&key, next, pool.now());
            core.note_checked(&key, answered, wait);
        }
    }
}

async fn ask(core: Arc<Core>, key: KeyId, asked: Timestamp) -> Answer {
    let info = match core.admission.pool.expose_key(key.as_str()) {
        None => Err(Fault::local("there is no such key any more")),
        Some(secret) => match account::ask_once(&core, endpoint::KEY, &secret).await {
            Ok(body) => KeyInfo::from_slice(&body)
                .map_err(|_| Fault::malformed("what a key says of itself is of another form")),
            Err(fault) => Err(fault),
        },
    };
    Answer { key, asked, info }
}

impl Core {
    /// Groups and weighs keys by what is known of them, where that changes anything.
    fn arrange(&self) {
        let pool = &self.admission.pool;
        let keys: Vec<_> = pool.with_keys(|keys| {
            let key = |key: fairkey_core::Candidate<'_>| {
                (key.id().clone(), key.account_id().cloned(), key.weight())
            };
            keys.iter().map(key).collect()
        });
        let places = (self.knowledge).arrange(&keys, &self.pace, self.wall.since_epoch());
        if places.is_empty() {
            return;
        }
        let revised = pool.revise(|key| {
            let place = places.get(key.id());
            let Some(place) = place.filter(|place| place.seen == key.weight_value().get()) else {
                return key.clone();
            };
            let key = key.clone().weight(place.weight);
            match &place.account {
                Some(account) if key.account_id().is_none() => key.account(account),
                _ => key,
            }
        });
        debug_assert!(revised.is_ok(), "the same keys as before");
        #[cfg(feature = "tracing")]
        tracing::debug!(keys = places.len(), "keys are grouped and weighed anew");
    }

    /// Asks one key about itself, now and once.
    pub(crate) async fn inspect(self: &Arc<Self>, key: &KeyId) {
        let asked = self.admission.pool.now();
        let answer = ask(Arc::clone(self), key.clone(), asked).await;
        let answered = answer.info.is_ok();
        self.learn(key, asked, answer.info);
        self.note_checked(key, answered, Duration::ZERO);
    }
}
