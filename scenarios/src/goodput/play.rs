//! Playing a scene with a system, and what came of it: [`Measured`].

use std::sync::Arc;
use std::time::Duration;

use fairkey_mock::{Counters, On, Step};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::ideal::Sizes;
use super::scene::{ACCOUNTS, MODEL, Scene, WINDOW};
use super::system::{Came, System};
use crate::world::World;

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its number.
    pub call: usize,
    /// How long its caller had waited.
    pub after: Duration,
    /// When its caller was told to come again, counted from the failure.
    pub retry_after: Option<Duration>,
    /// Whether it was served when it came back at that time, where it did.
    pub served_then: Option<bool>,
    /// What the error says.
    pub says: String,
}

/// What came of a scene.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Calls made.
    pub calls: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Tokens of those calls.
    pub tokens: u64,
    /// Calls that were not.
    pub failures: Vec<Failure>,
    /// Requests that the upstream refused.
    pub refusals: u64,
    /// Requests that reached the upstream.
    pub upstream: u64,
    /// How much longer than without limits each answer took, in order.
    pub waits: Vec<Duration>,
    /// The same of the calls of the scene's second model.
    pub waits_of_other: Vec<Duration>,
    /// Calls of the scene's second model that were not answered.
    pub failed_of_other: u64,
    /// Answers, and refusals, of the second half of the time.
    pub second_half: (u64, u64),
    /// The most windows in a row in which an account answered nothing.
    pub dry: u32,
    /// From the first call to the last answer.
    pub makespan: Duration,
}

impl Measured {
    /// Returns requests that were refused for each 100 answers.
    #[must_use]
    pub fn refusals_per_100(&self) -> f64 {
        100.0 * self.refusals as f64 / self.answered.max(1) as f64
    }

    /// Returns the same of the second half.
    #[must_use]
    pub fn late_refusals_per_100(&self) -> f64 {
        let (answers, refusals) = self.second_half;
        100.0 * refusals as f64 / answers.max(1) as f64
    }

    /// Returns how many of 100 calls failed.
    #[must_use]
    pub fn failed_per_100(&self) -> f64 {
        100.0 * self.failures.len() as f64 / self.calls.max(1) as f64
    }

    /// Returns the wait that so many of 100 answers did not exceed.
    #[must_use]
    pub fn wait(&self, percent: usize) -> Duration {
        quantile(&self.waits, percent)
    }

    /// Returns the time within which so many of 100 failures were told.
    #[must_use]
    pub fn failed_after(&self, percent: usize) -> Duration {
        let mut after: Vec<_> = self.failures.iter().map(|it| it.after).collect();
        after.sort_unstable();
        quantile(&after, percent)
    }

    /// Returns how many failures named no time to come again.
    #[must_use]
    pub fn without_time(&self) -> usize {
        let without = |it: &&Failure| it.retry_after.is_none();
        self.failures.iter().filter(without).count()
    }
}

/// Returns the value that so many of 100 do not exceed; zero of none.
pub(super) fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// Plays a scene.
///
/// # Panics
///
/// If a call panics.
pub async fn play(scene: &Scene, system: System, sizes: &Sizes) -> Measured {
    play_until(scene, system, sizes, usize::MAX).await
}

/// Plays scenes again, each up to one of the calls that failed, as if nobody came after it but the
/// same call, at the time that it was told to come again. Returns of how many calls this was
/// asked, and how many of them were served then.
///
/// That is what such a time can promise: what others do until then is not known.
///
/// # Panics
///
/// If the run does not repeat.
pub async fn come_again(
    scene: &Scene,
    system: System,
    sizes: &Sizes,
    failures: &[Failure],
) -> (usize, usize) {
    let (mut asked, mut served) = (0, 0);
    for part in AGAIN {
        let Some(failure) = failures.get(failures.len() * part / 100) else {
            continue;
        };
        if failure.retry_after.is_none() {
            continue;
        }
        let again = play_until(scene, system, sizes, failure.call).await;
        let last = again.failures.iter().find(|it| it.call == failure.call);
        asked += 1;
        // Without those who came after it, it may be served at once.
        served += usize::from(last.is_none_or(|it| it.served_then == Some(true)));
    }
    (asked, served)
}

/// Which of the failures are asked to come again: those that so many of 100 came before.
const AGAIN: [usize; 3] = [2, 10, 20];

