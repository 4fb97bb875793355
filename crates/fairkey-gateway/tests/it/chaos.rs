//! Chaos: everything that can go wrong at once, and what must hold all the same.
//!
//! One run is a mock that fails in all its ways by chance, a gateway with tenants, limits, an access
//! log and operators before it, and callers of all kinds: patient ones, some that leave before the
//! head or in the middle, some that send half a request. Meanwhile keys, limits, tenants and settings
//! are read again, operators say things, and in the end the gateway drains under load. Then:
//!
//! - every request has ended exactly once: one line in the access log, one count, at most one entry
//!   in the books;
//! - nothing is in flight, for no key, account, tenant, limit or line, and no task is left;
//! - no stream has ended without its end or an error;
//! - no secret is in any answer, log, metric or page of operators;
//! - what is kept by name is bounded; over 40 seeds and more, memory does not grow.
//!
//! `FAIRKEY_CHAOS_SEEDS=50 FAIRKEY_CHAOS_CALLS=200` plays more seeds, and more calls of each caller.
//! What each call meets follows from the seed; how calls interleave does not.

mod callers;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use self::callers::{Caller, Seen};
use self::stage::{CANARY, Left, Stage};

/// Callers of one run.
const CALLERS: u64 = 24;

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

#[test]
fn whatever_happens_every_call_ends_once_and_nothing_is_left_of_it() {
    let seeds = setting("FAIRKEY_CHAOS_SEEDS", 3);
    let calls = setting("FAIRKEY_CHAOS_CALLS", 20);
    let mut memory = Vec::new();
    for seed in 1..=seeds {
        // One of its own: when all is over, no task is left in it.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let limit = Duration::from_secs(60 + 2 * calls);
        let told = runtime.block_on(async { tokio::time::timeout(limit, play(seed, calls)).await });
        let told = told.unwrap_or_else(|_| panic!("seed {seed} hangs"));
        memory.push(resident_kb());
        println!(
            "seed {seed}: {told}; {} kB of memory",
            memory[memory.len() - 1]
        );
    }
    // Other tests of this process are over when so many seeds are.
    if let [before, .., after] = memory[memory.len() / 4..]
        && memory.len() >= 40
    {
        assert!(
            after < before * 5 / 4,
            "memory has grown from {before} to {after} kB"
        );
    }
}

/// The memory of this process, where the system tells it.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Plays one seed; returns what happened, in words.
async fn play(seed: u64, calls: u64) -> String {
    let mut stage = Stage::start(seed).await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(Caller::new(seed, number, &stage).make(calls));
    }
    let (mut seen, mut changes) = (Seen::default(), 0_u64);
    // The last quarter of the callers meets the drain.
    let mut left = CALLERS;
    while left > CALLERS / 4 {
        tokio::select! {
            biased;
            Some(done) = callers.join_next() => {
                seen.add(done.unwrap());
                left -= 1;
            }
            () = stage.change() => changes += 1,
        }
    }
    let drained = stage.drain().await;
    while let Some(done) = callers.join_next().await {
        seen.add(done.unwrap());
    }
    assert_eq!(drained.cut.min(100), drained.requests.len(), "{drained:?}");
    stage.is_idle().await;
    let left = stage.end().await;
    judge(&seen, &left);
    format!(
        "{} requests, {} answers, {} left by their callers, {changes} changes, {} cut off",
        left.log.len(),
        seen.answers.len(),
        seen.left,
        drained.cut,
    )
}

/// Says what must hold when all is over.
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
