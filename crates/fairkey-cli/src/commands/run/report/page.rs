//! The end of a run as a page with plots: one file of HTML that loads nothing from anywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use fairkey_batch::{History, Step, Summary, Times};

use super::plot::{COLORS, FAILED, Kind, Plot, Series, Unit, escape, seconds};
use super::refusals;
use crate::redaction;
use crate::table::{count, thousands, usd};

/// How many causes of refusals have a color of their own.
const CAUSES: usize = 6;
/// How many keys are shown one by one.
const KEYS: usize = 48;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5a6470;--line:#d8dee4;--ground:#fff;--tile:#f4f6f8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--line:#353c44;--ground:#15181c;--tile:#1f242a}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:780px;margin:2em auto;padding:0 1em}
h1{font-size:1.4em;margin-bottom:.1em}h2{font-size:1.05em;margin:1.8em 0 .3em}
.soft,.none{color:var(--soft)}.bad{color:#d55e00}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(11em,1fr));gap:.6em;margin:1em 0}
.tiles div{background:var(--tile);border-radius:6px;padding:.6em .8em}.tiles b{display:block;font-size:1.25em}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--soft)}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.legend{margin:.2em 0 0;font-size:.88em}.legend span{margin-right:1em;white-space:nowrap}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em}
table{border-collapse:collapse;width:100%;font-size:.9em}th,td{text-align:left;padding:.25em .6em .25em 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right}td.share{width:34%}.bar{height:.85em;border-radius:2px;min-width:1px;margin-top:.25em}
";

/// Returns the page. `input` and `output`: what was sent, and where the results are.
pub(super) fn page(summary: &Summary, input: &str, output: &str) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    let _ = writeln!(
        out,
        "<title>fairkey run: {}</title>\n<style>{STYLE}</style>\n<h1>{}</h1>",
        escape(input),
        escape(input)
    );
    let _ = writeln!(out, "<p class=\"soft\">results: {}</p>", escape(output));
    verdict(summary, &mut out);
    tiles(summary, &mut out);
    plots(&summary.history, summary.elapsed, &mut out);
    bottlenecks(summary, &mut out);
    keys(summary, &mut out);
    accounts(summary, &mut out);
    attempts(summary, &mut out);
    out.push_str("</html>\n");
    // What an upstream said is in it.
    redaction::clean(&out)
}

fn verdict(summary: &Summary, out: &mut String) {
    let rows = &summary.rows;
    let _ = match &summary.stopped {
        Some(why) => writeln!(
            out,
            "<p class=\"bad\">Stopped early: {}; {} left without a result.</p>",
            escape(&why.to_string()),
            count(rows.left, "row")
        ),
        None if rows.failed > 0 => writeln!(
            out,
            "<p class=\"bad\">{} failed.</p>",
            count(rows.failed, "row")
        ),
        None => writeln!(out, "<p>Every row was answered.</p>"),
    };
}

fn tiles(summary: &Summary, out: &mut String) {
    let rows = &summary.rows;
    let elapsed = summary.elapsed.as_secs_f64();
    let per_second = |n: u64| match elapsed {
        0.0 => "-".to_owned(),
        _ => format!("{:.1}/s", n as f64 / elapsed),
    };
    let took = summary.history.took();
    let waited = summary.history.waited();
    let tiles = [
        ("rows read", thousands(rows.read)),
        ("answered", thousands(rows.answered)),
        ("failed", thousands(rows.failed)),
        ("time", seconds(elapsed)),
        ("rows", per_second(rows.answered + rows.failed)),
        ("tokens", thousands(summary.cost.tokens)),
        ("tokens", per_second(summary.cost.tokens)),
        ("spent", usd(summary.cost.micro_usd)),
        ("attempts a row", format!("{:.2}", summary.attempts.mean())),
        ("a row took, half and 99 %", half_and_most(&took)),
        ("of that for a key", half_and_most(&waited)),
        ("in flight at most", thousands(summary.peak_in_flight)),
    ];
    out.push_str("<div class=\"tiles\">\n");
    for (name, value) in tiles {
        let _ = writeln!(
            out,
            "<div><b>{}</b><span class=\"soft\">{name}</span></div>",
            escape(&value)
        );
    }
    out.push_str("</div>\n");
}

