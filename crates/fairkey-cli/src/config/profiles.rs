//! Routes: what stands in `[routes.NAME]`.

use std::collections::BTreeMap;

use fairkey_openrouter::check::{Level, Severity};
use fairkey_openrouter::profile::{Profile, Profiles};
use fairkey_openrouter::{
    ChatRequest, Cutoff, DataCollection, Effort, MAX_MODELS, MaxPrice, ModelId,
    ProviderPreferences, Quantization, Reasoning, ServiceTier, Sort, Stop, Verbosity,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Wrong;

/// What `[routes.NAME]` may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    models: Vec<String>,
    #[serde(default)]
    provider: Provider,
    #[serde(default)]
    defaults: Defaults,
    allow: Option<Vec<String>>,
}

pub(super) type Routes = BTreeMap<String, Spanned<Route>>;

/// Provider preferences, of which a file knows no other than these.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Provider {
    order: Option<Vec<String>>,
    only: Option<Vec<String>>,
    ignore: Option<Vec<String>>,
    allow_fallbacks: Option<bool>,
    require_parameters: Option<bool>,
    data_collection: Option<DataCollection>,
    zdr: Option<bool>,
    enforce_distillable_text: Option<bool>,
    quantizations: Option<Vec<Quantization>>,
    sort: Option<Sort>,
    preferred_min_throughput: Option<Cutoff>,
    preferred_max_latency: Option<Cutoff>,
    max_price: Option<MaxPrice>,
    options: Option<Map<String, Value>>,
}

impl From<Provider> for ProviderPreferences {
    fn from(from: Provider) -> Self {
        let mut to = Self::new();
        to.order = from.order;
        to.only = from.only;
        to.ignore = from.ignore;
        to.allow_fallbacks = from.allow_fallbacks;
        to.require_parameters = from.require_parameters;
        to.data_collection = from.data_collection;
        to.zdr = from.zdr;
        to.enforce_distillable_text = from.enforce_distillable_text;
        to.quantizations = from.quantizations;
        to.sort = from.sort;
        to.preferred_min_throughput = from.preferred_min_throughput;
        to.preferred_max_latency = from.preferred_max_latency;
        to.max_price = from.max_price;
        to.options = from.options;
        to
    }
}

/// Fields of chat requests that may have a default.
#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Defaults {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_a: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Stop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<Verbosity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<ServiceTier>,
}

/// Reads routes from a file with this text; warnings go to `warnings`.
///
/// # Errors
///
/// Where one cannot be, with its place.
pub(super) fn read(
    routes: Routes,
    text: &str,
    warnings: &mut Vec<String>,
) -> Result<Profiles, Wrong> {
    let table = DeTable::parse(text).ok();
    let place = |path: &[&str]| {
        let table = table.as_ref().map(Spanned::get_ref);
        table.map_or(0, |table| place(table, path))
    };
    let mut all = Vec::new();
    for (name, route) in routes {
        let profile = profile(&name, route.into_inner(), &place, warnings)?;
        // One by one, so that what is wrong has a place.
        Profiles::new([(name.as_str(), profile.clone())]).map_err(|error| Wrong {
            at: place(&["routes", &name]),
            message: error.to_string(),
        })?;
        all.push((name, profile));
    }
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    Profiles::new(all).map_err(|error| {
        let told = error.to_string();
        let named = names
            .iter()
            .find(|name| told.contains(&format!("route {name:?} ")));
        Wrong {
            at: named.map_or(0, |name| place(&["routes", name, "models"])),
            message: told,
        }
    })
}

