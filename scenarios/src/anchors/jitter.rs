//! A hundred writers of one row: "Exponential Backoff and Jitter", 2015.

use std::time::Duration;

use fairkey_client::RetryConfig;
use fairkey_core::Random;
use fairkey_testkit::simulate::{Distribution, Events};

use super::{Gate, Length, Row};

/// How many write the same row.
const WRITERS: usize = 100;

/// Brooker, "Exponential Backoff and Jitter" (2015), with the simulator that belongs to it
/// (`aws-samples/aws-arch-backoff-simulator`): a hundred clients read a row and write it back, which
/// works where nobody else has written it in between; otherwise they back off and begin again. Each
/// way takes 10 ms ± 2. What counts is how many writes are sent until all have written once.
///
/// The waits are those of the client's real backoff. Its range begins at the base for the first
/// retry, where the article's begins at twice its base of 5 ms: so the base here is 10 ms. The cap is
/// 2 s. Backoff without jitter is the same code, with the longest wait each time.
pub(super) fn rows(length: Length) -> Vec<Row> {
    let runs = length.choose(100, 20);
    let backoff = RetryConfig {
        base: Duration::from_millis(10),
        cap: Duration::from_secs(2),
        ..RetryConfig::default()
    };
    let none = writes(runs, |_, _| Duration::ZERO);
    let exponential = writes(runs, |retry, _| backoff.wait(retry, None, 1.0));
    let full = writes(runs, |retry, random| {
        backoff.wait(retry, None, random.unit())
    });
    let row =
        |what: &str, published, ours| Row::new("100 writers of one row", what, published, ours);
    vec![
        row("writes: no backoff", 2_425.0, none).digits(0),
        row(
            "writes: the client's backoff without jitter",
            1_859.0,
            exponential,
        )
        .digits(0),
        row("writes: the client's backoff", 795.0, full).digits(0),
        row(
            "the client's backoff, with jitter over without",
            0.43,
            full / exponential,
        )
        .gate(Gate::Within(0.03)),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Read(usize),
    HasRead(usize, u64),
    Write(usize, u64),
    Written(usize, bool),
}

/// Returns how many writes were sent, as the mean of so many runs.
fn writes(runs: u32, wait: impl Fn(u32, &mut Random) -> Duration) -> f64 {
    let network = Distribution::normal(0.010, 0.002);
    let mut random = Random::new(7);
    let mut sent = 0;
    for _ in 0..runs {
        let (mut events, mut version, mut failures) = (Events::new(), 0, [0; WRITERS]);
        for writer in 0..WRITERS {
            events.after(network.draw_time(&mut random), Event::Read(writer));
        }
        while let Some(event) = events.next() {
            let way = network.draw_time(&mut random);
            match event {
                Event::Read(writer) => events.after(way, Event::HasRead(writer, version)),
                Event::HasRead(writer, read) => events.after(way, Event::Write(writer, read)),
                Event::Write(writer, read) => {
                    sent += 1;
                    let worked = read == version;
                    version += u64::from(worked);
                    events.after(way, Event::Written(writer, worked));
                }
                Event::Written(_, true) => {}
                Event::Written(writer, false) => {
                    let wait = wait(failures[writer], &mut random);
                    failures[writer] += 1;
                    events.after(way + wait, Event::Read(writer));
                }
            }
        }
        assert_eq!(version, WRITERS as u64, "each has written once");
    }
    f64::from(sent) / f64::from(runs)
}
