//! Provider preferences: contradictions, names that are no slugs, words that nobody knows.

use super::Findings;
use crate::catalog::ProviderList;
use crate::request::{ChatRequest, ModelId, Partition, ProviderPreferences, Sort, Variant};
use crate::slug;

pub(super) fn check(request: &ChatRequest, known: Option<&ProviderList>, to: &mut Findings) {
    let Some(provider) = &request.provider else {
        return;
    };
    lists(provider, to);
    for (field, list) in [
        ("order", &provider.order),
        ("only", &provider.only),
        ("ignore", &provider.ignore),
    ] {
        for (place, entry) in list.iter().flatten().enumerate() {
            slugs(&format!("provider.{field}[{place}]"), entry, known, to);
        }
    }
    words(provider, to);
    switched_off(request, provider, to);
    for field in provider.extra.keys() {
        to.warning(
            format!("provider.{field}"),
            "…",
            "this version does not know it, and OpenRouter may refuse unknown names here",
            "check the name",
        );
    }
}

fn lists(provider: &ProviderPreferences, to: &mut Findings) {
    let list = |entries: &[String]| format!("{entries:?}");
    if let Some(only) = &provider.only {
        let ignored = |entry: &String| {
            provider
                .ignore
                .iter()
                .flatten()
                .any(|own| covers(own, entry))
        };
        if only.is_empty() {
            to.error(
                "provider.only",
                "[]",
                "no provider may serve",
                "name at least one, or leave it out",
            );
        } else if only.iter().all(ignored) {
            to.error(
                "provider.only",
                list(only),
                "provider.ignore excludes all of it",
                "take one of them out of provider.ignore",
            );
        }
    }
    let order = provider.order.as_deref().unwrap_or_default();
    for (place, entry) in order.iter().enumerate() {
        let is_ignored = provider
            .ignore
            .iter()
            .flatten()
            .any(|own| covers(own, entry));
        let is_outside = provider.only.as_ref().is_some_and(|only| {
            !only.is_empty()
                && !only
                    .iter()
                    .any(|own| covers(own, entry) || covers(entry, own))
        });
        if is_ignored || is_outside {
            let by = if is_ignored {
                "provider.ignore"
            } else {
                "provider.only"
            };
            to.warning(
                format!("provider.order[{place}]"),
                format!("{entry:?}"),
                format!("{by} excludes it: it is never tried"),
                format!("take it out, or change {by}"),
            );
        }
    }
    if provider.allow_fallbacks == Some(false) && order.is_empty() {
        let cure = "name providers in provider.order, or leave provider.allow_fallbacks out";
        match &provider.order {
            Some(_) => to.error(
                "provider.allow_fallbacks",
                false,
                "provider.order is empty, and no other may serve",
                cure,
            ),
            None => to.warning(
                "provider.allow_fallbacks",
                false,
                "nothing is ordered: the first choice is OpenRouter's, and no other is tried",
                cure,
            ),
        }
    }
    if provider.quantizations.as_ref().is_some_and(Vec::is_empty) {
        to.warning(
            "provider.quantizations",
            "[]",
            "no quantization is named",
            "name at least one, or leave it out",
        );
    }
}

/// Whether all that an entry means, is meant by another.
fn covers(base: &str, entry: &str) -> bool {
    base == entry || entry.split('/').next() == Some(base)
}

fn slugs(field: &str, entry: &str, known: Option<&ProviderList>, to: &mut Findings) {
    let value = format!("{entry:?}");
    match slug::repaired(entry, known) {
        Some(slug) => to.warning(
            field,
            value,
            "it is no provider's slug",
            format!("write {slug:?}"),
        ),
        None if !slug::is_known(entry, known) => to.warning(
            field,
            value,
            "no provider has this slug",
            "look it up in the list of providers",
        ),
        None => {}
    }
}

fn words(provider: &ProviderPreferences, to: &mut Findings) {
    let mut unknown = |field: String, word: &str| {
        to.warning(
            field,
            format!("{word:?}"),
            "this version does not know it",
            "check the spelling",
        );
    };
    for (place, own) in provider.quantizations.iter().flatten().enumerate() {
        if !own.is_known() {
            unknown(format!("provider.quantizations[{place}]"), own.as_str());
        }
    }
    if let Some(own) = provider
        .data_collection
        .as_ref()
        .filter(|own| !own.is_known())
    {
        unknown("provider.data_collection".to_owned(), own.as_str());
    }
    if let Some(sort) = &provider.sort {
        if let Some(by) = sort.by().filter(|by| !by.is_known()) {
            unknown("provider.sort".to_owned(), by.as_str());
        }
        if !sort.partition().is_known() {
            unknown(
                "provider.sort.partition".to_owned(),
                sort.partition().as_str(),
            );
        }
    }
}

/// Settings that switch each other off.
fn switched_off(request: &ChatRequest, provider: &ProviderPreferences, to: &mut Findings) {
    let order = provider.order.as_ref().filter(|order| !order.is_empty());
    let sort = provider.sort.as_ref();
    let variants = || {
        request
            .candidates()
            .into_iter()
            .filter_map(|model| ModelId::parse(model).ok()?.variant())
    };
    if let Some(order) = order {
        let value = format!("{order:?}");
        if sort.is_some() {
            to.warning(
                "provider.sort",
                "…",
                "provider.order comes first: the sort does nothing",
                "leave one of the two out",
            );
        }
        if request.session_id.is_some() || request.prompt_cache_key.is_some() {
            to.advice(
                "provider.order",
                &value,
                "it switches off sticky routing: the conversation may leave a warm cache",
                "leave out provider.order, or session_id and prompt_cache_key",
            );
        }
        if variants().any(|own| matches!(own, Variant::Nitro | Variant::Floor | Variant::Exacto)) {
            to.advice(
                "provider.order",
                &value,
                "it switches off what the variant of the model asks for",
                "leave out the variant, or provider.order",
            );
        }
    }
    if let Some(sort) = sort {
        if order.is_none() && sort.by().is_some() {
            to.advice(
                "provider.sort",
                sort.by().map_or("…", |by| by.as_str()),
                "it switches off load balancing: all calls go to the first, and its limits",
                "leave it out where calls are many",
            );
        }
        let by_variant = variants().find(|own| matches!(own, Variant::Nitro | Variant::Floor));
        if let (Some(variant), Some(by)) = (by_variant, sort.by()) {
            to.advice(
                "provider.sort",
                by,
                format!("the variant :{variant} asks for an order, too"),
                "leave one of the two out",
            );
        }
        let within = matches!(sort, Sort::Within { .. });
        if within && *sort.partition() == Partition::None && request.candidates().len() < 2 {
            to.advice(
                "provider.sort.partition",
                "none",
                "with one model it does nothing",
                "name models, or leave it out",
            );
        }
    }
    if provider.zdr == Some(false) {
        to.advice(
            "provider.zdr",
            false,
            "it cannot relax what the account demands",
            "leave it out",
        );
    }
}
