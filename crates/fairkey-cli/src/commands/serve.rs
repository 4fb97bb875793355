//! `fairkey serve`.

mod log_file;
#[cfg(feature = "otlp")]
mod otlp;
mod reload;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::SystemWallClock;
use fairkey_gateway::{
    AccessLog, AdminConfig, Drained, Gateway, GatewayBuilder, ListenAddr, Listener, Serving,
    SpendConfig, SpendStore, TenantError, Tenants, Tls, TokenHash,
};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use self::log_file::{LogFile, Reopen};
use self::reload::Reloader;
use crate::args::ServeArgs;
use crate::config::{Config, gateway};
use crate::exit::Exit;
use crate::signals::{Hangup, Signals};
use crate::upstream::{Purpose, Upstream};
use crate::{config, files, table, terminal};

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
    let mut hangup = Hangup::new().map_err(|error| format!("signals cannot be heard: {error}"))?;
    let upstream = Upstream::open(&args.upstream, Purpose::Gateway).await?;
    let _ = files::raise_limit(upstream.gateway.settings.limits.connections);
    let listen = args.listen.as_ref().unwrap_or(&upstream.gateway.listen);
    if upstream.clients.is_empty() && gateway::is_reachable(listen) {
        return Err(gateway::open_to_all(listen));
    }
    upstream.warn();
    let cannot_listen =
        |error: std::io::Error| format!("cannot listen on {listen}: {}", why_not(&error));
    let tls = upstream.gateway.tls.as_ref();
    let tls = tls.map(|(cert, key)| Tls::from_pem_files(cert, key));
    let tls = tls.transpose().map_err(|error| error.to_string())?;
    let listener = bind(listen, tls.as_ref()).await.map_err(cannot_listen)?;
    let spend = spend(&upstream)?;
    let seed = args
        .upstream
        .seed
        .unwrap_or_else(|| RandomState::new().hash_one(()));
    let reopen = Reopen::default();
    let builder = build(args, &upstream, &spend, &reopen, seed)?;
    #[cfg(feature = "otlp")]
    let otlp = otlp::open(upstream.config.otlp.as_ref(), seed)?;
    #[cfg(feature = "otlp")]
    let builder = match &otlp {
        Some(otlp) => builder.observer(Arc::<fairkey_gateway::Otlp>::clone(otlp)),
        None => builder,
    };
    let gateway = builder.build();
    let serving = gateway.serve_on(listener).map_err(cannot_listen)?;
    let (ask, mut asked) = mpsc::channel::<Asked>(1);
    let admin = administer(&gateway, &upstream.config, ask).await?;
    #[cfg(feature = "otlp")]
    let telling = otlp::start(otlp, &gateway);
    let watch = upstream.watch();
    terminal::say(&format!("serving {}", upstream.describe()));
    if let Some(admin) = &admin {
        terminal::say(&format!("operators: {}", url(admin.local(), false)));
    }
    // Whoever started it may read only this line, or nothing; it serves all the same.
    let local = url(serving.local(), tls.is_some());
    let _ = terminal::print(&format!("listening on {local}\n"));
    upstream.fetch_prices();
    let mut reloader = Reloader::new(args, &gateway, tls, &upstream, reopen);
    loop {
        tokio::select! {
            () = signals.next() => break,
            () = gateway.draining() => break,
            () = hangup.next() => {
                let _ = reloader.reload("SIGHUP");
            }
            Some(reply) = asked.recv() => {
                // Whoever asked may have left.
                let _ = reply.send(reloader.reload("an operator asked"));
            }
            () = reloader.changed() => {
                let _ = reloader.reload(reload::FILE);
            }
        }
    }
    let drained = drain(&gateway, serving, reloader.grace(), &mut signals).await;
    if let Some(admin) = admin {
        let _ = admin.abort().await;
    }
    #[cfg(feature = "otlp")]
    if let Some(telling) = telling {
        telling.finish(&gateway).await;
    }
    drop(watch);
    spend.flush();
    upstream.close();
    Ok(drained)
}

/// Whoever asked for a reload, and waits for what comes of it.
type Asked = oneshot::Sender<Result<Value, String>>;

