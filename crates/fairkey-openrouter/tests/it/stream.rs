//! Streamed chat completions.

use bytes::Bytes;
use fairkey_core::{Cost, Scope};
use fairkey_openrouter::{Cause, ChatStreamReader, Fault, FinishReason, StreamItem};
use proptest::prelude::*;

const ROLE: &str = concat!(
    r#"{"id":"gen-1","model":"acme/large","provider":"Acme","choices":[{"index":0,"#,
    r#""delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
);
const TEXT: &str = r#"{"id":"gen-1","choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
const STOP: &str = r#"{"id":"gen-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = concat!(
    r#"{"id":"gen-1","choices":[],"usage":{"prompt_tokens":3,"#,
    r#""completion_tokens":2,"total_tokens":5,"cost":0.00025}}"#,
);
const STOP_AGAIN: &str = concat!(
    r#"{"id":"gen-1","choices":[{"index":0,"delta":{"content":""},"#,
    r#""finish_reason":"stop"}],"usage":{"total_tokens":5,"cost":0.00025}}"#,
);
const DONE: &str = "[DONE]";

/// A stream of these events, each whole.
fn stream(events: &[&str]) -> String {
    events
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect()
}

/// Reads a stream to its end, and says what came: a letter per item, and the last one.
fn read(stream: &str) -> (String, ChatStreamReader, Option<Fault>) {
    let mut reader = ChatStreamReader::new();
    let (mut items, mut fault) = (String::new(), None);
    let mut take = |reader: &mut ChatStreamReader| {
        while let Some(item) = reader.next() {
            items.push(match item {
                StreamItem::Comment => '.',
                StreamItem::Chunk(..) => 'c',
                StreamItem::Done => 'D',
                StreamItem::Fault(found) => {
                    fault = Some(found);
                    'F'
                }
                other => panic!("{other:?}"),
            });
        }
    };
    reader.push(stream.as_bytes());
    take(&mut reader);
    reader.finish();
    take(&mut reader);
    assert!(reader.is_over());
    (items, reader, fault)
}

#[track_caller]
fn check(text: &str, items: &str) -> (ChatStreamReader, Option<Fault>) {
    let (found, reader, fault) = read(text);
    assert_eq!(found, items, "{text}");
    (reader, fault)
}

#[track_caller]
fn check_fault(text: &str, items: &str, cause: Cause) -> Fault {
    let (_, fault) = check(text, items);
    let fault = fault.unwrap_or_else(|| panic!("no fault: {text}"));
    assert_eq!(fault.cause(), cause, "{fault}");
    fault
}

#[test]
fn a_whole_stream_ends_done_and_knows_what_it_cost() {
    let comments = ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n";
    let text = format!("{comments}{}", stream(&[ROLE, TEXT, STOP, USAGE, DONE]));
    let (reader, _) = check(&text, "..ccccD");
    assert_eq!(reader.finish_reason(), Some(&FinishReason::Stop));
    assert_eq!(
        reader.cost(),
        Some(Cost {
            requests: 1,
            tokens: 5,
            micro_usd: 250
        })
    );
    assert_eq!(reader.provider(), Some("Acme"));
    assert_eq!(reader.model(), Some("acme/large"));
    assert_eq!(reader.id(), Some("gen-1"));
    assert!(reader.has_content());
}

#[test]
fn a_second_finish_beside_the_usage_is_not_a_new_one() {
    let (reader, _) = check(&stream(&[TEXT, STOP, STOP_AGAIN, DONE]), "cccD");
    assert_eq!(reader.finish_reason(), Some(&FinishReason::Stop));
    assert_eq!(reader.cost().unwrap().micro_usd, 250);
}

#[test]
fn a_role_alone_is_no_content() {
    let mut reader = ChatStreamReader::new();
    reader.push(stream(&[ROLE]).as_bytes());
    assert!(matches!(reader.next(), Some(StreamItem::Chunk(..))));
    assert!(!reader.has_content());
    reader.push(stream(&[TEXT]).as_bytes());
    assert!(matches!(reader.next(), Some(StreamItem::Chunk(..))));
    assert!(reader.has_content());
}

#[test]
fn a_truncated_stream_is_a_failure() {
    check_fault("", "F", Cause::Truncated);
    check_fault(": OPENROUTER PROCESSING\n\n", ".F", Cause::Truncated);
    check_fault(&stream(&[ROLE]), "cF", Cause::Truncated);
    let fault = check_fault(&stream(&[ROLE, TEXT]), "ccF", Cause::Truncated);
    assert_eq!(fault.provider(), Some("Acme"), "it says who broke off");
    check_fault(
        &format!("{}data: {{\"choi", stream(&[TEXT])),
        "cF",
        Cause::Truncated,
    );
    check_fault(
        &format!("{}data: [DON", stream(&[TEXT])),
        "cF",
        Cause::Truncated,
    );
}

