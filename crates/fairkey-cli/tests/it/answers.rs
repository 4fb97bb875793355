//! Answers that have to fit a schema.

use fairkey_mock::{MockOpenRouter, On, Reply, Step};
use serde_json::{Value, json};

use crate::program::{Mock, Stage, answer, results};

const SCHEMA: &str = r#"{"type": "object", "properties": {"price": {"type": "number"}},
    "required": ["price"], "additionalProperties": false}"#;

fn stage() -> Stage {
    let stage = Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000");
    stage.write("schema.json", SCHEMA);
    stage
}

/// An answer that says this, for a cent.
fn says(text: &str) -> Step {
    let body = json!({
        "id": "gen-1",
        "object": "chat.completion",
        "model": "acme/one",
        "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10, "cost": 0.01},
    });
    Step::reply(Reply::json(200, &body))
}

#[test]
fn answers_that_do_not_fit_are_asked_for_again_and_fail_with_all_that_they_cost() {
    let wrong = "{\"price\": \"secret words\"}";
    let steps = [
        says(wrong),
        says("{\"price\": 5}"),
        says("{\"price\": 6}"),
        says(wrong),
        says("no secret words"),
        says(wrong),
    ];
    let mock = Mock::start(MockOpenRouter::open().script(On::path("/chat/completions"), steps));
    let stage = stage();
    stage.prompts("in.jsonl", 3);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "out.jsonl",
        "--concurrency",
        "1",
    ];
    let checked = ["--schema", "schema.json", "--schema-retries", "2", "--json"];
    let said = stage.run(args.iter().chain(&checked));
    said.ends_with(1).does_not_say("secret words");
    let lines = results(&stage.read("out.jsonl"));
    let took = |at: usize| {
        let fairkey = &lines[at]["fairkey"];
        (
            fairkey["attempts"].as_u64().unwrap(),
            fairkey["cost_usd"].as_f64().unwrap(),
        )
    };
    assert_eq!(
        (took(0), took(1), took(2)),
        ((2, 0.02), (1, 0.01), (3, 0.03))
    );
    assert_eq!(answer(&lines[0]), "{\"price\": 5}");
    let failed = &lines[2];
    assert_eq!(failed["error"]["code"], "schema_invalid");
    let message = "the answer does not fit the schema: /price: is a string, not a number";
    assert_eq!(failed["error"]["message"], message);
    assert_eq!(answer(failed), wrong, "the answer is kept");
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    let expected = json!({"valid": 2, "invalid": 4, "unchecked": 0, "asked_again": 3,
        "wrong": {"(no JSON)": 1, "/price": 3}});
    assert_eq!(summary["schema"], expected);
    assert_eq!(summary["cost_usd"], 0.06);
    assert_eq!(mock.posts(), 6);
}

#[test]
fn the_attempts_of_a_row_bound_how_often_it_is_asked_again() {
    let mock = Mock::start(
        MockOpenRouter::open().script(On::path("/chat/completions"), [says("no").forever()]),
    );
    let stage = stage();
    stage.prompts("in.jsonl", 1);
    let url = mock.url();
    let args = ["run", "in.jsonl", "--base-url", &url, "-o", "out.jsonl"];
    let checked = ["--schema", "schema.json", "--schema-retries", "50"];
    stage
        .run(args.iter().chain(&checked))
        .ends_with(1)
        .says("schema    0 answers fit, 8 not, 7 asked again")
        .says("8 at (no JSON)");
    assert_eq!(mock.posts(), 8);
}

#[test]
fn a_schema_that_is_sent_along_is_answered() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = stage();
    let own = r#"{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object",
        "properties":{"other":{"type":"string"}},"required":["other"]}}}"#;
    let own = own.replace('\n', " ");
    let lines = [
        "{\"prompt\":\"one\"}\n".to_owned(),
        format!("{{\"prompt\":\"two\",\"response_format\":{own}}}\n"),
        "{\"url\":\"/v1/embeddings\",\"body\":{\"model\":\"a/e\",\"input\":\"x\"}}\n".to_owned(),
    ];
    stage.write("in.jsonl", lines.concat());
    let url = mock.url();
    let args = ["run", "in.jsonl", "--base-url", &url, "-o", "out.jsonl"];
    let checked = ["--schema", "schema.json", "--schema-inject"];
    stage
        .run(args.iter().chain(&checked))
        .ends_with(1)
        .says("schema    1 answer fit, 1 not, 1 without a text to check");
    let lines = results(&stage.read("out.jsonl"));
    assert!(answer(&lines[0]).starts_with("{\"price\":"), "{}", lines[0]);
    // What a line asks for itself is what it gets.
    assert_eq!(lines[1]["error"]["code"], "schema_invalid");
    assert!(answer(&lines[1]).starts_with("{\"other\":"), "{}", lines[1]);
    assert!(lines[2]["error"].is_null());
}

#[test]
fn a_schema_that_is_none_is_refused_before_anything_is_sent() {
    let stage = stage();
    stage.prompts("in.jsonl", 1);
    for (text, expected) in [
        (
            "{",
            "schema.json is no JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "{\"type\": \"int\"}",
            "schema.json is no schema to check by: #/type: \"int\" is no type",
        ),
        (
            "[]",
            "schema.json is no schema to check by: #: is no schema",
        ),
    ] {
        stage.write("schema.json", text);
        let said = stage.run(["run", "in.jsonl", "--mock", "--schema", "schema.json"]);
        said.ends_with(2).says(expected);
    }
    let said = stage.run(["run", "in.jsonl", "--mock", "--schema", "nowhere.json"]);
    said.ends_with(2)
        .says("the schema nowhere.json cannot be read");
    assert_eq!(stage.names(), ["in.jsonl", "schema.json"]);
    // A keyword that is misspelled checks nothing, and is told.
    stage.write("schema.json", "{\"requird\": [\"a\"]}");
    let said = stage.run(["run", "in.jsonl", "--mock", "--schema", "schema.json"]);
    said.says("#/requird is no keyword of JSON Schema");
}
