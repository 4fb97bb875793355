//! `fairkey keys list`.

use fairkey_core::{SystemWallClock, WallClock};
use fairkey_openrouter::management::ManagedKey;
use serde_json::{Value, json};

use super::office::Office;
use super::{Stop, everything, print_json, short, to_json};
use crate::args::ListArgs;
use crate::table::Table;
use crate::{redaction, terminal};

/// Lists keys.
pub(super) async fn list(args: &ListArgs) -> Result<(), Stop> {
    let office = Office::open(&args.admin).await?;
    let mut rows: Vec<(Option<String>, ManagedKey)> = Vec::new();
    for desk in office.desks() {
        let keys = desk.management.keys(&everything()).await.map_err(|error| {
            Stop::failed(format!(
                "the keys{} cannot be listed: {error}",
                desk.of_account()
            ))
        })?;
        let shown = keys
            .into_iter()
            .filter(|key| args.all || state(key) == "enabled");
        rows.extend(shown.map(|key| (desk.account.clone(), key)));
    }
    office.close();
    if args.admin.json {
        let each = rows.iter().map(|(account, key)| {
            let mut value = to_json(key);
            value["account"] = json!(account);
            value["state"] = json!(state(key));
            value
        });
        print_json(&Value::Array(each.collect()));
        return Ok(());
    }
    let mut table = Table::new(&[
        "name",
        "hash",
        "account",
        "state",
        "cap left",
        ">this month",
        "expires",
        "made",
    ]);
    let day = |time: &Option<String>, none: &str| {
        let time = time.as_deref().map(|time| time.get(..10).unwrap_or(time));
        time.unwrap_or(none).to_owned()
    };
    for (account, key) in &rows {
        table.row(vec![
            key.name.clone(),
            short(&key.hash).to_owned(),
            account.clone().unwrap_or_else(|| "-".to_owned()),
            state(key).to_owned(),
            cap(key),
            key.usage_monthly.map_or("?".to_owned(), usd),
            day(&key.expires_at, "never"),
            day(&key.created_at, "?"),
        ]);
    }
    let text = table.render(terminal::width(std::io::stdout()));
    // Whoever reads it may have seen enough.
    let _ = terminal::print(&redaction::clean(&text));
    Ok(())
}

fn state(key: &ManagedKey) -> &'static str {
    let now = SystemWallClock.since_epoch();
    if key.disabled {
        "disabled"
    } else if key.expires_at().is_some_and(|at| at <= now) {
        "expired"
    } else {
        "enabled"
    }
}

fn cap(key: &ManagedKey) -> String {
    let Some(limit) = key.limit else {
        return "none".to_owned();
    };
    let left = key.limit_remaining.map_or("?".to_owned(), usd);
    let reset = key.limit_reset.as_ref();
    let reset = reset.map_or(String::new(), |reset| format!(" {reset}"));
    format!("{left} of {}{reset}", usd(limit))
}

fn usd(amount: f64) -> String {
    format!("${amount:.2}")
}
