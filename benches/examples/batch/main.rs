//! What `fairkey run` does in a second and holds in memory, next to the plain way.
//!
//! ```text
//! cargo build --release && cargo run --release -p fairkey-benches --example batch
//! ```
//!
//! Everything is a process of its own and shares this machine's cores: `fairkey mock`, and either
//! `fairkey run` or a program in Python that sends with `asyncio`, a semaphore and the `openai` package
//! (`plain.py`; `--python PATH` names an interpreter that has it). Rounds alternate between the two, and the
//! ratio is the median of the rounds' own. `--rounds N`, `--rows N` and `--million N` make it longer or
//! shorter, `--program PATH` takes another one than the `fairkey` beside this. Ends with 1 where a
//! floor is missed.

mod program;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use program::{Folder, Mock, Ran};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Rows that the plain way sends at a time: more are no faster there.
const AT_A_TIME: usize = 100;
const MIB: f64 = 1024.0 * 1024.0;

struct Settings {
    program: PathBuf,
    python: PathBuf,
    rounds: usize,
    rows: u64,
    million: u64,
}

fn main() -> ExitCode {
    match Settings::read().and_then(|settings| measure(&settings)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Settings {
    fn read() -> Result<Self> {
        // Examples are a folder below the binaries.
        let beside = std::env::current_exe()?;
        let folder = beside.parent().and_then(|examples| examples.parent());
        let mut settings = Self {
            program: folder
                .ok_or("no folder above this program")?
                .join("fairkey"),
            python: "python3".into(),
            rounds: 3,
            rows: 200_000,
            million: 1_000_000,
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--program" => settings.program = value.into(),
                "--python" => settings.python = value.into(),
                "--rounds" => settings.rounds = value.parse()?,
                "--rows" => settings.rows = value.parse()?,
                "--million" => settings.million = value.parse()?,
                _ => return Err(format!("unknown: {name}").into()),
            }
        }
        if !settings.program.is_file() {
            let path = settings.program.display();
            return Err(format!("no {path}: build it first, with `cargo build --release`").into());
        }
        Ok(settings)
    }
}

/// What is printed of a measurement.
struct Row {
    what: &'static str,
    value: String,
    floor: &'static str,
    /// `None` where it was not measured.
    kept: Option<bool>,
}

fn measure(settings: &Settings) -> Result<bool> {
    let folder = Folder::new()?;
    let rows = [
        rates(settings, &folder)?,
        vec![many_in_flight(settings, &folder)?],
        million(settings, &folder)?,
    ];
    println!("| what | measured | floor | kept |\n| --- | ---: | ---: | --- |");
    let mut kept = true;
    for row in rows.into_iter().flatten() {
        let word = match row.kept {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "not run",
        };
        kept &= row.kept != Some(false);
        println!("| {} | {} | {} | {word} |", row.what, row.value, row.floor);
    }
    Ok(kept)
}

/// Rows per second, without any latency, next to the plain way.
fn rates(settings: &Settings, folder: &Folder) -> Result<Vec<Row>> {
    let input = folder.prompts("rate.jsonl", settings.rows)?;
    let (mut ours, mut ratios, mut why) = (Vec::new(), Vec::new(), None);
    for round in 0..settings.rounds {
        let mock = Mock::start(&settings.program, None)?;
        let ran = Ran::of(settings, folder, &mock, &input, &[])?;
        let rate = ran.rows as f64 / ran.seconds;
        // As many rows as take about as long.
        let plain = program::plain(settings, &mock, settings.rows / 40, AT_A_TIME);
        let told = plain
            .as_ref()
            .map_or("not run".to_owned(), |rate| format!("{rate:.0}"));
        eprintln!(
            "round {}: {rate:.0} rows/s, {:.1} of both cores' seconds for it; plain {told}",
            round + 1,
            ran.processor_seconds
        );
        ours.push(rate);
        match plain {
            Ok(plain) => ratios.push(rate / plain),
            Err(error) => why = Some(error.to_string()),
        }
    }
    let rate = median(&mut ours);
    let ratio = match &why {
        Some(why) => Row {
            what: "next to asyncio and the openai package",
            value: why.clone(),
            floor: "15 x",
            kept: None,
        },
        None => {
            let ratio = median(&mut ratios);
            Row {
                what: "next to asyncio and the openai package",
                value: format!("{ratio:.1} x"),
                floor: "15 x",
                kept: Some(ratio >= 15.0),
            }
        }
    };
    let rate = Row {
        what: "rows a second, upstream without latency",
        value: format!("{rate:.0}"),
        floor: "10,000",
        kept: Some(rate >= 10_000.0),
    };
    Ok(vec![rate, ratio])
}

/// Memory with 5,000 rows in flight.
fn many_in_flight(settings: &Settings, folder: &Folder) -> Result<Row> {
    let input = folder.prompts("many.jsonl", 40_000)?;
    let mock = Mock::start(&settings.program, Some("1s"))?;
    let ran = Ran::of(settings, folder, &mock, &input, &["--concurrency", "5000"])?;
    eprintln!(
        "5,000 in flight: {:.0} MiB, {} at a time, {:.0} rows/s",
        ran.peak as f64 / MIB,
        ran.in_flight,
        ran.rows as f64 / ran.seconds
    );
    Ok(Row {
        what: "memory with 5,000 rows in flight for a second each",
        value: format!(
            "{:.0} MiB ({} at a time)",
            ran.peak as f64 / MIB,
            ran.in_flight
        ),
        floor: "300 MiB",
        kept: Some(ran.in_flight >= 5_000 && (ran.peak as f64) < 300.0 * MIB),
    })
}

/// Memory over a million rows.
fn million(settings: &Settings, folder: &Folder) -> Result<Vec<Row>> {
    let input = folder.prompts("million.jsonl", settings.million)?;
    let mock = Mock::start(&settings.program, None)?;
    let ran = Ran::of(settings, folder, &mock, &input, &["--concurrency", "500"])?;
    let growth = ran.late as f64 / ran.early as f64;
    eprintln!(
        "{} rows: {:.0} MiB at most, {:.0} when half was read, {:.0} when nearly all was, {:.0} rows/s",
        ran.rows,
        ran.peak as f64 / MIB,
        ran.early as f64 / MIB,
        ran.late as f64 / MIB,
        ran.rows as f64 / ran.seconds
    );
    let peak = Row {
        what: "memory over a million rows, 500 in flight",
        value: format!("{:.0} MiB", ran.peak as f64 / MIB),
        floor: "150 MiB",
        kept: Some((ran.peak as f64) < 150.0 * MIB),
    };
    let flat = Row {
        what: "that when nearly all is read, to when half was",
        value: format!("{growth:.2} x"),
        floor: "1.1 x",
        kept: Some(growth <= 1.1),
    };
    Ok(vec![peak, flat])
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
