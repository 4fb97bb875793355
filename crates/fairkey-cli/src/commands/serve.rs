//! `fairkey serve`.

use std::hash::{BuildHasher, RandomState};

use fairkey_gateway::{Departure, Gateway, Settings};
use tokio::net::TcpListener;

use crate::args::ServeArgs;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::upstream::{Purpose, Upstream};
use crate::{files, terminal};

/// How many connections it should be able to hold, of callers and to the upstream together.
const CONNECTIONS: usize = 8_192;

/// Serves until a signal comes.
pub(crate) async fn serve(args: ServeArgs) -> Exit {
    match run(&args).await {
        Ok(true) => Exit::Done,
        Ok(false) => {
            terminal::warn("calls under way were cut off");
            Exit::Stopped
        }
        Err(message) => {
            terminal::error(&message);
            Exit::Usage
        }
    }
}

/// Returns whether all calls came to their ends.
async fn run(args: &ServeArgs) -> Result<bool, String> {
    if !args.listen.ip().is_loopback() {
        return Err(format!(
            "{} can be reached by other machines, and there are no client tokens, so that anybody \
             there could spend your money; listen on 127.0.0.1",
            args.listen
        ));
    }
    let mut signals =
        Signals::new().map_err(|error| format!("signals cannot be heard: {error}"))?;
    files::raise_limit(CONNECTIONS);
    let upstream = Upstream::open(&args.upstream, Purpose::Gateway).await?;
    upstream.warn();
    let listener = TcpListener::bind(args.listen)
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
        .serve(listener)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let watch = upstream.watch();
    terminal::say(&format!("serving {}", upstream.describe()));
    // Whoever started it may read only this line, or nothing; it serves all the same.
    let _ = terminal::print(&format!("listening on http://{}\n", serving.addr()));
    signals.next().await;
    let whole = tokio::select! {
        whole = serving.shutdown(args.grace) => whole,
        // The second signal leaves at once.
        () = signals.next() => false,
    };
    drop(watch);
    upstream.close();
    Ok(whole)
}
