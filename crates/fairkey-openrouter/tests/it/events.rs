//! Streams of the formats that are not chat: content, usage, ends, and the lack of one.

use fairkey_core::{Cost, Scope};
use fairkey_openrouter::EventFormat::{Messages, Other, Responses};
use fairkey_openrouter::{Cause, EventFormat, EventItem, EventStreamReader, Fault};

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"acme/large",
    "provider":"Acme","content":[],"usage":{"input_tokens":12,"output_tokens":0}}}"#;
const BLOCK: &str = concat!(
    r#"{"type":"content_block_start","index":0,"#,
    r#""content_block":{"type":"text","text":""}}"#,
);
const PING: &str = r#"{"type":"ping"}"#;
const DELTA: &str = concat!(
    r#"{"type":"content_block_delta","index":0,"#,
    r#""delta":{"type":"text_delta","text":"Hi"}}"#,
);
const END: &str = concat!(
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"#,
    r#""usage":{"input_tokens":null,"output_tokens":15,"cost":0.001}}"#,
);
const STOP: &str = r#"{"type":"message_stop"}"#;

const CREATED: &str =
    r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress"}}"#;
const ITEM: &str = concat!(
    r#"{"type":"response.output_item.added","#,
    r#""item":{"type":"message","id":"m","role":"assistant","status":"in_progress","content":[]}}"#,
);
const PART: &str = concat!(
    r#"{"type":"response.content_part.added","#,
    r#""part":{"type":"output_text","text":""}}"#,
);
const TEXT: &str = r#"{"type":"response.output_text.delta","delta":"Hi"}"#;
const COMPLETED: &str = concat!(
    r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","#,
    r#""model":"acme/large","output":[{"type":"message","content":[{"text":"Hi"}]}],"#,
    r#""usage":{"input_tokens":10,"output_tokens":20,"total_tokens":30,"cost":0.002}}}"#,
);

/// A stream of these events, each whole; Messages names its events.
fn stream(format: EventFormat, events: &[&str]) -> String {
    let event = |data: &&str| {
        let kind = serde_json::from_str::<serde_json::Value>(data).ok();
        let kind = kind.and_then(|json| json["type"].as_str().map(str::to_owned));
        let data = data.replace('\n', " ");
        match kind {
            Some(kind) if format == Messages => format!("event: {kind}\ndata: {data}\n\n"),
            _ => format!("data: {data}\n\n"),
        }
    };
    events.iter().map(event).collect()
}

