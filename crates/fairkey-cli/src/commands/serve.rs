//! `fairkey serve`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use fairkey_core::SystemWallClock;
use fairkey_gateway::{
    ANYBODY, Departure, Drained, Gateway, ListenAddr, Listener, SpendConfig, SpendStore,
    TenantConfig, TenantError, Tenants,
};

use crate::args::ServeArgs;
use crate::config::gateway;
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
    let mut signals =
        Signals::of_an_end().map_err(|error| format!("signals cannot be heard: {error}"))?;
    files::raise_limit(CONNECTIONS);
    let upstream = Upstream::open(&args.upstream, Purpose::Gateway).await?;
    let listen = args.listen.as_ref().unwrap_or(&upstream.gateway.listen);
    if upstream.clients.is_empty() && gateway::is_reachable(listen) {
        return Err(gateway::open_to_all(listen));
    }
    upstream.warn();
    let cannot_listen = |error: std::io::Error| format!("cannot listen on {listen}: {error}");
    let listener = Listener::bind(listen).await.map_err(cannot_listen)?;
    let spend = spend(&upstream);
    let gateway = build(args, &upstream, &spend)?;
    let serving = gateway.serve_on(listener).map_err(cannot_listen)?;
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
    spend.flush();
    upstream.close();
    Ok(drained)
}

/// Opens what keeps what clients spend; in memory, where no file is named.
fn spend(upstream: &Upstream) -> Arc<SpendStore> {
    let path = upstream.gateway.spend.as_deref();
    let wall = Arc::new(SystemWallClock);
    let (store, warnings) = SpendStore::open(path, SpendConfig::default(), wall);
    warnings.iter().for_each(|text| terminal::warn(text));
    Arc::new(store)
}

/// Puts the gateway together, as the configuration and the command line say.
fn build(
    args: &ServeArgs,
    upstream: &Upstream,
    spend: &Arc<SpendStore>,
) -> Result<Gateway, String> {
    let own = &upstream.gateway;
    let mut settings = own.settings.clone();
    settings.pass_unknown_paths |= args.pass_unknown_paths;
    if args.drain {
        settings.departure = Departure::drain();
    }
    let tenants = tenants(upstream).map_err(|error| error.to_string())?;
    spend.restore(&tenants);
    let seed = args.upstream.seed;
    let builder = Gateway::builder(upstream.client.clone())
        .settings(settings)
        .profiles(upstream.profiles.clone())
        .tenants(tenants)
        .origins(own.origins.clone())
        .spend(Arc::clone(spend))
        .seed(seed.unwrap_or_else(|| RandomState::new().hash_one(())));
    let hosts = own.hosts.iter();
    Ok(hosts
        .fold(builder, |builder, host| builder.host(host))
        .build())
}

/// The clients, or everybody where there are none.
fn tenants(upstream: &Upstream) -> Result<Tenants, TenantError> {
    if upstream.clients.is_empty() {
        let mut anybody = TenantConfig::new(ANYBODY);
        anybody.class = upstream.gateway.class;
        return Tenants::open(anybody);
    }
    Tenants::new(upstream.clients.iter().cloned())
}
