//! `fairkey keys disable`, `enable` and `delete`.

use fairkey_openrouter::management::KeyChange;
use serde_json::json;

use super::office::Office;
use super::{Stop, confirm, everything, lookup, named, print_json, to_json};
use crate::args::ChangeArgs;
use crate::terminal;

/// What is done to a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Disable,
    Enable,
    Delete,
}

/// Changes one key.
pub(super) async fn change(args: &ChangeArgs, change: Change) -> Result<(), Stop> {
    let office = Office::open(&args.admin).await?;
    let desk = office.desk()?;
    let keys = desk.management.keys(&everything()).await?;
    let expected = match change {
        Change::Disable => Some(false),
        Change::Enable => Some(true),
        Change::Delete => None,
    };
    let key = lookup::find(&keys, &args.name, expected)?;
    let (key, of_account) = (key.clone(), desk.of_account());
    match change {
        Change::Disable => confirm(
            args.yes,
            &format!(
                "disable {}{of_account}? Calls with it are refused then.",
                named(&key)
            ),
        )?,
        Change::Delete => confirm(
            args.yes,
            &format!("delete {}{of_account} for good?", named(&key)),
        )?,
        Change::Enable => {}
    }
    let (key, done) = match change {
        Change::Delete => {
            if !desk.management.delete_key(&key.hash).await? {
                return Err(Stop::failed(format!("{} was not deleted", named(&key))));
            }
            (key, "deleted")
        }
        Change::Disable | Change::Enable => {
            let disabled = change == Change::Disable;
            let to = KeyChange::new().disabled(disabled);
            let key = desk.management.update_key(&key.hash, &to).await?;
            if key.disabled != disabled {
                return Err(Stop::failed(format!("{} stayed as it was", named(&key))));
            }
            (key, if disabled { "disabled" } else { "enabled" })
        }
    };
    if args.admin.json {
        print_json(&json!({
            "account": desk.account,
            "key": to_json(&key),
            "state": done,
        }));
    } else {
        terminal::say(&format!("{done} {}{of_account}", named(&key)));
    }
    office.close();
    Ok(())
}
