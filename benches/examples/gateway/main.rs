//! What the gateway costs, next to a bare reverse proxy on the same HTTP stack, in one run.
//!
//! ```text
//! cargo build --release && cargo run --release -p fairkey-benches --example gateway
//! ```
//!
//! The program under test runs on one core (by `taskset`, where there is one), upstream and load on
//! another. Rounds alternate between the two programs, and a ratio is the median of the rounds' own
//! ratios, so that what disturbs one round disturbs both sides of it. All of it is measured twice:
//! with the upstream in plain HTTP/1.1, and over TLS and HTTP/2. Takes `--rounds N`, `--seconds S` for
//! each measurement, `--streams N` for the idle ones, `--upstream plain` or `tls` for one of the two,
//! `--gateway PATH` for another program than the `fairkey` beside this one, and `--soak CALLS`, which
//! does that alone.

mod bare;
mod load;
mod process;
mod secured;
mod settings;
mod table;
mod upstream;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use load::{Load, Shape, Told};
use mimalloc::MiMalloc;
use process::{Role, Server, Wire};
use secured::Certificate;
use settings::Settings;
use table::{Row, Table};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

// The gateway's: what is compared are the two programs, not their allocators.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let role = args.first().cloned().unwrap_or_default();
    let result = match role.as_str() {
        "upstream" => upstream::main(args.get(1).map(Path::new)),
        "bare" => bare::main(&args[1], args.get(2).map(Path::new)),
        "load" => load::main(&args.split_off(1)),
        _ => Settings::read(&args).and_then(|settings| match settings.soak {
            Some(calls) => soak(&settings, calls),
            None => measure(&settings),
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The two programs, and what they forward to.
struct Sides {
    _upstream: Server,
    bare: Server,
    gateway: Server,
    start: Duration,
}

impl Sides {
    fn start(settings: &Settings, wire: &Wire) -> Result<Self> {
        let upstream = Server::start(&Role::Upstream, wire)?;
        let bare = Role::Bare {
            upstream: upstream.addr,
        };
        let bare = Server::start(&bare, wire)?;
        let begun = process::now();
        let gateway = Role::Gateway {
            program: settings.gateway.clone(),
            upstream: upstream.addr,
        };
        let gateway = Server::start(&gateway, wire)?;
        load::run(gateway.addr, &Load::one(Shape::Whole))?;
        let start = begun.elapsed();
        load::run(bare.addr, &Load::one(Shape::Whole))?;
        Ok(Self {
            _upstream: upstream,
            bare,
            gateway,
            start,
        })
    }
}

/// What one load took of a program: processor time in all, and what the load saw.
fn under(server: &Server, load: &Load) -> Result<(f64, Told)> {
    let before = server.processor_time()?;
    let told = load::run(server.addr, load)?;
    let used = server.processor_time()?.saturating_sub(before);
    Ok((used.as_secs_f64() * 1e6 / told.calls as f64, told))
}

fn measure(settings: &Settings) -> Result<()> {
    let mut table = Table::new();
    if settings.plain {
        measure_over(settings, &Wire::Plain, &mut table)?;
    }
    if settings.tls {
        let wire = Wire::Secured(Certificate::new()?);
        measure_over(settings, &wire, &mut table)?;
    }
    println!("{table}");
    Ok(())
}

fn measure_over(settings: &Settings, wire: &Wire, table: &mut Table) -> Result<()> {
    let sides = Sides::start(settings, wire)?;
    let many = |shape| Load {
        shape,
        connections: 64,
        span: settings.span,
        calls: u64::MAX,
    };
    let alone = Load {
        connections: 1,
        ..many(Shape::Whole)
    };
    let over = wire.name();
    let row = |what, floor| Row::new(format!("{what}{over}"), "us", floor);
    let mut rows = [
        row("CPU a request, 64 connections", 1.6),
        row("median of one connection", 1.3),
        row("CPU a stream of 50 chunks, 64 connections", 1.25),
        row("first content of a stream, median, 1 connection", 2.0),
    ];
    let one_stream = Load {
        connections: 1,
        ..many(Shape::Stream)
    };
    for round in 0..settings.rounds {
        eprintln!("round {} of {}{over}", round + 1, settings.rounds);
        // Whoever goes first meets the colder machine: they take turns.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut seen = [[0.0; 4]; 2];
        for side in order {
            let server = [&sides.bare, &sides.gateway][side];
            seen[side][0] = under(server, &many(Shape::Whole))?.0;
            seen[side][1] = under(server, &alone)?.1.median_us;
            seen[side][2] = under(server, &many(Shape::Stream))?.0;
            seen[side][3] = under(server, &one_stream)?.1.first_us;
        }
        for (at, row) in rows.iter_mut().enumerate() {
            row.add(seen[0][at], seen[1][at]);
        }
    }
    rows.iter().for_each(|row| table.ratio(row));
    table.bound(
        &format!("start to first answer{over}"),
        sides.start.as_secs_f64() * 1e3,
        "ms",
        100.0,
    );
    let mut kilobytes = [0.0; 2];
    for (server, kilobytes) in [&sides.bare, &sides.gateway]
        .into_iter()
        .zip(&mut kilobytes)
    {
        let before = server.resident()?;
        let open = load::hold(server.addr, settings.streams)?;
        *kilobytes = (server.resident()?.saturating_sub(before)) as f64 / 1e3 / open.count as f64;
        drop(open);
    }
    let what = format!("memory of an idle open stream{over}");
    table.note(&format!("{what}, bare proxy"), kilobytes[0], "kB");
    let most = match wire {
        Wire::Plain => 40.0,
        Wire::Secured(_) => 100.0,
    };
    table.bound(&what, kilobytes[1], "kB", most);
    Ok(())
}

/// Many calls, and whether memory grows with them.
fn soak(settings: &Settings, calls: u64) -> Result<()> {
    let sides = Sides::start(settings, &Wire::Plain)?;
    let mut first = 0;
    let tenth = Load {
        shape: Shape::Mixed,
        connections: 64,
        span: Duration::MAX,
        calls: calls / 10,
    };
    let mut table = Table::new();
    for part in 1..=10 {
        load::run(sides.gateway.addr, &tenth)?;
        let now = sides.gateway.resident()?;
        eprintln!("{} calls: {:.1} MB", part * (calls / 10), now as f64 / 1e6);
        if part == 1 {
            first = now;
        }
        if part == 10 {
            let what = "memory after all calls, of that after a tenth";
            table.bound(what, now as f64 / first as f64, "x", 1.05);
        }
    }
    println!("{table}");
    Ok(())
}
