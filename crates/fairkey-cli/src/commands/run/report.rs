//! How the end of a run is told.

mod page;
mod plot;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fairkey_batch::{Stopped, Summary};
use fairkey_client::UnknownCount;
use serde_json::{Value, json};

use super::Bounds;
use super::destination::is_same_file;
use crate::table::{self, Table, count, thousands, usd};
use crate::{redaction, terminal};

/// Returns the summary as text, in tables that are no wider than `width`.
pub(super) fn table(summary: &Summary, output: &str, width: Option<usize>) -> String {
    let mut text = String::from("\n");
    let mut keys = Table::new(&[
        "key",
        "account",
        ">calls",
        ">answered",
        ">tokens",
        ">cost",
        "state",
        "refused",
    ]);
    for key in &summary.keys {
        keys.row(vec![
            key.key.to_string(),
            key.account
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string),
            thousands(key.calls),
            thousands(key.answered),
            thousands(key.cost.tokens),
            usd(key.cost.micro_usd),
            key.state.clone(),
            refusals(&key.refusals),
        ]);
    }
    text.push_str(&keys.render(width));
    let accounts = summary.accounts();
    if !accounts.is_empty() {
        let mut rows = Table::new(&[
            "account",
            ">keys",
            ">calls",
            ">answered",
            ">tokens",
            ">cost",
            "refused",
        ]);
        for account in &accounts {
            rows.row(vec![
                account.account.to_string(),
                thousands(account.keys),
                thousands(account.calls),
                thousands(account.answered),
                thousands(account.cost.tokens),
                usd(account.cost.micro_usd),
                refusals(&account.refusals),
            ]);
        }
        text.push('\n');
        text.push_str(&rows.render(width));
    }
    let rows = &summary.rows;
    let some = |n: u64, what: &str| match n {
        0 => String::new(),
        n => format!(", {} {what}", thousands(n)),
    };
    let kept = some(rows.kept, "done before");
    let unwritten = some(rows.unwritten, "done but not written");
    let left = some(rows.left, "left");
    text.push_str(&format!(
        "\nrows      {} read, {} answered, {} failed{kept}{unwritten}{left}, {} lost\n",
        thousands(rows.read),
        thousands(rows.answered),
        thousands(rows.failed),
        thousands(rows.lost),
    ));
    if rows.repeated_names > 0 {
        let repeated = count(rows.repeated_names, "row");
        text.push_str(&format!(
            "names     {repeated} with the custom_id of another\n"
        ));
    }
    text.push_str(&format!("attempts  {} per row\n", summary.attempts));
    text.push_str(&format!(
        "spent     {}, {}{}\n",
        count(summary.cost.tokens, "token"),
        usd(summary.cost.micro_usd),
        elsewhere(summary)
    ));
    text.push_str(&format!(
        "time      {:.1} s, {:.1} rows/s, {} in flight at most\n",
        summary.elapsed.as_secs_f64(),
        summary.rate(),
        thousands(summary.peak_in_flight),
    ));
    for (at, (bottleneck, share)) in summary.bottlenecks.iter().take(BOTTLENECKS).enumerate() {
        let title = if at == 0 { "held back" } else { "" };
        text.push_str(&format!(
            "{title:<9} {:.0} % of the time by {bottleneck}\n",
            100.0 * share
        ));
    }
    text.push_str(&format!(
        "results   {}, {output}",
        count(rows.written, "line")
    ));
    text
}

/// How many bottlenecks are named.
const BOTTLENECKS: usize = 3;

/// Says what was or may be paid beside what OpenRouter said.
fn elsewhere(summary: &Summary) -> String {
    let own = match summary.byok_micro_usd {
        0 => String::new(),
        amount => format!("; {} by accounts of your own at providers", usd(amount)),
    };
    match summary.maybe_billed {
        0 => own,
        n => format!("{own}; {} broke off and may be billed", count(n, "attempt")),
    }
}

