//! Which providers may serve a call, and in which order they are tried.
//!
//! OpenRouter spreads calls over cheap and stable providers by chance. The mock tries them in the
//! order in which they were declared, so that runs repeat; everything that a request may say about
//! it is followed: `order`, `only`, `ignore`, `allow_fallbacks`, `quantizations`, `max_price`,
//! `zdr`, `data_collection`, `require_parameters` and `sort`, and the variants `:nitro` and
//! `:floor`.

use serde::Deserialize;
use serde_json::Value;

use crate::catalog::Entry;
use crate::fault::Fault;
use crate::model::{Provider, Tier};
use crate::money::Money;

/// The `provider` object, as far as the mock follows it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Preferences {
    #[serde(default)]
    pub(crate) order: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) only: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) ignore: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) allow_fallbacks: Option<bool>,
    #[serde(default)]
    require_parameters: Option<bool>,
    #[serde(default)]
    data_collection: Option<String>,
    #[serde(default)]
    zdr: Option<bool>,
    #[serde(default)]
    quantizations: Option<Vec<String>>,
    #[serde(default)]
    sort: Option<Value>,
    #[serde(default)]
    max_price: Option<MaxPrice>,
    /// The parameters of the request, where `require_parameters` asks for them.
    #[serde(skip)]
    pub(crate) parameters: Vec<String>,
}

/// US dollars per million tokens, as numbers or as text.
#[derive(Debug, Default, Deserialize)]
struct MaxPrice {
    #[serde(default)]
    prompt: Option<Value>,
    #[serde(default)]
    completion: Option<Value>,
}

/// By what providers are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Price,
    Throughput,
    Latency,
}

/// How the name of a model wants it served, besides what the `provider` object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    sort: Option<Sort>,
    tier: Option<Tier>,
}

impl Variant {
    /// What the suffix of a model's name means.
    pub(crate) fn of(name: &str) -> Self {
        let (sort, tier) = match name.rsplit_once(':').map(|(_, suffix)| suffix) {
            Some("nitro") => (Some(Sort::Throughput), Some(Tier::Priority)),
            Some("floor") => (Some(Sort::Price), Some(Tier::Flex)),
            _ => (None, None),
        };
        Self { sort, tier }
    }
}

impl Preferences {
    /// Whether every parameter of the request must be supported.
    pub(crate) fn require_parameters(&self) -> bool {
        self.require_parameters == Some(true)
    }

    fn sort(&self) -> Option<Sort> {
        let name = match self.sort.as_ref()? {
            Value::String(name) => name.as_str(),
            sort => sort.get("by")?.as_str()?,
        };
        match name {
            "price" => Some(Sort::Price),
            "throughput" => Some(Sort::Throughput),
            "latency" => Some(Sort::Latency),
            _ => None,
        }
    }
}

/// The providers of `entry` that may serve a call, in the order they are tried; `zdr` is the
/// account's policy.
pub(crate) fn route(
    entry: &Entry,
    wanted: &Preferences,
    variant: Variant,
    zdr: bool,
) -> Result<Vec<usize>, Fault> {
    let providers = &entry.model.providers;
    let named = |names: &Option<Vec<String>>, at: usize| {
        let mut names = names.iter().flatten();
        names.any(|name| providers[at].answers_to(name))
    };
    let ordered_or_only = |at| named(&wanted.only, at) || named(&wanted.order, at);
    // Endpoints of a service tier serve only who asks for them.
    let mut allowed: Vec<usize> = (0..providers.len())
        .filter(|at| match providers[*at].tier() {
            None => true,
            tier => tier == variant.tier || ordered_or_only(*at),
        })
        .collect();
    allowed.retain(|at| wanted.only.is_none() || named(&wanted.only, *at));
    allowed.retain(|at| !named(&wanted.ignore, *at));
    if allowed.is_empty() {
        return Err(none_allowed(entry, wanted));
    }
    filter(&mut allowed, providers, entry, wanted, zdr)?;
    rank(&mut allowed, entry, wanted.sort().or(variant.sort));
    let fallbacks = wanted.allow_fallbacks.unwrap_or(true);
    if let Some(order) = &wanted.order {
        let rank = |at: &usize| {
            let position = order
                .iter()
                .position(|name| providers[*at].answers_to(name));
            position.unwrap_or(usize::MAX)
        };
        if !fallbacks {
            allowed.retain(|at| rank(at) != usize::MAX);
        }
        allowed.sort_by_key(rank);
    } else if !fallbacks {
        allowed.truncate(1);
    }
    if allowed.is_empty() {
        return Err(none_allowed(entry, wanted));
    }
    Ok(allowed)
}

