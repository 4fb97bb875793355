//! What a run would cost and how long it would take, with nothing sent.

mod capacity;
mod report;

use std::time::Duration;

use fairkey_batch::{Appraiser, Forecast, ReaderThread, Source, Stop};
use fairkey_client::{Client, KeyStanding};
use fairkey_core::KeyId;
use tokio::task::JoinSet;

use self::capacity::Bound;
use super::money;
use crate::args::{Mode, RunArgs};
use crate::exit::Exit;
use crate::terminal;
use crate::upstream::Upstream;

/// How many keys are asked about themselves, and how many at a time.
const KEYS: usize = 256;
const AT_ONCE: usize = 8;
/// How many models' endpoints are asked for.
const MODELS: usize = 16;

/// All that is known of a run before it.
pub(super) struct Outlook {
    forecast: Forecast,
    /// Why there are no prices.
    no_prices: Option<String>,
    /// How long it takes at least, for several reasons, the longest first.
    bounds: Vec<Bound>,
    in_flight: usize,
    /// What caps and budgets of keys, and balances of accounts, leave in US dollars, as far as all
    /// of them are known.
    left_usd: Option<f64>,
    balance_usd: Option<f64>,
    /// Free requests that are left of the day, where that is known of all accounts.
    free_left: Option<u64>,
    max_cost: Option<u64>,
    /// Whether rows go in batches of OpenRouter, which have a price and a time of their own.
    in_batches: bool,
}

/// Reads the input, and tells what sending it would take.
///
/// # Errors
///
/// Where the input cannot be read.
pub(super) async fn run(
    args: &RunArgs,
    mut rows: ReaderThread,
    upstream: Upstream,
    stop: &Stop,
    in_flight: usize,
) -> Result<Exit, String> {
    let work = look(args, &mut rows, &upstream, in_flight);
    let outlook = tokio::select! {
        outlook = work => outlook?,
        () = stop.stopping() => {
            terminal::say("interrupted; nothing was sent");
            return Ok(Exit::Interrupted);
        }
    };
    let text = if args.json {
        format!("{}\n", report::to_json(&outlook))
    } else {
        report::text(&outlook, terminal::width(std::io::stdout()))
    };
    // Whoever reads it may have seen enough.
    let _ = terminal::print(&crate::redaction::clean(&text));
    upstream.close();
    let forecast = &outlook.forecast;
    let is_sound = forecast.bad_rows == 0 && forecast.total().too_long_rows == 0;
    Ok(if is_sound { Exit::Done } else { Exit::Failed })
}

async fn look(
    args: &RunArgs,
    rows: &mut ReaderThread,
    upstream: &Upstream,
    in_flight: usize,
) -> Result<Outlook, String> {
    let no_prices = money::load(upstream).await.err();
    let client = &upstream.client;
    let appraiser = Appraiser::new(client.clone()).profiles(upstream.profiles.clone());
    let mut forecast = Forecast::new(appraiser);
    while let Some(row) = rows.next().await.map_err(|error| error.to_string())? {
        forecast.add(&row);
    }
    let keys: Vec<KeyId> =
        (client.pool()).with_keys(|keys| keys.iter().map(|key| key.id().clone()).collect());
    let standings = ask(client, &keys).await;
    let seconds = seconds(client, &forecast).await;
    let (left_usd, free_left) = capacity::left(&standings);
    let mut balance_usd = None;
    for key in upstream.management_keys.values() {
        if let Ok(credits) = client.credits(key).await {
            *balance_usd.get_or_insert(0.0) += credits.balance();
        }
    }
    Ok(Outlook {
        bounds: capacity::bounds(client, &forecast, in_flight, seconds),
        forecast,
        no_prices,
        in_flight,
        left_usd,
        balance_usd,
        free_left,
        max_cost: args.money.max_cost,
        in_batches: args.way.mode == Mode::UpstreamBatch,
    })
}

/// Asks keys about themselves, which costs no tokens.
async fn ask(client: &Client, keys: &[KeyId]) -> Vec<KeyStanding> {
    let mut asking = JoinSet::new();
    let mut waiting = keys.iter().take(KEYS).cloned();
    loop {
        while asking.len() < AT_ONCE
            && let Some(key) = waiting.next()
        {
            let client = client.clone();
            asking.spawn(async move { client.check_key(key.as_str()).await });
        }
        if asking.join_next().await.is_none() {
            return client.standing().keys;
        }
    }
}

/// Returns how long all rows take one after the other, as the catalogue says of the last half hour;
/// `None` where it does not.
async fn seconds(client: &Client, forecast: &Forecast) -> Option<Duration> {
    let mut models: Vec<_> = forecast.models.iter().collect();
    models.sort_by_key(|(_, model)| std::cmp::Reverse(model.rows));
    let (mut seconds, mut rows) = (0.0, 0);
    for (name, model) in models.into_iter().take(MODELS) {
        let Ok(list) = client.catalog().endpoints(name).await else {
            continue;
        };
        let median = |statistics: &Option<fairkey_openrouter::Statistics>| {
            statistics.as_ref()?.percentile(50)
        };
        let known = list.endpoints.iter().find_map(|endpoint| {
            let latency_ms = median(&endpoint.latency_last_30m)?;
            let throughput = median(&endpoint.throughput_last_30m).filter(|speed| *speed > 0.0)?;
            Some((latency_ms / 1e3, throughput))
        });
        if let Some((latency, throughput)) = known {
            let writing = model.output_tokens[1] as f64 / throughput;
            seconds += latency * model.rows as f64 + writing;
            rows += model.rows;
        }
    }
    // Rows of models that are not known take as long as the others.
    let all = seconds * forecast.rows as f64 / rows.max(1) as f64;
    (rows > 0)
        .then(|| Duration::try_from_secs_f64(all).ok())
        .flatten()
}
