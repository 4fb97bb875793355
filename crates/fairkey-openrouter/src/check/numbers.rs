//! Numbers: finite, and within their range.

use super::Findings;
use crate::request::{ChatRequest, Cutoff, Price};

/// A range of numbers.
#[derive(Clone, Copy)]
struct Range {
    least: f64,
    most: f64,
    /// Whether the least itself is outside.
    is_open: bool,
}

const fn from_to(least: f64, most: f64) -> Range {
    Range {
        least,
        most,
        is_open: false,
    }
}

const fn above_to(least: f64, most: f64) -> Range {
    Range {
        least,
        most,
        is_open: true,
    }
}

pub(super) fn check(request: &ChatRequest, to: &mut Findings) {
    for (field, value, range) in [
        ("temperature", request.temperature, from_to(0.0, 2.0)),
        ("top_p", request.top_p, above_to(0.0, 1.0)),
        ("min_p", request.min_p, from_to(0.0, 1.0)),
        ("top_a", request.top_a, from_to(0.0, 1.0)),
        (
            "frequency_penalty",
            request.frequency_penalty,
            from_to(-2.0, 2.0),
        ),
        (
            "presence_penalty",
            request.presence_penalty,
            from_to(-2.0, 2.0),
        ),
        (
            "repetition_penalty",
            request.repetition_penalty,
            above_to(0.0, 2.0),
        ),
    ] {
        in_range(field, value, range, to);
    }
    for (token, bias) in request.logit_bias.iter().flatten() {
        let field = format!("logit_bias[{token:?}]");
        in_range(&field, Some(*bias), from_to(-100.0, 100.0), to);
    }
    let top = request.top_logprobs.map(|top| top as f64);
    in_range("top_logprobs", top, from_to(0.0, 20.0), to);
    for (field, value) in [
        ("max_tokens", request.max_tokens),
        ("max_completion_tokens", request.max_completion_tokens),
    ] {
        if value == Some(0) {
            to.error(
                field,
                0,
                "an answer has at least one token",
                "leave it out, or raise it",
            );
        }
    }
    let Some(provider) = &request.provider else {
        return;
    };
    if let Some(most) = &provider.max_price {
        for (field, price) in [
            ("prompt", &most.prompt),
            ("completion", &most.completion),
            ("request", &most.request),
            ("image", &most.image),
            ("audio", &most.audio),
        ] {
            let Some(price) = price else { continue };
            let field = format!("provider.max_price.{field}");
            match price.usd() {
                None => {
                    let value = match price {
                        Price::Number(number) => number.to_string(),
                        Price::Text(text) => format!("{text:?}"),
                    };
                    to.error(field, value, "it is no finite number", "write US dollars");
                }
                usd => in_range(&field, usd, from_to(0.0, f64::MAX), to),
            }
        }
    }
    for (field, cutoff) in [
        (
            "preferred_min_throughput",
            &provider.preferred_min_throughput,
        ),
        ("preferred_max_latency", &provider.preferred_max_latency),
    ] {
        for (percentile, bound) in cutoff.iter().flat_map(Cutoff::bounds) {
            let field = format!("provider.{field}, p{percentile}");
            in_range(&field, Some(bound), from_to(0.0, f64::MAX), to);
        }
    }
}

fn in_range(field: &str, value: Option<f64>, range: Range, to: &mut Findings) {
    let Some(value) = value else { return };
    let Range {
        least,
        most,
        is_open,
    } = range;
    if !value.is_finite() {
        to.error(
            field,
            value,
            "JSON has no such number, and would say null",
            "write a finite number",
        );
    } else if value < least || value > most || (is_open && value == least) {
        let above = if is_open { "above " } else { "" };
        let rule = match most {
            f64::MAX => format!("it goes from {above}{least} up"),
            most => format!("it goes from {above}{least} to {most}"),
        };
        to.error(field, value, rule, "write a number in between");
    }
}
