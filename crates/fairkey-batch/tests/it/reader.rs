//! What lines become: requests, or errors with their place.

use fairkey_batch::{Defaults, Format, ReadConfig, ReaderThread, Request, Row, RowReader, Source};

fn config(format: Format) -> ReadConfig {
    let mut config = ReadConfig::default();
    config.format = format;
    config
}

fn read_with(input: &[u8], config: ReadConfig) -> Vec<Row> {
    let mut reader = RowReader::new(input, config);
    std::iter::from_fn(|| reader.next_row().unwrap()).collect()
}

fn read(input: impl AsRef<[u8]>) -> Vec<Row> {
    read_with(input.as_ref(), ReadConfig::default())
}

fn defaults() -> ReadConfig {
    let mut defaults = Defaults::default();
    defaults.model = Some("a/default".to_owned());
    defaults.system = Some("Be \"brief\".".to_owned());
    defaults.max_tokens = Some(9);
    let mut config = config(Format::Jsonl);
    config.defaults = defaults;
    config
}

fn request(row: &Row) -> &Request {
    row.request.as_ref().unwrap()
}

fn body(row: &Row) -> &str {
    std::str::from_utf8(&request(row).body).unwrap()
}

/// The first line of `input` is no request: where, and what its error says.
#[track_caller]
fn refused(input: impl AsRef<[u8]>, column: Option<u64>, says: &str) {
    let rows = read_with(input.as_ref(), config(Format::Jsonl));
    let bad = rows[0].request.as_ref().unwrap_err();
    assert_eq!((bad.place.line, bad.column), (1, column), "{bad}");
    assert!(bad.message.contains(says), "{bad}");
}

#[test]
fn a_line_of_a_batch_file_is_sent_as_it_is() {
    let line = r#" {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": { "model":"m/x",  "messages":[{"role":"user","content":"ä\n"}], "temperature":1.50 } }"#;
    let rows = read(line);
    assert_eq!(rows[0].custom_id.as_deref(), Some("a"));
    assert_eq!(&*request(&rows[0]).path, "/chat/completions");
    assert_eq!(request(&rows[0]).model.as_deref(), Some("m/x"));
    let expected =
        r#"{ "model":"m/x",  "messages":[{"role":"user","content":"ä\n"}], "temperature":1.50 }"#;
    assert_eq!(body(&rows[0]), expected);
}

