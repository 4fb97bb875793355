//! Chaos: everything that can go wrong at once, and what must hold all the same.
//!
//! One run is a mock that fails in all its ways by chance, a gateway with tenants, limits, an access
//! log and operators before it, and callers of all kinds: patient ones, some that leave before the
//! head or in the middle, some that send half a request. Meanwhile keys, limits, tenants and settings
//! are read again, operators say things, and in the last round the gateway drains under load. Then:
//!
//! - every request has ended exactly once: one line in the access log, one count, at most one entry
//!   in the books;
//! - nothing is in flight, for no key, account, tenant, limit or line;
//! - no stream has ended without its end or an error;
//! - no secret is in any answer, log, metric or page of operators;
//! - nothing grows. After each round descriptors and tasks are those of the start, but for kept
//!   connections; what is kept by name is bounded; of one gateway that plays many rounds, memory stays
//!   what it was after 8,000 requests; after each run nothing is left of it, to some kB.
//!
//! It has a process of its own, since memory and descriptors are a process's.
//!
//! | variable | is | default |
//! | --- | --- | --- |
//! | `FAIRKEY_CHAOS_SEEDS` | runs, each with another seed | 3 |
//! | `FAIRKEY_CHAOS_FROM` | the first seed | 1 |
//! | `FAIRKEY_CHAOS_ROUNDS` | rounds of one run, all with the same gateway | 2 |
//! | `FAIRKEY_CHAOS_CALLS` | calls of each of the 24 callers in a round | 10 |
//!
//! Memory of one gateway is compared over 8,000 requests and more: `FAIRKEY_CHAOS_SEEDS=1
//! FAIRKEY_CHAOS_ROUNDS=40 FAIRKEY_CHAOS_CALLS=20`.
//!
//! What each call meets follows from the seed; how calls interleave does not.

mod callers;
mod footprint;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use self::callers::{Caller, Seen};
use self::stage::{CANARY, Left, Stage};

/// Callers of one round.
const CALLERS: u64 = 24;
/// After so many requests names that are made up have filled what is bounded: memory is compared from
/// there on.
const WARM: u64 = 8_000;
/// Over so many requests at least.
const MANY: u64 = 8_000;
/// What a request may leave behind on the average: less than anything that is kept of one by mistake,
/// and more than what the mock keeps of it.
const BYTES_EACH: u64 = 64;
/// By so much memory differs from one moment to another: buffers of connections that are kept.
const BYTES_OF_CHANCE: u64 = 256 << 10;
/// What a run may leave behind: threads keep a few things for their next call.
const BYTES_LEFT: u64 = 16 << 10;

/// Chance that follows from a seed.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64, of: u64) -> Self {
        Self(fairkey_core::mix(seed ^ of.rotate_left(32)))
    }

    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        fairkey_core::mix(self.0) % n
    }

    /// True so many times in a hundred.
    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Waits until something that other tasks bring about is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), wait).await;
    done.expect(what);
}

#[test]
fn whatever_happens_every_call_ends_once_and_nothing_is_left_of_it() {
    let seeds = setting("FAIRKEY_CHAOS_SEEDS", 3);
    let from = setting("FAIRKEY_CHAOS_FROM", 1);
    let rounds = setting("FAIRKEY_CHAOS_ROUNDS", 2).max(1);
    let calls = setting("FAIRKEY_CHAOS_CALLS", 10);
    let mut left = None;
    // With the first runtime come descriptors that the process keeps, where signals can be heard.
    drop(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
    );
    for seed in from..from + seeds {
        let descriptors = footprint::descriptors();
        // One of its own: when all is over, no task is left in it.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play(seed, rounds, calls));
        drop(runtime);
        assert_eq!(footprint::descriptors(), descriptors, "seed {seed}");
        let bytes = footprint::bytes();
        println!("seed {seed}: {} kB are left", bytes >> 10);
        // The first run has filled what threads keep.
        let first = *left.get_or_insert(bytes);
        assert!(
            bytes <= first + BYTES_LEFT,
            "seed {seed}: memory has grown from {first} to {bytes} bytes"
        );
    }
}

