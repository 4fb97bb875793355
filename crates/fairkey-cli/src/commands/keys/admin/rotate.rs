//! `fairkey keys rotate`.

use std::time::Duration;

use fairkey_client::{CallError, Client};
use fairkey_openrouter::management::{KeyChange, ManagedKey, NewKey};
use serde_json::json;

use super::create::make;
use super::office::{Desk, Office};
use super::{Stop, confirm, everything, lookup, named, short};
use crate::args::RotateArgs;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::terminal;

/// What becomes of the old key, and when.
#[derive(Clone, Copy)]
enum Old {
    Stays,
    Disabled(Duration),
    Deleted(Duration),
}

impl Old {
    fn of(args: &RotateArgs) -> Self {
        match (args.drain, args.delete_old_after) {
            (Some(after), _) => Self::Disabled(after),
            (None, Some(after)) => Self::Deleted(after),
            (None, None) => Self::Stays,
        }
    }

    fn after(self) -> Option<Duration> {
        match self {
            Self::Stays => None,
            Self::Disabled(after) | Self::Deleted(after) => Some(after),
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Stays => "enabled",
            Self::Disabled(_) => "disabled",
            Self::Deleted(_) => "deleted",
        }
    }
}

/// Replaces a key.
pub(super) async fn rotate(args: &RotateArgs) -> Result<(), Stop> {
    let mut signals =
        Signals::new().map_err(|error| Stop::usage(format!("signals cannot be heard: {error}")))?;
    let office = Office::open(&args.admin).await?;
    let desk = office.desk()?;
    let keys = desk.management.keys(&everything()).await?;
    let old = lookup::find(&keys, &args.name, Some(false))?.clone();
    if old.disabled {
        return Err(Stop::usage(format!(
            "{} is disabled: enable it first, or create another",
            named(&old)
        )));
    }
    let then = Old::of(args);
    if let Some(after) = then.after() {
        let seconds = after.as_secs_f64();
        let question = format!(
            "{}{} is {} {seconds} s after the new key is there?",
            named(&old),
            desk.of_account(),
            then.done()
        );
        confirm(args.yes, &question)?;
    }
    let about_old = |_: &ManagedKey| {
        let after = then.after().map(|after| after.as_secs_f64());
        json!({ "old": { "hash": old.hash, "will_be": then.done(), "after_seconds": after } })
    };
    let as_json = args.admin.json;
    let new = make(desk, &like(&old), args.out.as_deref(), as_json, about_old).await?;
    let left = format!(
        "the old {} goes on serving; when nobody uses it any more: fairkey keys disable {}",
        named(&old),
        short(&old.hash)
    );
    let base_url = office.base_url.as_deref();
    if let Err(error) = answers(base_url, new.secret.clone()).await {
        return Err(Stop::failed(format!(
            "the new key does not answer: {error}; {left}"
        )));
    }
    if !as_json {
        terminal::say(
            "let whoever uses the old key take the new one: restart it, or let it read its \
             configuration again",
        );
    }
    let Some(after) = then.after() else {
        if !as_json {
            terminal::say(&left);
        }
        office.close();
        return Ok(());
    };
    if !as_json {
        terminal::say(&format!(
            "the old {} goes on serving for {} s, and is {} then; Ctrl-C leaves both",
            named(&old),
            after.as_secs_f64(),
            then.done()
        ));
    }
    tokio::select! {
        idle = drained(desk, &old.hash, after) => {
            if !idle? {
                return Err(Stop::failed(format!("the old key still spends: {left}")));
            }
        }
        () = signals.next() => {
            return Err(Stop {
                exit: Exit::Interrupted,
                message: format!("interrupted: {left}"),
            });
        }
    }
    match then {
        Old::Stays => {}
        Old::Disabled(_) => {
            let off = KeyChange::new().disabled(true);
            desk.management.update_key(&old.hash, &off).await?;
        }
        Old::Deleted(_) => {
            desk.management.delete_key(&old.hash).await?;
        }
    }
    if as_json {
        let line = json!({ "old": { "hash": old.hash, "state": then.done() } });
        let _ = terminal::print(&format!("{line}\n"));
    } else {
        terminal::say(&format!("{} the old {}", then.done(), named(&old)));
    }
    office.close();
    Ok(())
}

/// Returns a new key that may do what the old one may.
fn like(old: &ManagedKey) -> NewKey {
    let mut new = NewKey::new(&old.name).include_byok_in_limit(old.include_byok_in_limit);
    if let Some(limit) = old.limit {
        new = new.limit(limit);
    }
    // An interval that is not known here would be refused; the cap then never starts anew.
    if let Some(reset) = old.limit_reset.clone().filter(|reset| reset.is_known()) {
        new = new.limit_reset(reset);
    }
    if let Some(expires) = &old.expires_at {
        new = new.expires_at(expires.as_str());
    }
    if let Some(workspace) = &old.workspace_id {
        new = new.workspace_id(workspace.as_str());
    }
    if let Some(creator) = &old.creator_user_id {
        new = new.creator_user_id(creator.as_str());
    }
    new
}

/// Asks the new key about itself, which costs nothing.
async fn answers(base_url: Option<&str>, secret: fairkey_core::ApiKey) -> Result<(), String> {
    let mut builder = Client::builder().key("new", secret);
    if let Some(url) = base_url {
        builder = builder.base_url(url);
    }
    let client = builder.build().map_err(|error| error.to_string())?;
    let info = client.key_info("new").await;
    info.map(|_| ()).map_err(|error| error.to_string())
}

/// Waits, and tells whether the key has spent nothing in the second half.
async fn drained(desk: &Desk, hash: &str, after: Duration) -> Result<bool, CallError> {
    tokio::time::sleep(after / 2).await;
    let before = desk.management.key(hash).await?.usage;
    tokio::time::sleep(after - after / 2).await;
    let now = desk.management.key(hash).await?.usage;
    // Where it is not said, the time is all there is to go by.
    Ok(match (before, now) {
        (Some(before), Some(now)) => now <= before,
        _ => true,
    })
}