#[test]
fn a_stream_is_whole_with_a_finish_or_with_its_end_mark() {
    check(&stream(&[TEXT, STOP]), "ccD");
    check(&stream(&[TEXT, STOP, USAGE]), "cccD");
    check(&stream(&[TEXT, DONE]), "cD");
    // The last event lacks its blank line.
    check(&format!("{}data: {DONE}\n", stream(&[TEXT])), "cD");
    check(&format!("{}data: {DONE}", stream(&[TEXT])), "cD");
    check(&format!("{}data: {STOP}\n", stream(&[TEXT])), "ccD");
}

#[test]
fn a_stream_without_a_single_choice_is_no_answer() {
    check_fault(&stream(&[DONE]), "F", Cause::NoContent);
    check_fault(&stream(&[USAGE, DONE]), "cF", Cause::NoContent);
}

#[test]
fn an_error_chunk_ends_the_stream_with_its_fault() {
    let limit = concat!(
        r#"{"id":"gen-1","provider":"Acme","error":{"code":429,"message":"Slow down","#,
        r#""metadata":{"error_type":"rate_limit_exceeded"}},"choices":[{"index":0,"#,
        r#""delta":{"content":""},"finish_reason":"error"}]}"#,
    );
    let fault = check_fault(
        &stream(&[TEXT, limit, DONE]),
        "cF",
        Cause::ProviderRateLimited,
    );
    assert_eq!(fault.scope(), Scope::Provider);
    assert_eq!(fault.message(), "Slow down");

    let bare = r#"{"error":{"code":502,"message":"JSON error injected into SSE stream"}}"#;
    let fault = check_fault(&stream(&[ROLE, bare]), "cF", Cause::ProviderError);
    assert_eq!(
        fault.provider(),
        Some("Acme"),
        "an earlier chunk named the provider"
    );

    let finish = concat!(
        r#"{"choices":[{"delta":{},"finish_reason":"error","#,
        r#""native_finish_reason":"MALFORMED_FUNCTION_CALL"}]}"#,
    );
    let fault = check_fault(&stream(&[TEXT, finish]), "cF", Cause::ErrorIn200);
    assert!(
        fault.message().contains("MALFORMED_FUNCTION_CALL"),
        "{fault}"
    );

    let choice = r#"{"choices":[{"delta":{},"error":{"code":503,"message":"Busy, overloaded"}}]}"#;
    check_fault(&stream(&[choice]), "F", Cause::Overloaded);
    check_fault(
        "event: error\ndata: {\"message\":\"x\",\"type\":\"error\"}\n\n",
        "F",
        Cause::ErrorIn200,
    );
}

#[test]
fn an_error_after_the_finish_is_still_one() {
    let bare = r#"{"error":{"code":502,"message":"late"}}"#;
    check_fault(
        &stream(&[TEXT, STOP, bare, DONE]),
        "ccF",
        Cause::ProviderError,
    );
}

#[test]
fn an_event_that_is_no_json_is_a_failure_that_quotes_nothing() {
    let fault = check_fault(&stream(&[TEXT, "my secret prompt"]), "cF", Cause::Malformed);
    assert!(!fault.to_string().contains("secret"), "{fault}");
}

#[test]
fn an_event_beyond_the_bound_is_a_failure_that_names_it() {
    let mut reader = ChatStreamReader::with_limit(100);
    reader.push(format!("data: {}\n\n", "x".repeat(200)).as_bytes());
    let Some(StreamItem::Fault(fault)) = reader.next() else {
        panic!()
    };
    assert!(fault.message().contains("100 bytes"), "{fault}");
    assert_eq!(reader.next(), None);
}

#[test]
fn what_comes_after_the_end_is_ignored() {
    let mut reader = ChatStreamReader::new();
    reader.push(stream(&[TEXT, DONE, TEXT]).as_bytes());
    assert!(matches!(reader.next(), Some(StreamItem::Chunk(..))));
    assert_eq!(reader.next(), Some(StreamItem::Done));
    reader.push(stream(&[TEXT]).as_bytes());
    reader.finish();
    assert_eq!(reader.next(), None);
}

