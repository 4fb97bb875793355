//! Models and their providers in files.

use serde::Deserialize;
use toml::Spanned;

use super::Wrong;
use super::limit::LimitSpec;
use super::value::Usd;
use crate::model::{Model, Provider};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelSpec {
    pub(super) id: Spanned<String>,
    name: Option<String>,
    prompt_price: Option<Usd>,
    completion_price: Option<Usd>,
    context_length: Option<u64>,
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    embeds: bool,
    #[serde(default)]
    reranks: bool,
    #[serde(default)]
    moderated: bool,
    #[serde(default)]
    gated: bool,
    #[serde(default)]
    unserved: bool,
    replaced_by: Option<String>,
    #[serde(default)]
    closed_to: Vec<String>,
    #[serde(default)]
    limits: Vec<LimitSpec>,
    #[serde(default)]
    providers: Vec<ProviderSpec>,
}

/// A provider: its name, or all there is to say of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ProviderSpec {
    Name(String),
    Whole(Box<WholeProvider>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeProvider {
    name: String,
    slug: Option<String>,
    prompt_price: Option<Usd>,
    completion_price: Option<Usd>,
    quantization: Option<String>,
    supported_parameters: Option<Vec<String>>,
    latency_ms: Option<f64>,
    throughput: Option<f64>,
    status: Option<i32>,
    uptime: Option<f64>,
    cancels: Option<bool>,
    zdr: Option<bool>,
    #[serde(default)]
    collects_data: bool,
    #[serde(default)]
    limits: Vec<LimitSpec>,
}

impl ModelSpec {
    pub(super) fn model(self) -> Result<Model, Wrong> {
        let at = self.id.span().start;
        let mut model = Model::new(self.id.into_inner()).moderated(self.moderated);
        if let Some(name) = self.name {
            model = model.name(name);
        }
        if let Some(Usd(usd)) = self.prompt_price {
            model = model.prompt_price(usd);
        }
        if let Some(Usd(usd)) = self.completion_price {
            model = model.completion_price(usd);
        }
        if let Some(tokens) = self.context_length {
            model = model.context_length(tokens);
        }
        if let Some(tokens) = self.max_completion_tokens {
            model = model.max_completion_tokens(tokens);
        }
        if let Some(instead) = self.replaced_by {
            model = model.replaced_by(instead);
        }
        if self.embeds {
            model = model.embeds();
        }
        if self.reranks {
            model = model.reranks();
        }
        if self.gated {
            model = model.gated();
        }
        if self.unserved {
            model = model.unserved();
        }
        model = self.closed_to.into_iter().fold(model, Model::closed_to);
        for limit in self.limits {
            model = model.limit(limit.at(at)?);
        }
        for provider in self.providers {
            model = match provider {
                ProviderSpec::Name(name) => model.provider(name),
                ProviderSpec::Whole(whole) => {
                    let prices = model.prompt_price.per_million_usd();
                    let prices = (prices, model.completion_price.per_million_usd());
                    model.provider(whole.provider(prices, at)?)
                }
            };
        }
        Ok(model)
    }
}

impl WholeProvider {
    fn provider(self, prices: (f64, f64), at: usize) -> Result<Provider, Wrong> {
        let mut provider = Provider::new(self.name).collects_data(self.collects_data);
        if let Some(slug) = self.slug {
            provider = provider.slug(slug);
        }
        if self.prompt_price.is_some() || self.completion_price.is_some() {
            let usd = |own: Option<Usd>, of_model| own.map_or(of_model, |Usd(usd)| usd);
            provider = provider.prices(
                usd(self.prompt_price, prices.0),
                usd(self.completion_price, prices.1),
            );
        }
        if let Some(name) = self.quantization {
            provider = provider.quantization(name);
        }
        if let Some(names) = self.supported_parameters {
            provider = provider.supported_parameters(names);
        }
        let latency = self.latency_ms.unwrap_or(provider.latency_ms);
        let throughput = self.throughput.unwrap_or(provider.throughput);
        let status = self.status.unwrap_or(provider.status);
        let uptime = self.uptime.unwrap_or(provider.uptime);
        provider = provider.speed(latency, throughput).health(status, uptime);
        if let Some(cancels) = self.cancels {
            provider = provider.cancels(cancels);
        }
        if let Some(zdr) = self.zdr {
            provider = provider.zdr(zdr);
        }
        for limit in self.limits {
            provider = provider.limit(limit.at(at)?);
        }
        Ok(provider)
    }
}