/// The hard filters, each with the failure that it leaves when nothing is left.
fn filter(
    allowed: &mut Vec<usize>,
    providers: &[Provider],
    entry: &Entry,
    wanted: &Preferences,
    zdr: bool,
) -> Result<(), Fault> {
    let mut keep = |fits: &dyn Fn(&Provider) -> bool, fault: fn(&str) -> Fault| {
        allowed.retain(|at| fits(&providers[*at]));
        if allowed.is_empty() {
            return Err(fault(&entry.id));
        }
        Ok(())
    };
    if let Some(quantizations) = &wanted.quantizations {
        keep(
            &|provider| quantizations.contains(&provider.quantization),
            |model| Fault::constraint_filtered(model, "quantization", "Filter by Quantization"),
        )?;
    }
    if let Some(max) = &wanted.max_price {
        let most = [price(max.prompt.as_ref())?, price(max.completion.as_ref())?];
        keep(
            &|provider| {
                let (prompt, completion) = entry.model.prices_at(provider);
                let fits = |most: Option<Money>, price| most.is_none_or(|most| price <= most);
                fits(most[0], prompt) && fits(most[1], completion)
            },
            |model| Fault::constraint_filtered(model, "max_price", "Filter by Max Price"),
        )?;
    }
    if zdr || wanted.zdr == Some(true) {
        keep(&|provider| provider.zdr, Fault::privacy_restricted)?;
    }
    if wanted.data_collection.as_deref() == Some("deny") {
        keep(&|provider| !provider.collects_data, |model| {
            Fault::privacy_restricted(model).excluded_by("data_policy:training")
        })?;
    }
    if wanted.require_parameters() {
        keep(
            &|provider| wanted.parameters.iter().all(|name| provider.supports(name)),
            |model| Fault::constraint_filtered(model, "require_parameters", "Filter by Parameters"),
        )?;
    }
    Ok(())
}

fn rank(allowed: &mut [usize], entry: &Entry, sort: Option<Sort>) {
    let providers = &entry.model.providers;
    match sort {
        None => {}
        Some(Sort::Price) => allowed.sort_by_key(|at| {
            let (prompt, completion) = entry.model.prices_at(&providers[*at]);
            prompt + completion
        }),
        Some(Sort::Throughput) => allowed.sort_by(|left, right| {
            let of = |at: &usize| providers[*at].throughput;
            of(right).total_cmp(&of(left))
        }),
        Some(Sort::Latency) => allowed.sort_by(|left, right| {
            let of = |at: &usize| providers[*at].latency_ms;
            of(left).total_cmp(&of(right))
        }),
    }
}

fn price(value: Option<&Value>) -> Result<Option<Money>, Fault> {
    let usd = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(usd)) => usd.as_f64(),
        Some(Value::String(usd)) => usd.parse().ok(),
        Some(_) => None,
    };
    match usd {
        Some(usd) if usd.is_finite() && usd >= 0.0 => Ok(Some(Money::per_million(usd))),
        _ => Err(Fault::bad_request("provider.max_price must hold prices")),
    }
}