#[test]
fn chunks_that_carry_nothing_known_pass_through() {
    let debug = r#"{"id":"gen-1","choices":[],"debug":{"echo_upstream_body":{"a":1}}}"#;
    let empty = "";
    check(
        &stream(&[debug, empty, r#"{"type":"ping"}"#, TEXT, STOP, DONE]),
        "ccccD",
    );
}

#[test]
fn an_odd_field_does_not_end_a_stream() {
    let odd = r#"{"id":7,"choices":[{"delta":{"content":"Hi"},"native_finish_reason":5}]}"#;
    check(&stream(&[odd, STOP, DONE]), "ccD");
}

#[test]
fn the_bytes_of_a_chunk_come_as_they_were() {
    let odd = r#"{ "choices":[ {"delta":{"content":"\u0041"}} ],  "later":1.50 }"#;
    let mut reader = ChatStreamReader::new();
    reader.push(stream(&[odd]).as_bytes());
    let Some(StreamItem::Chunk(chunk, raw)) = reader.next() else {
        panic!()
    };
    assert_eq!(raw, odd);
    assert_eq!(chunk.text(), "A");
}

#[test]
fn who_skims_hears_of_everything_but_more_content() {
    let read = |events: &[&str]| {
        let mut reader = ChatStreamReader::new();
        reader.push_bytes(stream(events).into());
        let items: Vec<_> = std::iter::from_fn(|| reader.skim()).collect();
        (items, reader)
    };
    let (items, reader) = read(&[ROLE, TEXT, TEXT, TEXT, STOP, USAGE, DONE]);
    assert_eq!(items.len(), 5, "{items:?}");
    assert_eq!(items[4], StreamItem::Done);
    assert_eq!(reader.usage().unwrap().total_tokens, 5);
    assert_eq!(reader.finish_reason(), Some(&FinishReason::Stop));
    let failed = r#"{"id":"gen-1","choices":[],"error":{"code":502,"message":"x"}}"#;
    for broken in [failed, "{\"choices\":[", "nothing"] {
        let (items, _) = read(&[ROLE, TEXT, TEXT, broken, TEXT]);
        assert!(
            matches!(items[..], [_, _, StreamItem::Fault(_)]),
            "{items:?}"
        );
    }
}

proptest! {
    /// Whatever forms the events have, and however they are cut, who skims knows the same at the
    /// end as who reads everything.
    #[test]
    fn who_skims_knows_what_who_reads_knows(
        chosen in proptest::collection::vec((0_usize..12, 0_usize..4), 0..24),
        cuts in proptest::collection::vec(1_usize..400, 1..8),
    ) {
        let other = TEXT.replace("Hi", "a\\nword");
        let id = TEXT.replace("gen-1", "gen-2");
        let datas = [
            ROLE, TEXT, TEXT, TEXT, TEXT, &other, &id, STOP, USAGE, DONE, "nothing", "",
        ];
        let text: String = (chosen.iter())
            .map(|(data, form)| match (datas[*data], form) {
                (data, 0 | 1) => format!("data: {data}\n\n"),
                (data, 2) => format!("data:{data}\r\n\r\n"),
                (data, _) => format!(": hold\nevent: x\ndata: {data}\r\r"),
            })
            .collect();
        let told = |skims: bool| {
            let mut reader = ChatStreamReader::new();
            let (mut last, mut rest) = (None, Bytes::from(text.clone()));
            let mut cuts = cuts.iter().cycle();
            while !reader.is_over() {
                match cuts.next() {
                    Some(cut) if !rest.is_empty() => {
                        reader.push_bytes(rest.split_to(rest.len().min(*cut)));
                    }
                    _ => reader.finish(),
                }
                while let Some(item) = if skims { reader.skim() } else { reader.next() } {
                    last = Some(item);
                }
            }
            let finish = reader.finish_reason().cloned();
            let id = reader.id().map(str::to_owned);
            (last, finish, id, reader.usage().cloned(), reader.has_content())
        };
        prop_assert_eq!(told(true), told(false));
    }
}

#[test]
fn a_reader_that_waits_keeps_nothing_alive_of_what_it_has_read() {
    let (mut skimming, mut reading) = (ChatStreamReader::new(), ChatStreamReader::new());
    for chunk in [&[ROLE][..], &[TEXT, TEXT], &[TEXT]] {
        let chunk = Bytes::from(stream(chunk));
        skimming.push_bytes(chunk.clone());
        while skimming.skim().is_some() {}
        reading.push_bytes(chunk.clone());
        while reading.next().is_some() {}
        assert!(chunk.is_unique(), "{chunk:?}");
    }
}
