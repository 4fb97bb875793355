//! What it costs to read rows, beside parsing their lines with `serde_json` into a `Value`.
//!
//! `cargo bench -p fairkey-benches --bench reading -- ratios` prints a table of ratios; without
//! `ratios` criterion's own report comes first. Rows are short, as where reading counts most: a
//! question of 100 bytes.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Duration;

use criterion::Criterion;
use fairkey_batch::{Format, OutputFormat, ReadConfig, RowReader};
use fairkey_benches::measure::interleaved;
use serde_json::Value;

const ROWS: usize = 2_000;

fn question(n: usize) -> String {
    format!("Question {n}: how many of the {n} birds on the wall, says the fable, would fly away?")
}

fn lines(line: impl Fn(usize) -> String) -> Vec<u8> {
    (0..ROWS)
        .map(|n| line(n) + "\n")
        .collect::<String>()
        .into_bytes()
}

fn inputs() -> Vec<(&'static str, Vec<u8>, ReadConfig)> {
    let batch = lines(|n| {
        format!(
            "{{\"custom_id\":\"q{n}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":\
             {{\"model\":\"openai/gpt-4o-mini\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}}}",
            question(n)
        )
    });
    let prompts = lines(|n| format!("{{\"id\":{n},\"prompt\":\"{}\"}}", question(n)));
    let table = [
        b"id,text\n".to_vec(),
        lines(|n| format!("{n},\"{}\"", question(n))),
    ]
    .concat();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&batch).expect("memory takes it");
    let packed = packer.finish().expect("memory takes it");
    let with = |edit: fn(&mut ReadConfig)| {
        let mut config = ReadConfig::default();
        edit(&mut config);
        config
    };
    vec![
        ("batch lines", batch.clone(), with(|_| {})),
        (
            "batch lines, three settings",
            batch,
            with(|config| {
                config.defaults.max_tokens = Some(100);
                for setting in ["temperature=0", "provider.sort=price"] {
                    config
                        .defaults
                        .settings
                        .fill(setting)
                        .expect("it is a setting");
                }
            }),
        ),
        ("batch lines, gzip", packed, with(|_| {})),
        (
            "prompts",
            prompts,
            with(|config| config.defaults.model = Some("openai/gpt-4o-mini".to_owned())),
        ),
        (
            "CSV and a template",
            table,
            with(|config| {
                config.format = Format::Csv;
                config.template = "Answer: {text}".parse().ok();
            }),
        ),
        ("text", lines(question), with(|_| {})),
    ]
}

fn read(input: &[u8], config: &ReadConfig) -> usize {
    let mut reader = RowReader::new(input, config.clone());
    let mut good = 0;
    while let Some(row) = reader.next_row().expect("it can be read") {
        good += usize::from(black_box(row).request.is_ok());
    }
    assert_eq!(good, ROWS);
    good
}

fn parse(input: &[u8]) -> usize {
    let mut good = 0;
    for line in BufRead::split(input, b'\n') {
        let line = line.expect("it is in memory");
        good += usize::from(black_box(serde_json::from_slice::<Value>(&line)).is_ok());
    }
    good
}

fn many<T>(mut f: impl FnMut() -> T) -> impl FnMut(u64) {
    move |many| {
        for _ in 0..many {
            black_box(f());
        }
    }
}

fn with_criterion(c: &mut Criterion) {
    for (name, input, config) in inputs() {
        c.bench_function(&format!("reading/{name}"), |b| {
            b.iter(|| read(black_box(&input), &config));
        });
    }
}

fn ratios() {
    let all = inputs();
    let baseline = &all[0].1;
    println!("\none row, beside parsing a batch line of it into a serde_json::Value (1 thread)");
    println!("{:<32} {:>12} {:>12} {:>12}", "", "row", "rows/s", "cost");
    for (name, input, config) in &all {
        let figures = interleaved(
            21,
            Duration::from_millis(20),
            many(|| parse(black_box(baseline))),
            many(|| read(black_box(input), config)),
        );
        let nanos = figures.nanos / ROWS as f64;
        println!(
            "{name:<32} {nanos:>9.0} ns {:>12.0} {:>10.2} x",
            1e9 / nanos,
            figures.ratio()
        );
    }
    println!("\none result in another shape, beside parsing it into a serde_json::Value");
    let line = format!(
        "{{\"id\":\"row-1\",\"custom_id\":\"q\",\"response\":{{\"status_code\":200,\"request_id\":\"g\",\
         \"body\":{{\"id\":\"g\",\"model\":\"m/x\",\"choices\":[{{\"index\":0,\"finish_reason\":\"stop\",\
         \"message\":{{\"role\":\"assistant\",\"content\":\"{}\"}}}}],\"usage\":{{\"prompt_tokens\":9,\
         \"completion_tokens\":30}}}}}},\"error\":null,\"fairkey\":{{\"line\":1,\"attempts\":1}}}}\n",
        question(1).repeat(4)
    );
    for format in [OutputFormat::Text, OutputFormat::Json, OutputFormat::Csv] {
        let figures = interleaved(
            21,
            Duration::from_millis(5),
            many(|| serde_json::from_slice::<Value>(black_box(line.as_bytes())).is_ok()),
            many(|| format.render(black_box(line.as_bytes()))),
        );
        let nanos = figures.nanos;
        println!(
            "{format:<32} {nanos:>9.0} ns {:>12.0} {:>10.2} x",
            1e9 / nanos,
            figures.ratio()
        );
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_millis(500))
        .warm_up_time(Duration::from_millis(100))
        .sample_size(20)
        .configure_from_args();
    let only_ratios = std::env::args().any(|arg| arg == "ratios");
    if !only_ratios {
        with_criterion(&mut criterion);
        criterion.final_summary();
    }
    // Not in the smoke test that `cargo test` makes of a bench.
    if std::env::args().any(|arg| arg == "--bench" || arg == "ratios") {
        ratios();
    }
}
