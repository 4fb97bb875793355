//! The soft fields: in which order endpoints come, and with which odds.

use super::{Call, Candidate, Field, Ordering, Plan, Reason, Removed};
use crate::catalog::Endpoint;
use crate::request::{ChatRequest, ServiceTier, SortBy, Variant};
use crate::slug;

/// Below this uptime of the last 5 minutes, in percent, an endpoint counts as in trouble. OpenRouter
/// looks at outages of the last 30 seconds, which no list has; this is ours.
const TROUBLED_UPTIME: f64 = 90.0;

/// Returns how the first choice is made.
pub(super) fn ordering(request: &ChatRequest, variant: Option<&Variant>) -> Ordering {
    let provider = request.provider.as_ref();
    if provider.is_some_and(|p| p.order.as_ref().is_some_and(|order| !order.is_empty())) {
        return Ordering::Order;
    }
    let sort = provider.and_then(|p| p.sort.as_ref()?.by().cloned());
    let by = sort.or(match variant {
        Some(Variant::Nitro) => Some(SortBy::Throughput),
        Some(Variant::Floor) => Some(SortBy::Price),
        Some(Variant::Exacto) => Some(SortBy::Exacto),
        _ => None,
    });
    match by {
        None => Ordering::Balanced,
        Some(SortBy::Price) => Ordering::Price,
        Some(SortBy::Throughput) => Ordering::Throughput,
        Some(SortBy::Latency) => Ordering::Latency,
        Some(_) => Ordering::Hidden,
    }
}

/// Appends the endpoints to the plan, in order.
pub(super) fn rank(call: &Call<'_>, endpoints: Vec<(&str, &Endpoint)>, plan: &mut Plan) {
    let is_first = plan.candidates.is_empty();
    let mut ranked: Vec<Ranked<'_>> = endpoints
        .into_iter()
        .map(|(model, endpoint)| Ranked::of(call, &plan.ordering, model, endpoint))
        .collect();
    ranked.sort_by(|a, b| {
        a.place
            .cmp(&b.place)
            .then(a.measure.total_cmp(&b.measure))
            .then(a.weigh.total_cmp(&b.weigh))
            .then_with(|| a.endpoint.tag.cmp(&b.endpoint.tag))
    });
    let odds = match plan.ordering {
        Ordering::Balanced => odds(&ranked),
        _ => vec![None; ranked.len()],
    };
    let alone = call
        .request
        .provider
        .as_ref()
        .is_some_and(|p| p.allow_fallbacks == Some(false));
    let begin = plan.candidates.len();
    for (ranked, odds) in ranked.into_iter().zip(odds) {
        let (model, endpoint) = (ranked.model, ranked.endpoint);
        let is_other = match plan.ordering {
            // What is not in it was removed before.
            Ordering::Order => false,
            Ordering::Balanced => odds.is_none(),
            _ => plan.candidates.len() > begin,
        };
        if alone && is_other {
            plan.removed.push(Removed {
                model: model.to_owned(),
                tag: endpoint.tag.clone(),
                provider_name: endpoint.provider_name.clone(),
                reasons: vec![Reason {
                    field: Field::AllowFallbacks,
                    why: format!(
                        "{} is not the first choice, and no other may serve",
                        endpoint.tag
                    ),
                    cure: "leave out provider.allow_fallbacks".to_owned(),
                }],
                price_usd: call.price(endpoint),
            });
            continue;
        }
        plan.candidates.push(Candidate {
            model: model.to_owned(),
            tag: endpoint.tag.clone(),
            provider_name: endpoint.provider_name.clone(),
            // The endpoints of a fallback model have no odds of being the first choice.
            odds: odds.filter(|_| is_first),
            price_usd: call.price(endpoint),
            set_back: ranked.set_back,
        });
    }
}

struct Ranked<'a> {
    model: &'a str,
    endpoint: &'a Endpoint,
    /// The smaller comes first.
    place: usize,
    measure: f64,
    weigh: f64,
    set_back: Vec<String>,
}

impl<'a> Ranked<'a> {
    fn of(call: &Call<'_>, ordering: &Ordering, model: &'a str, endpoint: &'a Endpoint) -> Self {
        let set_back = set_back(call, endpoint);
        let back = set_back.iter().map(|(back, _)| *back as usize).max();
        let back = back.unwrap_or(0);
        let weigh = weighed_price(call, endpoint);
        let unmeasured = f64::INFINITY;
        let median = |of: &Option<crate::catalog::Statistics>| of.as_ref().and_then(|of| of.p50);
        let measure = match ordering {
            Ordering::Throughput => {
                median(&endpoint.throughput_last_30m).map_or(unmeasured, |tokens| -tokens)
            }
            Ordering::Latency => median(&endpoint.latency_last_30m).unwrap_or(unmeasured),
            _ => weigh,
        };
        let place = match ordering {
            Ordering::Order => {
                let order = call
                    .request
                    .provider
                    .iter()
                    .flat_map(|p| p.order.iter().flatten());
                let count = order.clone().count();
                order
                    .clone()
                    .position(|entry| slug::matches(entry, endpoint))
                    // The others as always, behind.
                    .unwrap_or(count + back)
            }
            _ => back,
        };
        Self {
            model,
            endpoint,
            place,
            measure,
            weigh,
            set_back: set_back.into_iter().map(|(_, why)| why).collect(),
        }
    }
}

