//! Published results, reproduced by simulation around the real policy code: pool, strategies,
//! gates, backoff and retry budget.
//!
//! Each anchor says what was published and where, what is simulated, and by how much the two may
//! differ. A row without a gate is there to compare with.

mod accounts;
mod jitter;
mod prequal;
mod retries;
mod slow_backend;
mod supermarket;

use std::fmt;

/// How long the runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As published.
    Full,
    /// Some seconds for all of them, unoptimized too. The gates are the same.
    Short,
}

impl Length {
    /// Returns one of two numbers.
    fn choose<T>(self, full: T, short: T) -> T {
        match self {
            Self::Full => full,
            Self::Short => short,
        }
    }
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// Nothing: it is there to compare with.
    None,
    /// No further than this from what was published.
    Within(f64),
    /// No further than this part of what was published.
    WithinPart(f64),
    /// No more than this.
    AtMost(f64),
    /// More than this.
    MoreThan(f64),
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was published, and where.
    pub anchor: &'static str,
    /// What it says.
    pub what: String,
    /// As published, where a number was.
    pub published: Option<f64>,
    /// As simulated.
    pub ours: f64,
    /// What must hold.
    pub gate: Gate,
    /// How many digits after the point are shown.
    pub digits: usize,
}

impl Row {
    fn new(
        anchor: &'static str,
        what: impl Into<String>,
        published: impl Into<Option<f64>>,
        ours: f64,
    ) -> Self {
        Self {
            anchor,
            what: what.into(),
            published: published.into(),
            ours,
            gate: Gate::None,
            digits: 2,
        }
    }

    fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    fn digits(mut self, digits: usize) -> Self {
        self.digits = digits;
        self
    }

    /// Returns whether the gate holds; one that is not there does.
    #[must_use]
    pub fn holds(&self) -> bool {
        let off = |by| (self.ours - self.published.unwrap_or(f64::NAN)).abs() <= by;
        match self.gate {
            Gate::None => true,
            Gate::Within(by) => off(by),
            Gate::WithinPart(part) => off(part * self.published.unwrap_or(f64::NAN)),
            Gate::AtMost(most) => self.ours <= most,
            Gate::MoreThan(least) => self.ours > least,
        }
    }
}

/// The titles of the table's columns.
pub const HEAD: &str = "| anchor | what | published | ours | gate | verdict |\n\
                        | --- | --- | ---: | ---: | --- | --- |";

impl fmt::Display for Row {
    /// As a line of the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits;
        write!(f, "| {} | {} | ", self.anchor, self.what)?;
        match self.published {
            Some(published) => write!(f, "{published:.digits$}")?,
            None => f.write_str("-")?,
        }
        write!(f, " | {:.digits$} | ", self.ours)?;
        match self.gate {
            Gate::None => f.write_str("-")?,
            Gate::Within(by) => write!(f, "± {by}")?,
            Gate::WithinPart(part) => write!(f, "± {} %", 100.0 * part)?,
            Gate::AtMost(most) => write!(f, "≤ {most:.digits$}")?,
            Gate::MoreThan(least) => write!(f, "> {least:.digits$}")?,
        }
        let verdict = match self.gate {
            Gate::None => "-",
            _ if self.holds() => "holds",
            _ => "BROKEN",
        };
        write!(f, " | {verdict} |")
    }
}

/// What makes the rows of one anchor.
pub type Anchor = fn(Length) -> Vec<Row>;

/// Every anchor, by a name to ask for.
pub const ANCHORS: [(&str, Anchor); 6] = [
    ("slow_backend", slow_backend::rows),
    ("supermarket", supermarket::rows),
    ("jitter", jitter::rows),
    ("retries", retries::rows),
    ("prequal", prequal::rows),
    ("accounts", accounts::rows),
];
