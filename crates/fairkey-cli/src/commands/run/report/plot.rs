//! Plots over time, as SVG: [`Plot`].

use std::fmt::Write as _;
use std::time::Duration;

/// The colors of series, that people who see few colors can tell apart (Okabe and Ito).
pub(super) const COLORS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#888888",
];
/// That of what failed.
pub(super) const FAILED: &str = "#d55e00";

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;
/// How many lines of the grid there are, about.
const TICKS: f64 = 4.0;

/// What is drawn over time: a value for each step of it, or none.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) color: &'static str,
    pub(super) values: Vec<Option<f64>>,
}

/// How values are told beside the axis.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Count,
    Seconds,
}

/// How series are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As lines, on a linear scale.
    Lines,
    /// As lines, on a scale of powers of ten.
    LogLines,
    /// As columns that stand on each other.
    Stacked,
}

/// A plot over time.
pub(super) struct Plot<'a> {
    /// What it shows, for those who cannot see it.
    pub(super) title: &'a str,
    pub(super) unit: Unit,
    pub(super) kind: Kind,
    pub(super) step: Duration,
    pub(super) series: &'a [Series],
}

/// From a value to its height.
struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    fn y(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low).log10() - self.low.log10()) / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share.clamp(0.0, 1.0))
    }

    /// The values at which there is a line of the grid.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (low, high) = (self.low.log10().round(), self.high.log10().round());
            let decades = (low as i32)..=(high as i32);
            return decades.map(|at| 10_f64.powi(at)).collect();
        }
        let step = nice(self.high / TICKS);
        let count = (self.high / step).floor() as u32;
        (0..=count).map(|at| f64::from(at) * step).collect()
    }
}

impl Plot<'_> {
    /// Draws it, with its legend.
    pub(super) fn svg(&self) -> String {
        let steps = self.series.iter().map(|it| it.values.len()).max();
        let steps = steps.unwrap_or_default();
        if steps == 0
            || self
                .series
                .iter()
                .all(|it| it.values.iter().all(Option::is_none))
        {
            return "<p class=\"none\">none</p>\n".to_owned();
        }
        let scale = self.scale(steps);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(self.title)
        );
        self.grid(&scale, steps, &mut out);
        if self.kind == Kind::Stacked {
            self.columns(&scale, steps, &mut out);
        } else {
            self.lines(&scale, steps, &mut out);
        }
        out.push_str("</svg>\n");
        self.legend(&mut out);
        out
    }

    fn scale(&self, steps: usize) -> Scale {
        let values = || self.series.iter().flat_map(|it| it.values.iter().flatten());
        let highest = match self.kind {
            Kind::Stacked => (0..steps).map(|at| self.sum(at)).fold(0.0, f64::max),
            Kind::Lines | Kind::LogLines => values().copied().fold(0.0, f64::max),
        };
        if self.kind == Kind::LogLines && highest > 0.0 {
            let positive = values().copied().filter(|value| *value > 0.0);
            let lowest = positive.fold(highest, f64::min);
            let low = 10_f64.powf(lowest.log10().floor());
            let high = 10_f64.powf(highest.log10().ceil());
            return Scale {
                low,
                high: if high > low { high } else { low * 10.0 },
                log: true,
            };
        }
        let step = nice(highest / TICKS);
        Scale {
            low: 0.0,
            high: (highest / step).ceil().max(1.0) * step,
            log: false,
        }
    }

    fn sum(&self, at: usize) -> f64 {
        let values = self.series.iter().filter_map(|it| *it.values.get(at)?);
        values.sum()
    }

    fn grid(&self, scale: &Scale, steps: usize, out: &mut String) {
        for tick in scale.ticks() {
            let y = scale.y(tick);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                self.unit.tell(tick)
            );
        }
        let total = self.step.as_secs_f64() * steps as f64;
        let (step, name, per) = time_step(total);
        let mut at = 0.0;
        while at <= total * 1.000_001 {
            let x = LEFT + (WIDTH - LEFT - RIGHT) * at / total;
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} {name}</text>",
                HEIGHT - 8.0,
                number(at / per)
            );
            at += step;
        }
    }

    fn lines(&self, scale: &Scale, steps: usize, out: &mut String) {
        for series in self.series {
            let mut path = String::new();
            let mut is_drawn = false;
            for (at, value) in series.values.iter().enumerate() {
                let Some(value) = value else {
                    is_drawn = false;
                    continue;
                };
                let (x, y) = (x(at as f64 + 0.5, steps), scale.y(*value));
                let to = if is_drawn { 'L' } else { 'M' };
                let _ = write!(path, "{to}{x:.1} {y:.1}");
                if !is_drawn {
                    // A point with no neighbor is a dot.
                    let _ = write!(path, "h0.01");
                }
                is_drawn = true;
            }
            let _ = writeln!(
                out,
                "<path class=\"line\" stroke=\"{}\" d=\"{path}\"/>",
                series.color
            );
        }
    }

    fn columns(&self, scale: &Scale, steps: usize, out: &mut String) {
        let mut below = vec![0.0; steps];
        for series in self.series {
            let mut path = String::new();
            for (at, value) in series.values.iter().enumerate() {
                let value = value.unwrap_or_default();
                if value > 0.0 {
                    let (low, high) = (scale.y(below[at]), scale.y(below[at] + value));
                    let (left, right) = (x(at as f64, steps), x(at as f64 + 1.0, steps));
                    below[at] += value;
                    let _ = write!(path, "M{left:.1} {low:.1}V{high:.1}H{right:.1}V{low:.1}Z");
                }
            }
            let _ = writeln!(out, "<path fill=\"{}\" d=\"{path}\"/>", series.color);
        }
    }

    fn legend(&self, out: &mut String) {
        out.push_str("<p class=\"legend\">");
        for series in self.series {
            let _ = write!(
                out,
                "<span><i style=\"background:{}\"></i>{}</span> ",
                series.color,
                escape(&series.name)
            );
        }
        out.push_str("</p>\n");
    }
}

