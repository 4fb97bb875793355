//! A dry run of OpenRouter's routing: which endpoints may serve a request, in which order or with
//! which odds, which are removed by which field, and what the request costs.
//!
//! Nobody else tells before the 404. But OpenRouter does not publish how it routes: what is here is
//! our reading of the documented filters and orders, applied to the documented lists. What follows
//! from the lists is in the plan; what cannot be known from outside is in
//! [`Plan::unknown`], in words. The rules:
//!
//! 1. *Hard fields remove.* `only`, `ignore`, `quantizations`, `max_price`, `zdr`,
//!    `require_parameters`, `service_tier: flex`, the account's own lists, a prompt that does not
//!    fit, something in it that the model does not take. An endpoint keeps all the reasons for which
//!    it was removed.
//! 2. *A base slug matches all endpoints of a provider but those of service tiers*, a full slug one.
//!    Endpoints of a tier take part only if they are named in full, asked for by `service_tier`, or
//!    admitted by `:nitro` (priority) or `:floor` (flex), which `order` switches off.
//! 3. *`order`* comes first, in its order; several endpoints of one entry by price. The others
//!    follow, unless `allow_fallbacks` is false.
//! 4. *`sort`*, or the variant `:nitro`, `:floor` or `:exacto` where neither `order` nor `sort` is
//!    given, orders by price, throughput or latency. What was not measured comes last.
//! 5. *Otherwise load balancing*: among endpoints without trouble, odds by 1/price². OpenRouter does
//!    not say which price; here it is the price of this request. The others are fallbacks.
//! 6. *Soft fields move to the back*: preferred throughput and latency that are missed, tools,
//!    response formats and verbosity that are not supported, and a state that is not well.
//! 7. *Several models* come one after the other, or in one order with `partition: none`.
//!
//! ```
//! use fairkey_openrouter::route::{self, Context};
//! use fairkey_openrouter::{ChatRequest, ModelEndpoints, ProviderPreferences};
//!
//! let endpoints = ModelEndpoints::from_slice(br#"{"id":"a/b","endpoints":[
//!     {"tag":"x","pricing":{"prompt":"0.000001","completion":"0.000002"}},
//!     {"tag":"y","pricing":{"prompt":"0.000002","completion":"0.000004"}},
//!     {"tag":"z","pricing":{"prompt":"0.000001","completion":"0.000001"}}]}"#)?;
//! let request = ChatRequest::new("a/b")
//!     .user("Hi")
//!     .max_tokens(100)
//!     .provider(ProviderPreferences::new().ignore(["z"]));
//!
//! let plan = route::plan(&request, &[endpoints], &Context::default());
//! assert_eq!(plan.candidates[0].tag, "x");
//! assert_eq!(plan.candidates[0].odds, Some(0.8));
//! assert_eq!(plan.removed[0].reasons[0].field.as_str(), "provider.ignore");
//! println!("{plan}");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod cure;
mod estimate;
mod filter;
mod parameters;
mod rank;
mod show;

use serde::Serialize;

use crate::catalog::{Conditions, ModelEndpoints, ProviderList, ZdrEndpoints};
use crate::open_enum::open_enum;
use crate::request::{ChatRequest, ModelId, Partition, Variant};

pub use estimate::prompt_tokens;
pub use parameters::parameters;

/// What is known beside the request and the endpoints. The default knows nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The endpoints with zero data retention.
    pub zdr: Option<&'a ZdrEndpoints>,
    /// The providers, to tell a wrong slug from a right one.
    pub providers: Option<&'a ProviderList>,
    /// The tokens of the prompt. Default: [estimated](prompt_tokens).
    pub prompt_tokens: Option<u64>,
    /// The tokens that the completion will have. Default: what the request allows.
    pub completion_tokens: Option<u64>,
    /// The time of day in UTC, as the number HHMM, for prices by the hour.
    pub utc: Option<u16>,
    /// What the account says.
    pub account: AccountPolicy,
}

/// What the account's settings say on routing.
#[derive(Clone, Debug, Default)]
pub struct AccountPolicy {
    /// The only providers; the request's own list is intersected with it.
    pub only: Option<Vec<String>>,
    /// Providers that must not serve, in addition to the request's own.
    pub ignore: Vec<String>,
    /// Whether only endpoints with zero data retention may serve.
    pub zdr: bool,
}

