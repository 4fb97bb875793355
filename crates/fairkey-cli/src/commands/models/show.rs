//! `fairkey models show`.

use std::io;

use fairkey_client::Fetched;
use fairkey_openrouter::{Endpoint, ModelEndpoints, Statistics, ZdrEndpoints};
use serde_json::{Value, json};

use super::{dash, date, joined, prices};
use crate::args::ShowArgs;
use crate::catalog::Source;
use crate::exit::Exit;
use crate::redaction;
use crate::table::{Table, count, thousands};
use crate::terminal;

/// Shows one model.
pub(super) async fn show(args: &ShowArgs) -> Exit {
    let source = match Source::open(&args.catalog).await {
        Ok(source) => source,
        Err(message) => {
            terminal::error(&message);
            return Exit::Usage;
        }
    };
    let endpoints = source.endpoints(&args.model).await;
    // Not worth failing for.
    let zdr = source.catalog.zdr().await.ok();
    source.tell_warnings();
    let endpoints = match endpoints {
        Ok(endpoints) => endpoints,
        Err(message) => {
            terminal::error(&message);
            return Exit::Failed;
        }
    };
    let zdr = zdr.as_ref().map(|list| &*list.value);
    let text = if args.json {
        json(&endpoints, zdr)
    } else {
        text(&endpoints, zdr)
    };
    // Whoever reads it may have seen enough.
    let _ = terminal::print(&redaction::clean(&text));
    if endpoints.endpoints.is_empty() {
        if !args.json {
            terminal::say(&format!("nobody serves {} at present", endpoints.id));
        }
        return Exit::Failed;
    }
    Exit::Done
}

fn json(model: &Fetched<ModelEndpoints>, zdr: Option<&ZdrEndpoints>) -> String {
    let mut shown = json!(&*model.value);
    if let (Some(zdr), Some(Value::Array(endpoints))) = (zdr, shown.get_mut("endpoints")) {
        for (shown, endpoint) in endpoints.iter_mut().zip(&model.endpoints) {
            shown["zdr"] = zdr.contains(endpoint).into();
        }
    }
    let shown = json!({
        "model": shown,
        "age_seconds": model.age.as_secs(),
        "stale": model.stale.is_some(),
    });
    format!("{shown:#}\n")
}

fn text(model: &ModelEndpoints, zdr: Option<&ZdrEndpoints>) -> String {
    let architecture = &model.architecture;
    // What comes from elsewhere must not move the cursor.
    let clean = |text: &str| text.replace(char::is_control, " ");
    let created = model.created.map(|created| format!(", {}", date(created)));
    let mut text = format!(
        "{}: {} ({} to {}{}), {}\n",
        clean(&model.id),
        clean(&model.name),
        clean(&joined(&architecture.input_modalities)),
        clean(&joined(&architecture.output_modalities)),
        created.unwrap_or_default(),
        count(model.endpoints.len() as u64, "endpoint"),
    );
    if model.endpoints.is_empty() {
        return text;
    }
    text.push('\n');
    let titles = [
        "endpoint",
        ">prompt",
        ">completion",
        ">context",
        ">max out",
        "quant",
        ">uptime",
        ">latency",
        ">speed",
        "zdr",
        "state",
    ];
    let mut table = Table::new(&titles);
    for endpoint in &model.endpoints {
        table.row(row(endpoint, zdr));
    }
    text.push_str(&table.render(terminal::width(io::stdout())));
    text
}

fn row(endpoint: &Endpoint, zdr: Option<&ZdrEndpoints>) -> Vec<String> {
    let [prompt, completion] = prices(&endpoint.pricing);
    let median = |of: &Option<Statistics>| {
        let median = of.as_ref().and_then(|of| of.p50);
        median.map_or_else(dash, |n| format!("{n:.0}"))
    };
    let quantization = endpoint.quantization.as_ref();
    let zdr = match zdr {
        Some(zdr) if zdr.contains(endpoint) => "yes",
        Some(_) => "no",
        None => "-",
    };
    let state = match endpoint.status {
        None => dash(),
        Some(0.0) => "ok".to_owned(),
        Some(status) => format!("{status}"),
    };
    vec![
        endpoint.tag.clone(),
        prompt,
        completion,
        endpoint.context_length.map_or_else(dash, thousands),
        endpoint.max_completion_tokens.map_or_else(dash, thousands),
        quantization.map_or_else(dash, |own| own.as_str().to_owned()),
        (endpoint.uptime_last_30m).map_or_else(dash, |percent| format!("{percent:.1} %")),
        median(&endpoint.latency_last_30m),
        median(&endpoint.throughput_last_30m),
        zdr.to_owned(),
        state,
    ]
}