#[test]
fn a_line_of_a_batch_file_may_name_any_endpoint() {
    for (url, path) in [
        ("/v1/embeddings", "/embeddings"),
        ("/api/v1/responses", "/responses"),
        ("/completions", "/completions"),
    ] {
        let line = format!(r#"{{"custom_id":"a","url":"{url}","body":{{"input":"x"}}}}"#);
        assert_eq!(&*request(&read(line)[0]).path, path);
    }
}

#[test]
fn a_bare_body_is_sent_as_it_is() {
    let line = r#"{"messages":[{"role":"user","content":"x"}],"top_p":1e-1}"#;
    assert_eq!(body(&read(line)[0]), line);
    assert_eq!(request(&read(line)[0]).model, None);
}

#[test]
fn a_prompt_becomes_a_message_and_its_other_fields_stay() {
    let rows = read(r#"{"id": 7, "prompt": "say \"x\"", "temperature": 0.50, "system": "S"}"#);
    assert_eq!(rows[0].custom_id.as_deref(), Some("7"));
    assert_eq!(
        body(&rows[0]),
        r#"{"messages":[{"role":"system","content":"S"},{"role":"user","content":"say \"x\""}],"temperature":0.50}"#
    );
}

#[test]
fn the_name_of_a_bare_line_is_not_sent() {
    let rows = read(r#"{"custom_id":"n","messages":[{"role":"user","content":"x"}],"seed":1}"#);
    assert_eq!(rows[0].custom_id.as_deref(), Some("n"));
    assert_eq!(
        body(&rows[0]),
        r#"{"messages":[{"role":"user","content":"x"}],"seed":1}"#
    );
}

#[test]
fn a_request_for_a_stream_is_sent_without_it() {
    let rows = read(r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#);
    assert_eq!(body(&rows[0]), r#"{"messages":[]}"#);
    let line = r#"{"messages":[],"stream":false}"#;
    assert_eq!(body(&read(line)[0]), line, "nothing to change");
}

#[test]
fn what_a_line_lacks_is_filled_in_and_the_rest_stays_byte_for_byte() {
    let lines = [
        r#"{"prompt":"x"}"#,
        r#"{"messages":[{"role":"user","content":"x"}],  "n":1}"#,
        r#"{"messages":[ ]}"#,
        r#"{"custom_id":"a","url":"/v1/embeddings","body":{"input":"x"}}"#,
    ];
    let expected = [
        r#"{"messages":[{"role":"system","content":"Be \"brief\"."},{"role":"user","content":"x"}],"model":"a/default","max_tokens":9}"#,
        r#"{"messages":[{"role":"system","content":"Be \"brief\"."},{"role":"user","content":"x"}],  "n":1,"model":"a/default","max_tokens":9}"#,
        r#"{"messages":[{"role":"system","content":"Be \"brief\"."} ],"model":"a/default","max_tokens":9}"#,
        r#"{"input":"x","model":"a/default"}"#,
    ];
    let rows = read_with(lines.join("\n").as_bytes(), defaults());
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!(body(row), expected);
        assert_eq!(request(row).model.as_deref(), Some("a/default"));
    }
}

#[test]
fn what_a_line_says_is_not_filled_in() {
    let lines = [
        r#"{"messages":[{"role":"system","content":"S"}],"model":"m/x","max_tokens":1}"#,
        r#"{"messages":[{"role":"developer","content":"S"}],"models":["m/x"],"max_completion_tokens":1}"#,
    ];
    let rows = read_with(lines.join("\n").as_bytes(), defaults());
    for (row, line) in rows.iter().zip(lines) {
        assert_eq!(body(row), line);
    }
    assert_eq!(request(&rows[1]).model, None);
}

#[test]
fn text_is_one_prompt_a_line() {
    let rows = read("\nHello \"you\"\n\n   \nsecond\n");
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(
        body(&rows[0]),
        r#"{"messages":[{"role":"user","content":"Hello \"you\""}]}"#
    );
    assert_eq!(rows[0].id(), "line-2");
}

#[test]
fn the_first_line_decides_what_the_others_are_unless_told() {
    assert!(read("{\"prompt\":\"x\"}\nplain\n")[1].request.is_err());
    assert!(read("plain\n{\"prompt\":\"x\"}\n")[1].request.is_ok());
    let rows = read_with(b"plain\n{\"prompt\":\"x\"}\n", config(Format::Jsonl));
    assert!(rows[0].request.is_err() && rows[1].request.is_ok());
    let rows = read_with(b"{\"prompt\":\"x\"}\n", config(Format::Text));
    assert!(body(&rows[0]).contains(r#""content":"{\"prompt\":\"x\"}""#));
}

#[test]
fn marks_and_line_ends_of_other_systems_are_no_part_of_lines() {
    let rows = read("\u{feff}{\"prompt\":\"x\"}\r\n\r\n{\"prompt\":\"y\"}");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].line, 3);
    assert_eq!(
        body(&rows[1]),
        r#"{"messages":[{"role":"user","content":"y"}]}"#
    );
    assert_eq!(
        body(&read("a\r\nb\r\n")[0]),
        r#"{"messages":[{"role":"user","content":"a"}]}"#
    );
}

#[test]
fn broken_json_is_told_with_its_column() {
    refused(r#"{"prompt": "x",}"#, Some(16), "trailing comma");
    refused(r#"{"prompt": "x""#, Some(14), "EOF");
    refused("garbage", Some(1), "expected value");
    refused(
        r#"{"prompt": "x"} {"prompt": "y"}"#,
        Some(17),
        "trailing characters",
    );
    refused(r#"["prompt"]"#, None, "not a JSON object");
    refused("\"prompt\"", None, "not a JSON object");
}

#[test]
fn json_that_is_no_request_is_told_what_it_lacks() {
    refused(r#"{"question":"x"}"#, None, "\"messages\" nor \"prompt\"");
    refused(r#"{"prompt":5}"#, None, "\"prompt\" is not a string");
    refused(
        r#"{"prompt":"x","system":[]}"#,
        None,
        "\"system\" is not a string",
    );
    refused(r#"{"messages":"x"}"#, None, "\"messages\" is not an array");
    refused(
        r#"{"messages":[],"model":5}"#,
        None,
        "\"model\" is not a string",
    );
    refused(
        r#"{"custom_id":["a"],"prompt":"x"}"#,
        None,
        "neither a string nor a number",
    );
    refused(r#"{"body":5}"#, None, "\"body\" is not a JSON object");
    refused(
        r#"{"method":"GET","url":"/v1/models","body":{}}"#,
        None,
        "POST",
    );
    for url in [
        "https://evil.example/v1/chat",
        "//evil.example",
        "/v1/../x",
        "x",
        "/",
        "/a b",
    ] {
        refused(
            format!(r#"{{"url":"{url}","body":{{}}}}"#),
            None,
            "\"url\" is not a path",
        );
    }
}

#[test]
fn an_error_keeps_the_name_of_its_row() {
    let rows = read(r#"{"custom_id":"mine","prompt":5}"#);
    assert_eq!(rows[0].custom_id.as_deref(), Some("mine"));
    assert!(rows[0].request.is_err());
}

#[test]
fn bytes_that_are_no_text_are_an_error_of_their_line_only() {
    let rows = read(b"{\"prompt\":\"a\"}\n{\"prompt\":\"\xff\"}\n{\"prompt\":\"c\"}\n");
    let bad = rows[1].request.as_ref().unwrap_err();
    assert_eq!((bad.place.line, bad.column), (2, Some(12)));
    assert!(bad.message.contains("UTF-8"), "{bad}");
    assert!(rows[2].request.is_ok());
}

#[test]
fn a_line_beyond_the_bound_is_an_error_and_the_next_one_is_read() {
    let mut bounded = config(Format::Text);
    bounded.max_line_bytes = 5;
    let rows = read_with(b"12345\n123456\n12345\r\n123456\r\nx", bounded);
    let good: Vec<bool> = rows.iter().map(|row| row.request.is_ok()).collect();
    assert_eq!(good, [true, false, true, false, true]);
    assert_eq!(rows[1].request.as_ref().unwrap_err().place.line, 2);
    assert_eq!(
        rows.iter().map(|row| row.end_byte).collect::<Vec<_>>(),
        [6, 13, 20, 28, 29]
    );
}

#[tokio::test]
async fn a_thread_reads_the_same_rows() {
    let input: String = (0..10_000).map(|n| format!("prompt {n}\n\n")).collect();
    let expected = read(&input);
    let input = std::io::Cursor::new(input);
    let mut thread = ReaderThread::start(input, ReadConfig::default(), Some(7)).unwrap();
    assert_eq!(thread.total_bytes(), Some(7));
    assert!(thread.has_rows().await.unwrap());
    for row in expected {
        let read = thread.next().await.unwrap().unwrap();
        assert_eq!(
            (read.index, read.line, read.end_byte),
            (row.index, row.line, row.end_byte)
        );
        assert_eq!(read.request, row.request);
    }
    assert!(thread.next().await.unwrap().is_none());
    assert!(
        thread.next().await.unwrap().is_none(),
        "the end stays the end"
    );
}

#[tokio::test]
async fn a_thread_hands_over_what_is_there_before_it_waits_for_more() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut rows = ReaderThread::start(reader, ReadConfig::default(), None).unwrap();
    for n in 0..3 {
        // With a blank line after it, which is no reason to wait.
        std::io::Write::write_all(&mut writer, format!("prompt {n}\n\n").as_bytes()).unwrap();
        let row = rows.next();
        let row = tokio::time::timeout(std::time::Duration::from_secs(30), row).await;
        assert_eq!(row.expect("it was there").unwrap().unwrap().index, n);
    }
    drop(writer);
    assert!(rows.next().await.unwrap().is_none());
}
