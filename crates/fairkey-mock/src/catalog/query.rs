//! What a list of models is narrowed to and ordered by.

use std::sync::Arc;

use super::{Entry, shape};
use crate::fault::Fault;
use crate::model::{Model, Provider};
use crate::money::Money;
use crate::route::Query;

/// The most models of one page.
const MAX_PAGE: usize = 1000;

/// A page of a list; all of it where none is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) offset: usize,
    pub(super) limit: Option<usize>,
}

impl Page {
    pub(super) fn of(query: &Query) -> Result<Self, Fault> {
        let offset = number(query, "offset")?.unwrap_or(0);
        let limit = number(query, "limit")?;
        if limit.is_some_and(|limit| !(1..=MAX_PAGE).contains(&limit)) {
            return Err(Fault::bad_request("limit must be from 1 to 1000"));
        }
        Ok(Self { offset, limit })
    }
}

/// The models that a query asks for, in its order.
pub(super) fn select(entries: &[Arc<Entry>], query: &Query) -> Result<Vec<usize>, Fault> {
    let fits = filter(query)?;
    let mut found: Vec<usize> = (0..entries.len())
        .filter(|at| fits(&entries[*at].model))
        .collect();
    let model = |at: &usize| &entries[*at].model;
    let price = |at: &usize| model(at).prompt_price + model(at).completion_price;
    let best = |at: &usize, of: fn(&Provider) -> f64| {
        let values = model(at).providers.iter().map(of);
        values.fold(f64::NEG_INFINITY, f64::max)
    };
    match query.get("sort") {
        Some("pricing-low-to-high") => found.sort_by_key(price),
        Some("pricing-high-to-low") => found.sort_by_key(|at| std::cmp::Reverse(price(at))),
        Some("context-high-to-low") => {
            found.sort_by_key(|at| std::cmp::Reverse(model(at).context_length));
        }
        Some("throughput-high-to-low") => {
            let of = |provider: &Provider| provider.throughput;
            found.sort_by(|left, right| best(right, of).total_cmp(&best(left, of)));
        }
        Some("latency-low-to-high") => {
            let of = |provider: &Provider| -provider.latency_ms;
            found.sort_by(|left, right| best(right, of).total_cmp(&best(left, of)));
        }
        // The order of declaration is that of age and of fame.
        _ => {}
    }
    Ok(found)
}

/// Whether a model is wanted; filters that the mock has no data for let everything pass.
fn filter(query: &Query) -> Result<impl Fn(&Model) -> bool, Fault> {
    let prompt = bounds(query, "min_price", "max_price")?;
    let completion = bounds(query, "min_output_price", "max_output_price")?;
    let context = number::<u64>(query, "context")?.unwrap_or(0);
    let owned = |name: &str| -> Vec<String> {
        let lower = query.list(name).into_iter().map(str::to_lowercase);
        lower.collect()
    };
    let text = query.get("q").unwrap_or_default().to_lowercase();
    let outputs = match query.get("output_modalities") {
        None | Some("") => vec!["text".to_owned()],
        Some("all") => Vec::new(),
        Some(_) => owned("output_modalities"),
    };
    let inputs = owned("input_modalities");
    let authors = owned("model_authors");
    let providers = owned("providers");
    let parameters = owned("supported_parameters");
    let zdr = query.is_true("zdr");
    Ok(move |model: &Model| {
        let name = model.name.as_deref().unwrap_or_default().to_lowercase();
        let has = |list: &[String], value: &str| list.iter().any(|known| known == value);
        let author = model.id.split('/').next().unwrap_or_default();
        let serves = |provider: &Provider| providers.iter().any(|name| provider.answers_to(name));
        let supported = shape::parameters(model);
        (outputs.is_empty() || has(&outputs, shape::outputs(model)))
            && inputs.iter().all(|input| model.inputs.contains(input))
            && (text.is_empty() || model.id.to_lowercase().contains(&text) || name.contains(&text))
            && (authors.is_empty() || has(&authors, author))
            && (providers.is_empty() || model.providers.iter().any(serves))
            && parameters
                .iter()
                .all(|name| supported.contains(&name.as_str()))
            && (!zdr || model.providers.iter().any(|provider| provider.zdr))
            && model.context_length >= context
            && within(model.prompt_price, prompt)
            && within(model.completion_price, completion)
    })
}

type Bounds = (Option<Money>, Option<Money>);

fn bounds(query: &Query, min: &str, max: &str) -> Result<Bounds, Fault> {
    let price = |name| -> Result<Option<Money>, Fault> {
        let usd: Option<f64> = number(query, name)?;
        match usd {
            Some(usd) if !usd.is_finite() => Err(no_number(name)),
            usd => Ok(usd.map(Money::per_million)),
        }
    };
    Ok((price(min)?, price(max)?))
}

fn within(price: Money, (min, max): Bounds) -> bool {
    min.is_none_or(|min| price >= min) && max.is_none_or(|max| price <= max)
}

fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, Fault> {
    match query.get(name) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| no_number(name)),
    }
}

fn no_number(name: &str) -> Fault {
    Fault::bad_request(format!(
        "Invalid request parameters: {name} is no such number"
    ))
}
