//! The hard fields: which endpoints they remove, and why.

use super::{Call, Field, Plan, Reason};
use crate::catalog::{Endpoint, ModelEndpoints, per_million, price_amount};
use crate::request::{
    Content, DataCollection, Modality, Price, ProviderPreferences, Quantization, ServiceTier,
    Variant,
};
use crate::slug;

impl Call<'_> {
    fn preferences(&self) -> Option<&ProviderPreferences> {
        self.request.provider.as_ref()
    }

    /// Returns what the request costs at an endpoint.
    pub(super) fn price(&self, endpoint: &Endpoint) -> Option<f64> {
        endpoint
            .pricing
            .cost_at(self.at, self.completion.unwrap_or(0))
    }

    /// Returns whether an endpoint is looked at: those of a service tier only where asked for.
    pub(super) fn takes_part(&self, endpoint: &Endpoint, variant: Option<&Variant>) -> bool {
        let Some(tier) = slug::tier(&endpoint.tag) else {
            return true;
        };
        let provider = self.preferences();
        let order = provider.and_then(|p| p.order.as_ref());
        let only = provider.and_then(|p| p.only.as_ref());
        let named = order
            .into_iter()
            .chain(only)
            .flatten()
            .any(|entry| *entry == endpoint.tag);
        let asked = match &self.request.service_tier {
            Some(ServiceTier::Fast | ServiceTier::Priority) => tier == "priority",
            Some(own) => own.as_str() == tier,
            None => false,
        };
        let by_variant = order.is_none()
            && match variant {
                Some(Variant::Nitro) => tier == "priority",
                Some(Variant::Floor) => tier == "flex",
                _ => false,
            };
        named || asked || by_variant
    }

    /// Returns every reason for which an endpoint may not serve.
    pub(super) fn reasons(&self, model: &ModelEndpoints, endpoint: &Endpoint) -> Vec<Reason> {
        let mut reasons = Vec::new();
        self.by_account(endpoint, &mut reasons);
        if let Some(provider) = self.preferences() {
            by_lists(provider, endpoint, &mut reasons);
            self.by_zdr(
                provider.zdr == Some(true),
                endpoint,
                &mut reasons,
                Field::Zdr,
            );
            by_quantization(provider, endpoint, &mut reasons);
            self.by_price(provider, endpoint, &mut reasons);
            self.by_parameters(provider, endpoint, &mut reasons);
        }
        self.by_tier(endpoint, &mut reasons);
        self.by_prompt(model, endpoint, &mut reasons);
        reasons
    }

    fn by_account(&self, endpoint: &Endpoint, reasons: &mut Vec<Reason>) {
        let account = &self.context.account;
        let means = |list: &[String]| list.iter().any(|entry| slug::matches(entry, endpoint));
        if account.only.as_ref().is_some_and(|list| !means(list)) {
            reasons.push(Reason {
                field: Field::AccountOnly,
                why: format!("{} is not among the account's providers", endpoint.tag),
                cure: format!("allow {} in the account", endpoint.provider_slug()),
            });
        }
        if means(&account.ignore) {
            reasons.push(Reason {
                field: Field::AccountIgnore,
                why: format!("the account excludes {}", endpoint.tag),
                cure: format!("admit {} in the account", endpoint.provider_slug()),
            });
        }
        self.by_zdr(account.zdr, endpoint, reasons, Field::AccountZdr);
    }

    fn by_zdr(&self, wanted: bool, endpoint: &Endpoint, to: &mut Vec<Reason>, field: Field) {
        let Some(listed) = self.context.zdr.filter(|_| wanted) else {
            return;
        };
        if !listed.contains(endpoint) {
            let cure = match field {
                Field::Zdr => "leave out provider.zdr".to_owned(),
                _ => "change the account's privacy settings".to_owned(),
            };
            to.push(Reason {
                field,
                why: format!("{} is not listed with zero data retention", endpoint.tag),
                cure,
            });
        }
    }

    fn by_price(
        &self,
        provider: &ProviderPreferences,
        endpoint: &Endpoint,
        reasons: &mut Vec<Reason>,
    ) {
        let Some(most) = &provider.max_price else {
            return;
        };
        let tokens = endpoint.pricing.token_prices(self.at);
        let unit = |price: &Option<Price>| price_amount(price);
        let of = &endpoint.pricing;
        for (field, most, price, of_what) in [
            (
                Field::MaxPricePrompt,
                &most.prompt,
                tokens.map(|(prompt, _)| per_million(prompt)),
                "per million prompt tokens",
            ),
            (
                Field::MaxPriceCompletion,
                &most.completion,
                tokens.map(|(_, completion)| per_million(completion)),
                "per million completion tokens",
            ),
            (
                Field::MaxPriceRequest,
                &most.request,
                unit(&of.request),
                "per request",
            ),
            (
                Field::MaxPriceImage,
                &most.image,
                unit(&of.image),
                "per image",
            ),
            (
                Field::MaxPriceAudio,
                &most.audio,
                unit(&of.audio),
                "per unit of audio",
            ),
        ] {
            let most = most.as_ref().and_then(Price::usd);
            if let (Some(most), Some(price)) = (most, price)
                && price > most
            {
                reasons.push(Reason {
                    cure: format!("raise {field} from {most} to {price}"),
                    field,
                    why: format!(
                        "{} costs ${price} {of_what}, more than ${most}",
                        endpoint.tag
                    ),
                });
            }
        }
    }

    fn by_parameters(
        &self,
        provider: &ProviderPreferences,
        endpoint: &Endpoint,
        reasons: &mut Vec<Reason>,
    ) {
        if provider.require_parameters != Some(true) {
            return;
        }
        let missing: Vec<&str> = self
            .parameters
            .iter()
            .copied()
            .filter(|parameter| !supports(endpoint, parameter))
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            reasons.push(Reason {
                field: Field::RequireParameters,
                why: format!("{} does not support {missing}", endpoint.tag),
                cure: format!("leave out {missing}, or provider.require_parameters"),
            });
        }
    }

    fn by_tier(&self, endpoint: &Endpoint, reasons: &mut Vec<Reason>) {
        if self.request.service_tier == Some(ServiceTier::Flex)
            && slug::tier(&endpoint.tag) != Some("flex")
        {
            reasons.push(Reason {
                field: Field::ServiceTier,
                why: format!("flex never falls back to {}", endpoint.tag),
                cure: "leave out service_tier".to_owned(),
            });
        }
    }

    fn by_prompt(&self, model: &ModelEndpoints, endpoint: &Endpoint, reasons: &mut Vec<Reason>) {
        let tokens = self.at.prompt_tokens;
        let most = [endpoint.max_prompt_tokens, endpoint.context_length];
        if let Some(most) = most.into_iter().flatten().min()
            && tokens > most
        {
            reasons.push(Reason {
                field: Field::Messages,
                why: format!(
                    "the prompt has about {tokens} tokens, {} takes {most}",
                    endpoint.tag
                ),
                cure: format!("shorten the prompt to {most} tokens"),
            });
        }
        let takes = &model.architecture.input_modalities;
        if takes.is_empty() {
            return;
        }
        for kind in self.inputs() {
            if !takes.iter().any(|own| own == kind) {
                reasons.push(Reason {
                    field: Field::Messages,
                    why: format!("{} takes {}, no {kind}", model.id, takes.join(", ")),
                    cure: format!("send no {kind}, or choose a model that takes it"),
                });
            }
        }
    }

    /// Returns what goes in beside text.
    fn inputs(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        for message in &self.request.messages {
            let Some(Content::Parts(parts)) = &message.content else {
                continue;
            };
            for part in parts {
                let kind = match part.kind.as_str() {
                    "image_url" => "image",
                    "input_audio" => "audio",
                    "video_url" | "input_video" => "video",
                    // OpenRouter makes text of files where the model takes none.
                    _ => continue,
                };
                if !found.contains(&kind) {
                    found.push(kind);
                }
            }
        }
        found
    }

    /// Says what cannot be known from outside, as far as this request depends on it.
    pub(super) fn unknown(&self, variant: Option<&Variant>, plan: &mut Plan) {
        let mut say = |text: &str| plan.unknown.push(text.to_owned());
        let provider = self.preferences();
        if let Some(provider) = provider {
            if provider.data_collection == Some(DataCollection::Deny) {
                say(
                    "provider.data_collection: which endpoints keep or train on prompts is in no \
                     public list: some of these may be removed",
                );
            }
            if provider.zdr == Some(true) && self.context.zdr.is_none() {
                say(
                    "provider.zdr: the list of endpoints with zero data retention was not given: \
                     some of these may be removed",
                );
            }
            if provider.enforce_distillable_text == Some(true) {
                say(
                    "provider.enforce_distillable_text: which models allow it is in no list of \
                     endpoints: all of these may be removed",
                );
            }
            if provider.preferred_max_latency.is_some()
                || provider.preferred_min_throughput.is_some()
            {
                say(
                    "provider.preferred_*: OpenRouter looks at the last 5 minutes, the list has the \
                     last 30",
                );
            }
            for entry in [&provider.order, &provider.only, &provider.ignore]
                .into_iter()
                .flatten()
                .flatten()
            {
                if let Some(slug) = slug::repaired(entry, self.context.providers) {
                    say(&format!(
                        "{entry:?} is no provider's slug; {slug:?} may be meant. Whether OpenRouter \
                         takes it for that is not documented"
                    ));
                }
            }
        }
        if self
            .request
            .tools
            .as_ref()
            .is_some_and(|tools| !tools.is_empty())
            && plan.ordering == super::Ordering::Balanced
        {
            say(
                "tools: OpenRouter reorders endpoints by how well they call tools, which is not \
                 public: the odds may be others",
            );
        }
        if plan.ordering == super::Ordering::Hidden {
            say("exacto: how well endpoints call tools is not public: the order shown is by price");
        }
        if variant == Some(&Variant::Online) {
            say(":online: searches of the web cost extra");
        }
        if self
            .request
            .modalities
            .as_ref()
            .is_some_and(|all| all.iter().any(|modality| *modality != Modality::Text))
        {
            say(
                "modalities: what images and audio cost depends on their size: it is not in the \
                 price",
            );
        }
        if !self.inputs().is_empty() {
            say("messages: images, audio and video are not counted in the tokens of the prompt");
        }
        if provider.is_none_or(|provider| provider.order.is_none()) && !plan.candidates.is_empty() {
            say(
                "a conversation stays with the provider whose cache is warm, and provider keys of \
                 one's own are tried first: neither is known here",
            );
        }
    }
}

