//! What a run may spend, and what things cost.

use std::sync::Arc;

use fairkey_batch::{Appraiser, Purse, PurseUse, Request};
use fairkey_client::CallError;
use serde_json::{Value, json};

use super::report::dollars;
use crate::args::RunArgs;
use crate::catalog;
use crate::table::usd;
use crate::terminal;
use crate::upstream::Upstream;

/// Money that a run may spend, and who says what rows cost.
pub(super) type Money = (Appraiser, Arc<Purse>);

/// Sees to it that prices are known: at once where money is limited, otherwise while the run goes
/// on.
///
/// # Errors
///
/// Where money is limited and nobody knows what things cost.
pub(super) async fn open(args: &RunArgs, upstream: &Upstream) -> Result<Option<Money>, String> {
    let Some(limit) = args.money.max_cost else {
        let (catalog, quiet) = (upstream.client.catalog().clone(), args.quiet);
        tokio::spawn(async move {
            if let Err(error) = catalog.models().await
                && !quiet
            {
                let why = in_words(&error);
                terminal::say(&format!("what calls cost is known afterwards only: {why}"));
            }
        });
        return Ok(None);
    };
    load(upstream).await.map_err(|why| {
        format!("--max-cost needs the prices of the catalogue, which cannot be had: {why}")
    })?;
    let appraiser = Appraiser::new(upstream.client.clone()).profiles(upstream.profiles.clone());
    if let Some(model) = upstream.model(args.model.as_ref(), args.route.as_ref())? {
        let body = json!({ "model": model, "messages": [] });
        let request = Request {
            path: "/chat/completions".into(),
            model: None,
            body: body.to_string().into(),
        };
        appraiser
            .most(&appraiser.quote(&request))
            .map_err(|unpriced| format!("--max-cost cannot hold: {unpriced}"))?;
    }
    Ok(Some((appraiser, Arc::new(Purse::new(limit, 0)))))
}

/// Loads the catalogue, and tells where it is older than it should be.
///
/// # Errors
///
/// Says in words why it is not there.
pub(super) async fn load(upstream: &Upstream) -> Result<(), String> {
    let catalog = upstream.client.catalog();
    let models = catalog.models().await.map_err(|error| in_words(&error))?;
    catalog::tell_age(&models, "the prices");
    for warning in catalog.take_warnings() {
        terminal::warn(&warning);
    }
    Ok(())
}

fn in_words(error: &CallError) -> String {
    match error.fault() {
        Some(fault) => fault.to_string(),
        None => error.to_string(),
    }
}

/// Returns the line of the summary about the money that might be spent, where it was limited.
pub(super) fn line(purse: &Purse) -> String {
    let PurseUse {
        spent_micro_usd,
        unknown_micro_usd,
        ..
    } = purse.used();
    let unknown = match unknown_micro_usd {
        0 => String::new(),
        amount => format!(", {} more perhaps on calls that broke off", usd(amount)),
    };
    let (spent, limit) = (usd(spent_micro_usd), usd(purse.limit_micro_usd()));
    format!("money     {spent} of {limit}{unknown}")
}

/// The same as JSON.
pub(super) fn to_json(purse: &Purse) -> Value {
    let used = purse.used();
    json!({
        "max_usd": dollars(purse.limit_micro_usd()),
        "spent_usd": dollars(used.spent_micro_usd),
        "maybe_spent_usd": dollars(used.unknown_micro_usd),
        "shortfall_usd": dollars(used.shortfall_micro_usd),
    })
}
