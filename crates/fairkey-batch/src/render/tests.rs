use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn line(body: &Value) -> Vec<u8> {
    let line = json!({
        "id": "row-1",
        "custom_id": "a,b",
        "response": {"status_code": 200, "request_id": "gen-1", "body": body},
        "error": null,
        "fairkey": {"line": 7, "key": "north", "attempts": 2, "cost_usd": 0.000012},
    });
    format!("{line}\n").into_bytes()
}

fn failed() -> Vec<u8> {
    let line = json!({
        "id": "row-2",
        "custom_id": "x",
        "response": {"status_code": 400, "request_id": "", "body": {"error": {"message": "no"}}},
        "error": {
            "code": "bad_request", "message": "no \"such\" field", "scope": "request",
            "cause": null, "attempts": [{"key": "north"}],
        },
        "fairkey": {"file": "b.csv", "line": 8, "attempts": 1},
    });
    format!("{line}\n").into_bytes()
}

fn chat(content: impl Into<Value>) -> Value {
    json!({
        "id": "gen-1", "model": "m/x", "provider": "P",
        "choices": [{
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": content.into()},
        }],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5},
    })
}

fn as_json(line: &[u8]) -> Value {
    serde_json::from_slice(&OutputFormat::Json.render(line)).unwrap()
}

fn as_text(line: &[u8]) -> String {
    String::from_utf8(OutputFormat::Text.render(line)).unwrap()
}

#[test]
fn every_format_has_a_name_of_its_own() {
    for (format, name) in OutputFormat::NAMES {
        assert_eq!(format.to_string(), name);
        assert_eq!(name.parse(), Ok(format));
    }
    assert!("xml".parse::<OutputFormat>().is_err());
}

#[test]
fn a_flat_object_has_every_field_whatever_became_of_the_row() {
    let expected = json!({
        "custom_id": "a,b", "text": "two\nlines", "error": null, "error_code": null,
        "error_scope": null, "cost_usd": 0.000012, "prompt_tokens": 3, "completion_tokens": 5,
        "finish_reason": "stop", "model": "m/x", "provider": "P", "key": "north", "attempts": 2,
        "status": 200, "request_id": "gen-1", "file": null, "line": 7,
    });
    assert_eq!(as_json(&line(&chat("two\nlines"))), expected);
    let expected = json!({
        "custom_id": "x", "text": null, "error": "no \"such\" field",
        "error_code": "bad_request", "error_scope": "request", "cost_usd": null,
        "prompt_tokens": null, "completion_tokens": null, "finish_reason": null, "model": null,
        "provider": null, "key": null, "attempts": 1, "status": 400, "request_id": null,
        "file": "b.csv", "line": 8,
    });
    assert_eq!(as_json(&failed()), expected);
    let names: Vec<String> = as_json(&failed())
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut header: Vec<&str> = record::HEADER.trim().split(',').collect();
    header.sort_unstable();
    assert_eq!(names, header, "the map is sorted");
}

#[test]
fn a_line_of_text_is_one_row_whatever_is_in_it() {
    assert_eq!(as_text(&line(&chat("a\r\n\tb \\N"))), "a\\r\\n\\tb \\\\N\n");
    assert_eq!(as_text(&line(&chat(""))), "\n");
    assert_eq!(as_text(&failed()), "\\N\n");
    assert_eq!(as_text(&line(&chat(Value::Null))), "\\N\n");
}

#[test]
fn the_text_of_every_endpoint_is_found() {
    let calls = json!([{"id": "c", "function": {"name": "f", "arguments": "{}"}}]);
    for (body, text) in [
        (
            chat(json!([{"type": "text", "text": "a"}, {"type": "x"}, {"text": "b"}])),
            json!("ab"),
        ),
        (
            json!({"choices": [{"text": "completed"}]}),
            json!("completed"),
        ),
        (json!({"choices": []}), Value::Null),
        (
            json!({"choices": [{"message": {"content": null, "tool_calls": calls}}]}),
            json!(calls.to_string()),
        ),
        (json!({"data": [{"embedding": [0.5, 1]}]}), json!("[0.5,1]")),
        (
            json!({"data": [{"embedding": [1]}, {"embedding": "AA=="}]}),
            json!("[[1],\"AA==\"]"),
        ),
        (
            json!({"type": "message", "content": [{"type": "text", "text": "said"}], "stop_reason": "end_turn"}),
            json!("said"),
        ),
        (
            json!({
                "object": "response",
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"type": "output_text", "text": "one "}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "two"}]},
                ],
            }),
            json!("one two"),
        ),
        (json!({"results": [1]}), json!("{\"results\":[1]}")),
        (json!("plain"), json!("plain")),
    ] {
        assert_eq!(as_json(&line(&body))["text"], text, "{body}");
    }
}

#[test]
fn a_field_of_another_type_is_as_good_as_none() {
    let body = json!({"model": 5, "usage": "many", "choices": [{"message": {"content": "x"}}]});
    let record = as_json(&line(&body));
    assert_eq!(
        (&record["text"], &record["model"]),
        (&json!("x"), &Value::Null)
    );
}

#[test]
fn what_is_no_result_stays_as_it_is() {
    for format in [OutputFormat::Text, OutputFormat::Json, OutputFormat::Csv] {
        assert_eq!(format.render(b"garbage\n"), b"garbage\n");
    }
    assert_eq!(OutputFormat::Batch.render(&failed()), failed());
}

#[tokio::test]
async fn a_header_comes_once() {
    let inner = crate::MemoryOutput::new();
    let mut output = Rendered::new(inner.clone(), OutputFormat::Csv, false);
    for index in 0..2 {
        output.push(ResultLine::new(index, false, failed()));
    }
    output.finish().await.unwrap();
    let lines = inner.lines().join("\n");
    let mut lines = lines.lines();
    assert_eq!(lines.next().unwrap(), record::HEADER.trim_end());
    let row = "x,,\"no \"\"such\"\" field\",bad_request,request,,,,,,,,1,400,,b.csv,8";
    assert_eq!(lines.collect::<Vec<_>>(), [row, row]);
    assert_eq!(output.written(), 2);
}

proptest! {
    #[test]
    fn any_answer_comes_back_from_every_shape(content in "(?s).*", id in "[a-z \",\n]*") {
        let mut value: Value = serde_json::from_slice(&line(&chat(content.as_str()))).unwrap();
        value["custom_id"] = json!(id);
        let line = value.to_string().into_bytes();
        let record = as_json(&line);
        prop_assert_eq!(&record["text"], &json!(content));

        let text = as_text(&line);
        prop_assert_eq!(text.matches('\n').count(), 1);
        let mut unescaped = String::new();
        let mut chars = text.trim_end_matches('\n').chars();
        while let Some(c) = chars.next() {
            unescaped.push(match c {
                '\\' => match chars.next() {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some(c) => c,
                    None => panic!("a lone backslash"),
                },
                c => c,
            });
        }
        prop_assert_eq!(&unescaped, &content);

        let table = [record::HEADER.as_bytes(), &OutputFormat::Csv.render(&line)].concat();
        let mut reader = ::csv::Reader::from_reader(&*table);
        let row = reader.records().next().unwrap().unwrap();
        prop_assert_eq!(row.len(), 17);
        prop_assert_eq!((&row[0], &row[1]), (&*id, &*content));
        prop_assert!(reader.records().next().is_none());
    }
}
