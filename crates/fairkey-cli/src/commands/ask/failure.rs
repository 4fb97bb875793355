//! How a question that was not answered is told.

use fairkey_client::{CallError, CallErrorKind, KeyState};
use fairkey_core::{Scope, Timestamp};

/// The most keys that are told one by one.
const TOLD: usize = 10;

/// Returns why there is no answer; where keys are in the way, which, and why, one in a line.
pub(super) fn describe(error: &CallError, now: Timestamp) -> String {
    if error.kind() != CallErrorKind::NoKey || error.keys().is_empty() {
        return error.to_string();
    }
    let mut text = if error.is_every_key_dead() {
        "not answered: no key can be used any more".to_owned()
    } else {
        "not answered: no key could be used in time".to_owned()
    };
    if let Some(wait) = error.retry_after() {
        text.push_str(&format!("; try again in {} s", wait.as_secs().max(1)));
    }
    for key in error.keys().iter().take(TOLD) {
        text.push_str(&format!("\n  key \"{}\" {}", key.key, state(key, now)));
    }
    if error.keys().len() > TOLD {
        text.push_str(&format!("\n  and {} keys more", error.keys().len() - TOLD));
    }
    text.push_str("\n`fairkey keys` shows what each may still do");
    text
}

fn state(key: &KeyState, now: Timestamp) -> String {
    let Some(denied) = key.denied else {
        return "was free again by then".to_owned();
    };
    let out = match (denied.by, denied.until) {
        (Scope::Local, _) => return "is busy with other calls".to_owned(),
        (_, None) => "is out for good".to_owned(),
        (_, Some(until)) => {
            let seconds = until.since(now).as_secs_f64().ceil().max(1.0);
            format!("is out for {seconds} s")
        }
    };
    match &key.refusal {
        Some(refusal) => format!("{out}: {refusal}"),
        None => format!("{out} ({})", denied.by),
    }
}
