//! `fairkey keys create`, and what making a key has in common with rotating one.

use fairkey_openrouter::management::{self, CreatedKey, ManagedKey, NewKey};
use serde_json::{Value, json};

use super::office::{Desk, Office};
use super::secret_file::Destination;
use super::{Stop, everything, lookup, named, to_json};
use crate::args::CreateArgs;
use crate::terminal;

/// Makes a key.
pub(super) async fn create(args: &CreateArgs) -> Result<(), Stop> {
    let office = Office::open(&args.admin).await?;
    let desk = office.desk()?;
    let mut new = NewKey::new(&args.name);
    if let Some(limit) = args.limit {
        new = new.limit(limit);
    }
    if let Some(reset) = args.reset {
        new = new.limit_reset(reset.into());
    }
    if let Some(expires) = &args.expires {
        new = new.expires_at(expires.as_str());
    }
    // What cannot be is told before anything is made.
    management::create_key(&new).map_err(|error| Stop::usage(error.to_string()))?;
    lookup::is_free(&desk.management.keys(&everything()).await?, &args.name)?;
    let made = make(desk, &new, args.out.as_deref(), args.admin.json, |_| {
        json!({})
    })
    .await?;
    if let (Some(path), false) = (&args.out, args.admin.json) {
        let account = desk.account.as_ref();
        let account = account.map_or(String::new(), |name| format!("account = \"{name}\"\n"));
        terminal::say(&format!(
            "to use it:\n\n[[keys]]\nid = {}\n{account}secret = {{ file = {} }}",
            json!(made.key.name),
            json!(path)
        ));
    }
    office.close();
    Ok(())
}

/// Makes a key, and hands out its secret: to a new file, to standard output, or within JSON, to
/// which `more` adds what else there is to say.
pub(super) async fn make(
    desk: &Desk,
    new: &NewKey,
    out: Option<&std::path::Path>,
    as_json: bool,
    more: impl FnOnce(&ManagedKey) -> Value,
) -> Result<CreatedKey, Stop> {
    let mut destination = Destination::open(out)?;
    let made = match desk.management.create_key(new).await {
        Ok(made) => made,
        Err(error) => {
            destination.discard();
            return Err(error.into());
        }
    };
    let in_file = destination.path().is_some();
    let mut written = Ok(());
    if in_file || !as_json {
        written = destination.write(&made.secret);
    }
    if as_json && written.is_ok() {
        let printed = print(desk, &made, &destination, more(&made.key));
        // What is safe in a file need not be read here.
        written = if in_file { Ok(()) } else { printed };
    }
    if let Err(error) = written {
        destination.discard();
        return Err(take_back(desk, &made.key, &error).await);
    }
    if !as_json {
        tell(desk, &made.key, &destination);
    }
    Ok(made)
}

/// Prints the key as one line of JSON. Without a file, this is the one place that has the secret.
fn print(
    desk: &Desk,
    made: &CreatedKey,
    destination: &Destination,
    more: Value,
) -> std::io::Result<()> {
    let path = destination.path();
    let mut value = json!({
        "account": desk.account,
        "key": to_json(&made.key),
        "secret": path.is_none().then(|| made.secret.expose()),
        "secret_file": path,
    });
    if let (Some(fields), Value::Object(more)) = (value.as_object_mut(), more) {
        fields.extend(more);
    }
    terminal::print(&format!("{value}\n"))
}

fn tell(desk: &Desk, key: &ManagedKey, destination: &Destination) {
    let cap = key.limit.map_or("no cap".to_owned(), |limit| {
        let reset = key.limit_reset.as_ref();
        let reset = reset.map_or("once".to_owned(), ToString::to_string);
        format!("cap ${limit:.2} {reset}")
    });
    let expires = key.expires_at.as_deref();
    let expires = expires.map_or("never expires".to_owned(), |at| format!("expires {at}"));
    terminal::say(&format!(
        "made {}{}: {cap}, {expires}",
        named(key),
        desk.of_account()
    ));
    match destination.path() {
        Some(path) => terminal::say(&format!(
            "its secret is in {}, which only you can read",
            path.display()
        )),
        None => terminal::say("its secret is on standard output, and nowhere else: keep it"),
    }
}

/// Deletes a key that was just made and whose secret nobody has.
async fn take_back(desk: &Desk, key: &ManagedKey, error: &std::io::Error) -> Stop {
    let hash = &key.hash;
    let then = match desk.management.delete_key(hash).await {
        Ok(true) => "the key was deleted again".to_owned(),
        Ok(false) | Err(_) => format!("delete it: fairkey keys delete {hash}"),
    };
    Stop::failed(format!(
        "the secret of the new {} cannot be written: {error}; {then}",
        named(key)
    ))
}