/// Says why nobody can listen, and what helps where the system's words do not say so.
fn why_not(error: &std::io::Error) -> String {
    use std::io::ErrorKind;

    let advice = match error.kind() {
        // Words of our own say all there is to say.
        _ if error.raw_os_error().is_none() => None,
        ErrorKind::AddrInUse => Some("another process listens there: end it, or take another port"),
        ErrorKind::AddrNotAvailable => Some("this machine has no such address"),
        ErrorKind::PermissionDenied => Some("take a port from 1024 on, or a folder of your own"),
        ErrorKind::NotFound => Some("is its folder there?"),
        _ => None,
    };
    match advice {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

async fn bind(listen: &ListenAddr, tls: Option<&Tls>) -> std::io::Result<Listener> {
    let listener = Listener::bind(listen).await?;
    Ok(match tls {
        Some(tls) => listener.with_tls(tls.clone()),
        None => listener,
    })
}

/// Serves operators, where that is configured.
async fn administer(
    gateway: &Gateway,
    config: &Config,
    ask: mpsc::Sender<Asked>,
) -> Result<Option<Serving>, String> {
    let Some(configured) = &config.admin else {
        return Ok(None);
    };
    let mut admin = AdminConfig::new().log(terminal::say).reload(move || {
        let ask = ask.clone();
        Box::pin(async move {
            let gone = || "the gateway is shutting down".to_owned();
            let (reply, replied) = oneshot::channel();
            ask.send(reply).await.map_err(|_| gone())?;
            replied.await.map_err(|_| gone())?
        })
    });
    if let Some(token) = &configured.token {
        admin = admin.token(TokenHash::of(token.expose()));
    }
    let listen = &configured.listen;
    let serving = bind(listen, None)
        .await
        .and_then(|listener| gateway.serve_admin(listener, admin))
        .map_err(|error| format!("cannot serve operators on {listen}: {}", why_not(&error)))?;
    Ok(Some(serving))
}

fn url(local: &ListenAddr, is_tls: bool) -> String {
    match local {
        ListenAddr::Tcp(addr) if is_tls => format!("https://{addr}"),
        ListenAddr::Tcp(addr) => format!("http://{addr}"),
        ListenAddr::Unix(_) => local.to_string(),
    }
}

/// Takes no more calls, and waits for those under way.
async fn drain(
    gateway: &Gateway,
    serving: Serving,
    grace: Duration,
    signals: &mut Signals,
) -> Drained {
    // No call is taken from here on, whatever else there is to do.
    gateway.drain();
    match gateway.in_flight() {
        0 => {}
        calls => terminal::say(&format!(
            "draining: {} under way, for {} at most; the second signal ends at once",
            table::count(calls as u64, "call"),
            config::duration_text(grace),
        )),
    }
    tokio::select! {
        () = gateway.idle() => {}
        () = tokio::time::sleep(grace) => {}
        // The second signal leaves at once.
        () = signals.next() => {}
    }
    serving.abort().await
}

/// Opens what keeps what clients spend; in memory, where no file is named.
fn spend(upstream: &Upstream) -> Result<Arc<SpendStore>, String> {
    let path = upstream.gateway.spend.as_deref();
    let wall = Arc::new(SystemWallClock);
    let opened = SpendStore::open(path, SpendConfig::default(), wall);
    let (store, warnings) = opened.map_err(|error| format!("[gateway] spend: {error}"))?;
    warnings.iter().for_each(|text| terminal::warn(text));
    store.on_change(terminal::warn);
    Ok(Arc::new(store))
}

/// Puts the gateway together, as the configuration and the command line say.
fn build(
    args: &ServeArgs,
    upstream: &Upstream,
    spend: &Arc<SpendStore>,
    reopen: &Reopen,
    seed: u64,
) -> Result<GatewayBuilder, String> {
    let own = &upstream.gateway;
    let settings = reload::settings(args, &upstream.config);
    let tenants = tenants(upstream).map_err(|error| error.to_string())?;
    spend.restore(&tenants);
    let builder = Gateway::builder(upstream.client.clone())
        .settings(settings)
        .profiles(upstream.profiles.clone())
        .tenants(tenants)
        .origins(own.origins.clone())
        .spend(Arc::clone(spend))
        .seed(seed);
    let builder = match access_log(&own.access_log, reopen)? {
        Some(log) => builder.access_log(log),
        None => builder,
    };
    let hosts = own.hosts.iter();
    Ok(hosts.fold(builder, |builder, host| builder.host(host)))
}

/// Opens what each request is written down to.
fn access_log(to: &gateway::AccessLogTo, reopen: &Reopen) -> Result<Option<AccessLog>, String> {
    let wall = Arc::new(SystemWallClock);
    let opened = match to {
        gateway::AccessLogTo::Nowhere => return Ok(None),
        gateway::AccessLogTo::Stderr => AccessLog::new(std::io::stderr(), wall),
        gateway::AccessLogTo::File(path) => {
            LogFile::open(path, reopen.clone()).and_then(|file| AccessLog::new(file, wall))
        }
    };
    let opened = opened.map(Some);
    opened.map_err(|error| format!("the access log cannot be written: {error}"))
}

/// The clients, or everybody where there are none.
fn tenants(upstream: &Upstream) -> Result<Tenants, TenantError> {
    if upstream.clients.is_empty() {
        return reload::open(&upstream.config);
    }
    Tenants::new(upstream.clients.iter().cloned())
}