fn half_and_most(times: &Times) -> String {
    match (times.quantile(0.5), times.quantile(0.99)) {
        (Some(half), Some(most)) => format!(
            "{}, {}",
            seconds(half.as_secs_f64()),
            seconds(most.as_secs_f64())
        ),
        _ => "-".to_owned(),
    }
}

fn plots(history: &History, elapsed: Duration, out: &mut String) {
    let steps = history.steps();
    let step = history.step();
    // The last step may have had less time than the others.
    let before = step.as_secs_f64() * steps.len().saturating_sub(1) as f64;
    let last = (elapsed.as_secs_f64() - before).clamp(0.0, step.as_secs_f64());
    let per_second = |at: usize, n: u64| {
        let seconds = match at + 1 == steps.len() {
            true if last < step.as_secs_f64() / 5.0 => return None,
            true => last,
            false => step.as_secs_f64(),
        };
        Some(n as f64 / seconds)
    };
    let rates = |of: &dyn Fn(&Step) -> u64| -> Vec<Option<f64>> {
        let steps = steps.iter().enumerate();
        steps.map(|(at, it)| per_second(at, of(it))).collect()
    };
    let levels = |of: &dyn Fn(&Step) -> u64| -> Vec<Option<f64>> {
        steps.iter().map(|it| Some(of(it) as f64)).collect()
    };
    let quantiles = |of: &dyn Fn(&Step) -> &Times| -> Vec<Series> {
        let shares = [
            (0.5, "half", COLORS[0]),
            (0.9, "90 %", COLORS[2]),
            (0.99, "99 %", COLORS[3]),
        ];
        let series = shares.map(|(share, name, color)| Series {
            name: format!("{name} took no longer"),
            color,
            values: steps
                .iter()
                .map(|it| of(it).quantile(share).map(|time| time.as_secs_f64()))
                .collect(),
        });
        series.into()
    };
    let series = |name: &str, color, values| Series {
        name: name.to_owned(),
        color,
        values,
    };
    let mut draw = |title: &str, unit, kind, series: &[Series]| {
        let plot = Plot {
            title,
            unit,
            kind,
            step,
            series,
        };
        let _ = write!(out, "<h2>{}</h2>\n{}", escape(title), plot.svg());
    };
    draw(
        "Rows per second",
        Unit::Count,
        Kind::Stacked,
        &[
            series("answered", COLORS[0], rates(&|it| it.answered)),
            series("failed", FAILED, rates(&|it| it.failed)),
        ],
    );
    draw(
        "Tokens per second",
        Unit::Count,
        Kind::Stacked,
        &[series("tokens", COLORS[2], rates(&|it| it.cost.tokens))],
    );
    draw(
        "Rows in flight",
        Unit::Count,
        Kind::Lines,
        &[
            series("at most", COLORS[7], levels(&|it| it.limit)),
            series("in flight", COLORS[0], levels(&|it| it.in_flight)),
        ],
    );
    draw(
        "How long a row took, waiting and retries included",
        Unit::Seconds,
        Kind::LogLines,
        &quantiles(&|it| &it.took),
    );
    draw(
        "How long of that it waited for a key",
        Unit::Seconds,
        Kind::LogLines,
        &quantiles(&|it| &it.waited),
    );
    let causes = causes(steps);
    let refused: Vec<Series> = causes
        .iter()
        .zip(COLORS)
        .map(|(cause, color)| {
            let of = |it: &Step| match cause {
                Some(cause) => it.refusals.get(cause).copied().unwrap_or_default(),
                None => {
                    let named = |name: &str| causes.iter().flatten().any(|it| it == name);
                    let others = it
                        .refusals
                        .iter()
                        .filter(|(cause, _)| !named(cause.as_str()));
                    others.map(|(_, n)| n).sum()
                }
            };
            series(cause.as_deref().unwrap_or("all others"), color, rates(&of))
        })
        .collect();
    draw(
        "Refused attempts per second, by cause, when their calls ended",
        Unit::Count,
        Kind::Stacked,
        &refused,
    );
}

