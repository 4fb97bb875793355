//! What the fuzz targets run, and the tests that replay their seeds: one body for both.
//!
//! Not part of the API.

mod answer;
mod batch;
mod estimate;
mod events;
mod request;
mod splice;

use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{Outcome, Retry, Timestamp};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{
    Cause, ChatRequest, ChatResponse, ChatStreamReader, Fault, KeyInfo, RetryHint, SseParser,
    StreamItem, parse_reset_stamp, parse_retry_after,
};

/// A target: its name, which is also the folder of its seeds, and its body.
#[derive(Clone, Copy, Debug)]
pub struct Target(pub &'static str, pub fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    Target("sse", sse),
    Target("chat_stream", chat_stream),
    Target("event_stream", events::event_stream),
    Target("answer", answer::answer),
    Target("error_body", error_body),
    Target("retry_after", retry_after),
    Target("splice", splice::splice),
    Target("request", request::request),
    Target("estimate", estimate::estimate),
    Target("batch", batch::batch),
];

pub use answer::answer;
pub use batch::batch;
pub use estimate::estimate;
pub use events::event_stream;
pub use request::request;
pub use splice::splice;

/// A small bound, so that the fuzzer meets it.
const LIMIT: usize = 64;

/// A parser gives the same events for the whole input, for every two halves of it, and for its
/// bytes one by one, whether they are copied or not.
pub fn sse(input: &[u8]) {
    fn events(parts: &[&[u8]], copies: bool) -> Vec<String> {
        let mut parser = SseParser::new(LIMIT);
        let mut events = Vec::new();
        for part in parts {
            if copies {
                parser.push(part);
            } else {
                parser.push_bytes(Bytes::copy_from_slice(part));
            }
            while let Some(event) = parser.next() {
                events.push(format!("{event:?}"));
            }
        }
        let rest = parser.finish();
        assert_eq!(parser.next(), None, "nothing comes after the end");
        events.push(format!("{rest:?}"));
        events
    }
    let whole = events(&[input], true);
    assert_eq!(events(&[input], false), whole, "without a copy");
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(events(&bytes, true), whole, "byte by byte");
    // Quadratic: long inputs are cut at their beginning only.
    for at in 0..input.len().min(512) {
        let (left, right) = input.split_at(at);
        assert_eq!(events(&[left, right], at % 2 == 0), whole, "cut at {at}");
    }
}

/// A reader gives the same items however the bytes are cut, ends exactly once, and never says
/// `Done` of a stream that is cut off before its finish. Skimmed, a stream tells the same.
pub fn chat_stream(input: &[u8]) {
    fn items(parts: &[&[u8]]) -> (Vec<String>, bool) {
        let mut reader = ChatStreamReader::with_limit(4096);
        let mut items = Vec::new();
        let mut last = 0;
        let mut take = |reader: &mut ChatStreamReader| {
            while let Some(item) = reader.next() {
                last += usize::from(matches!(item, StreamItem::Done | StreamItem::Fault(_)));
                items.push(format!("{item:?}"));
            }
        };
        for part in parts {
            reader.push(part);
            take(&mut reader);
        }
        reader.finish();
        take(&mut reader);
        assert_eq!(last, 1, "one end");
        assert!(reader.is_over());
        let has_finished = reader.finish_reason().is_some();
        (items, has_finished)
    }
    let (whole, has_finished) = items(&[input]);
    let is_done = whole.last().is_some_and(|item| item == "Done");
    assert!(
        !is_done || has_finished || contains(input, b"[DONE]"),
        "done out of nothing"
    );
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(items(&bytes).0, whole, "byte by byte");
    let (left, right) = input.split_at(input.len() / 2);
    assert_eq!(items(&[left, right]).0, whole, "in halves");
    let full = told(input, false, false);
    // What a look over a chunk does not find wrong, such as a number too large for any type.
    let is_odd =
        |item: &StreamItem| matches!(item, StreamItem::Fault(it) if it.cause() == Cause::Malformed);
    if !full.0.as_ref().is_some_and(is_odd) {
        assert_eq!(told(input, true, false), full, "skimmed by line");
        assert_eq!(told(input, true, true), full, "skimmed in one");
    }
}

