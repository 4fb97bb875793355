//! How a run is shown: a bar on a terminal, lines elsewhere.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::time::Duration;

use fairkey_batch::{Notice, Progress, Snapshot, Stopped};
use fairkey_core::KeyId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{paint, redaction};
use crate::table;

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// How many failed rows are told one by one.
const FAILURES_TOLD: u64 = 10;

/// Shows a run on standard error.
pub(crate) struct Reporter {
    view: View,
    /// How many keys there are, and which were refused.
    keys: usize,
    refused: HashSet<KeyId>,
    failures: u64,
    last_line: Duration,
}

enum View {
    Bar(ProgressBar),
    Lines,
    Quiet,
}

impl Reporter {
    pub(crate) fn new(quiet: bool, keys: usize) -> Self {
        let view = if quiet {
            View::Quiet
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{wide_bar} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            View::Bar(bar)
        } else {
            View::Lines
        };
        Self {
            view,
            keys,
            refused: HashSet::new(),
            failures: 0,
            last_line: Duration::ZERO,
        }
    }

    /// Prints a line, above the bar where there is one.
    fn say(&self, text: &str) {
        match &self.view {
            View::Bar(bar) => bar.println(redaction::clean(text)),
            View::Lines | View::Quiet => super::say(text),
        }
    }

    fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", paint("warning:", "1;33")));
    }

    /// Takes the bar away; tells how many failures were not told.
    pub(crate) fn finish(&self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
        if self.failures > FAILURES_TOLD {
            self.say(&format!(
                "and {} more; every one is in the results",
                table::count(self.failures - FAILURES_TOLD, "failed row")
            ));
        }
    }
}

impl Progress for Reporter {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        match &self.view {
            View::Bar(bar) => {
                if let Some(rows) = snapshot.rows_expected {
                    bar.set_length(rows);
                }
                bar.set_position(snapshot.done);
                bar.set_message(line(snapshot));
            }
            View::Lines if snapshot.elapsed >= self.last_line + LINE_EVERY => {
                self.last_line = snapshot.elapsed;
                self.say(&line(snapshot));
            }
            View::Lines | View::Quiet => {}
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::KeyRefused { key, refusal, .. } => {
                self.refused.insert(key.clone());
                let others = if self.refused.len() < self.keys {
                    "; the others go on"
                } else {
                    ""
                };
                self.warn(&format!("key \"{key}\" is out: {refusal}{others}"));
            }
            Notice::KeyExhausted {
                key,
                account,
                refusal,
            } => {
                let account = account
                    .as_ref()
                    .map(|account| format!(" (account \"{account}\")"))
                    .unwrap_or_default();
                self.warn(&format!(
                    "key \"{key}\"{account} is out for a while: {refusal}"
                ));
            }
            Notice::RowFailed {
                place,
                custom_id,
                message,
            } => {
                self.failures += 1;
                if self.failures <= FAILURES_TOLD {
                    // What a row calls itself may hold anything.
                    let id = custom_id
                        .as_ref()
                        .map(|id| format!(" ({id:?})"))
                        .unwrap_or_default();
                    self.warn(&format!("{place}{id}: {message}"));
                }
            }
            Notice::NameRepeated { custom_id, places } => {
                let (first, second) = places;
                let both = match (&first.file, &second.file) {
                    (None, None) => format!("lines {} and {}", first.line, second.line),
                    _ => format!("{first} and {second}"),
                };
                self.warn(&format!(
                    "{both} have one custom_id, {custom_id:?}: their results differ in \
                     fairkey.line only"
                ));
            }
            Notice::Stopping(Stopped::Interrupted) => self
                .warn("interrupted: what is in flight is finished; another Ctrl-C leaves at once"),
            Notice::Stopping(Stopped::OutputFailed(_)) => {}
            // Why is told at the end.
            Notice::Stopping(_) => self.warn("stopping early: what is in flight is finished"),
            _ => {}
        }
    }
}

/// `120 of 500 done, 64 in flight, 95.2/s, ETA 4 s, 12 refused, $0.002100`
fn line(snapshot: &Snapshot) -> String {
    let mut text = match snapshot.rows_expected {
        Some(rows) if snapshot.all_read => format!("{} of {rows} done", snapshot.done),
        Some(rows) => format!("{} of about {rows} done", snapshot.done),
        None => format!("{} done", snapshot.done),
    };
    if snapshot.failed > 0 {
        text.push_str(&format!(" ({} failed)", snapshot.failed));
    }
    text.push_str(&format!(
        ", {} in flight, {:.1}/s",
        snapshot.in_flight, snapshot.rate
    ));
    if let Some(eta) = snapshot.eta {
        text.push_str(&format!(", ETA {}", time(eta)));
    }
    let spent = table::usd(snapshot.micro_usd);
    text.push_str(&format!(", {} refused, {spent}", snapshot.refused));
    text
}

/// `4 s`, `3 min 20 s`, `2 h 5 min`
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
