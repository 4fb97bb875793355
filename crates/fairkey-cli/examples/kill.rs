//! Kills one run again and again at random moments, and says what became of its rows.
//!
//! ```sh
//! cargo run --release -p fairkey-cli --example kill
//! cargo run --release -p fairkey-cli --example kill -- 20000 100 200 20 7   # the same
//! ```
//!
//! The numbers: rows, rows in flight, latency of the mock in milliseconds, kills, seed. It ends with
//! 1 where a row is missing or there twice, or where more was sent than rows and what was in flight
//! at the kills.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use fairkey_core::Random;
use fairkey_mock::{Event, EventKind, Latency, MockOpenRouter};
use serde_json::Value;
use tempfile::TempDir;

/// Set for the process that is killed: it is fairkey.
const CHILD: &str = "FAIRKEY_KILL_EXAMPLE_CHILD";
const KEY: &str = "sk-or-v1-any-00000000";

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return fairkey_cli::main();
    }
    match kill() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line says.
struct Plan {
    rows: u64,
    in_flight: u64,
    latency: Duration,
    kills: usize,
    seed: u64,
}

impl Plan {
    fn read() -> Result<Self, Box<dyn Error>> {
        let given = std::env::args().skip(1).map(|arg| arg.parse());
        let given: Vec<u64> = given.collect::<Result<_, _>>()?;
        let number = |at: usize, default| given.get(at).copied().unwrap_or(default);
        Ok(Self {
            rows: number(0, 20_000).max(1),
            in_flight: number(1, 100).max(1),
            latency: Duration::from_millis(number(2, 200)),
            kills: number(3, 20) as usize,
            seed: number(4, 7),
        })
    }
}

fn kill() -> Result<bool, Box<dyn Error>> {
    let plan = Plan::read()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let latency = Latency::new(plan.latency, Duration::ZERO);
    let builder = MockOpenRouter::open()
        .latency(latency)
        .log_capacity(usize::try_from(20 * plan.rows)?);
    let mock = runtime.block_on(builder.start())?;
    let folder = TempDir::new()?;
    let mut input = String::new();
    for n in 0..plan.rows {
        writeln!(
            input,
            "{{\"custom_id\":\"q{n}\",\"prompt\":\"Question {n}\",\"max_tokens\":4}}"
        )?;
    }
    fs::write(folder.path().join("in.jsonl"), input)?;

    // When so many calls have come in, one kill each. Less than the rows: a kill after the last
    // row does not count.
    let mut random = Random::new(plan.seed);
    let last = plan.rows - plan.in_flight.min(plan.rows - 1);
    let mut moments: Vec<u64> = (0..plan.kills)
        .map(|_| u64::from(random.below(u32::try_from(last).unwrap_or(u32::MAX))))
        .collect();
    moments.sort_unstable();

    let url = mock.base_url();
    let mut cut_off = 0;
    let mut killed = 0;
    for moment in moments {
        let mut child = start(&plan, folder.path(), &url)?;
        let before = mock.counters().total;
        // Only calls of this process can be in flight when it is killed.
        loop {
            let now = mock.counters().total;
            if now.requests >= moment.max(before.requests + 1) {
                break;
            }
            if child.try_wait()?.is_some() {
                return Err("the run ended before it was killed".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(random.below(50).into()));
        child.kill()?;
        child.wait()?;
        killed += 1;
        // The mock hears of closed connections a moment later.
        let mut now = mock.counters().total;
        for _ in 0..5_000 {
            now = mock.counters().total;
            if now.in_flight == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let cancelled = now.cancelled - before.cancelled;
        cut_off += cancelled;
        eprintln!(
            "kill {killed}: {} calls so far, {cancelled} cut off",
            now.requests
        );
    }
    let status = start(&plan, folder.path(), &url)?.wait()?;

    let results = fs::read_to_string(folder.path().join("out.jsonl"))?;
    let mut found: HashMap<String, u64> = HashMap::new();
    let mut in_order = true;
    for (n, line) in results.lines().enumerate() {
        let value: Value = serde_json::from_str(line)?;
        let id = value["custom_id"].as_str().unwrap_or_default().to_owned();
        in_order &= id == format!("q{n}") && value["error"].is_null();
        *found.entry(id).or_default() += 1;
    }
    let missing = (0..plan.rows)
        .filter(|n| !found.contains_key(&format!("q{n}")))
        .count();
    let twice = found.values().filter(|times| **times > 1).count();
    // Each start reads the catalogue, too, which costs nothing.
    let is_post = |event: &&Event| matches!(&event.kind, EventKind::Received { method, .. } if method == "POST");
    let calls = mock.log().events().iter().filter(is_post).count() as u64;
    let bound = plan.rows + plan.kills as u64 * plan.in_flight;
    println!(
        "{} rows, {} in flight, {} ms, {killed} kills, seed {}",
        plan.rows,
        plan.in_flight,
        plan.latency.as_millis(),
        plan.seed
    );
    println!("the last run        {status}");
    println!("rows missing        {missing}");
    println!("rows there twice    {twice}");
    println!("answered, in order  {in_order}");
    println!("calls upstream      {calls}");
    println!("  the rows          {}", plan.rows);
    println!("  sent again        {}", calls.saturating_sub(plan.rows));
    println!("  cut off by kills  {cut_off}");
    println!("  bound             {bound}");
    let good = status.success() && missing + twice == 0 && in_order && calls <= bound;
    println!("{}", if good { "kept" } else { "BROKEN" });
    Ok(good)
}

/// Starts a run, or goes on with it.
fn start(plan: &Plan, folder: &Path, url: &str) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["run", "in.jsonl", "-o", "out.jsonl", "--quiet"])
        .args(["--base-url", url])
        .args(["--concurrency", &plan.in_flight.to_string()])
        .current_dir(folder)
        .env_clear()
        .env(CHILD, "1")
        .env("OPENROUTER_API_KEY", KEY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}
