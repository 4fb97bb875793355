//! Everything that a run reads: tables, archives, patterns of files, templates, settings.

use std::io::Write as _;

use fairkey_mock::MockOpenRouter;
use serde_json::Value;

use crate::program::{Mock, Said, Stage, answer, results};

const KEY: &str = "sk-or-v1-inputs";

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Runs with results on standard output, and returns them.
#[track_caller]
fn rows(stage: &Stage, args: &[&str]) -> Vec<Value> {
    let all = ["run"].iter().chain(args).chain(&["--mock", "-o", "-"]);
    let said = stage.run(all);
    said.ends_with(0);
    results(&said.stdout)
}

/// Runs against a mock that counts, which shall get nothing.
#[track_caller]
fn refused(stage: &Stage, args: &[&str]) -> Said {
    let mock = Mock::start(MockOpenRouter::open());
    let url = mock.url();
    let mut command =
        stage.command(
            ["run"]
                .iter()
                .chain(args)
                .chain(&["--base-url", &url, "-o", "-"]),
        );
    let said = crate::program::Running::start(command.env("OPENROUTER_API_KEY", KEY)).end();
    said.ends_with(2);
    assert_eq!(mock.posts(), 0, "{said:?}");
    said
}

#[test]
fn a_table_and_a_template_make_prompts() {
    let stage = Stage::new();
    stage.write(
        "in.csv",
        "id,text,lang\r\na,\"Guten \"\"Tag\"\",\r\nWelt\",en\r\n\r\nb,{Hallo},\r\n",
    );
    let rows = rows(&stage, &["in.csv", "--template", "To {lang}: {text} {{x}}"]);
    let ids: Vec<_> = rows.iter().map(|row| &row["custom_id"]).collect();
    assert_eq!(ids, ["a", "b"]);
    assert!(
        answer(&rows[0]).contains("To en: Guten \"Tag\", Welt {x}"),
        "{rows:?}"
    );
    assert!(answer(&rows[1]).contains("To : {Hallo} {x}"), "{rows:?}");
    assert_eq!(rows[1]["fairkey"]["line"], 5);
}

#[test]
fn a_column_that_is_not_there_is_told_before_anything_is_sent() {
    let stage = Stage::new();
    stage.write("a.csv", "id,text\n1,x\n");
    stage.write("b.csv", "id,txt\n2,y\n");
    refused(&stage, &["a.csv", "b.csv", "--template", "Say {text}"])
        .says("b.csv cannot be read: there is no column \"text\": the columns are \"id\", \"txt\"");
    refused(&stage, &["a.csv"])
        .says("there is no column \"prompt\"")
        .says("--template 'Explain: {id}'");
    stage.write("c.csv", "id;text\n1;x\n");
    refused(&stage, &["c.csv", "--template", "{text}"]).says("--delimiter");
    assert_eq!(
        rows(
            &stage,
            &["c.csv", "--template", "{text}", "--delimiter", ";"]
        )[0]["custom_id"],
        "1"
    );
    stage.write("d.txt", "x\n");
    refused(&stage, &["d.txt", "--template", "{line}"]).says("is {text}");
    stage.write("e.csv", "text,text\nx,y\n");
    refused(&stage, &["e.csv", "--template", "{text}"]).says("comes twice");
}

#[test]
fn templates_take_fields_of_lines_of_json_and_lines_of_text() {
    let stage = Stage::new();
    stage.write(
        "in.jsonl",
        "{\"id\":1,\"q\":\"Why?\",\"by\":{\"name\":\"Ann\"},\"n\":[1, 2]}\n{\"q\":\"x\"}\n",
    );
    let args = ["run", "in.jsonl", "--template", "{by.name}: {q} {n}"];
    let said = stage.run(args.iter().chain(&["--mock", "-o", "-"]));
    said.ends_with(1)
        .says("line 2: no field \"by.name\", which the template names; the line has \"q\"");
    assert!(answer(&results(&said.stdout)[0]).contains("Ann: Why? [1, 2]"));
    stage.write("in.txt", "one\ntwo\n");
    let rows = rows(&stage, &["in.txt", "--template", "Count: {text}"]);
    assert!(answer(&rows[1]).contains("Count: two"));
}

#[test]
fn archives_are_unpacked_by_name_and_without() {
    let stage = Stage::new();
    let content = "{\"prompt\":\"packed one\"}\n{\"prompt\":\"packed two\"}\n";
    stage.write("a.jsonl.gz", gzip(content.as_bytes()));
    stage.write("b.jsonl.zst", zstd(content.as_bytes()));
    stage.write("c", gzip(content.as_bytes()));
    for name in ["a.jsonl.gz", "b.jsonl.zst", "c"] {
        let rows = rows(&stage, &[name]);
        assert_eq!(rows.len(), 2, "{name}");
        assert!(answer(&rows[1]).contains("packed two"), "{name}");
    }
    let said = stage.run_with_input(["run", "-", "--mock"], zstd(content.as_bytes()));
    said.ends_with(0);
    assert_eq!(results(&said.stdout).len(), 2);
    // Without a name, results lie beside the archive as beside what is in it.
    stage.run(["run", "a.jsonl.gz", "--mock"]).ends_with(0);
    assert_eq!(results(&stage.read("a.results.jsonl")).len(), 2);
}

