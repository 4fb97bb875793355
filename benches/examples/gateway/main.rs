//! What the gateway costs, next to a bare reverse proxy on the same HTTP stack, in one run.
//!
//! ```text
//! cargo build --release && cargo run --release -p fairkey-benches --example gateway
//! ```
//!
//! The program under test runs on one core (by `taskset`, where there is one), upstream and load on
//! another. The load takes turns between the two programs every 50 milliseconds, and a ratio is the
//! median of the rounds' own, so that what disturbs one side disturbs the other as well. All of it is
//! measured twice:
//! with the upstream in plain HTTP/1.1, and over TLS and HTTP/2. Takes `--rounds N`, `--seconds S` for
//! each measurement, `--streams N` for the idle ones, `--upstream plain` or `tls` for one of the two,
//! `--gateway PATH` for another program than the `fairkey` beside this one, and `--soak CALLS` or
//! `--uploads`, which do that alone.

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
            None if settings.uploads => uploads(&settings),
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
        load::run([gateway.addr], &Load::one(Shape::Whole))?;
        let start = begun.elapsed();
        load::run([bare.addr], &Load::one(Shape::Whole))?;
        Ok(Self {
            _upstream: upstream,
            bare,
            gateway,
            start,
        })
    }
}

/// What a load came to with one program.
struct Seen {
    /// Processor time of a call.
    cpu_us: f64,
    told: Told,
}

/// What of it is compared.
type Of = fn(&Seen) -> f64;

/// Puts a load on both programs.
fn under(sides: &Sides, load: &Load) -> Result<[Seen; 2]> {
    let servers = [&sides.bare, &sides.gateway];
    let times = || -> Result<[Duration; 2]> {
        Ok([servers[0].processor_time()?, servers[1].processor_time()?])
    };
    let before = times()?;
    let told = load::run(servers.map(|server| server.addr), load)?;
    let after = times()?;
    let mut used = (0..2).map(|side| after[side].saturating_sub(before[side]).as_secs_f64() * 1e6);
    Ok(told.map(|told| Seen {
        cpu_us: used.next().unwrap_or(f64::NAN) / told.calls as f64,
        told,
    }))
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
    let row = |what, floor| Row::new(format!("{what}{over}"), "us", Some(floor));
    let mut rows = [
        row("CPU a request, 64 connections", 1.6),
        row("median of one connection", 1.3),
        row("CPU a stream of 50 chunks, 64 connections", 1.25),
    ];
    let paced = Load {
        connections: 1,
        ..many(Shape::Paced)
    };
    let mut later = Vec::new();
    for round in 0..settings.rounds {
        eprintln!("round {} of {}{over}", round + 1, settings.rounds);
        let measures: [(Load, Of); 3] = [
            (many(Shape::Whole), |seen| seen.cpu_us),
            (alone, |seen| seen.told.median_us),
            (many(Shape::Stream), |seen| seen.cpu_us),
        ];
        for (row, (load, of)) in rows.iter_mut().zip(&measures) {
            let [bare, gateway] = under(&sides, load)?;
            row.add(of(&bare), of(&gateway));
        }
        let [bare, gateway] = under(&sides, &paced)?;
        later.push(gateway.told.first_us - bare.told.first_us);
    }
    rows.iter().for_each(|row| table.ratio(row));
    later.sort_unstable_by(f64::total_cmp);
    table.bound(
        &format!("first content later than the bare proxy's{over}"),
        later.get(later.len() / 2).copied().unwrap_or(f64::NAN) / 1e3,
        "ms",
        upstream::PACE.as_secs_f64() * 1e3,
    );
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

/// Large bodies on their way up.
fn uploads(settings: &Settings) -> Result<()> {
    let mut table = Table::new();
    let mut over = |wire: &Wire| -> Result<()> {
        let sides = Sides::start(settings, wire)?;
        let shapes = [
            ("CPU an upload of 1 MB, 8 connections", Shape::Upload, 8),
            (
                "CPU an upload of 32 MB, 2 connections",
                Shape::LargeUpload,
                2,
            ),
        ];
        for (what, shape, connections) in shapes {
            let mut row = Row::new(format!("{what}{}", wire.name()), "us", None);
            for _ in 0..settings.rounds {
                let load = Load {
                    shape,
                    connections,
                    span: settings.span,
                    calls: u64::MAX,
                };
                let [bare, gateway] = under(&sides, &load)?;
                row.add(bare.cpu_us, gateway.cpu_us);
            }
            table.ratio(&row);
        }
        Ok(())
    };
    if settings.plain {
        over(&Wire::Plain)?;
    }
    if settings.tls {
        over(&Wire::Secured(Certificate::new()?))?;
    }
    println!("{table}");
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
        load::run([sides.gateway.addr], &tenth)?;
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
