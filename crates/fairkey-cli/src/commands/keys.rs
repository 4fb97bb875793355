//! `fairkey keys`.

mod admin;
mod report;

use std::collections::BTreeMap;

use fairkey_client::{Client, KeyStanding};
use fairkey_core::{AccountId, ApiKey, KeyId};
use fairkey_openrouter::{Cause, Fault, KeyInfo};
use tokio::task::JoinSet;

use self::report::{Balance, Limited, Report};
use crate::args::KeysArgs;
use crate::exit::Exit;
use crate::terminal;
use crate::upstream::{Purpose, Upstream};

/// How many keys are asked at a time.
const AT_ONCE: usize = 8;

/// Shows what every key may still do, or administers keys.
pub(crate) async fn keys(args: KeysArgs) -> Exit {
    match &args.command {
        Some(command) => admin::administer(command).await,
        None => show(&args).await,
    }
}

async fn show(args: &KeysArgs) -> Exit {
    let upstream = match Upstream::open(&args.upstream, Purpose::Look).await {
        Ok(upstream) => upstream,
        Err(message) => {
            terminal::error(&message);
            return Exit::Usage;
        }
    };
    upstream.warn();
    let reports = read(&upstream).await;
    let limits = upstream.client.limit_uses().into_iter().map(|of| Limited {
        learned: upstream.client.learned_behind(&of),
        of,
    });
    let limits: Vec<_> = limits.collect();
    upstream.close();
    let text = if args.json {
        report::json(&reports, &limits)
    } else {
        report::table(&reports, &limits, terminal::width(std::io::stdout()))
    };
    // Whoever reads it may have seen enough.
    let _ = terminal::print(&text);
    if !args.json {
        report::shared_owners(&reports)
            .iter()
            .for_each(|text| terminal::warn(text));
    }
    if reports.iter().all(Report::is_usable) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

/// Asks about every key, and every account that has a management key.
async fn read(upstream: &Upstream) -> Vec<Report> {
    let keys: Vec<(KeyId, Option<AccountId>)> = upstream.client.pool().with_keys(|keys| {
        keys.iter()
            .map(|key| (key.id().clone(), key.account_id().cloned()))
            .collect()
    });
    let balances = balances(&upstream.client, &upstream.management_keys).await;
    let mut reports: Vec<Option<Report>> = keys.iter().map(|_| None).collect();
    let mut asking = JoinSet::new();
    let mut waiting = keys.into_iter().enumerate();
    loop {
        while asking.len() < AT_ONCE
            && let Some((at, (key, account))) = waiting.next()
        {
            let client = upstream.client.clone();
            asking.spawn(async move {
                let info = client.key_info(key.as_str()).await;
                let info = info.map_err(|error| match error.fault() {
                    Some(fault) => Trouble {
                        text: fault.to_string(),
                        fault: Some(fault.clone()),
                    },
                    None => Trouble {
                        text: error.to_string(),
                        fault: None,
                    },
                });
                let mut standing = standing(&client, &key);
                // What is held against the key may be over, or not be known yet.
                if info.is_err() || standing.as_ref().is_some_and(|known| !known.is_in()) {
                    standing = client.check_key(key.as_str()).await;
                }
                (at, key, account, info, standing)
            });
        }
        match asking.join_next().await {
            Some(Ok((at, key, account, info, standing))) => {
                let balance = account.as_ref().and_then(|account| balances.get(account));
                let balance = balance.cloned().unwrap_or_else(|| last_402(&info));
                reports[at] = Some(Report {
                    key,
                    account,
                    info,
                    balance,
                    standing,
                });
            }
            Some(Err(_)) => {}
            None => return reports.into_iter().flatten().collect(),
        }
    }
}

fn standing(client: &Client, key: &KeyId) -> Option<KeyStanding> {
    let mut keys = client.standing().keys.into_iter();
    keys.find(|standing| standing.key.as_ref() == Some(key))
}

/// Why nothing is known about a key.
pub(crate) struct Trouble {
    text: String,
    fault: Option<Fault>,
}

/// Without a management key the balance is known only to be gone, from a refusal that says so.
fn last_402(info: &Result<KeyInfo, Trouble>) -> Balance {
    let spent = |fault: &&Fault| fault.cause() == Cause::BalanceExhausted;
    match info {
        Err(Trouble { fault, text }) if fault.as_ref().filter(spent).is_some() => {
            Balance::LastRefusal(text.clone())
        }
        _ => Balance::Unknown,
    }
}

async fn balances(
    client: &Client,
    management_keys: &std::collections::HashMap<AccountId, ApiKey>,
) -> BTreeMap<AccountId, Balance> {
    let mut balances = BTreeMap::new();
    for (account, key) in management_keys {
        let balance = match client.credits(key).await {
            Ok(credits) => Balance::Read(credits.balance()),
            Err(error) => {
                terminal::warn(&format!("the balance of account \"{account}\": {error}"));
                Balance::Unknown
            }
        };
        balances.insert(account.clone(), balance);
    }
    balances
}