/// The price that endpoints are compared by: that of this request, or of a token of each kind where
/// the length of the completion is unknown. Endless where no price is known.
fn weighed_price(call: &Call<'_>, endpoint: &Endpoint) -> f64 {
    match call.completion {
        Some(_) => call.price(endpoint),
        None => endpoint
            .pricing
            .token_prices(call.at)
            .map(|(prompt, completion)| prompt + completion),
    }
    .unwrap_or(f64::INFINITY)
}

/// How far back a reason sets an endpoint, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Back {
    Preference = 1,
    Unsupported,
    Trouble,
}

/// Says why an endpoint stands behind others.
fn set_back(call: &Call<'_>, endpoint: &Endpoint) -> Vec<(Back, String)> {
    let mut why = Vec::new();
    if let Some(status) = endpoint.status.filter(|status| *status < 0.0) {
        why.push((Back::Trouble, format!("its status is {status}")));
    }
    if let Some(uptime) = endpoint.uptime_last_5m.filter(|own| *own < TROUBLED_UPTIME) {
        let text = format!("its uptime of the last 5 minutes is {uptime} %");
        why.push((Back::Trouble, text));
    }
    if let Some(tier @ (ServiceTier::Fast | ServiceTier::Priority)) = &call.request.service_tier
        && slug::tier(&endpoint.tag) != Some("priority")
    {
        let text = format!("it is not of the tier {tier}");
        why.push((Back::Unsupported, text));
    }
    for soft in [
        "tools",
        "response_format",
        "structured_outputs",
        "verbosity",
    ] {
        if call.parameters.contains(&soft) && !endpoint.supports(soft) {
            why.push((Back::Unsupported, format!("it does not support {soft}")));
        }
    }
    let Some(provider) = &call.request.provider else {
        return why;
    };
    if let (Some(least), Some(own)) = (
        &provider.preferred_min_throughput,
        &endpoint.throughput_last_30m,
    ) {
        for (percentile, least) in least.bounds() {
            if let Some(own) = own.percentile(percentile).filter(|own| *own < least) {
                let text = format!("its throughput p{percentile} is {own}, below {least} tokens/s");
                why.push((Back::Preference, text));
            }
        }
    }
    if let (Some(most), Some(own)) = (&provider.preferred_max_latency, &endpoint.latency_last_30m) {
        for (percentile, most) in most.bounds() {
            // Listed in milliseconds, wished for in seconds.
            let own = own.percentile(percentile).map(|own| own / 1000.0);
            if let Some(own) = own.filter(|own| *own > most) {
                let text = format!("its latency p{percentile} is {own} s, above {most} s");
                why.push((Back::Preference, text));
            }
        }
    }
    why
}

/// Odds by 1/price² among those that stand in front; what is free shares all of it.
fn odds(ranked: &[Ranked<'_>]) -> Vec<Option<f64>> {
    let Some(front) = ranked.first().map(|first| first.place) else {
        return Vec::new();
    };
    let in_front = |one: &Ranked<'_>| one.place == front;
    let cheapest = ranked
        .iter()
        .filter(|one| in_front(one))
        .map(|one| one.weigh)
        .fold(f64::INFINITY, f64::min);
    let weight = |one: &Ranked<'_>| {
        if cheapest == 0.0 || cheapest.is_infinite() {
            f64::from(u8::from(one.weigh == cheapest))
        } else {
            // Relative to the cheapest, so that nothing over- or underflows.
            (cheapest / one.weigh).powi(2)
        }
    };
    let sum: f64 = ranked.iter().filter(|one| in_front(one)).map(weight).sum();
    ranked
        .iter()
        .map(|one| in_front(one).then(|| weight(one) / sum))
        .collect()
}

/// Sums up what the request costs.
pub(super) fn price(plan: &mut Plan) {
    let prices = plan.candidates.iter().map(|own| own.price_usd);
    plan.most_usd = prices
        .clone()
        .try_fold(0.0, |most, price| Some(f64::max(most, price?)))
        .filter(|_| !plan.candidates.is_empty());
    let balanced = || -> Option<f64> {
        let mut sum = None;
        for own in &plan.candidates {
            if let Some(odds) = own.odds.filter(|odds| *odds > 0.0) {
                *sum.get_or_insert(0.0) += odds * own.price_usd?;
            }
        }
        sum
    };
    plan.expected_usd = match plan.ordering {
        Ordering::Balanced => balanced(),
        _ => plan.candidates.first().and_then(|own| own.price_usd),
    };
}
