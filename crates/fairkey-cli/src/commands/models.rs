//! `fairkey models`.

mod show;

use std::io;

use fairkey_client::Fetched;
use fairkey_openrouter::{Conditions, Model, ModelFilter, ModelList, ModelOrder, Pricing};
use serde_json::json;

use crate::args::{ModelsArgs, ModelsCommand};
use crate::catalog::{self, Source};
use crate::exit::Exit;
use crate::table::{Table, count, thousands};
use crate::terminal;

/// Searches the catalogue, or shows one model.
pub(crate) async fn models(args: ModelsArgs) -> Exit {
    match &args.command {
        Some(ModelsCommand::Show(args)) => show::show(args).await,
        None => search(&args).await,
    }
}

async fn search(args: &ModelsArgs) -> Exit {
    let source = match Source::open(&args.catalog).await {
        Ok(source) => source,
        Err(message) => {
            terminal::error(&message);
            return Exit::Usage;
        }
    };
    let list = fetch(&source, args).await;
    source.tell_warnings();
    let list = match list {
        Ok(list) => list,
        Err(message) => {
            terminal::error(&message);
            return Exit::Failed;
        }
    };
    catalog::tell_age(&list, "the models");
    let found = filter(args).search(&list, ModelOrder::from(args.sort));
    let all = found.len();
    let limit = args.limit.map_or(usize::MAX, |limit| limit as usize);
    let shown: Vec<&Model> = found.into_iter().take(limit).collect();
    let text = if args.json {
        let found = json!({
            "models": shown,
            "found": all,
            "age_seconds": list.age.as_secs(),
            "stale": list.stale.is_some(),
        });
        format!("{found:#}\n")
    } else {
        table(&shown).render(terminal::width(io::stdout()))
    };
    if all > 0 || args.json {
        // Whoever reads it may have seen enough.
        let _ = terminal::print(&crate::redaction::clean(&text));
    }
    if !args.json {
        tell_count(shown.len(), all, &list);
    }
    if all > 0 { Exit::Done } else { Exit::Failed }
}

fn tell_count(shown: usize, all: usize, list: &Fetched<ModelList>) {
    let of = count(list.data.len() as u64, "model");
    let found = match (shown, all) {
        (_, 0) => format!("none of {of} is like that"),
        (shown, all) if shown < all => format!("{shown} shown of {all} found in {of}"),
        _ => format!("{all} of {of}"),
    };
    terminal::say(&format!("{found}, {} old", catalog::age(list.age)));
}

async fn fetch(source: &Source, args: &ModelsArgs) -> Result<Fetched<ModelList>, String> {
    let wrong = |error| source.explain(&error);
    let Some(provider) = &args.provider else {
        return source.catalog.models().await.map_err(wrong);
    };
    let list = source.catalog.models_of(provider).await.map_err(wrong)?;
    if !list.data.is_empty() {
        return Ok(list);
    }
    // It serves nothing, or there is none.
    let providers = source.catalog.providers().await.map_err(wrong)?;
    let lower = provider.to_lowercase();
    if providers.data.iter().any(|own| own.slug == lower) {
        return Ok(list);
    }
    let distance = |slug: &str, name: &str| {
        strsim::damerau_levenshtein(slug, &lower)
            .min(strsim::damerau_levenshtein(&name.to_lowercase(), &lower))
    };
    let nearest = providers
        .data
        .iter()
        .map(|own| (distance(&own.slug, &own.name), &own.slug))
        .min()
        .filter(|(distance, _)| *distance <= (lower.chars().count() / 3).max(2));
    Err(match nearest {
        Some((_, slug)) => format!("there is no provider {provider}: did you mean {slug}?"),
        None => {
            let slugs: Vec<&str> = providers.data.iter().map(|own| own.slug.as_str()).collect();
            format!(
                "there is no provider {provider}; those there are: {}",
                slugs.join(", ")
            )
        }
    })
}

fn filter(args: &ModelsArgs) -> ModelFilter {
    let mut filter = ModelFilter::new().text(&args.query.join(" "));
    if let Some(usd) = args.max_price {
        filter = filter.max_prompt_usd_per_million(usd);
    }
    if let Some(usd) = args.max_completion_price {
        filter = filter.max_completion_usd_per_million(usd);
    }
    if let Some(tokens) = args.min_context {
        filter = filter.min_context(tokens);
    }
    if let Some(author) = &args.author {
        filter = filter.author(author.as_str());
    }
    if args.free {
        filter = filter.free(true);
    }
    filter = args.supports.iter().fold(filter, ModelFilter::parameter);
    filter = args.input.iter().fold(filter, ModelFilter::input);
    args.output.iter().fold(filter, ModelFilter::output)
}

fn table(models: &[&Model]) -> Table {
    let titles = [
        "model",
        ">prompt",
        ">completion",
        ">context",
        ">max out",
        "in",
        "out",
        "created",
    ];
    let mut table = Table::new(&titles);
    for model in models {
        let [prompt, completion] = prices(&model.pricing);
        let architecture = &model.architecture;
        table.row(vec![
            model.id.clone(),
            prompt,
            completion,
            model.context_length.map_or_else(dash, thousands),
            (model.top_provider.max_completion_tokens).map_or_else(dash, thousands),
            joined(&architecture.input_modalities),
            joined(&architecture.output_modalities),
            model.created.map_or_else(dash, date),
        ]);
    }
    table
}

fn dash() -> String {
    "-".to_owned()
}

fn joined(words: &[String]) -> String {
    if words.is_empty() {
        dash()
    } else {
        words.join("+")
    }
}

/// Returns the prices of a million prompt and completion tokens.
fn prices(pricing: &Pricing) -> [String; 2] {
    match pricing.token_prices(Conditions::default()) {
        Some((prompt, completion)) => [per_million(prompt), per_million(completion)],
        None => [dash(), dash()],
    }
}

/// Returns US dollars for a million tokens, with the digits that matter.
fn per_million(usd_per_token: f64) -> String {
    let usd = (usd_per_token * 1e12).round() / 1e6;
    if usd == 0.0 {
        return "free".to_owned();
    }
    let text = format!("{usd:.6}");
    let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
    let places = places.trim_end_matches('0');
    format!("${whole}.{places:0<2}")
}

/// Returns the day of a second since 1970.
fn date(seconds: u64) -> String {
    // The proleptic Gregorian calendar, from 1 March of the year 0.
    let days = i64::try_from(seconds / 86_400).unwrap_or(0) + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_have_the_digits_that_matter() {
        for (per_token, text) in [
            (0.0, "free"),
            (0.000_000_15, "$0.15"),
            (0.000_002_5, "$2.50"),
            (0.000_000_037_5, "$0.0375"),
            (0.000_075, "$75.00"),
            (0.3e-6 / 3.0, "$0.10"),
        ] {
            assert_eq!(per_million(per_token), text);
        }
    }

    #[test]
    fn a_second_has_its_day() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_799, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
        ] {
            assert_eq!(date(seconds), day);
        }
    }
}
