//! The arguments of `run`.

use std::path::PathBuf;
use std::time::Duration;

use fairkey_batch::{Concurrency, Endpoint, Format, OutputFormat, Template};

use super::money::{MoneyArgs, SchemaArgs};
use super::{KeepArgs, UpstreamArgs, WayArgs};
use crate::commands::run::input::delimiter;
use crate::config;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Input: JSON lines (lines of an OpenAI batch file; bodies of requests; {\"prompt\": \"…\"} with any
other fields of a request), CSV and TSV with a header, or plain text with one prompt a line, packed
with gzip or zstd or not. Blank lines are skipped. A row that is no request becomes an error in the
results, and the rest still runs.

A template makes a prompt of each row: the names in it are columns of a table, fields of a line of
JSON, or {text} for a line of text. Without one, a table has a column prompt, and perhaps system and
model. A column or field custom_id, or id, names the row in the results.

Output: lines in the shape of OpenAI's batch results, in the order of the input. Without -o they go
to a file beside the input: prompts.jsonl gives prompts.results.jsonl. In other shapes there is
less: the text of each answer, one a line with \\n for the end of a line and \\N for a row that has
failed; or text, error, cost and tokens as flat objects of JSON, or as a table.

Journal: OUT.journal beside OUT keeps every answer as soon as it is there, so that a run that ended,
however it ended, goes on with the same command: only what is missing is sent. Rows that were added
to the end of the input are sent, too; when nothing is missing, nothing is. --retry-failed sends
what failed again, --overwrite begins anew. An input or parameters that are not those that the run
was begun with are an error.

Money: --dry-run says what a run will cost, and --max-cost stops it before it costs more; see the
chapter \"What a run costs\" of the book.

Examples:
    fairkey run prompts.jsonl --dry-run --max-tokens 200
    fairkey run prompts.jsonl --max-tokens 200 --max-cost 5 --schema answer.json
    fairkey run examples/prompts.jsonl --mock
    fairkey run prompts.txt -o answers.jsonl --model openai/gpt-4o-mini --max-tokens 200
    fairkey run reviews.csv --template 'Is this review friendly? {review}' -o answers.csv
    fairkey run 'logs/*.jsonl.zst' -o answers.jsonl --override model=openai/gpt-4o-mini
    fairkey run prompts.jsonl -o answers.jsonl --mode upstream-batch
    fairkey run prompts.jsonl -o answers.jsonl --via http://127.0.0.1:4210
    cat texts.txt | fairkey run - --endpoint /embeddings --model openai/text-embedding-3-small

Exit codes: 0 every row answered, 1 some rows failed, 2 usage or configuration, 3 stopped early,
130 interrupted. The first Ctrl-C finishes what is in flight, the second leaves at once.")]
pub(crate) struct RunArgs {
    /// Files of prompts, one after the other; - is standard input, and patterns such as
    /// 'data/*.jsonl' are files, too.
    #[arg(value_name = "IN", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Where the results go; - is standard output. Default: a file beside the input, or standard
    /// output where the input is standard input. Several inputs need it.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// The shape of results: batch (lines of OpenAI's batch results), text, json (flat objects, one
    /// a line), csv or parquet. Default: by the name of OUT (.txt, .csv, .parquet), else batch.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output_format: Option<OutputFormat>,
    /// Begin anew: replace OUT if it exists, and forget its journal.
    #[arg(long, alias = "fresh")]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// How the input is written: auto, jsonl, text, csv, tsv or parquet. auto goes by the name of
    /// the file (.jsonl, .ndjson, .txt, .csv, .tsv, .parquet), and then by the first line.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub(crate) format: Format,
    /// How a prompt is made of a row, such as 'Translate: {text}'; {{ and }} are single braces.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) template: Option<Template>,
    /// What separates the cells of a table, such as ';'. Default: a comma, of TSV a tab.
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,
    /// Where requests go that do not say so themselves, such as /embeddings, /responses, /messages.
    /// Default: /chat/completions.
    #[arg(long, value_name = "PATH")]
    pub(crate) endpoint: Option<Endpoint>,
    /// How many rows are in flight at most. auto: as many as make it faster, as long as nobody asks
    /// to slow down, and 8192 at most.
    #[arg(
        long,
        value_name = "N|auto",
        default_value = "auto",
        allow_negative_numbers = true
    )]
    pub(crate) concurrency: Concurrency,
    /// The model of lines that name none, or a route of the configuration.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// The route of lines that name no model.
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    pub(crate) route: Option<String>,
    /// The system message of lines that have none.
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// The most tokens of an answer, for lines that say nothing about it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) max_tokens: Option<u64>,
    /// Another field of requests that do not have it, such as temperature=0 or
    /// provider.sort=price; can be repeated. The value is JSON, or else a text.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// The same, but in place of what requests have, such as model=openai/gpt-4o-mini.
    #[arg(long = "override", value_name = "PATH=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Write results as they come, not in the order of the input.
    #[arg(long)]
    pub(crate) unordered: bool,
    /// How long to go on without a single answer while attempts fail or every key is out.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::duration)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) patience: Duration,
    #[command(flatten)]
    pub(crate) money: MoneyArgs,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
    /// Write a page with plots when the run has ended: what was answered when, how long it took,
    /// who refused what, and what each key did.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Print for programs: events as lines of JSON to standard error, and at the end the summary as
    /// one line of JSON to standard output, or to standard error where the results go to standard
    /// output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print warnings and errors only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) way: WayArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

impl RunArgs {
    /// Returns the shape of results: what is said, else what the name of OUT tells.
    pub(crate) fn output_format(&self) -> OutputFormat {
        let extension = self.output.as_ref().and_then(|output| output.extension());
        let extension = extension.and_then(|extension| extension.to_str());
        self.output_format.unwrap_or(match extension {
            Some("csv") => OutputFormat::Csv,
            Some("parquet" | "pq") => OutputFormat::Parquet,
            Some("txt") => OutputFormat::Text,
            _ => OutputFormat::Batch,
        })
    }
}