fn profile(
    name: &str,
    route: Route,
    place: &dyn Fn(&[&str]) -> usize,
    warnings: &mut Vec<String>,
) -> Result<Profile, Wrong> {
    for (at, model) in route.models.iter().enumerate() {
        let wrong = |message: String| Wrong {
            at: place(&["routes", name, "models", &at.to_string()]),
            message,
        };
        ModelId::parse(model).map_err(|error| wrong(error.to_string()))?;
        if route.models[..at].contains(model) {
            return Err(wrong(format!("route \"{name}\" names a model twice")));
        }
    }
    no_unknown(name, &route, place)?;
    let defaults = match serde_json::to_value(&route.defaults) {
        Ok(Value::Object(defaults)) => defaults,
        _ => Map::new(),
    };
    let mut profile = Profile::new(route.models).provider(route.provider.into());
    profile.defaults = defaults;
    profile.allow = route.allow;
    for finding in check(&profile) {
        let path = path_of(&finding.field, &profile);
        let mut whole = vec!["routes", name];
        whole.extend(path.iter().map(String::as_str));
        let at = place(&whole);
        let field = path.join(".");
        // Not the value: anything in a file may be a key that stands in the wrong place.
        let message = format!(
            "route \"{name}\", {field}: {}; {}",
            finding.rule, finding.cure
        );
        match finding.severity {
            Severity::Error => return Err(Wrong { at, message }),
            Severity::Warning if finding.rule.starts_with("this version does not know") => {
                return Err(Wrong { at, message });
            }
            Severity::Warning => warnings.push(message),
            Severity::Advice => {}
        }
    }
    Ok(profile)
}

/// Refuses fields that this version does not know, in objects that keep them.
fn no_unknown(name: &str, route: &Route, place: &dyn Fn(&[&str]) -> usize) -> Result<(), Wrong> {
    let price = route.provider.max_price.as_ref().map(|it| &it.extra);
    let reasoning = route.defaults.reasoning.as_ref().map(|it| &it.extra);
    let sort = route.provider.sort.as_ref().and_then(|sort| match sort {
        Sort::Within { extra, .. } => Some(extra),
        Sort::By(_) => None,
    });
    for (within, extra) in [
        (["provider", "max_price"], price),
        (["provider", "sort"], sort),
        (["defaults", "reasoning"], reasoning),
    ] {
        if let Some(field) = extra.and_then(|extra| extra.keys().next()) {
            return Err(Wrong {
                // The part that is not there makes it the name, and not the value.
                at: place(&["routes", name, within[0], within[1], field, ""]),
                message: format!("unknown field `{field}` of {}", within.join(".")),
            });
        }
    }
    Ok(())
}

/// Checks what a request with nothing but the profile would be.
fn check(profile: &Profile) -> Vec<fairkey_openrouter::check::Finding> {
    let mut body = profile.defaults.clone();
    body.insert("provider".to_owned(), serde_json::json!(profile.provider));
    let models: Vec<&String> = profile.models.iter().take(MAX_MODELS).collect();
    body.insert("models".to_owned(), serde_json::json!(models));
    let request = serde_json::from_value::<ChatRequest>(Value::Object(body));
    let request = request.unwrap_or_default().user("x");
    request.check(Level::Warn).unwrap_or_default()
}

/// Returns where in a route the field of a finding stands.
fn path_of(field: &str, profile: &Profile) -> Vec<String> {
    let field = field.split(", ").next().unwrap_or_default();
    let parts = field.replace('[', ".").replace(']', "");
    let mut path: Vec<String> = parts.split('.').map(str::to_owned).collect();
    if path
        .first()
        .is_some_and(|first| profile.defaults.contains_key(first))
    {
        path.insert(0, "defaults".to_owned());
    }
    path
}

/// Returns the byte at which the deepest part of a path stands that is there.
fn place(table: &DeTable<'_>, path: &[&str]) -> usize {
    let mut at = 0;
    let (mut table, mut path) = (table, path);
    while let Some((first, rest)) = path.split_first() {
        let entry = table.iter().find(|(name, _)| name.get_ref() == first);
        let Some((name, value)) = entry else {
            return at;
        };
        at = name.span().start;
        path = rest;
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Array(items) => {
                let nth = rest.first().and_then(|nth| nth.parse::<usize>().ok());
                return nth
                    .and_then(|nth| items.get(nth))
                    .map_or_else(|| value.span().start, |item| item.span().start);
            }
            _ if rest.is_empty() => return value.span().start,
            _ => return at,
        }
    }
    at
}
