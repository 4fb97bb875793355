//! Input that is not what it should be.

use serde_json::Value;

use crate::program::{Mock, Stage, answer, results};
use fairkey_mock::MockOpenRouter;

#[test]
fn an_input_that_is_not_there_empty_or_no_file_is_refused_before_anything_is_made() {
    let stage = Stage::new();
    stage.write("empty.jsonl", "");
    stage.write("blank.jsonl", "\n \r\n\t\n");
    std::fs::create_dir(stage.path("folder")).unwrap();
    stage
        .run(["run", "missing.jsonl", "--mock"])
        .ends_with(2)
        .says("there is no file missing.jsonl");
    stage
        .run(["run", "empty.jsonl", "--mock"])
        .ends_with(2)
        .says("empty.jsonl is empty");
    stage
        .run(["run", "blank.jsonl", "--mock"])
        .ends_with(2)
        .says("blank.jsonl is empty");
    stage
        .run(["run", "folder", "--mock"])
        .ends_with(2)
        .says("folder is a folder");
    stage
        .run(["run", "-", "--mock"])
        .ends_with(2)
        .says("standard input is empty");
    assert_eq!(stage.names(), ["blank.jsonl", "empty.jsonl", "folder"]);
}

#[test]
fn a_line_that_is_no_json_is_told_with_its_place_and_the_rest_still_runs() {
    let stage = Stage::new();
    stage.write(
        "in.jsonl",
        b"{\"prompt\":\"first\"}\n\nnot json\n{\"prompt\": \"x\",}\n{\"q\":1}\n\xff\n{\"prompt\":\"last\"}",
    );
    let said = stage.run(["run", "in.jsonl", "--mock", "-o", "out.jsonl"]);
    said.ends_with(1)
        .says("line 3: column 2: expected")
        .says("line 4: column 16: trailing comma")
        .says("line 5: no request")
        .says("line 6: column 1: the line is not UTF-8")
        .says("6 read, 2 answered, 4 failed, 0 lost")
        .says("4 rows failed, see out.jsonl");
    let results = results(&stage.read("out.jsonl"));
    let codes: Vec<Option<&str>> = results
        .iter()
        .map(|result| result["error"]["code"].as_str())
        .collect();
    let bad = Some("bad_line");
    assert_eq!(codes, [None, bad, bad, bad, bad, None]);
    assert_eq!(results[1]["custom_id"], "line-3");
    let message = results[2]["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("line 4 column 16: "), "{message}");
    assert!(answer(&results[5]).contains("last"));
}

#[test]
fn only_the_first_failures_are_told_one_by_one() {
    let stage = Stage::new();
    stage.write(
        "in.jsonl",
        format!("{{\"prompt\":\"x\"}}\n{}", "garbage\n".repeat(50)),
    );
    let said = stage.run(["run", "in.jsonl", "--mock"]);
    said.ends_with(1)
        .says("line 11: ")
        .says("and 40 failed rows more")
        .does_not_say("line 12: ");
}

#[test]
fn rows_of_one_name_are_warned_about_once() {
    let stage = Stage::new();
    stage.write(
        "in.jsonl",
        "{\"prompt\":\"a\",\"custom_id\":\"x\"}\n\n{\"prompt\":\"b\"}\n\
         {\"prompt\":\"c\",\"custom_id\":\"x\"}\n{\"prompt\":\"d\",\"custom_id\":\"x\"}\n",
    );
    let said = stage.run(["run", "in.jsonl", "--mock"]);
    said.ends_with(0)
        .says("warning: lines 1 and 4 have one custom_id, \"x\"")
        .says("2 rows with the custom_id of another");
    assert_eq!(said.stderr.matches("have one custom_id").count(), 1);
}

#[test]
fn prompts_are_read_from_standard_input_and_answers_go_to_standard_output() {
    let stage = Stage::new();
    let said = stage.run_with_input(["run", "-", "--mock"], "one\r\ntwo\n\nthree");
    said.ends_with(0).says("standard input");
    let results = results(&said.stdout);
    assert_eq!(results.len(), 3);
    assert_eq!(results[2]["custom_id"], "line-4");
    assert!(answer(&results[2]).contains("three"));
    assert!(stage.names().is_empty(), "no file is made");
}

#[test]
fn flags_fill_what_lines_lack_and_lines_win() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000");
    stage.write(
        "in.txt",
        "{\"custom_id\":\"b\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"acme/own\",\
         \"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":3}}\n{\"prompt\":\"y\"}\n",
    );
    let url = mock.url();
    let args = [
        "run",
        "in.txt",
        "--format",
        "jsonl",
        "--model",
        "acme/default",
        "--max-tokens",
        "5",
    ];
    let said = stage.run(
        args.into_iter()
            .chain(["--base-url", &url, "-o", "-", "--quiet"]),
    );
    said.ends_with(0);
    let results = results(&said.stdout);
    let body = |at: usize| &results[at]["response"]["body"];
    assert_eq!(results[0]["custom_id"], "b");
    assert_eq!(body(0)["model"], "acme/own");
    assert_eq!(body(0)["usage"]["completion_tokens"], 3);
    assert_eq!(body(1)["model"], "acme/default");
    assert_eq!(body(1)["usage"]["completion_tokens"], 5);
    assert_eq!(body(1)["error"], Value::Null);
}