/// The most frequent causes; `None` stands for all others, where there are any.
fn causes(steps: &[Step]) -> Vec<Option<String>> {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (cause, n) in steps.iter().flat_map(|step| &step.refusals) {
        *all.entry(cause).or_default() += n;
    }
    let mut all: Vec<(&str, u64)> = all.into_iter().collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let has_others = all.len() > CAUSES;
    let named = all.into_iter().take(CAUSES);
    let mut causes: Vec<_> = named.map(|(cause, _)| Some(cause.to_owned())).collect();
    if has_others {
        causes.push(None);
    }
    causes
}

fn bottlenecks(summary: &Summary, out: &mut String) {
    out.push_str("<h2>What held it back</h2>\n");
    if summary.bottlenecks.is_empty() {
        out.push_str("<p class=\"none\">nothing</p>\n");
        return;
    }
    out.push_str("<table>\n");
    for (it, share) in summary.bottlenecks.iter().take(2 * CAUSES) {
        let percent = 100.0 * share;
        let _ = writeln!(
            out,
            "<tr><td>{}<td class=\"share\">{percent:.0} % of the time<div class=\"bar\" \
             style=\"width:{percent:.1}%;background:{}\"></div>",
            escape(&it.to_string()),
            COLORS[1],
        );
    }
    out.push_str("</table>\n");
}

fn keys(summary: &Summary, out: &mut String) {
    let all: u64 = summary.keys.iter().map(|key| key.answered).sum();
    let most = summary.keys.iter().map(|key| key.answered).max();
    let most = most.unwrap_or_default().max(1);
    let accounts = summary.accounts();
    out.push_str(
        "<h2>What each key has answered</h2>\n<table><tr><th>key<th>account<th class=\"n\">answered\
         <th>share<th class=\"n\">spent<th>refused<th>state\n",
    );
    for key in summary.keys.iter().take(KEYS) {
        let account = key.account.as_ref();
        let place = accounts.iter().position(|it| Some(&it.account) == account);
        let color = place.map_or(COLORS[7], |place| COLORS[place % (COLORS.len() - 1)]);
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td class=\"n\">{}<td class=\"share\">{:.1} %<div class=\"bar\" \
             style=\"width:{:.1}%;background:{color}\"></div><td class=\"n\">{}<td>{}<td>{}",
            escape(key.key.as_str()),
            escape(account.map_or("-", |account| account.as_str())),
            thousands(key.answered),
            100.0 * key.answered as f64 / all.max(1) as f64,
            100.0 * key.answered as f64 / most as f64,
            usd(key.cost.micro_usd),
            escape(&refusals(&key.refusals)),
            escape(&key.state),
        );
    }
    out.push_str("</table>\n");
    if summary.keys.len() > KEYS {
        let more = count((summary.keys.len() - KEYS) as u64, "more key");
        let _ = writeln!(out, "<p class=\"soft\">and {more}</p>");
    }
}

fn accounts(summary: &Summary, out: &mut String) {
    let accounts = summary.accounts();
    if accounts.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Accounts</h2>\n<table><tr><th>account<th class=\"n\">keys<th class=\"n\">calls\
         <th class=\"n\">answered<th class=\"n\">tokens<th class=\"n\">spent<th>refused\n",
    );
    for it in accounts.iter().take(KEYS) {
        let _ = writeln!(
            out,
            "<tr><td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\
             <td class=\"n\">{}<td>{}",
            escape(it.account.as_str()),
            thousands(it.keys),
            thousands(it.calls),
            thousands(it.answered),
            thousands(it.cost.tokens),
            usd(it.cost.micro_usd),
            escape(&refusals(&it.refusals)),
        );
    }
    out.push_str("</table>\n");
}

fn attempts(summary: &Summary, out: &mut String) {
    out.push_str(
        "<h2>Attempts a row</h2>\n<table><tr><th class=\"n\">attempts<th class=\"n\">rows\n",
    );
    for (attempts, rows) in summary.attempts.histogram.iter().take(KEYS) {
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}<td class=\"n\">{}",
            thousands(*attempts),
            thousands(*rows)
        );
    }
    out.push_str("</table>\n");
}
