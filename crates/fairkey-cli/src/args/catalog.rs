//! The command line of `fairkey models` and `fairkey route`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use fairkey_openrouter::ModelOrder;
use fairkey_openrouter::check::Level;

/// Where the catalogue comes from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CatalogArgs {
    /// Use an embedded mock OpenRouter: no key, no network, no cost.
    #[arg(long)]
    pub(crate) mock: bool,
    /// Read this configuration. Without it, fairkey.toml is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Ask this upstream instead of OpenRouter.
    #[arg(long, value_name = "URL", conflicts_with = "mock")]
    pub(crate) base_url: Option<String>,
    /// Ask nobody: take what was fetched before, however old it is.
    #[arg(long, conflicts_with_all = ["mock", "refresh"])]
    pub(crate) offline: bool,
    /// Ask the upstream, however new the lists are that were fetched before.
    #[arg(long)]
    pub(crate) refresh: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prices are US dollars per million tokens. No key is needed; with one, endpoints tell how fast they
are. Lists are kept in the folder fairkey of $XDG_CACHE_HOME, or of ~/.cache: models for ten minutes,
endpoints for one. Where the upstream cannot be asked, what is kept is shown, with its age.

Examples:
    fairkey models claude --mock
    fairkey models --max-price 0.5 --min-context 100k --supports tools --sort price
    fairkey models --provider groq --json
    fairkey models show openai/gpt-4o-mini

Exit codes: 0 something was found, 1 nothing was, or the catalogue cannot be had, 2 usage or
configuration.")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ModelsCommand>,
    /// Words that have to be in the identifier or the name, in any case.
    #[arg(value_name = "QUERY")]
    pub(crate) query: Vec<String>,
    /// The most for a million prompt tokens, in US dollars.
    #[arg(long, value_name = "USD", value_parser = price, allow_negative_numbers = true)]
    pub(crate) max_price: Option<f64>,
    /// The most for a million completion tokens, in US dollars.
    #[arg(long, value_name = "USD", value_parser = price, allow_negative_numbers = true)]
    pub(crate) max_completion_price: Option<f64>,
    /// The least context, in tokens: 128000, 128k, 1m.
    #[arg(long, value_name = "TOKENS", value_parser = tokens, allow_negative_numbers = true)]
    pub(crate) min_context: Option<u64>,
    /// A parameter that has to be supported, such as tools; several with commas.
    #[arg(long, value_name = "PARAMETER", value_delimiter = ',')]
    pub(crate) supports: Vec<String>,
    /// A provider that has to serve it, by its slug.
    #[arg(long, value_name = "SLUG")]
    pub(crate) provider: Option<String>,
    /// Who has to have made it: the part before the slash.
    #[arg(long)]
    pub(crate) author: Option<String>,
    /// Only models that are free of charge.
    #[arg(long)]
    pub(crate) free: bool,
    /// What has to go in, such as image; several with commas.
    #[arg(long, value_name = "MODALITY", value_delimiter = ',')]
    pub(crate) input: Vec<String>,
    /// What has to come out, such as text; several with commas.
    #[arg(long, value_name = "MODALITY", value_delimiter = ',')]
    pub(crate) output: Vec<String>,
    /// In which order they are shown.
    #[arg(long, value_name = "ORDER", default_value = "name")]
    pub(crate) sort: Order,
    /// How many are shown at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) limit: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Show one model, and every endpoint that serves it.
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prices are US dollars per million tokens; latency is the median time to the first token, in
milliseconds, and speed the median of tokens per second, both only for who has a key.

Examples:
    fairkey models show openai/gpt-4o-mini --mock
    fairkey models show deepseek/deepseek-r1:free --json