impl Unit {
    fn tell(self, value: f64) -> String {
        match self {
            Self::Count => number(value),
            Self::Seconds => seconds(value),
        }
    }
}

fn x(at: f64, steps: usize) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * at / steps as f64
}

/// The next 1, 2 or 5 of a power of ten.
fn nice(step: f64) -> f64 {
    if step <= 0.0 || !step.is_finite() {
        return 1.0;
    }
    let decade = 10_f64.powf(step.log10().floor());
    let of = [1.0, 2.0, 5.0].into_iter().find(|of| of * decade >= step);
    of.unwrap_or(10.0) * decade
}

/// Returns how far apart times are told in seconds, their unit, and how many seconds that has.
fn time_step(total: f64) -> (f64, &'static str, f64) {
    let (name, per) = if total >= 7200.0 {
        ("h", 3600.0)
    } else if total >= 180.0 {
        ("min", 60.0)
    } else {
        ("s", 1.0)
    };
    (nice(total / per / 6.0) * per, name, per)
}

/// `0.05`, `3`, `12k`, `1.5M`
fn number(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let mut text = format!("{value:.3}");
    while text.ends_with('0') {
        text.pop();
    }
    if text.ends_with('.') {
        text.pop();
    }
    text + unit
}

/// `120 µs`, `35 ms`, `1.5 s`
pub(super) fn seconds(value: f64) -> String {
    match value {
        1.0.. => format!("{} s", number((value * 100.0).round() / 100.0)),
        1e-3.. => format!("{} ms", number((value * 1e4).round() / 10.0)),
        _ => format!("{} µs", number((value * 1e6).round())),
    }
}

/// Returns text that is nothing but text in HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ if character.is_control() => out.push(' '),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(kind: Kind, values: Vec<Option<f64>>) -> String {
        let series = [Series {
            name: "a<b".to_owned(),
            color: COLORS[0],
            values,
        }];
        let plot = Plot {
            title: "it & others",
            unit: Unit::Seconds,
            kind,
            step: Duration::from_secs(1),
            series: &series,
        };
        plot.svg()
    }

    #[test]
    fn every_value_is_inside_of_the_picture_whatever_it_is() {
        let values = [0.0, 1e-9, 0.3, 7.0, 1e12];
        for kind in [Kind::Lines, Kind::LogLines, Kind::Stacked] {
            for one in values {
                let svg = plot(kind, vec![Some(one), None, Some(one * 3.0), Some(0.0)]);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{one}: {svg}");
                assert!(svg.matches("<text").count() < 60, "{one}: {svg}");
                assert!(svg.contains("a&lt;b") && svg.contains("it &amp; others"));
                let numbers = svg.split(['"', ' ', 'M', 'L', 'V', 'H', 'Z', 'h']);
                for number in numbers.filter_map(|text| text.parse::<f64>().ok()) {
                    assert!((0.0..=WIDTH).contains(&number), "{one}: {number} in {svg}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(plot(Kind::Lines, Vec::new()).contains("none"));
        assert!(plot(Kind::Stacked, vec![None, None]).contains("none"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(0.25), "0.25");
        assert_eq!(number(12_500.0), "12.5k");
        assert_eq!(number(3e6), "3M");
        assert_eq!(seconds(0.000_012), "12 µs");
        assert_eq!(seconds(0.1), "100 ms");
        assert_eq!(seconds(1.234), "1.23 s");
        assert_eq!(nice(0.0), 1.0);
        assert_eq!(nice(3.1), 5.0);
        assert_eq!(nice(70.0), 100.0);
    }
}
