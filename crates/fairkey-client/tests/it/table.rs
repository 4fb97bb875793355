//! The verdict on each answer that OpenRouter gives: the table in the docs, row by row.

mod rows;

use std::fmt::Write as _;
use std::time::Duration;

use fairkey_client::{Case, RetryConfig, Spent, Verdict, verdict};
use fairkey_openrouter::{Cause, Fault};
use http::{HeaderMap, StatusCode};

pub(crate) use self::rows::ROWS;
use self::rows::Row;

fn decide(fault: &Fault, spent: Spent) -> Verdict {
    let case = Case::of(fault, Duration::from_secs(1_800_000_000), false);
    verdict(case, spent, &RetryConfig::default(), 0.5)
}

#[test]
fn every_row_has_its_cause_and_its_verdicts() {
    for row in ROWS {
        let fault = row.fault(row.status);
        assert_eq!(
            (fault.cause(), fault.scope()),
            (row.cause, row.scope),
            "{}",
            row.says
        );
        let alone = decide(&fault, Spent::first(0));
        let named = decide(&fault, Spent::first(1));
        assert_eq!(
            (alone.as_str(), named.as_str()),
            (row.alone, row.named),
            "{}",
            row.says
        );
    }
}

#[test]
fn statuses_that_share_a_row_are_one() {
    for (first, other) in [(409, 412), (504, 524)] {
        let row = ROWS.iter().find(|row| row.status == first).unwrap();
        assert!(row.says.contains(&other.to_string()));
        let (a, b) = (row.fault(first), row.fault(other));
        assert_eq!((a.cause(), a.scope()), (b.cause(), b.scope()));
    }
    for code in ["model_deprecated", "free_variant_ended"] {
        let body = format!(
            r#"{{"error":{{"code":404,"message":"x","availability":{{"code":"{code}"}}}}}}"#
        );
        let status = StatusCode::NOT_FOUND;
        let fault = Fault::from_response(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(fault.cause(), Cause::ModelGone);
    }
    let step = br#"{"error":{"code":404,"message":"x","metadata":{"failed_routing_step":"Filter by Max Price"}}}"#;
    let fault = Fault::from_response(StatusCode::NOT_FOUND, &HeaderMap::new(), step);
    assert_eq!(fault.cause(), Cause::RoutingFailed);
}

#[test]
fn the_table_in_the_docs_is_this_one() {
    let mut table = String::from(
        "| answer | cause | charged to | verdict | with another model named |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for row in ROWS {
        let Row {
            says,
            cause,
            scope,
            alone,
            named,
            ..
        } = row;
        writeln!(
            table,
            "| {says} | `{cause}` | {scope} | {alone} | {named} |"
        )
        .unwrap();
    }
    let docs = include_str!("../../src/verdict/table.md");
    assert!(
        docs == table,
        "src/verdict/table.md, and its copy in the book's chapter on faults, should be:\n{table}"
    );
}
