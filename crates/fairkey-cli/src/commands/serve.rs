//! `fairkey serve`.

use std::hash::{BuildHasher, RandomState};

use fairkey_gateway::{Departure, Drained, Gateway, ListenAddr, Listener, Settings};

use crate::args::ServeArgs;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::upstream::{Purpose, Upstream};
use crate::{config, files, table, terminal};

/// How many connections it should be able to hold, of callers and to the upstream together.
const CONNECTIONS: usize = 8_192;

/// Serves until a signal comes.
pub(crate) async fn serve(args: ServeArgs) -> Exit {
    match run(&args).await {
        Ok(drained) if drained.is_whole() => Exit::Done,
        Ok(drained) => {
            terminal::warn(&cut(&drained));
            Exit::Stopped
        }
        Err(message) => {
            terminal::error(&message);
            Exit::Usage
        }
    }
}

/// Says what was cut off, by the names that callers have, too.
fn cut(drained: &Drained) -> String {
    let calls = table::count(drained.cut as u64, "call");
    let more = drained.cut.saturating_sub(drained.requests.len());
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "cut off {calls} under way: {}{more}",
        drained.requests.join(", ")
    )
}

/// Returns what had to be cut off in the end.
async fn run(args: &ServeArgs) -> Result<Drained, String> {
    if let ListenAddr::Tcp(addr) = args.listen
        && !addr.ip().is_loopback()
    {
        return Err(format!(
            "{} can be reached by other machines, and there are no client tokens, so that anybody \
             there could spend your money; listen on 127.0.0.1",
            args.listen
        ));
    }
    let mut signals =
        Signals::of_an_end().map_err(|error| format!("signals cannot be heard: {error}"))?;
    files::raise_limit(CONNECTIONS);
    let upstream = Upstream::open(&args.upstream, Purpose::Gateway).await?;
    upstream.warn();
    let listener = Listener::bind(&args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let mut settings = Settings::default();
    settings.pass_unknown_paths = args.pass_unknown_paths;
    if args.drain {
        settings.departure = Departure::drain();
    }
    let gateway = Gateway::builder(upstream.client.clone())
        .settings(settings)
        .profiles(upstream.profiles.clone())
        .seed(
            args.upstream
                .seed
                .unwrap_or_else(|| RandomState::new().hash_one(())),
        )
        .build();
    let serving = gateway
        .serve_on(listener)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let watch = upstream.watch();
    terminal::say(&format!("serving {}", upstream.describe()));
    // Whoever started it may read only this line, or nothing; it serves all the same.
    let local = match serving.local() {
        ListenAddr::Tcp(addr) => format!("http://{addr}"),
        local @ ListenAddr::Unix(_) => local.to_string(),
    };
    let _ = terminal::print(&format!("listening on {local}\n"));
    upstream.fetch_prices();
    tokio::select! {
        () = signals.next() => {}
        () = gateway.draining() => {}
    }
    // No call is taken from here on, whatever else there is to do.
    gateway.drain();
    match gateway.in_flight() {
        0 => {}
        calls => terminal::say(&format!(
            "draining: {} under way, for {} at most; the second signal ends at once",
            table::count(calls as u64, "call"),
            config::duration_text(args.grace),
        )),
    }
    let grace = async {
        tokio::select! {
            () = gateway.idle() => {}
            () = tokio::time::sleep(args.grace) => {}
            // The second signal leaves at once.
            () = signals.next() => {}
        }
    };
    grace.await;
    let drained = serving.abort().await;
    drop(watch);
    upstream.close();
    Ok(drained)
}
