//! The arguments of `run` about money, and about what answers shall look like.

use std::path::PathBuf;

/// What a run may cost.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct MoneyArgs {
    /// Send nothing: read the input, count rows and tokens, and say what the run will cost and how
    /// long it will take.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Spend no more than this, in US dollars: what a row may cost at most is set aside before it
    /// is sent, and where that does not fit any more the run stops (exit code 3). What results that
    /// are there already have cost counts.
    #[arg(long, value_name = "USD", value_parser = micro_usd)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) max_cost: Option<u64>,
}

/// What answers shall look like.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct SchemaArgs {
    /// Check the text of every answer: it has to be JSON that fits this JSON Schema. A row whose
    /// answer does not fails with schema_invalid, and the answer is kept.
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// How often a row is asked again whose answer does not fit.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "schema")]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) schema_retries: u32,
    /// Ask for answers that fit: send the schema as response_format with lines that have none.
    #[arg(long, requires = "schema")]
    pub(crate) schema_inject: bool,
}

/// Reads an amount of US dollars, in millionths of one.
fn micro_usd(text: &str) -> Result<u64, String> {
    let amount = text.strip_prefix('$').unwrap_or(text);
    let usd: f64 = (amount.trim().parse())
        .map_err(|_| format!("{text:?} is no amount of US dollars, such as 2.50"))?;
    if !(0.0..=1e9).contains(&usd) {
        return Err(format!("{text:?} is not from 0 to 1000000000"));
    }
    // Less than a millionth is no amount that anything counts in.
    Ok((usd * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_dollars() {
        for (text, amount) in [
            ("2.50", 2_500_000),
            ("$0", 0),
            ("0.000001", 1),
            ("1e2", 100_000_000),
        ] {
            assert_eq!(micro_usd(text), Ok(amount), "{text}");
        }
        for text in ["", "five", "-1", "nan", "inf", "2,50"] {
            assert!(micro_usd(text).is_err(), "{text}");
        }
    }
}
