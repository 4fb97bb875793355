//! What was measured, as a table: [`Table`].

use std::fmt;

/// One measure of both programs, in several rounds.
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    /// The most that the ratio may be, where that is said.
    floor: Option<f64>,
    rounds: Vec<(f64, f64)>,
}

impl Row {
    pub(crate) fn new(what: String, unit: &'static str, floor: Option<f64>) -> Self {
        Self {
            what,
            unit,
            floor,
            rounds: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, bare: f64, gateway: f64) {
        self.rounds.push((bare, gateway));
    }

    fn median(&self, of: impl Fn(&(f64, f64)) -> f64) -> f64 {
        let mut all: Vec<f64> = self.rounds.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// The lines that are printed.
pub(crate) struct Table {
    lines: Vec<[String; 6]>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let head = ["", "bare proxy", "gateway", "ratio", "at most", ""];
        Self {
            lines: vec![head.map(str::to_owned)],
        }
    }

    pub(crate) fn ratio(&mut self, row: &Row) {
        let ratio = row.median(|(bare, gateway)| gateway / bare);
        let [most, verdict] = match row.floor {
            Some(floor) => [format!("{floor:.2} x"), verdict(ratio <= floor)],
            None => [String::new(), String::new()],
        };
        self.lines.push([
            row.what.clone(),
            format!("{:.1} {}", row.median(|round| round.0), row.unit),
            format!("{:.1} {}", row.median(|round| round.1), row.unit),
            format!("{ratio:.2} x"),
            most,
            verdict,
        ]);
    }

    pub(crate) fn bound(&mut self, what: &str, value: f64, unit: &str, most: f64) {
        let shown = format!("{value:.2} {unit}");
        let most_shown = format!("{most:.2} {unit}");
        let verdict = verdict(value <= most);
        let line = [
            what.to_owned(),
            String::new(),
            shown,
            String::new(),
            most_shown,
            verdict,
        ];
        self.lines.push(line);
    }

    pub(crate) fn note(&mut self, what: &str, value: f64, unit: &str) {
        let mut line = [const { String::new() }; 6];
        line[0] = what.to_owned();
        line[1] = format!("{value:.2} {unit}");
        self.lines.push(line);
    }
}

fn verdict(holds: bool) -> String {
    if holds { "holds" } else { "missed" }.to_owned()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let lengths = self.lines.iter().map(|line| line[column].len());
            lengths.max().unwrap_or(0)
        };
        for line in &self.lines {
            write!(f, "{:<1$}", line[0], width(0))?;
            for (at, cell) in line.iter().enumerate().skip(1) {
                write!(f, "  {cell:>0$}", width(at))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