/// What is known of a stream at its end.
fn told(
    input: &[u8],
    skims: bool,
    in_one: bool,
) -> (Option<StreamItem>, impl PartialEq + std::fmt::Debug) {
    let mut reader = ChatStreamReader::with_limit(4096);
    let mut last = None;
    let next = |reader: &mut ChatStreamReader| match skims {
        true => reader.skim(),
        false => reader.next(),
    };
    for part in input.split_inclusive(|byte| *byte == b'\n' && !in_one) {
        reader.push_bytes(Bytes::copy_from_slice(part));
        while let Some(item) = next(&mut reader) {
            last = Some(item);
        }
    }
    reader.finish();
    while let Some(item) = next(&mut reader) {
        last = Some(item);
    }
    let rest = (
        reader.has_content(),
        reader.finish_reason().cloned(),
        reader.usage().cloned(),
        reader.provider().map(str::to_owned),
        reader.model().map(str::to_owned),
        reader.id().map(str::to_owned),
    );
    (last, rest)
}

/// Reading faults is total, and tells nobody a key. The first two bytes choose the status.
pub fn error_body(input: &[u8]) {
    let (status, body) = input.split_at(input.len().min(2));
    let number = status.iter().fold(0, |n: u16, b| n << 8 | u16::from(*b));
    let status = StatusCode::from_u16(100 + number % 500).unwrap_or_default();
    check(&Fault::from_response(status, &HeaderMap::new(), body));
    check(&Fault::from_cut_response(status, &HeaderMap::new(), body));
    for found in [
        Fault::in_body(body),
        Fault::in_chat_body(body),
        Fault::from_frame(body),
    ] {
        found.iter().for_each(check);
    }
    // The types beside it are lenient, but may refuse.
    let _ = (ChatResponse::from_slice(body), KeyInfo::from_slice(body));
    if let Ok(request) = ChatRequest::from_slice(body) {
        let again = ChatRequest::from_slice(&request.to_bytes());
        assert_eq!(
            again.ok(),
            Some(request),
            "a request survives its own bytes"
        );
    }
}

/// Hints are bounded however they come. The whole input is a header's value, and a message.
pub fn retry_after(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = parse_reset_stamp(&text);
    if let RetryHint::After(wait) | RetryHint::At(wait) = parse_retry_after(&text) {
        assert!(wait < Duration::from_secs(1 << 40));
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(input) {
        headers.insert("retry-after", value.clone());
        headers.insert("x-ratelimit-reset", value);
    }
    let body = serde_json::json!({"error": {"message": text, "metadata": {"resets_at": text}}});
    let body = body.to_string();
    for status in [402, 403, 429, 503] {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        check(&Fault::from_response(status, &headers, body.as_bytes()));
    }
}

/// What holds for every fault.
fn check(fault: &Fault) {
    let now = Timestamp::from_nanos(1_000_000_000);
    for wall in [0, 1_791_800_000, u64::MAX].map(Duration::from_secs) {
        let outcome = fault.outcome(now, wall);
        assert_eq!(outcome.scope(), Some(fault.scope()));
        let Outcome::Fault { retry, .. } = outcome else {
            unreachable!("it has a scope")
        };
        if let Some(at) = retry.at(now) {
            assert!(at > now && at <= now + fault.max_wait(), "{fault:?}");
        }
        assert_eq!(retry == Retry::Never, fault.retry() == RetryHint::Never);
    }
    let shown = format!(
        "{fault} {fault:?} {}",
        fault.provider_message().unwrap_or_default()
    );
    assert!(
        !shown.contains("sk-or-v1-0123456789abcdef"),
        "a key is shown"
    );
    assert!(
        shown.chars().all(|c| !c.is_control()),
        "a control character is shown"
    );
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
