//! What it costs to edit a body of 100 kB, beside parsing, editing and printing it; and to measure
//! it, beside parsing it.
//!
//! `cargo bench -p fairkey-benches --bench splice -- ratios` prints a table of ratios with the
//! floors that the project promises; without `ratios` criterion's own report comes first. The body
//! is a conversation as agents send them: prose and source code, so with an escape in each line,
//! and tool calls. `prose` has few escapes, `numbers` is one long list of vectors: nothing to skip
//! in strides. `images` is a conversation with a picture in it.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use fairkey_benches::measure::interleaved;
use fairkey_openrouter::splice::{self, Splice};
use fairkey_openrouter::{ChatRequest, ContentPart, Message, ToolCall, sizing};
use serde_json::{Value, json};

const SIZE: usize = 100_000;
const BODIES: [&str; 4] = ["conversation", "prose", "numbers", "images"];

fn body(name: &str) -> Bytes {
    match name {
        "conversation" => conversation().to_bytes(),
        "prose" => ChatRequest::new("a/b")
            .user("All work and no play makes a long prompt. ".repeat(SIZE / 42))
            .max_tokens(100)
            .to_bytes(),
        "images" => {
            let url = format!("data:image/png;base64,{}", "QUJD".repeat(SIZE / 4));
            let parts = vec![
                ContentPart::text("What is this?"),
                ContentPart::image_url(url),
            ];
            ChatRequest::new("a/b").user(parts).to_bytes()
        }
        _ => {
            let list: Vec<f64> = (0..SIZE / 20).map(|n| f64::from(n as u32).sqrt()).collect();
            Bytes::from(json!({"model": "a/b", "input": list, "n": 1}).to_string())
        }
    }
}

fn conversation() -> ChatRequest {
    let mut request = ChatRequest::new("a/b")
        .system("You write programs.")
        .max_tokens(2_000);
    let code = "fn main() {\n    println!(\"{:?}\", std::env::args());\n}\n".repeat(12);
    while request.to_bytes().len() < SIZE {
        for _ in 0..10 {
            let call: ToolCall = serde_json::from_value(json!({
                "id": "call_1", "type": "function",
                "function": {"name": "read", "arguments": "{\"path\":\"src/main.rs\"}"},
            }))
            .expect("it is a call");
            let mut answer = Message::assistant("Let me see what is in there first.");
            answer.tool_calls = Some(vec![call]);
            request = request
                .user(code.as_str())
                .message(answer)
                .message(Message::tool("call_1", code.as_str()));
        }
    }
    request
}

/// What a gateway does: another model, preferences where there are none, a member out.
fn spliced(body: &Bytes) -> Bytes {
    Splice::new(body.clone())
        .set("model", "x/y")
        .set_default("provider", json!({"sort": "price"}))
        .remove("transforms")
        .finish()
        .expect("the body is an object")
}

fn reprinted(body: &Bytes) -> Bytes {
    let mut value: Value = serde_json::from_slice(body).expect("the body is JSON");
    let members = value.as_object_mut().expect("the body is an object");
    members.insert("model".to_owned(), json!("x/y"));
    members
        .entry("provider")
        .or_insert_with(|| json!({"sort": "price"}));
    members.remove("transforms");
    Bytes::from(serde_json::to_vec(&value).expect("a value is written"))
}

fn many<T>(mut f: impl FnMut() -> T) -> impl FnMut(u64) {
    move |many| {
        for _ in 0..many {
            black_box(f());
        }
    }
}

fn with_criterion(c: &mut Criterion) {
    for name in BODIES {
        let body = body(name);
        let mut group = c.benchmark_group(format!("splice/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("splice", body.len()), |b| {
            b.iter(|| spliced(black_box(&body)));
        });
        group.bench_function(BenchmarkId::new("peek", body.len()), |b| {
            b.iter(|| black_box(splice::peek(black_box(&body))).is_ok());
        });
        group.bench_function(BenchmarkId::new("measure", body.len()), |b| {
            b.iter(|| black_box(sizing::measure(black_box(&body))).is_ok());
        });
        group.bench_function(BenchmarkId::new("parse_edit_print", body.len()), |b| {
            b.iter(|| reprinted(black_box(&body)));
        });
        group.finish();
    }
    let request = conversation();
    c.bench_function("build/conversation", |b| {
        b.iter(|| black_box(&request).to_bytes());
    });
}

fn row(
    label: &str,
    mut baseline: impl FnMut(u64),
    mut subject: impl FnMut(u64),
    floor: Option<f64>,
) {
    let figures = interleaved(41, Duration::from_millis(5), &mut baseline, &mut subject);
    let times = 1.0 / figures.ratio();
    let verdict = match floor {
        Some(least) if times >= least => format!("at least {least}: held"),
        Some(least) => format!("at least {least}: MISSED"),
        None => String::new(),
    };
    println!(
        "{label:<44} {:>8.1} us {:>8.1} us {times:>7.1} x  {verdict}",
        figures.nanos / 1e3,
        figures.baseline_nanos / 1e3,
    );
}

fn ratios() {
    println!(
        "\nhow many times faster than parsing, editing and printing with serde_json (1 thread)"
    );
    println!("{:<44} {:>11} {:>11}", "", "own", "serde_json");
    for name in BODIES {
        let body = body(name);
        let reprint = || many(|| reprinted(black_box(&body)));
        let label = |what| format!("{what}, {name} of {} kB", body.len() / 1000);
        row(
            &label("splice"),
            reprint(),
            many(|| spliced(black_box(&body))),
            Some(5.0),
        );
        let peek = many(|| black_box(splice::peek(black_box(&body))).is_ok());
        row(&label("peek"), reprint(), peek, Some(5.0));
    }
    println!("\nhow many times faster than parsing with serde_json");
    for name in BODIES {
        let body = body(name);
        row(
            &format!("measure, {name} of {} kB", body.len() / 1000),
            many(|| serde_json::from_slice::<Value>(black_box(&body)).is_ok()),
            many(|| black_box(sizing::measure(black_box(&body))).is_ok()),
            // Where every line has an escape, or all is numbers, there is little to skip.
            ["prose", "images"].contains(&name).then_some(5.0),
        );
    }
    println!("\nbuilding a request, too");
    let request = conversation();
    let parsed = body("conversation");
    let build_and_splice = many(|| {
        let body = black_box(&request).to_bytes();
        spliced(&body)
    });
    row(
        "build and splice, conversation of 100 kB",
        many(|| {
            let body = black_box(&request).to_bytes();
            reprinted(&body)
        }),
        build_and_splice,
        None,
    );
    assert_eq!(request.to_bytes(), parsed);
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