#[test]
fn what_could_be_read_of_a_broken_archive_is_sent_and_the_rest_is_told() {
    let stage = Stage::new();
    let mut noise = fairkey_core::Random::new(3);
    let content: String = (0..500)
        .map(|n| {
            format!(
                "{{\"prompt\":\"{n} {} {}\"}}\n",
                noise.below(1 << 30),
                noise.below(1 << 30)
            )
        })
        .collect();
    let packed = gzip(content.as_bytes());
    stage.write("in.jsonl.gz", &packed[..packed.len() / 2]);
    let said = stage.run(["run", "in.jsonl.gz", "--mock", "-o", "out.jsonl"]);
    said.ends_with(3)
        .says("the input cannot be read any further: in.jsonl.gz cannot be read beyond line ")
        .says("the gzip archive ends in the middle: it is cut off")
        .says("0 lost");
    let read = results(&stage.read("out.jsonl")).len();
    assert!(read > 125 && read < 375, "{read} rows");
    stage.write("garbage.jsonl.gz", "garbage");
    refused(&stage, &["garbage.jsonl.gz"])
        .says("garbage.jsonl.gz cannot be read: it is named as a gzip archive, and is none");
    stage.write("empty.jsonl.gz", gzip(b""));
    refused(&stage, &["empty.jsonl.gz"]).says("empty.jsonl.gz is empty");
}

#[test]
fn several_inputs_are_one_run_and_say_where_rows_come_from() {
    let stage = Stage::new();
    std::fs::create_dir(stage.path("data")).unwrap();
    std::fs::create_dir(stage.path("data/folder.csv")).unwrap();
    stage.write("data/b.csv", "prompt\nfrom b\n");
    stage.write("data/a.csv", "prompt,id\nfrom a,first\nragged\n");
    stage.write("data/.hidden.csv", "no prompt\n");
    let run = ["run", "data/*.csv", "-", "--mock", "-o", "-"];
    let said = stage.run_with_input(run, "from stdin\n");
    said.ends_with(1)
        .says("sending 3 inputs to")
        .says("data/a.csv line 3: the row has 1 cell and the header 2");
    let rows = results(&said.stdout);
    let id = |row: &Value| row["custom_id"].as_str().unwrap().to_owned();
    let ids: Vec<String> = rows.iter().map(id).collect();
    assert_eq!(
        ids,
        ["first", "data/a.csv:3", "data/b.csv:2", "standard input:1"]
    );
    assert_eq!(rows[2]["id"], "row-3");
    assert_eq!(rows[2]["fairkey"]["file"], "data/b.csv");
    let message = rows[1]["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("data/a.csv line 3: "), "{message}");
}

#[test]
fn inputs_that_cannot_be_are_told() {
    let stage = Stage::new();
    stage.prompts("a.jsonl", 1);
    std::fs::create_dir(stage.path("data")).unwrap();
    for (args, says) in [
        (
            &["data"][..],
            "data is a folder: name its files, such as 'data/*.jsonl'",
        ),
        (&["*.csv"], "no file matches *.csv"),
        (&["[.csv"], "no pattern of files"),
        (&["a.jsonl", "./*.jsonl"], "a.jsonl is named twice"),
        (&["-", "-"], "standard input is named twice"),
        (&["a.jsonl", "--format", "parquet"], "Parquet"),
        (
            &["a.jsonl", "--set", "stream=true"],
            "--set: answers of a run are not streamed",
        ),
        (&["a.jsonl", "--endpoint", "chat"], "not a path such as"),
        (
            &["a.jsonl", "--endpoint", "/embeddings", "--system", "x"],
            "/embeddings does not go with --system",
        ),
        (&["a.jsonl", "--template", "{x"], "is not closed"),
        (&["a.jsonl", "--delimiter", "::"], "one ASCII character"),
    ] {
        refused(&stage, args).says(says);
    }
    let said = stage.run(["run", "a.jsonl", "-", "--mock"]);
    said.ends_with(2)
        .says("say with -o where the results of 2 inputs go");
    stage.write("array.json", "[\n{\"prompt\":\"x\"}\n]\n");
    refused(&stage, &["array.json"]).says("jq -c '.[]'");
    stage.write("pretty.json", "{\n\"prompt\":\"x\"\n}\n");
    refused(&stage, &["pretty.json"]).says("jq -c .");
    stage.write("in.txt", b"\xff\xfeh\0i\0\n\0");
    refused(&stage, &["in.txt"]).says("it is UTF-16");
    stage.write("in.zip", b"PK\x03\x04rest");
    refused(&stage, &["in.zip"]).says("zip archive");
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_a_file() {
    let stage = Stage::new();
    stage.write("a[1].txt", "one\n");
    assert_eq!(rows(&stage, &["a[1].txt"]).len(), 1);
}

#[test]
fn settings_fill_in_and_replace() {
    let stage = Stage::new();
    let line = |rest: &str| {
        format!(
            "{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]{rest}}}\n"
        )
    };
    stage.write("in.jsonl", line("") + &line(",\"max_completion_tokens\":2"));
    let rows = rows(
        &stage,
        &[
            "in.jsonl",
            "--set",
            "max_completion_tokens=4",
            "--set",
            "provider.order=[\"groq\"]",
            "--override",
            "model=openai/gpt-4o-mini",
        ],
    );
    let body = |row: &Value| row["response"]["body"].clone();
    assert_eq!(body(&rows[0])["model"], "openai/gpt-4o-mini");
    assert_eq!(body(&rows[0])["usage"]["completion_tokens"], 4);
    assert_eq!(body(&rows[1])["usage"]["completion_tokens"], 2);
}

#[test]
fn text_can_be_embedded_and_bodies_of_any_endpoint_be_sent() {
    let stage = Stage::new();
    stage.write("in.txt", "one\ntwo\n");
    let args = [
        "in.txt",
        "--endpoint",
        "/v1/embeddings",
        "--model",
        "openai/text-embedding-3-small",
    ];
    let rows = rows(&stage, &args);
    assert!(
        rows[1]["response"]["body"]["data"][0]["embedding"].is_array(),
        "{rows:?}"
    );
}