impl<'a> Context<'a> {
    /// Returns a context that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the endpoints with zero data retention.
    #[must_use]
    pub fn zdr(mut self, endpoints: &'a ZdrEndpoints) -> Self {
        self.zdr = Some(endpoints);
        self
    }

    /// Sets the providers.
    #[must_use]
    pub fn providers(mut self, providers: &'a ProviderList) -> Self {
        self.providers = Some(providers);
        self
    }

    /// Sets the tokens of the prompt.
    #[must_use]
    pub fn prompt_tokens(mut self, tokens: u64) -> Self {
        self.prompt_tokens = Some(tokens);
        self
    }

    /// Sets the tokens that the completion will have.
    #[must_use]
    pub fn completion_tokens(mut self, tokens: u64) -> Self {
        self.completion_tokens = Some(tokens);
        self
    }

    /// Sets the time of day in UTC, as the number HHMM.
    #[must_use]
    pub fn utc(mut self, hhmm: u16) -> Self {
        self.utc = Some(hhmm);
        self
    }

    /// Sets what the account says.
    #[must_use]
    pub fn account(mut self, account: AccountPolicy) -> Self {
        self.account = account;
        self
    }
}

/// What would become of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// How the first choice is made.
    pub ordering: Ordering,
    /// The endpoints that may serve, in order.
    pub candidates: Vec<Candidate>,
    /// The endpoints that may not.
    pub removed: Vec<Removed>,
    /// Where no endpoint is left: what to change, the least change first.
    pub cures: Vec<Cure>,
    /// What cannot be known from outside, and may change the outcome.
    pub unknown: Vec<String>,
    /// The tokens of the prompt that prices are based on.
    pub prompt_tokens: u64,
    /// Whether they are estimated.
    pub is_estimate: bool,
    /// The tokens of the completion that prices are based on; `None`: the request does not say, and
    /// prices are those of the prompt alone.
    pub completion_tokens: Option<u64>,
    /// What the request costs in US dollars: the mean over the odds, or the price at the first
    /// endpoint.
    pub expected_usd: Option<f64>,
    /// What it costs at the dearest endpoint that may serve.
    pub most_usd: Option<f64>,
}

/// How the first choice is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ordering {
    /// By chance, with odds by price.
    #[default]
    Balanced,
    /// By `provider.order`.
    Order,
    /// By price.
    Price,
    /// By throughput.
    Throughput,
    /// By latency.
    Latency,
    /// By a measure that is not public: the order shown is by price.
    Hidden,
}

/// An endpoint that may serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// The model, as the request names it.
    pub model: String,
    /// The endpoint's slug.
    pub tag: String,
    /// The provider's display name.
    pub provider_name: String,
    /// The chance to be tried first, 0 to 1, under load balancing; `None`: tried when those before
    /// it fail.
    pub odds: Option<f64>,
    /// What the request costs here, in US dollars; `None`: no price is known.
    pub price_usd: Option<f64>,
    /// Why it stands at the back, if it does.
    pub set_back: Vec<String>,
}

/// An endpoint that may not serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Removed {
    /// The model, as the request names it.
    pub model: String,
    /// The endpoint's slug.
    pub tag: String,
    /// The provider's display name.
    pub provider_name: String,
    /// Every reason, at least one.
    pub reasons: Vec<Reason>,
    /// What the request would cost here, in US dollars.
    pub price_usd: Option<f64>,
}

/// Why an endpoint may not serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// The field that removes it.
    pub field: Field,
    /// What the field says, and what the endpoint is.
    pub why: String,
    /// The change that would keep it.
    pub cure: String,
}

/// A change after which an endpoint is left.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cure {
    /// What to change, all of it.
    pub changes: Vec<String>,
    /// The model and the slug of the cheapest endpoint that it admits.
    pub admits: (String, String),
    /// How many more endpoints the same fields remove.
    pub others: usize,
}

