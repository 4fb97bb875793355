//! How a run is shown: a bar on a terminal, lines elsewhere.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::time::Duration;

use fairkey_batch::{Notice, Progress, Snapshot, Stopped};
use fairkey_core::KeyId;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{events, paint, redaction};
use crate::table;

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// How many failed rows are told one by one.
const FAILURES_TOLD: u64 = 10;
/// How many accounts have a line of their own below the bar.
const LANES: usize = 8;
/// Over how long what they answer per second is told.
const RATE_OVER: Duration = Duration::from_secs(1);

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
    Bars(Bars),
    Lines,
    /// Objects of JSON; the numbers of each moment only where they are wanted.
    Events {
        progress: bool,
        /// The last moment, where it was not told.
        untold: Option<Snapshot>,
    },
    Quiet,
}

/// A bar, and below it a line for each account.
struct Bars {
    all: MultiProgress,
    bar: ProgressBar,
    lanes: Vec<ProgressBar>,
    /// What each had answered at a time that is a second ago or less.
    before: (Duration, Vec<u64>),
    rates: Vec<f64>,
}

impl Bars {
    fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let all = MultiProgress::with_draw_target(target);
        let bar = all.add(ProgressBar::no_length());
        bar.set_style(style("{wide_bar} {msg}"));
        Self {
            all,
            bar,
            lanes: Vec::new(),
            before: (Duration::ZERO, Vec::new()),
            rates: Vec::new(),
        }
    }

    fn show(&mut self, snapshot: &Snapshot) {
        if let Some(rows) = snapshot.rows_expected {
            self.bar.set_length(rows);
        }
        self.bar.set_position(snapshot.done);
        self.bar.set_message(line(snapshot));
        let since = snapshot.elapsed.saturating_sub(self.before.0);
        if since >= RATE_OVER {
            let before = self.before.1.iter().copied().chain(std::iter::repeat(0));
            let lanes = snapshot.lanes.iter().zip(before);
            self.rates = lanes
                .map(|(lane, before)| {
                    lane.answered.saturating_sub(before) as f64 / since.as_secs_f64()
                })
                .collect();
            let answered = snapshot.lanes.iter().map(|lane| lane.answered);
            self.before = (snapshot.elapsed, answered.collect());
        }
        // One lane alone says nothing that the bar does not.
        if snapshot.lanes.len() < 2 {
            return;
        }
        while self.lanes.len() < snapshot.lanes.len().min(LANES) {
            let lane = self.all.add(ProgressBar::no_length());
            lane.set_style(style("  {msg}"));
            self.lanes.push(lane);
        }
        let shown = snapshot.lanes.iter().take(LANES);
        let width = shown.clone().map(|lane| lane.name.chars().count()).max();
        for (at, (lane, bar)) in shown.zip(&self.lanes).enumerate() {
            let rate = self.rates.get(at).copied().unwrap_or_default();
            let more = match snapshot.lanes.len().saturating_sub(LANES) {
                more if more > 0 && at + 1 == LANES => format!("  (and {more} more)"),
                _ => String::new(),
            };
            bar.set_message(format!(
                "{:<width$}  {:>9} answered  {rate:>8.1}/s  {:>7} refused  {}{more}",
                lane.name,
                table::thousands(lane.answered),
                table::thousands(lane.refused),
                table::usd(lane.cost.micro_usd),
                width = width.unwrap_or_default(),
            ));
        }
    }

    fn clear(&self) {
        self.lanes.iter().for_each(ProgressBar::finish_and_clear);
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Reporter {
    /// `quiet`: warnings only. `json`: for programs.
    pub(crate) fn new(quiet: bool, json: bool, keys: usize) -> Self {
        let view = if json {
            View::Events {
                progress: !quiet,
                untold: None,
            }
        } else if quiet {
            View::Quiet
        } else if io::stderr().is_terminal() {
            View::Bars(Bars::new())
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
    pub(crate) fn say(&self, text: &str) {
        match &self.view {
            View::Bars(bars) => {
                let _ = bars.all.println(redaction::clean(text));
            }
            View::Lines | View::Quiet | View::Events { .. } => super::say(text),
        }
    }

    fn is_for_programs(&self) -> bool {
        matches!(self.view, View::Events { .. })
    }

    fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", paint("warning:", "1;33")));
    }

    /// Takes the bar away; tells the last moment, and how many failures were not told.
    pub(crate) fn finish(&mut self) {
        if let View::Bars(bars) = &self.view {
            bars.clear();
        }
        if let View::Events {
            untold: Some(snapshot),
            ..
        } = &self.view
        {
            super::line(&events::progress(snapshot));
        }
        if self.failures > FAILURES_TOLD && !self.is_for_programs() {
            self.say(&format!(
                "and {} more; every one is in the results",
                table::count(self.failures - FAILURES_TOLD, "failed row")
            ));
        }
    }
}

impl Progress for Reporter {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        let is_due = snapshot.elapsed >= self.last_line + LINE_EVERY;
        match &mut self.view {
            View::Bars(bars) => bars.show(snapshot),
            View::Lines if is_due => {
                self.last_line = snapshot.elapsed;
                self.say(&line(snapshot));
            }
            View::Events {
                progress: true,
                untold,
            } => {
                *untold = None;
                if is_due {
                    self.last_line = snapshot.elapsed;
                    super::line(&events::progress(snapshot));
                } else {
                    *untold = Some(snapshot.clone());
                }
            }
            View::Lines | View::Events { .. } | View::Quiet => {}
        }
    }

    fn notice(&mut self, notice: &Notice) {
        if self.is_for_programs() {
            if let Some(event) = events::notice(notice) {
                super::line(&event);
            }
            return;
        }
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
            Notice::Silent {
                quiet,
                patience,
                why,
            } => {
                let (quiet, patience) = (quiet.as_secs(), patience.as_secs());
                let why = match why {
                    // It says for how long itself.
                    Stopped::NothingAnswered { .. } => why.to_string(),
                    _ => format!("nothing was answered for {quiet} s: {why}"),
                };
                self.warn(&format!(
                    "{why}; the run goes on like this for {patience} s at most"
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

/// `120 of 500 done, 64 in flight, 95.2/s, 2,100 tokens/s, ETA 4 s, 12 refused, $0.002100`
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
    if snapshot.token_rate >= 1.0 {
        let rate = table::thousands(snapshot.token_rate.round() as u64);
        text.push_str(&format!(", {rate} tokens/s"));
    }
    if let Some(eta) = snapshot.eta {
        text.push_str(&format!(", ETA {}", time(eta)));
    }
    let spent = table::usd(snapshot.micro_usd);
    text.push_str(&format!(", {} refused, {spent}", snapshot.refused));
    text
}

/// `4 s`, `3 min 20 s`, `2 h 5 min`
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