fn none_allowed(entry: &Entry, wanted: &Preferences) -> Fault {
    let providers = &entry.model.providers;
    let available: Vec<&str> = providers.iter().map(|provider| &*provider.slug).collect();
    let asked = wanted.only.as_ref().or(wanted.order.as_ref());
    let requested: Vec<&str> = asked.into_iter().flatten().map(String::as_str).collect();
    Fault::no_allowed_providers(&entry.id, &available, &requested)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Model;

    fn entry() -> Entry {
        let provider = |name: &str| Provider::new(name);
        Entry::new(
            Model::new("acme/large")
                .provider(provider("Alpha").quantization("fp8").speed(300.0, 40.0))
                .provider(
                    provider("Beta")
                        .prices(0.5, 1.0)
                        .speed(900.0, 20.0)
                        .zdr(false),
                )
                .provider(
                    provider("Gamma")
                        .prices(4.0, 8.0)
                        .speed(100.0, 90.0)
                        .collects_data(true)
                        .supported_parameters(["temperature"]),
                )
                .provider(provider("Alpha").slug("alpha/priority").prices(9.0, 9.0)),
        )
    }

    fn names(wanted: Value, variant: Variant, zdr: bool) -> Result<Vec<String>, Fault> {
        let entry = entry();
        let mut wanted: Preferences = serde_json::from_value(wanted).unwrap();
        wanted.parameters = vec!["tools".to_owned()];
        let slug = |at: usize| entry.model.providers[at].slug.clone();
        route(&entry, &wanted, variant, zdr).map(|found| found.into_iter().map(slug).collect())
    }

    #[track_caller]
    fn served(wanted: &Value, expected: &[&str]) {
        let found = names(wanted.clone(), Variant::default(), false).unwrap();
        assert_eq!(found, expected, "{wanted}");
    }

    #[test]
    fn each_preference_narrows_or_orders() {
        served(&json!({}), &["alpha", "beta", "gamma"]);
        served(&json!({"only": ["gamma", "beta"]}), &["beta", "gamma"]);
        served(&json!({"ignore": ["Alpha"]}), &["beta", "gamma"]);
        served(&json!({"order": ["gamma"]}), &["gamma", "alpha", "beta"]);
        served(
            &json!({"order": ["gamma"], "allow_fallbacks": false}),
            &["gamma"],
        );
        served(&json!({"allow_fallbacks": false}), &["alpha"]);
        served(&json!({"quantizations": ["fp8"]}), &["alpha"]);
        served(
            &json!({"max_price": {"prompt": "1", "completion": 2}}),
            &["alpha", "beta"],
        );
        served(&json!({"zdr": true}), &["alpha"]);
        served(&json!({"data_collection": "deny"}), &["alpha", "beta"]);
        served(&json!({"require_parameters": true}), &["alpha", "beta"]);
        served(&json!({"sort": "price"}), &["beta", "alpha", "gamma"]);
        served(
            &json!({"sort": {"by": "throughput"}}),
            &["gamma", "alpha", "beta"],
        );
        served(&json!({"sort": "latency"}), &["gamma", "alpha", "beta"]);
    }

    #[test]
    fn a_service_tier_serves_only_who_asks_for_it() {
        served(
            &json!({"order": ["alpha/priority"]}),
            &["alpha/priority", "alpha", "beta", "gamma"],
        );
        served(&json!({"only": ["alpha"]}), &["alpha"]);
        let nitro = names(json!({}), Variant::of("acme/large:nitro"), false).unwrap();
        assert!(nitro.contains(&"alpha/priority".to_owned()));
        assert_eq!(nitro[0], "gamma");
        let floor = names(json!({}), Variant::of("acme/large:floor"), false).unwrap();
        assert_eq!(floor, ["beta", "alpha", "gamma"]);
    }

    #[test]
    fn an_empty_rest_says_which_filter_it_was() {
        let fails = |wanted: Value| {
            let fault = names(wanted, Variant::default(), false).unwrap_err();
            assert_eq!(fault.status(), 404);
            let error = fault.error();
            let step = error.pointer("/metadata/failed_routing_step");
            let by = error.pointer("/availability/excluded_by/0");
            (step.cloned(), by.cloned())
        };
        let allowed = Some(json!("Filter by Allowed Providers"));
        assert_eq!(fails(json!({"only": ["nobody"]})), (allowed.clone(), None));
        assert_eq!(
            fails(json!({"order": ["nobody"], "allow_fallbacks": false})),
            (allowed, None)
        );
        assert_eq!(
            fails(json!({"max_price": {"prompt": 0.01}})),
            (Some(json!("Filter by Max Price")), Some(json!("max_price")))
        );
        assert_eq!(
            fails(json!({"only": ["beta"], "zdr": true})).1,
            Some(json!("data_policy:zdr"))
        );
        assert_eq!(
            fails(json!({"only": ["gamma"], "data_collection": "deny"})).1,
            Some(json!("data_policy:training"))
        );
        assert_eq!(
            fails(json!({"quantizations": ["int4"]})).1,
            Some(json!("quantization"))
        );
        let policy = names(json!({"only": ["beta"]}), Variant::default(), true);
        assert_eq!(policy.unwrap_err().name(), "privacy_restricted");
    }
}