/// Plays the calls up to one, which comes again when it was told to.
async fn play_until(scene: &Scene, system: System, sizes: &Sizes, until: usize) -> Measured {
    let world = scene.start();
    let sender = system.start(scene, &world).await;
    let began = Instant::now();
    let acts = act(scene, &world, began);
    let samples = sample(scene, &world, began);
    let mut calls = JoinSet::new();
    let arrivals = scene.arrivals().into_iter().enumerate();
    for (n, at) in arrivals.take_while(|(n, _)| *n <= until) {
        sleep_until(began + at).await;
        let (sender, request) = (Arc::clone(&sender), scene.traffic.request(n));
        calls.spawn(async move {
            let called = Instant::now();
            let came = sender.send(&request).await;
            let took = called.elapsed();
            let mut back = None;
            if let Came::Failed {
                retry_after: Some(wait),
                ..
            } = &came
                && n == until
            {
                sleep(*wait).await;
                back = Some(sender.send(&request).await == Came::Answered);
            }
            (n, came, took, called, back)
        });
    }
    let mut measured = Measured::default();
    while let Some(end) = calls.join_next().await {
        let (n, came, took, called, back) = end.expect("no call panics");
        measured.calls += 1;
        let size = sizes.of(n);
        let is_other = scene.traffic.models[n % scene.traffic.models.len()] != MODEL;
        match came {
            Came::Answered => {
                measured.answered += 1;
                measured.tokens += size.tokens;
                let wait = took.saturating_sub(size.time);
                measured.waits.push(wait);
                if is_other {
                    measured.waits_of_other.push(wait);
                }
                measured.makespan = measured.makespan.max(called + took - began);
            }
            Came::Failed { retry_after, says } => {
                measured.failed_of_other += u64::from(is_other);
                measured.failures.push(Failure {
                    call: n,
                    after: took,
                    retry_after,
                    served_then: back,
                    says,
                });
            }
        }
    }
    measured.waits.sort_unstable();
    measured.waits_of_other.sort_unstable();
    measured.failures.sort_by_key(|failure| failure.call);
    acts.abort();
    samples.abort();
    let counters = world.mock().counters();
    measured.refusals = counters.total.refused;
    measured.upstream = counters.total.requests;
    if let Ok(samples) = samples.await {
        measured.note(scene, &samples);
    }
    measured
}

impl Measured {
    /// Reads samples that were taken at the end of each window.
    fn note(&mut self, scene: &Scene, samples: &[Counters]) {
        let half = scene.windows as usize / 2;
        if let (Some(middle), Some(last)) = (half.checked_sub(1), samples.last()) {
            let middle = &samples[middle].total;
            let answers = last.total.finished - middle.finished;
            self.second_half = (answers, last.total.refused - middle.refused);
        }
        for (account, ..) in ACCOUNTS {
            let finished = |counters: &Counters| {
                let tally = counters.accounts.get(account);
                tally.map_or(0, |tally| tally.finished)
            };
            let (mut before, mut dry) = (0, 0);
            for now in samples.iter().map(finished) {
                dry = if now > before { 0 } else { dry + 1 };
                before = now;
                self.dry = self.dry.max(dry);
            }
        }
    }
}

fn act(scene: &Scene, world: &World, began: Instant) -> tokio::task::JoinHandle<()> {
    let (world, events) = (world.clone(), scene.events.clone());
    tokio::spawn(async move {
        for (at, action) in events {
            sleep_until(began + at).await;
            world.mock().apply(action);
        }
    })
}

/// Takes the counters at the end of each window.
fn sample(scene: &Scene, world: &World, began: Instant) -> tokio::task::JoinHandle<Vec<Counters>> {
    let (world, windows) = (world.clone(), scene.windows);
    tokio::spawn(async move {
        let mut samples = Vec::new();
        for window in 1..=windows {
            sleep_until(began + WINDOW * window).await;
            samples.push(world.mock().counters());
        }
        samples
    })
}

/// Makes 1,000 calls, 20 a second, of an upstream that answers 503 to everything. Returns how many
/// requests reached it for each call.
pub async fn always_503(system: System, seed: u64) -> f64 {
    const CALLS: u32 = 1_000;
    let scene = Scene::new("", 1.0, 1, seed);
    let world = scene.start();
    let fault = fairkey_mock::Fault::overloaded_503(super::scene::PROVIDER);
    world
        .mock()
        .script(On::any(), [Step::reply(fault).forever()]);
    let sender = system.start(&scene, &world).await;
    let mut calls = JoinSet::new();
    for n in 0..CALLS {
        let (sender, request) = (Arc::clone(&sender), scene.traffic.request(n as usize));
        calls.spawn(async move { sender.send(&request).await });
        sleep(Duration::from_millis(50)).await;
    }
    while calls.join_next().await.is_some() {}
    let chat = world.mock().counters().total.faulted;
    chat as f64 / f64::from(CALLS)
}
