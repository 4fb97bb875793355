//! What is so at this moment: calls under way, states of keys, use of limits.

use fairkey_core::Class;

use super::MetricsText;
use super::sink::Sink;
use crate::gateway::Shared;

/// The most keys, and the most limits, that are listed: whoever has more of them sees the first.
const MOST: usize = 1_000;

/// Returns all that is counted, and all that is so now, as text.
pub(crate) fn now(shared: &Shared) -> String {
    let mut text = MetricsText::new();
    write(shared, &mut text);
    text.finish()
}

/// Tells all that is counted, and all that is so now.
pub(crate) fn write(shared: &Shared, text: &mut dyn Sink) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.family("fairkey_build_info", "gauge", "The version that runs.");
    text.sample("fairkey_build_info", &version, 1.0);
    shared.reports.metrics.tell(text);
    calls(shared, text);
    keys(shared, text);
    limits(shared, text);
    if let Some(log) = &shared.reports.log {
        let help = "Lines of the access log that were lost, since nobody read fast enough.";
        text.family("fairkey_access_log_lost_total", "counter", help);
        text.sample("fairkey_access_log_lost_total", &[], log.dropped() as f64);
    }
    if let Some(store) = &shared.spend {
        let help = "How often writing what was spent has failed in a row.";
        text.family("fairkey_spend_write_failures", "gauge", help);
        text.sample("fairkey_spend_write_failures", &[], store.failures() as f64);
    }
}

fn calls(shared: &Shared, text: &mut dyn Sink) {
    text.family("fairkey_requests_in_flight", "gauge", "Requests under way.");
    let count = shared.lifecycle.count() as f64;
    text.sample("fairkey_requests_in_flight", &[], count);
    let help = "Calls under way of each tenant that may have some at all.";
    text.family("fairkey_tenant_in_flight", "gauge", help);
    for tenant in shared.tenants().all().iter().take(MOST) {
        let labels = [("tenant", tenant.id())];
        text.sample(
            "fairkey_tenant_in_flight",
            &labels,
            tenant.in_flight().into(),
        );
    }
    text.family(
        "fairkey_waiting",
        "gauge",
        "Calls that wait for a key, by class.",
    );
    for class in [Class::Interactive, Class::Normal, Class::Batch] {
        let waiting = shared.client.waiting(class) as f64;
        text.sample("fairkey_waiting", &[("class", &class.to_string())], waiting);
    }
}

fn keys(shared: &Shared, text: &mut dyn Sink) {
    text.family(
        "fairkey_key_in_flight",
        "gauge",
        "Attempts under way, by key.",
    );
    shared.client.pool().with_keys(|keys| {
        for key in keys.iter().take(MOST) {
            let labels = [("key", key.id().as_str())];
            text.sample("fairkey_key_in_flight", &labels, key.in_flight().into());
        }
    });
    let standing = shared.client.standing();
    let keys = standing.keys.iter().take(MOST);
    let keys = keys.filter_map(|key| Some((key.key.as_ref()?.as_str(), key)));
    text.family("fairkey_key_up", "gauge", "Whether a key may be used.");
    for (id, key) in keys.clone() {
        let account = key.account.as_ref().map_or("", |account| account.as_str());
        let labels = [("key", id), ("account", account)];
        text.sample("fairkey_key_up", &labels, f64::from(u8::from(key.is_in())));
    }
    text.family("fairkey_key_out", "gauge", "Why a key may not be used.");
    for (id, key) in keys {
        for out in &key.out {
            let reason = out.cause.map_or(out.gate, |cause| cause.as_str());
            let labels = [("key", id), ("reason", reason), ("by", out.by.as_str())];
            text.sample("fairkey_key_out", &labels, 1.0);
        }
    }
}

fn limits(shared: &Shared, text: &mut dyn Sink) {
    let mut uses = shared.client.limit_uses();
    uses.truncate(MOST);
    let named: Vec<_> = (uses.iter())
        .map(|it| (it.owner.to_string(), it.words().to_string(), it))
        .collect();
    let families = [
        ("fairkey_limit", "How much a limit allows: see its label."),
        ("fairkey_limit_used", "How much of it is used."),
    ];
    for (name, help) in families {
        text.family(name, "gauge", help);
        for (owner, limit, it) in &named {
            let value = match name {
                "fairkey_limit" => it.limit.amount,
                _ => it.used,
            };
            let labels = [("of", owner.as_str()), ("limit", limit.as_str())];
            text.sample(name, &labels, value as f64);
        }
    }
}