/// Plays one seed.
async fn play(seed: u64, rounds: u64, calls: u64) {
    let mut stage = Stage::start(seed).await;
    let mut footprints = Vec::new();
    let mut requests = 0;
    for round in 0..rounds {
        let limit = Duration::from_secs(120 + 4 * calls);
        let is_last = round + 1 == rounds;
        let played =
            tokio::time::timeout(limit, play_round(&mut stage, seed, round, calls, is_last));
        let told = played.await;
        let told = told.unwrap_or_else(|_| {
            let waits = callers::all_waits();
            panic!("round {round} of seed {seed} hangs: {waits:#?}")
        });
        requests += told.0;
        footprints.push((requests, footprint::bytes()));
        println!(
            "seed {seed}, round {round}: {}; {} kB, {} descriptors, {} tasks",
            told.1,
            footprint::bytes() >> 10,
            footprint::descriptors(),
            footprint::tasks()
        );
    }
    stage.end().await;
    // The last round ends what is measured before.
    let warm = footprints[..footprints.len() - 1].iter();
    let warm: Vec<_> = warm.filter(|it| it.0 >= WARM).collect();
    if let [first, .., last] = warm[..]
        && last.0 >= first.0 + MANY
    {
        // The least of some rounds: connections that are kept have buffers.
        let least = |some: &[&(u64, u64)]| some.iter().map(|it| it.1).min().unwrap_or(0);
        let third = warm.len() / 3;
        let (before, after) = (least(&warm[..third]), least(&warm[warm.len() - third..]));
        let requests = last.0 - first.0;
        let told = format!(
            "seed {seed}: from {} to {} kB over {requests} requests",
            before >> 10,
            after >> 10
        );
        println!("{told}");
        let most = before + BYTES_OF_CHANCE + BYTES_EACH * requests;
        assert!(after <= most, "memory grows, {told}");
    }
}

/// Plays a round, and judges it; returns how many requests there were, and what happened, in words.
async fn play_round(
    stage: &mut Stage,
    seed: u64,
    round: u64,
    calls: u64,
    is_last: bool,
) -> (u64, String) {
    let mut callers = tokio::task::JoinSet::new();
    let transports = [false, true].map(|is_http2| std::sync::Arc::new(stage::transport(is_http2)));
    for number in 0..CALLERS {
        let transport = &transports[number as usize % transports.len()];
        let dice = Dice::new(seed, number + 1 + round * CALLERS);
        let caller = Caller::new(stage.addr, std::sync::Arc::clone(transport), dice, number);
        callers.spawn(caller.make(calls));
    }
    drop(transports);
    let (mut seen, mut changes) = (Seen::default(), 0_u64);
    // The last quarter of the callers meets the drain.
    let mut left = CALLERS;
    while left > if is_last { CALLERS / 4 } else { 0 } {
        tokio::select! {
            biased;
            Some(done) = callers.join_next() => {
                seen.add(done.unwrap());
                left -= 1;
            }
            () = stage.change() => changes += 1,
        }
    }
    let mut cut = 0;
    if is_last {
        let drained = stage.drain().await;
        cut = drained.cut;
        assert_eq!(cut.min(100), drained.requests.len(), "{drained:?}");
    }
    while let Some(done) = callers.join_next().await {
        seen.add(done.unwrap());
    }
    stage.is_idle().await;
    let left = stage.settle().await;
    stage.is_small().await;
    judge(&seen, &left);
    let requests = left.log.len() as u64;
    let told = format!(
        "{requests} requests, {} answers, {} left by their callers, {changes} changes, {cut} cut off",
        seen.answers.len(),
        seen.left,
    );
    (requests, told)
}

/// Says what must hold when a round is over.
fn judge(seen: &Seen, left: &Left) {
    assert_eq!(seen.wrong, Vec::<String>::new());
    // Each request once in the log, and as often in the counts.
    let mut lines: BTreeMap<&str, &Value> = BTreeMap::new();
    for line in &left.log {
        let id = line["request_id"].as_str().unwrap();
        assert!(
            lines.insert(id, line).is_none(),
            "{id} has ended twice: {line}"
        );
    }
    assert_eq!(
        left.counted,
        lines.len() as u64,
        "requests counted, and lines written"
    );
    for id in &seen.answers {
        assert!(
            lines.contains_key(id.as_str()),
            "{id} was answered, and never ended"
        );
    }
    // What reached a key is booked once.
    let mut booked = BTreeSet::new();
    for id in &left.ended {
        assert!(booked.insert(id.as_str()), "{id} is booked twice");
        assert!(
            lines.contains_key(id.as_str()),
            "{id} is booked, and never ended"
        );
    }
    let formats = ["chat", "messages", "responses", "embeddings"];
    for (id, line) in &lines {
        let is_call = formats.iter().any(|format| line["operation"] == *format);
        if is_call && line["status"] == 200 && line["reason"].is_null() {
            assert!(!line["end"].is_null(), "an answer that has no end: {line}");
            // A caller that leaves before any key has answered owes nothing.
            let is_answered = line["end"] != "left" || !line["generation"].is_null();
            assert!(!is_answered || booked.contains(id), "nobody booked {line}");
        }
    }
    // No secret anywhere.
    for text in seen.texts.iter().chain(&left.texts) {
        if let Some(at) = text.find(CANARY) {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            let to = text.floor_char_boundary((at + 100).min(text.len()));
            panic!("a secret is told: {}", &text[from..to]);
        }
    }
    assert!(left.models <= 101, "{} models have labels", left.models);
}