open_enum! {
    /// A field that removes endpoints.
    pub enum Field {
        /// The only providers.
        Only = "provider.only",
        /// Providers that must not serve.
        Ignore = "provider.ignore",
        /// Whether others than the first choice may serve.
        AllowFallbacks = "provider.allow_fallbacks",
        /// Whether all parameters have to be supported.
        RequireParameters = "provider.require_parameters",
        /// Zero data retention.
        Zdr = "provider.zdr",
        /// The number formats.
        Quantizations = "provider.quantizations",
        /// The most per prompt token.
        MaxPricePrompt = "provider.max_price.prompt",
        /// The most per completion token.
        MaxPriceCompletion = "provider.max_price.completion",
        /// The most per request.
        MaxPriceRequest = "provider.max_price.request",
        /// The most per image.
        MaxPriceImage = "provider.max_price.image",
        /// The most per unit of audio.
        MaxPriceAudio = "provider.max_price.audio",
        /// The class of service.
        ServiceTier = "service_tier",
        /// The prompt, or what is in it.
        Messages = "messages",
        /// The account's only providers.
        AccountOnly = "account: allowed providers",
        /// Providers that the account excludes.
        AccountIgnore = "account: ignored providers",
        /// The account's zero data retention.
        AccountZdr = "account: zero data retention",
    }
}

/// Returns what would become of a request.
///
/// `endpoints` are the endpoint lists of the models that the request names, in any order; a model
/// without a list is told in [`Plan::unknown`]. Pure: nothing is fetched, and the same input gives
/// the same plan.
#[must_use]
pub fn plan(request: &ChatRequest, endpoints: &[ModelEndpoints], context: &Context<'_>) -> Plan {
    let exact = context.prompt_tokens;
    let prompt = exact.unwrap_or_else(|| prompt_tokens(request));
    let completion = context.completion_tokens.or(request.completion_limit());
    let mut plan = Plan {
        prompt_tokens: prompt,
        is_estimate: exact.is_none(),
        completion_tokens: completion,
        ..Plan::default()
    };
    let call = Call {
        request,
        context,
        parameters: parameters(request),
        at: Conditions {
            prompt_tokens: prompt,
            utc: context.utc,
        },
        completion,
    };

    let mut groups = Vec::new();
    let mut variant = None;
    let named = request.candidates();
    if named.is_empty() {
        plan.unknown.push(
            "the request names no model: the account's default serves, which is not known here"
                .to_owned(),
        );
    }
    for name in named {
        let Some(list) = list_of(name, endpoints) else {
            plan.unknown.push(format!(
                "the endpoints of {name} were not given: nothing is said of it"
            ));
            continue;
        };
        let own = ModelId::parse(name).ok().and_then(|id| id.variant());
        variant = variant.or(own.clone());
        let mut kept = Vec::new();
        for endpoint in &list.endpoints {
            if !call.takes_part(endpoint, own.as_ref()) {
                continue;
            }
            let reasons = call.reasons(list, endpoint);
            let price_usd = call.price(endpoint);
            if reasons.is_empty() {
                kept.push(endpoint);
            } else {
                plan.removed.push(Removed {
                    model: name.to_owned(),
                    tag: endpoint.tag.clone(),
                    provider_name: endpoint.provider_name.clone(),
                    reasons,
                    price_usd,
                });
            }
        }
        groups.push((name, kept));
    }

    plan.ordering = rank::ordering(request, variant.as_ref());
    let sort = request.provider.as_ref().and_then(|p| p.sort.as_ref());
    if sort.is_some_and(|sort| *sort.partition() == Partition::None) {
        let all = groups
            .iter()
            .flat_map(|(model, kept)| kept.iter().map(|endpoint| (*model, *endpoint)))
            .collect();
        rank::rank(&call, all, &mut plan);
    } else {
        for (model, kept) in groups {
            let all = kept.into_iter().map(|endpoint| (model, endpoint)).collect();
            rank::rank(&call, all, &mut plan);
        }
    }
    rank::price(&mut plan);
    if plan.candidates.is_empty() {
        plan.cures = cure::cures(&plan.removed);
    }
    call.unknown(variant.as_ref(), &mut plan);
    plan
}

/// What all steps look at.
struct Call<'a> {
    request: &'a ChatRequest,
    context: &'a Context<'a>,
    parameters: Vec<&'static str>,
    at: Conditions,
    completion: Option<u64>,
}

/// The list of a model: by its whole name, or without the parts that change routing only.
fn list_of<'a>(name: &str, lists: &'a [ModelEndpoints]) -> Option<&'a ModelEndpoints> {
    let id = ModelId::parse(name).ok()?;
    let whole = name.split("@preset/").next().unwrap_or_default();
    lists
        .iter()
        .find(|list| list.id == whole)
        .or_else(|| match id.variant() {
            // These are models of their own.
            Some(Variant::Free | Variant::Extended | Variant::Thinking) => None,
            _ => lists.iter().find(|list| list.id == id.name()),
        })
}