/// Either name of the token limit does.
fn supports(endpoint: &Endpoint, parameter: &str) -> bool {
    match parameter {
        "max_tokens" | "max_completion_tokens" => {
            endpoint.supports("max_tokens") || endpoint.supports("max_completion_tokens")
        }
        "reasoning" | "reasoning_effort" => {
            endpoint.supports("reasoning") || endpoint.supports(parameter)
        }
        _ => endpoint.supports(parameter),
    }
}

fn by_lists(provider: &ProviderPreferences, endpoint: &Endpoint, reasons: &mut Vec<Reason>) {
    let means = |list: &[String]| list.iter().any(|entry| slug::matches(entry, endpoint));
    if provider.only.as_ref().is_some_and(|list| !means(list)) {
        reasons.push(Reason {
            field: Field::Only,
            why: format!("{} is not in it", endpoint.tag),
            cure: format!("add {:?} to provider.only", endpoint.tag),
        });
    }
    if provider.ignore.as_ref().is_some_and(|list| means(list)) {
        reasons.push(Reason {
            field: Field::Ignore,
            why: format!("{} is in it", endpoint.tag),
            cure: format!("take what means {} out of provider.ignore", endpoint.tag),
        });
    }
    if provider.allow_fallbacks == Some(false)
        && provider.order.as_ref().is_some_and(|list| !means(list))
    {
        reasons.push(Reason {
            field: Field::AllowFallbacks,
            why: format!(
                "{} is not in provider.order, and no other may serve",
                endpoint.tag
            ),
            cure: format!(
                "leave out provider.allow_fallbacks, or add {:?} to provider.order",
                endpoint.tag
            ),
        });
    }
}

fn by_quantization(provider: &ProviderPreferences, endpoint: &Endpoint, to: &mut Vec<Reason>) {
    let Some(wanted) = &provider.quantizations else {
        return;
    };
    let own = endpoint
        .quantization
        .as_ref()
        .unwrap_or(&Quantization::Unknown);
    if !wanted.contains(own) {
        to.push(Reason {
            field: Field::Quantizations,
            why: format!("{} has {own}", endpoint.tag),
            cure: format!("add {:?} to provider.quantizations", own.as_str()),
        });
    }
}
