//! Results in every shape.

use serde_json::Value;

use crate::program::{Stage, results};

fn stage() -> Stage {
    let stage = Stage::new();
    stage.write(
        "in.jsonl",
        "{\"id\":\"a\",\"prompt\":\"one,\\n\\\"two\\\"\"}\nbad\n{\"id\":\"c\",\"prompt\":\"three\"}\n",
    );
    stage
}

#[test]
fn text_has_one_line_for_each_row() {
    let stage = stage();
    let said = stage.run(["run", "in.jsonl", "--mock", "-o", "out.txt"]);
    said.ends_with(1).says("results   3 lines, out.txt");
    let text = stage.read("out.txt");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("one,"), "{text}");
    assert_eq!(lines[1], "\\N");
    assert!(lines[2].contains("three"), "{text}");
}

#[test]
fn a_table_has_a_header_and_every_row_however_many_lines_it_takes() {
    let stage = stage();
    let said = stage.run([
        "run", "in.jsonl", "--mock", "-o", "out.csv", "--json", "--quiet",
    ]);
    said.ends_with(1);
    let summary: Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!(summary["rows"]["written"], 3);
    let text = stage.read("out.csv");
    assert!(text.starts_with("custom_id,text,error,"), "{text}");
    assert!(text.contains("\nline-2,,line 2 column 1: "), "{text}");
    assert_eq!(text.matches("custom_id,text").count(), 1);
}

#[test]
fn flat_json_is_named_after_the_input_and_goes_through_pipes() {
    let stage = stage();
    stage
        .run(["run", "in.jsonl", "--mock", "--output-format", "json"])
        .ends_with(1);
    let rows = results(&stage.read("in.results.jsonl"));
    assert_eq!(rows[0]["custom_id"], "a");
    assert!(rows[0]["text"].is_string() && rows[0]["cost_usd"].is_number());
    assert_eq!(rows[1]["error_code"], "bad_line");
    let said = stage.run([
        "run",
        "in.jsonl",
        "--mock",
        "-o",
        "-",
        "--output-format",
        "json",
    ]);
    assert_eq!(results(&said.stdout).len(), 3);
    stage
        .run(["run", "in.jsonl", "--mock", "--output-format", "xml"])
        .ends_with(2)
        .says("use batch, text, json, csv or parquet");
}

#[test]
fn parquet_is_a_file_and_whole_or_needs_the_feature() {
    let stage = stage();
    let run = ["run", "in.jsonl", "--mock", "-o", "out.parquet"];
    let said = stage.run(run);
    if cfg!(not(feature = "parquet")) {
        said.ends_with(2).says("--features parquet");
        assert_eq!(stage.names(), ["in.jsonl"]);
        stage.write("in.parquet", "PAR1");
        stage
            .run(["run", "in.parquet", "--mock"])
            .ends_with(2)
            .says("--features parquet");
        return;
    }
    said.ends_with(1).says("results   3 lines, out.parquet");
    assert_eq!(
        stage.names(),
        ["in.jsonl", "out.parquet", "out.parquet.journal"]
    );
    // Again: nothing is sent, and the file is made anew from the journal.
    std::fs::remove_file(stage.path("out.parquet")).unwrap();
    stage.run(run).ends_with(1);
    // What was written can be read: its texts become prompts.
    let back = [
        "run",
        "out.parquet",
        "--template",
        "{line}: {text}",
        "--mock",
        "-o",
        "-",
    ];
    let said = stage.run(back);
    said.ends_with(0);
    let rows = results(&said.stdout);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["custom_id"], "a");
    stage
        .run([
            "run",
            "in.jsonl",
            "--mock",
            "-o",
            "-",
            "--output-format",
            "parquet",
        ])
        .ends_with(2)
        .says("Parquet goes to a file");
}
