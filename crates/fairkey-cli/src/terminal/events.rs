//! Events for programs: one object of JSON a line, on standard error.

use std::sync::atomic::{AtomicBool, Ordering};

use fairkey_batch::{Notice, Place, Refusal, Snapshot};
use serde_json::{Value, json};

/// Whether what is said is said to a program.
static EVENTS: AtomicBool = AtomicBool::new(false);

/// From now on everything that is said is an event.
pub(crate) fn speak_json() {
    EVENTS.store(true, Ordering::Relaxed);
}

pub(super) fn is_json() -> bool {
    EVENTS.load(Ordering::Relaxed)
}

/// Returns words for people as an event: `info`, `warning` or `error`.
pub(super) fn message(event: &str, text: &str) -> String {
    json!({ "event": event, "message": text.trim() }).to_string()
}

/// Returns the numbers of a moment.
pub(super) fn progress(snapshot: &Snapshot) -> String {
    let lanes = snapshot.lanes.iter().map(|lane| {
        json!({
            "name": lane.name,
            "is_account": lane.is_account,
            "answered": lane.answered,
            "refused": lane.refused,
            "tokens": lane.cost.tokens,
            "spent_usd": lane.cost.micro_usd as f64 / 1e6,
        })
    });
    let event = json!({
        "event": "progress",
        "elapsed_s": snapshot.elapsed.as_secs_f64(),
        "done": snapshot.done,
        "failed": snapshot.failed,
        "in_flight": snapshot.in_flight,
        "limit": snapshot.limit,
        "refused": snapshot.refused,
        "tokens": snapshot.tokens,
        "spent_usd": snapshot.micro_usd as f64 / 1e6,
        "rows_per_s": snapshot.rate,
        "tokens_per_s": snapshot.token_rate,
        "rows_expected": snapshot.rows_expected,
        "all_read": snapshot.all_read,
        "eta_s": snapshot.eta.map(|eta| eta.as_secs_f64()),
        "lanes": lanes.collect::<Vec<_>>(),
    });
    event.to_string()
}

/// Returns what happened; `None` where it is told at the end.
pub(super) fn notice(notice: &Notice) -> Option<String> {
    let event = match notice {
        Notice::KeyRefused {
            key,
            account,
            refusal,
        } => of_key(
            "key_refused",
            key.as_str(),
            account.as_ref().map(|it| it.as_str()),
            refusal,
        ),
        Notice::KeyExhausted {
            key,
            account,
            refusal,
        } => of_key(
            "key_exhausted",
            key.as_str(),
            account.as_ref().map(|it| it.as_str()),
            refusal,
        ),
        Notice::Silent {
            quiet,
            patience,
            why,
        } => json!({
            "event": "silent",
            "quiet_s": quiet.as_secs_f64(),
            "patience_s": patience.as_secs_f64(),
            "message": why.to_string(),
        }),
        Notice::RowFailed {
            place,
            custom_id,
            message,
        } => json!({
            "event": "row_failed",
            "file": place.file,
            "line": place.line,
            "custom_id": custom_id,
            "message": message,
        }),
        Notice::NameRepeated { custom_id, places } => {
            let at = |place: &Place| json!({ "file": place.file, "line": place.line });
            json!({
                "event": "name_repeated",
                "custom_id": custom_id,
                "rows": [at(&places.0), at(&places.1)],
            })
        }
        Notice::Stopping(why) => json!({ "event": "stopping", "message": why.to_string() }),
        _ => return None,
    };
    Some(event.to_string())
}

fn of_key(event: &str, key: &str, account: Option<&str>, refusal: &Refusal) -> Value {
    json!({
        "event": event,
        "key": key,
        "account": account,
        "scope": refusal.scope.as_str(),
        "cause": refusal.cause,
        "status": refusal.status,
    })
}