/// How many unknown words are named.
const UNKNOWN_NAMED: usize = 4;

/// Returns, in one line, which words of errors this version does not know, if there were any.
pub(super) fn unknown_words(unknown: &[UnknownCount]) -> Option<String> {
    let mut unknown: Vec<&UnknownCount> = unknown.iter().collect();
    unknown.sort_by_key(|word| std::cmp::Reverse(word.count));
    let named = unknown.iter().take(UNKNOWN_NAMED);
    let mut named: Vec<String> = named
        .map(|word| match word.field {
            "(other)" => format!("others {}", thousands(word.count)),
            field => format!("{field} \"{}\" {}", word.word, thousands(word.count)),
        })
        .collect();
    match unknown.len().saturating_sub(UNKNOWN_NAMED) {
        0 => {}
        more => named.push(format!("{} more", thousands(more as u64))),
    }
    (!named.is_empty()).then(|| {
        format!(
            "OpenRouter used words that this version does not know, and was understood without \
             them: {}; a newer fairkey may know them",
            named.join(", ")
        )
    })
}

/// Says what is wrong with the end of a run, if anything is.
pub(super) fn explain_end(summary: &Summary, output: &str) {
    let rows = &summary.rows;
    if rows.lost > 0 {
        let lost = count(rows.lost, "row");
        terminal::error(&format!("this is a bug, please report it: {lost} lost"));
    }
    let unwritten = match rows.unwritten {
        0 => String::new(),
        n => format!(
            ", {} done but not written ({})",
            thousands(n),
            match rows.unkept {
                0 => "the journal has them".to_owned(),
                lost => format!("{} lost that way", count(lost, "result")),
            }
        ),
    };
    let done = format!(
        "{} read: {} written to {output}{unwritten}, {} left without a result",
        count(rows.read, "row"),
        thousands(rows.written),
        thousands(rows.left)
    );
    match &summary.stopped {
        Some(Stopped::Interrupted) => terminal::say(&format!("interrupted; {done}")),
        Some(why) => terminal::error(&format!("stopped early: {why}; {done}")),
        None if rows.failed > 0 => {
            terminal::error(&format!(
                "{} failed, see {output}",
                count(rows.failed, "row")
            ));
        }
        None => {}
    }
}

/// Looks whether a page can be written when the run is over, as far as can be said now.
///
/// # Errors
///
/// Says what is in the way.
pub(super) fn check_page(path: &Path, inputs: &[PathBuf]) -> Result<(), String> {
    let name = path.display();
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() {
        Err(format!("the report {name} is a folder: name a file"))
    } else if inputs.iter().any(|input| is_same_file(input, path)) {
        Err(format!("the report {name} is the input: name another file"))
    } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        Err(format!(
            "the report cannot be written to {name}: there is no folder {}",
            folder.display()
        ))
    } else {
        Ok(())
    }
}

/// Writes the page with plots; it is there whole or not at all.
///
/// # Errors
///
/// Where it cannot be written.
pub(super) fn write_page(
    path: &Path,
    summary: &Summary,
    input: &str,
    output: &str,
) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, page::page(summary, input, output))?;
    fs::rename(&new, path).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// Prints the summary as one object of JSON.
///
/// # Errors
///
/// Where it cannot be written.
pub(super) fn print_json(
    summary: &Summary,
    unknown: &[UnknownCount],
    batches: Option<Value>,
    output: &str,
    to_stdout: bool,
    bounds: &Bounds,
) -> io::Result<()> {
    let mut summary = to_json(summary, unknown, output);
    bounds.add_to(&mut summary);
    if let Some(batches) = batches {
        summary["batches"] = batches;
    }
    let text = redaction::clean(&summary.to_string());
    if to_stdout {
        // Standard output has the results.
        terminal::line(&text);
        Ok(())
    } else {
        terminal::print(&format!("{text}\n"))
    }
}