/// Reads a stream to its end: a letter per item, `!` where content came first.
fn read(format: EventFormat, stream: &str) -> (String, EventStreamReader, Option<Fault>) {
    let mut reader = EventStreamReader::new(format);
    let (mut items, mut fault, mut content) = (String::new(), None, false);
    let mut take = |reader: &mut EventStreamReader| {
        while let Some(item) = reader.next() {
            items.push(match item {
                EventItem::Comment => '.',
                EventItem::Event(_) if reader.has_content() && !content => '!',
                EventItem::Event(_) => 'e',
                EventItem::Done => 'D',
                EventItem::Fault(found) => {
                    fault = Some(found);
                    'F'
                }
                other => panic!("{other:?}"),
            });
            content = reader.has_content();
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
fn check(format: EventFormat, events: &[&str], items: &str) -> (EventStreamReader, Option<Fault>) {
    let text = stream(format, events);
    let (found, reader, fault) = read(format, &text);
    assert_eq!(found, items, "{text}");
    (reader, fault)
}

/// Checks that a stream fails, and why.
#[track_caller]
fn check_fault(format: EventFormat, events: &[&str], items: &str, cause: Cause) -> Fault {
    let fault = check(format, events, items).1.expect("a fault");
    assert_eq!(fault.cause(), cause, "{fault:?}");
    fault
}

#[test]
fn a_whole_message_is_read() {
    let events = [START, PING, BLOCK, DELTA, DELTA, END, STOP];
    let (reader, _) = check(Messages, &events, "eee!eeeD");
    assert_eq!(reader.stop_reason(), Some("end_turn"));
    assert_eq!(reader.provider(), Some("Acme"));
    assert_eq!(reader.model(), Some("acme/large"));
    assert_eq!(reader.id(), Some("msg_1"));
    let cost = Cost {
        requests: 1,
        tokens: 27,
        micro_usd: 1000,
    };
    assert_eq!(reader.cost(), Some(cost));
    assert_eq!(reader.usage().unwrap().prompt_tokens, 12);
}

#[test]
fn a_whole_response_is_read() {
    let (reader, _) = check(Responses, &[CREATED, ITEM, PART, TEXT, COMPLETED], "eee!eD");
    assert_eq!(reader.stop_reason(), Some("completed"));
    assert_eq!(reader.id(), Some("resp_1"));
    assert_eq!(reader.model(), Some("acme/large"));
    assert_eq!(reader.cost().unwrap().tokens, 30);
    // Nothing comes after the end, whatever is sent.
    check(Responses, &[TEXT, COMPLETED, "[DONE]", TEXT], "!eD");
}

#[test]
fn a_stream_without_its_last_event_is_a_failure() {
    for (format, events, items) in [
        (Messages, &[START, BLOCK, DELTA][..], "ee!F"),
        // Even where all of the text is there: the usage may not be.
        (Messages, &[START, BLOCK, DELTA, END], "ee!eF"),
        (Messages, &[START], "eF"),
        (Messages, &[], "F"),
        (Responses, &[CREATED, TEXT], "e!F"),
        (Responses, &[CREATED], "eF"),
        (Responses, &[], "F"),
        (Other, &[r#"{"choices":[{"text":"Hi"}]}"#], "!F"),
    ] {
        let fault = check_fault(format, events, items, Cause::Truncated);
        assert_eq!(fault.scope(), Scope::Provider);
    }
    let named = check_fault(Messages, &[START], "eF", Cause::Truncated);
    assert_eq!(named.provider(), Some("Acme"));
}

#[test]
fn the_other_end_mark_is_accepted_behind_content() {
    check(Messages, &[START, DELTA, "[DONE]"], "e!D");
    check(Responses, &[CREATED, TEXT, "[DONE]"], "e!D");
    let done = r#"{"type":"response.done","response":{"status":"completed"}}"#;
    check(Responses, &[TEXT, done, "[DONE]"], "!eD");
    for format in [Messages, Responses, Other] {
        check_fault(format, &["[DONE]"], "F", Cause::NoContent);
    }
    check_fault(Messages, &[START, STOP], "eeF", Cause::NoContent);
    // An empty answer that says why it ended is one.
    check(Messages, &[START, END, STOP], "eeeD");
    let silent = r#"{"type":"response.incomplete","response":{"incomplete_details":null}}"#;
    check_fault(Responses, &[CREATED, silent], "eeF", Cause::NoContent);
    let long = concat!(
        r#"{"type":"response.incomplete","#,
        r#""response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#,
    );
    let (reader, _) = check(Responses, &[CREATED, long], "eeD");
    assert_eq!(reader.stop_reason(), Some("max_output_tokens"));
}

#[test]
fn every_kind_of_error_event_is_a_fault() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#;
    check_fault(
        Messages,
        &[START, overloaded, DELTA],
        "eF",
        Cause::Overloaded,
    );
    for failed in [
        r#"{"type":"response.failed","response":{"error_type":"provider_overloaded"}}"#,
        r#"{"type":"response.error","error":{"code":503,"message":"overloaded"}}"#,
        r#"{"type":"error","error":{"code":"overloaded","message":"x"}}"#,
        r#"{"error":{"message":"x","metadata":{"error_type":"provider_overloaded"}}}"#,
    ] {
        check_fault(
            Responses,
            &[CREATED, TEXT, failed],
            "e!F",
            Cause::Overloaded,
        );
    }
    let completed = r#"{"type":"response.completed","response":{"status":"failed"}}"#;
    check_fault(Responses, &[completed], "F", Cause::ErrorIn200);
    // By its name alone, and without JSON.
    let (items, _, fault) = read(Messages, "event: error\ndata: broken\n\n");
    assert_eq!(
        (items.as_str(), fault.unwrap().cause()),
        ("F", Cause::Malformed)
    );
    let (items, _, fault) = read(Other, "event: error\ndata: {\"message\":\"timed out\"}\n\n");
    assert_eq!(
        (items.as_str(), fault.unwrap().cause()),
        ("F", Cause::ProviderTimeout)
    );
    let image = r#"{"type":"error","error":{"code":502,"message":"x"}}"#;
    check_fault(Other, &[image], "F", Cause::ProviderError);
}

#[test]
fn broken_json_is_a_failure_and_is_not_quoted() {
    for format in [Messages, Responses] {
        let (items, _, fault) = read(format, "data: {\"type\":\"x\",\"secret prompt\n\n");
        let fault = fault.unwrap();
        assert_eq!((items.as_str(), fault.cause()), ("F", Cause::Malformed));
        assert!(!format!("{fault:?}{fault}").contains("prompt"));
    }
    let mut reader = EventStreamReader::with_limit(Messages, 8);
    reader.push(b"data: 0123456789\n\n");
    assert!(matches!(reader.next(), Some(EventItem::Fault(_))));
}

#[track_caller]
fn check_content(format: EventFormat, event: &str, content: bool) {
    let (_, reader, _) = read(format, &stream(format, &[event]));
    assert_eq!(reader.has_content(), content, "{event}");
}

#[test]
fn content_is_what_a_caller_would_see() {
    for (event, content) in [
        (START, false),
        (BLOCK, false),
        (PING, false),
        (END, false),
        (r#"{"type":"content_block_stop","index":0}"#, false),
        (
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":""}}"#,
            false,
        ),
        (
            r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":""}}"#,
            false,
        ),
        (DELTA, true),
        (
            r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"f"}}"#,
            true,
        ),
        (
            r#"{"type":"content_block_delta","delta":{"partial_json":"{"}}"#,
            true,
        ),
        (
            r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            true,
        ),
        (r#"{"type":"later_event"}"#, true),
    ] {
        check_content(Messages, event, content);
    }
    for (event, content) in [
        (CREATED, false),
        (ITEM, false),
        (PART, false),
        (r#"{"type":"response.in_progress","response":{}}"#, false),
        (
            r#"{"type":"response.debug","debug":{"echo_upstream_body":{"model":"x"}}}"#,
            false,
        ),
        (r#"{"type":"response.output_text.delta","delta":""}"#, false),
        (
            r#"{"type":"response.output_item.added","item":{"type":"reasoning","summary":[]}}"#,
            false,
        ),
        (TEXT, true),
        (
            r#"{"type":"response.content_part.delta","delta":"Once"}"#,
            true,
        ),
        (
            r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#,
            true,
        ),
        (
            r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f"}}"#,
            true,
        ),
        (r#"{"type":"response.web_search_call.searching"}"#, true),
        (COMPLETED, true),
    ] {
        check_content(Responses, event, content);
    }
    for (event, content) in [
        (r#"{"choices":[{"text":"","finish_reason":null}]}"#, false),
        (r#"{"choices":[],"usage":{"total_tokens":3}}"#, false),
        (r#"{"usage":{"total_tokens":3}}"#, false),
        (r#"{"choices":[{"text":"Hi"}]}"#, true),
        (
            r#"{"type":"image_generation.partial_image","b64_json":"eA=="}"#,
            true,
        ),
        ("no JSON at all", true),
    ] {
        check_content(Other, event, content);
    }
}

#[test]
fn legacy_completions_and_images_end_in_their_own_way() {
    let text = r#"{"choices":[{"text":"Hi","finish_reason":null}]}"#;
    let stop = r#"{"choices":[{"text":"","finish_reason":"stop"}],"usage":{"total_tokens":4}}"#;
    let (reader, _) = check(Other, &[text, stop, "[DONE]"], "!eD");
    assert_eq!(reader.cost().unwrap().tokens, 4);
    check(Other, &[text, stop], "!eD");
    let image = r#"{"type":"image_generation.completed","b64_json":"eA=="}"#;
    check(Other, &[image], "!D");
}

#[test]
fn comments_pass_and_the_last_event_needs_no_blank_line() {
    let text = format!(
        ": OPENROUTER PROCESSING\n\n{}",
        stream(Messages, &[START, DELTA])
    );
    let (items, ..) = read(
        Messages,
        &format!("{text}event: message_stop\ndata: {STOP}"),
    );
    assert_eq!(items, ".e!eD");
    // A cut event is none.
    let (items, ..) = read(
        Messages,
        &format!("{text}event: message_stop\ndata: {{\"type\":\"mess"),
    );
    assert_eq!(items, ".e!F");
}

#[test]
fn the_usage_of_a_whole_answer_is_read() {
    let said = r#"{"usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":2}}"#;
    assert_eq!(Messages.usage(said.as_bytes()).unwrap().total_tokens, 17);
    assert_eq!(Responses.usage(said.as_bytes()).unwrap().total_tokens, 12);
    for none in [r#"{"usage":null}"#, r#"{"id":"x"}"#, "[]", "no JSON"] {
        assert_eq!(Messages.usage(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn the_format_follows_the_path() {
    for (path, format) in [
        ("/api/v1/messages", Messages),
        ("/v1/messages/?beta=true", Messages),
        ("/api/v1/responses", Responses),
        ("/api/v1/completions", Other),
        ("/api/v1/images", Other),
    ] {
        assert_eq!(EventFormat::of_path(path), format, "{path}");
    }
}