Exit codes: 0 it has endpoints, 1 it has none, is unknown, or cannot be asked for, 2 usage or
configuration.")]
pub(crate) struct ShowArgs {
    /// The model, as author/slug.
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is sent to a model. What is told is this program's reading of the documented rules, applied to
the lists of the catalogue; what cannot be known from outside is said so. Odds are the chance to
be tried first.

Examples:
    fairkey route request.json --mock
    fairkey route --model openai/gpt-4o-mini --prompt \"Why is the sky blue?\" --max-tokens 200
    fairkey route - --json < request.json
    fairkey route request.json --endpoints endpoints.json

Exit codes: 0 an endpoint may serve the request, 1 none may, it would be refused, or the catalogue
cannot be had, 2 usage, configuration, or no request.")]
pub(crate) struct RouteArgs {
    /// The body of a chat request; - is standard input.
    #[arg(value_name = "REQUEST", required_unless_present_any = ["model", "prompt", "route"])]
    pub(crate) request: Option<PathBuf>,
    /// The model, or a route of the configuration, in place of the request's own model.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// A prompt in place of a request.
    #[arg(long, value_name = "TEXT", conflicts_with = "request")]
    pub(crate) prompt: Option<String>,
    /// The most tokens of the answer, in place of the request's own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) max_tokens: Option<u64>,
    /// The route of the configuration, in place of the request's model.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    pub(crate) route: Option<String>,
    /// Take endpoints from this file, and ask nobody: an answer of
    /// /models/{author}/{slug}/endpoints, or a list of them. May be given several times.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mock", "base_url", "offline", "refresh"])]
    pub(crate) endpoints: Vec<PathBuf>,
    /// What becomes of findings about the request: strict refuses errors, warn tells them, off does
    /// not look.
    #[arg(long, value_name = "LEVEL", default_value = "strict")]
    pub(crate) check: CheckLevel,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

/// In which order models are shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Order {
    /// By identifier.
    Name,
    /// The cheapest first.
    Price,
    /// The longest context first.
    Context,
    /// The newest first.
    Created,
}

impl From<Order> for ModelOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Name => Self::Id,
            Order::Price => Self::Price,
            Order::Context => Self::Context,
            Order::Created => Self::Newest,
        }
    }
}

/// What becomes of findings.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CheckLevel {
    /// Errors are refused.
    Strict,
    /// Everything is told, nothing refused.
    Warn,
    /// Nothing is checked.
    Off,
}

impl From<CheckLevel> for Level {
    fn from(level: CheckLevel) -> Self {
        match level {
            CheckLevel::Strict => Self::Strict,
            CheckLevel::Warn => Self::Warn,
            CheckLevel::Off => Self::Off,
        }
    }
}

fn price(text: &str) -> Result<f64, String> {
    match text.trim_start_matches('$').parse::<f64>() {
        Ok(usd) if usd.is_finite() && usd >= 0.0 => Ok(usd),
        _ => Err("a price is a number of US dollars, 0 or more".to_owned()),
    }
}

fn tokens(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, factor) = match (lower.strip_suffix('k'), lower.strip_suffix('m')) {
        (Some(digits), _) => (digits, 1e3),
        (_, Some(digits)) => (digits, 1e6),
        _ => (lower.as_str(), 1.0),
    };
    let number = digits.replace(['_', ','], "");
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    match number.parse::<f64>() {
        Ok(tokens) if number.chars().all(plain) && tokens * factor <= 1e12 => {
            Ok((tokens * factor) as u64)
        }
        _ => Err("tokens are a number such as 128000, 128k or 1m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_may_be_counted_in_thousands_and_millions() {
        for (text, expected) in [
            ("128000", Some(128_000)),
            ("128k", Some(128_000)),
            ("1.5M", Some(1_500_000)),
            ("200_000", Some(200_000)),
            ("0", Some(0)),
            ("-1", None),
            ("k", None),
            ("1e9", None),
            ("inf", None),
            ("99999999m", None),
        ] {
            assert_eq!(tokens(text).ok(), expected, "{text}");
        }
        assert_eq!(price("$0.50").ok(), Some(0.5));
        assert!(price("-1").is_err() && price("nan").is_err());
    }
}
