//! How an outlook is told.

use fairkey_batch::ModelForecast;
use serde_json::{Value, json};

use super::Outlook;
use crate::commands::run::report::dollars;
use crate::table::{Table, count, thousands, usd};
use crate::terminal::time;

/// Returns an outlook as text.
pub(super) fn text(outlook: &Outlook, width: Option<usize>) -> String {
    let forecast = &outlook.forecast;
    let total = forecast.total();
    let mut text = String::new();
    let mut line = |name: &str, what: &str| text.push_str(&format!("{name:<10}{what}\n"));
    line(
        "rows",
        &format!(
            "{} to send, {} that are no requests; nothing was sent",
            thousands(forecast.rows),
            thousands(forecast.bad_rows)
        ),
    );
    for bad in &forecast.bad {
        line("", bad);
    }
    if forecast.bad_rows > forecast.bad.len() as u64 {
        line(
            "",
            &format!(
                "and {} more",
                thousands(forecast.bad_rows - forecast.bad.len() as u64)
            ),
        );
    }
    let [low, expected, most] = total.output_tokens.map(thousands);
    line(
        "tokens",
        &format!(
            "{} in; {expected} out ({low} to {most})",
            thousands(total.prompt_tokens)
        ),
    );
    match &outlook.no_prices {
        Some(why) => line("cost", &format!("unknown: there is no catalogue: {why}")),
        None => {
            let [low, expected, most] = total.usd.map(|amount| usd(micro(amount)));
            line(
                "cost",
                &format!("{expected} expected, {low} at least, {most} at most"),
            );
        }
    }
    if outlook.in_batches {
        line(
            "",
            "by the prices of calls; batches cost half of that as a rule",
        );
    }
    if total.unpriced_rows > 0 {
        let rows = count(total.unpriced_rows, "row");
        line(
            "",
            &format!("{rows} of which nobody knows the price are not in it"),
        );
    }
    if let Some(left) = outlook.left_usd {
        line(
            "keys",
            &format!(
                "caps and budgets leave {}{}",
                usd(micro(left)),
                falls_short(left, &total)
            ),
        );
    }
    if let Some(left) = outlook.balance_usd {
        line(
            "balance",
            &format!("{}{}", usd(micro(left.max(0.0))), falls_short(left, &total)),
        );
    }
    if let Some(limit) = outlook.max_cost {
        let words = falls_short(limit as f64 / 1e6, &total);
        line("max-cost", &format!("{}{words}", usd(limit)));
    }
    let free = free_rows(outlook);
    if free > 0 {
        let left = match outlook.free_left {
            Some(left) if left < free => format!("only {} are left of today", thousands(left)),
            Some(left) => format!("{} are left of today", thousands(left)),
            None => "how many are left of today is not known".to_owned(),
        };
        line(
            "free",
            &format!("{} of free models; {left}", count(free, "row")),
        );
    }
    match outlook.bounds.first() {
        _ if outlook.in_batches => line("time", "24 hours at most: that of batches"),
        Some(bound) => line(
            "time",
            &format!("{} at least: {}", time(bound.time), bound.why),
        ),
        None => line(
            "time",
            "unknown: no limit, and no speed of the models, is known",
        ),
    }
    let mut table = Table::new(&[
        "model",
        ">rows",
        ">tokens in",
        ">out",
        ">expected",
        ">at most",
        "answers",
        "notes",
    ]);
    for (name, model) in &forecast.models {
        let name = if name.is_empty() {
            "(none named)"
        } else {
            name
        };
        table.row(vec![
            name.to_owned(),
            thousands(model.rows),
            thousands(model.prompt_tokens),
            thousands(model.output_tokens[1]),
            usd(micro(model.usd[1])),
            usd(micro(model.usd[2])),
            basis(model),
            notes(outlook, name, model).join("; "),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render(width));
    text
}

/// From what the lengths of answers are taken.
fn basis(model: &ModelForecast) -> String {
    let learned = match model.learned_answers {
        0 => "assumed".to_owned(),
        n => format!("learned of {}", thousands(n)),
    };
    match model.limited_rows {
        0 => learned,
        n if n == model.rows => format!("{learned}, max_tokens"),
        n => format!("{learned}, max_tokens in {}", count(n, "row")),
    }
}

fn notes(outlook: &Outlook, name: &str, model: &ModelForecast) -> Vec<String> {
    let mut notes = Vec::new();
    if outlook.no_prices.is_none() && !model.is_listed && name != "(none named)" {
        notes.push("not in the catalogue".to_owned());
    } else if model.unpriced_rows > 0 {
        notes.push("no price".to_owned());
    }
    if let Some(day) = &model.expires {
        notes.push(format!("may be gone after {day}"));
    }
    if model.too_long_rows > 0 {
        let rows = count(model.too_long_rows, "row");
        let places = model.too_long.join(", ");
        notes.push(format!("{rows} longer than its context: {places}"));
    }
    notes
}

fn free_rows(outlook: &Outlook) -> u64 {
    let models = outlook.forecast.models.iter();
    let free = models.filter(|(name, model)| model.is_free || name.ends_with(":free"));
    free.map(|(_, model)| model.rows).sum()
}

fn falls_short(left: f64, total: &ModelForecast) -> &'static str {
    if left < total.usd[1] {
        ", which will not do"
    } else if left < total.usd[2] {
        ", which may not do"
    } else {
        ""
    }
}

fn micro(usd: f64) -> u64 {
    // The cast saturates.
    (usd * 1e6).round() as u64
}

/// Returns an outlook as JSON.
pub(super) fn to_json(outlook: &Outlook) -> Value {
    let amounts = |model: &ModelForecast| {
        let range = |[low, expected, most]: [Value; 3]| json!({ "low": low, "expected": expected, "most": most });
        json!({
            "rows": model.rows,
            "prompt_tokens": model.prompt_tokens,
            "output_tokens": range(model.output_tokens.map(Value::from)),
            "cost_usd": range(model.usd.map(Value::from)),
            "unpriced_rows": model.unpriced_rows,
            "rows_with_max_tokens": model.limited_rows,
            "too_long_rows": model.too_long_rows,
        })
    };
    let forecast = &outlook.forecast;
    let models: Vec<Value> = forecast
        .models
        .iter()
        .map(|(name, model)| {
            let mut value = amounts(model);
            value["model"] = name.as_ref().into();
            value["listed"] = model.is_listed.into();
            value["free"] = model.is_free.into();
            value["learned_answers"] = model.learned_answers.into();
            value["expires"] = model.expires.clone().into();
            value["too_long"] = model.too_long.clone().into();
            value
        })
        .collect();
    let bounds: Vec<Value> = (outlook.bounds.iter())
        .map(|bound| json!({ "why": bound.why, "seconds": bound.time.as_secs_f64() }))
        .collect();
    let mut value = amounts(&forecast.total());
    value["dry_run"] = true.into();
    value["bad_rows"] = forecast.bad_rows.into();
    value["bad"] = forecast.bad.clone().into();
    value["models"] = models.into();
    value["mode"] = match outlook.in_batches {
        true => "upstream-batch".into(),
        false => "live".into(),
    };
    value["seconds"] = (outlook.bounds.first())
        .map(|bound| bound.time.as_secs_f64())
        .into();
    value["time"] = bounds.into();
    value["in_flight"] = outlook.in_flight.into();
    value["keys_left_usd"] = outlook.left_usd.into();
    value["balance_usd"] = outlook.balance_usd.into();
    value["free_rows"] = free_rows(outlook).into();
    value["free_left"] = outlook.free_left.into();
    value["max_cost_usd"] = outlook.max_cost.map(dollars).into();
    value["no_prices"] = outlook.no_prices.clone().into();
    value
}