fn to_json(summary: &Summary, unknown: &[UnknownCount], output: &str) -> Value {
    let unknown: Vec<Value> = unknown
        .iter()
        .map(|word| json!({ "field": word.field, "word": word.word, "count": word.count }))
        .collect();
    let rows = &summary.rows;
    let keys: Vec<Value> = summary
        .keys
        .iter()
        .map(|key| {
            json!({
                "key": key.key.as_str(),
                "account": key.account.as_ref().map(|account| account.as_str()),
                "calls": key.calls,
                "answered": key.answered,
                "tokens": key.cost.tokens,
                "cost_usd": dollars(key.cost.micro_usd),
                "refused": key.refusals,
                "state": key.state,
            })
        })
        .collect();
    let accounts: Vec<Value> = summary
        .accounts()
        .iter()
        .map(|account| {
            json!({
                "account": account.account.as_str(),
                "keys": account.keys,
                "calls": account.calls,
                "answered": account.answered,
                "tokens": account.cost.tokens,
                "cost_usd": dollars(account.cost.micro_usd),
                "refused": account.refusals,
            })
        })
        .collect();
    json!({
        "output": output,
        "stopped": summary.stopped.as_ref().map(stopped),
        "rows": {
            "read": rows.read,
            "answered": rows.answered,
            "failed": rows.failed,
            "written": rows.written,
            "unwritten": rows.unwritten,
            "unwritten_answers": rows.unwritten_answers,
            "unkept": rows.unkept,
            "kept": rows.kept,
            "left": rows.left,
            "repeated_custom_ids": rows.repeated_names,
            "lost": rows.lost,
        },
        "attempts": {
            "total": summary.attempts.total(),
            "mean": summary.attempts.mean(),
            "max": summary.attempts.max(),
            "rows_by_attempts": summary.attempts.histogram,
        },
        "tokens": summary.cost.tokens,
        "cost_usd": dollars(summary.cost.micro_usd),
        "byok_cost_usd": dollars(summary.byok_micro_usd),
        "maybe_billed_attempts": summary.maybe_billed,
        "elapsed_seconds": summary.elapsed.as_secs_f64(),
        "rows_per_second": summary.rate(),
        "peak_in_flight": summary.peak_in_flight,
        "held_back_by": summary
            .bottlenecks
            .iter()
            .map(|(it, share)| json!({ "what": it.to_string(), "share": share }))
            .collect::<Vec<_>>(),
        "keys": keys,
        "accounts": accounts,
        "unknown_words": unknown,
    })
}

fn stopped(why: &Stopped) -> Value {
    let (code, keys) = match why {
        Stopped::Interrupted => ("interrupted", None),
        Stopped::KeysOut { keys, .. } => {
            let why = keys
                .iter()
                .map(|key| (key.key.to_string(), key.why.clone()));
            ("keys_out", Some(why.collect::<BTreeMap<_, _>>()))
        }
        Stopped::NothingAnswered { .. } => ("nothing_answered", None),
        Stopped::OutOfMoney(_) => ("out_of_money", None),
        Stopped::OutputFailed(_) => ("output_failed", None),
        Stopped::InputFailed(_) => ("input_failed", None),
        Stopped::JournalFailed(_) => ("journal_failed", None),
        Stopped::InputChanged(_) => ("input_changed", None),
        _ => ("stopped", None),
    };
    json!({ "code": code, "message": why.to_string(), "keys": keys })
}

pub(super) fn dollars(micro_usd: u64) -> f64 {
    micro_usd as f64 / 1e6
}

/// `provider_error 3, key_invalid 1`, the most frequent first.
fn refusals(refusals: &BTreeMap<String, u64>) -> String {
    if refusals.is_empty() {
        return "-".to_owned();
    }
    let mut refusals: Vec<_> = refusals.iter().collect();
    refusals.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let each: Vec<String> = refusals
        .iter()
        .map(|(cause, n)| format!("{cause} {}", table::thousands(**n)))
        .collect();
    each.join(", ")
}
