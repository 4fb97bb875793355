//! What answers shall look like, and how they did.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fairkey_batch::{Parameters, SchemaCheck, SchemaStats};
use serde_json::{Value, json};

use crate::args::RunArgs;
use crate::table::{count, thousands};
use crate::terminal;

/// How many kinds of what is wrong are told.
const TOLD: usize = 8;
/// A schema that is larger is none.
const LARGEST: u64 = 16 << 20;

/// Reads the schema, where there is to be one.
///
/// # Errors
///
/// Says what is wrong with it, and where.
pub(super) fn open(args: &RunArgs) -> Result<Option<Arc<SchemaCheck>>, String> {
    let args = &args.schema;
    let Some(path) = &args.schema else {
        return Ok(None);
    };
    let schema = read(path)?;
    let wrong = |error| format!("{} is no schema to check by: {error}", path.display());
    let mut check = SchemaCheck::new(&schema)
        .map_err(wrong)?
        .retries(args.schema_retries);
    for at in check.schema().unknown_keywords() {
        terminal::warn(&format!(
            "{}: {at} is no keyword of JSON Schema, and checks nothing",
            path.display()
        ));
    }
    if args.schema_inject {
        check = check.inject(&schema);
    }
    Ok(Some(Arc::new(check)))
}

/// Notes what answers had to be like: results that were checked otherwise are those of another run.
pub(super) fn note(args: &RunArgs, check: &SchemaCheck, parameters: &mut Parameters) {
    parameters.set_hashed("schema", check.text());
    if args.schema.schema_inject {
        parameters.set("schema-inject", true);
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let name = path.display();
    let unreadable = |error: std::io::Error| format!("the schema {name} cannot be read: {error}");
    if fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
        return Err(format!("the schema {name} has more than {LARGEST} bytes"));
    }
    let text = fs::read(path).map_err(unreadable)?;
    serde_json::from_slice(&text).map_err(|error| format!("the schema {name} is no JSON: {error}"))
}

/// Returns the lines of the summary about answers that did or did not fit.
pub(super) fn lines(stats: &SchemaStats) -> Vec<String> {
    let again = match stats.asked_again {
        0 => String::new(),
        n => format!(", {} asked again", thousands(n)),
    };
    let unchecked = match stats.unchecked {
        0 => String::new(),
        n => format!(", {} without a text to check", thousands(n)),
    };
    let mut lines = vec![format!(
        "schema    {} fit, {} not{again}{unchecked}",
        count(stats.valid, "answer"),
        thousands(stats.invalid)
    )];
    let mut wrong: Vec<(&String, &u64)> = stats.wrong.iter().collect();
    wrong.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let named = wrong.iter().take(TOLD);
    lines.extend(named.map(|(place, n)| format!("          {} at {place}", thousands(**n))));
    if wrong.len() > TOLD {
        lines.push(format!(
            "          and at {} more places",
            wrong.len() - TOLD
        ));
    }
    lines
}

/// The same as JSON.
pub(super) fn to_json(stats: &SchemaStats) -> Value {
    json!({
        "valid": stats.valid,
        "invalid": stats.invalid,
        "unchecked": stats.unchecked,
        "asked_again": stats.asked_again,
        "wrong": stats.wrong,
    })
}
