//! `fairkey mock`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fairkey_mock::{Latency, Scenario};

use crate::args::MockArgs;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::{files, terminal, upstream};

/// How many connections it should be able to hold.
const CONNECTIONS: usize = 16_384;

/// Serves until a signal comes.
pub(crate) async fn mock(args: MockArgs) -> Exit {
    match serve(&args).await {
        Ok(()) => Exit::Done,
        Err(message) => {
            terminal::error(&message);
            Exit::Usage
        }
    }
}

async fn serve(args: &MockArgs) -> Result<(), String> {
    let mut signals =
        Signals::new().map_err(|error| format!("signals cannot be heard: {error}"))?;
    files::raise_limit(CONNECTIONS);
    let scenario = scenario(args)?;
    let mock = scenario.start().await.map_err(|error| {
        let why = std::error::Error::source(&error).map(|why| format!(": {why}"));
        format!("{error}{}", why.unwrap_or_default())
    })?;
    // Whoever started it may read only this line, or nothing; it serves all the same.
    let _ = terminal::print(&format!("listening on {}\n", mock.base_url()));
    signals.next().await;
    tokio::select! {
        () = mock.shutdown() => {}
        // The second signal leaves at once.
        () = signals.next() => {}
    }
    Ok(())
}

/// Reads a scenario. Where it says nothing about the time, the real one holds: clients compare
/// stamps with it.
fn load(path: &Path) -> Result<Scenario, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let scenario = Scenario::from_toml(&text).map_err(|error| format!("{name}, {error}"))?;
    let has_time = toml::from_str::<toml::Table>(&text).is_ok_and(|file| file.contains_key("now"));
    Ok(if has_time {
        scenario
    } else {
        scenario.with(|mock| mock.now(upstream::now()))
    })
}

fn scenario(args: &MockArgs) -> Result<Scenario, String> {
    let scenario = match &args.scenario {
        Some(path) => load(path)?,
        None => Scenario::open(0).with(|mock| mock.now(upstream::now())),
    };
    Ok(scenario.with(|mut mock| {
        mock = mock.listen(args.listen);
        if let Some(seed) = args.seed {
            mock = mock.seed(seed);
        }
        if let Some(latency) = args.latency {
            mock = mock.latency(Latency::new(latency, Duration::ZERO));
        }
        if let Some(now) = args.now {
            mock = mock.now(now);
        }
        mock
    }))
}
