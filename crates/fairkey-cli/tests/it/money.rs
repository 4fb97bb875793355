//! What a run costs: a limit that holds, and what is known before.

use fairkey_mock::{MockOpenRouter, Model, On, Step};
use serde_json::Value;

use crate::program::{Mock, Said, Stage, results};

/// A model whose every answer has 100 tokens, for a tenth of a cent.
fn priced() -> Mock {
    let model = Model::new("acme/one")
        .prompt_price(1.0)
        .completion_price(10.0);
    let other = Model::new("acme/router")
        .prompt_price(-1.0)
        .completion_price(-1.0);
    let mock = MockOpenRouter::open().model(model).model(other);
    Mock::start(mock.answer_tokens(100..=100))
}

fn stage() -> Stage {
    Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000")
}

fn run(stage: &Stage, mock: &Mock, more: &[&str]) -> Said {
    let url = mock.url();
    let args = ["run", "in.jsonl", "--base-url", &url, "-o", "out.jsonl"];
    stage.run(args.iter().chain(more))
}

#[test]
fn a_limit_of_money_holds_and_the_run_stops_before_it_is_exceeded() {
    let (stage, mock) = (stage(), priced());
    stage.prompts("in.jsonl", 300);
    let limited = ["--max-cost", "0.05", "--json", "--model", "acme/one"];
    let said = run(
        &stage,
        &mock,
        &[&limited[..], &["--max-tokens", "100"]].concat(),
    );
    said.ends_with(3)
        .says("stopped early: the next row may cost $0.001")
        .says("of $0.050000 is spent")
        .says("the same command with a higher --max-cost goes on");
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(summary["stopped"]["code"], "out_of_money");
    let billed = mock.server.counters().total.cost_usd();
    assert!(billed <= 0.05, "{billed}");
    // It stops no sooner than the next row may be too much.
    assert!(billed > 0.047, "{billed}");
    let spent = summary["money"]["spent_usd"].as_f64().unwrap();
    assert!((spent - billed).abs() < 1e-4, "{spent} {billed}");
    assert_eq!(summary["money"]["shortfall_usd"], 0.0);
    // Every row that was sent has its result, and says what it cost.
    let lines = results(&stage.read("out.jsonl"));
    assert_eq!(lines.len() as u64, mock.posts());
    let costs = lines
        .iter()
        .map(|line| line["fairkey"]["cost_usd"].as_f64().unwrap());
    assert!((costs.sum::<f64>() - spent).abs() < 1e-9);
}

#[test]
fn what_was_spent_before_counts_when_a_run_goes_on() {
    let (stage, mock) = (stage(), priced());
    stage.prompts("in.jsonl", 60);
    let go_on = |max_cost: &str| {
        let limited = [
            "--model",
            "acme/one",
            "--max-tokens",
            "100",
            "--max-cost",
            max_cost,
        ];
        run(&stage, &mock, &limited)
    };
    go_on("0.02").ends_with(3).says("goes on where it ended");
    let sent = mock.posts();
    assert!((18..=20).contains(&sent), "{sent}");
    // The same amount is spent already.
    go_on("0.02").ends_with(3);
    assert_eq!(mock.posts(), sent);
    go_on("0.04").ends_with(3);
    let billed = mock.server.counters().total.cost_usd();
    assert!(billed <= 0.04 && mock.posts() > sent, "{billed}");
    go_on("0.1").ends_with(0).says("of $0.100000");
    assert_eq!(mock.posts(), 60, "none is paid twice");
    assert_eq!(results(&stage.read("out.jsonl")).len(), 60);
}

#[test]
fn answers_longer_than_believed_are_set_aside_for_from_then_on() {
    // Nothing bounds the answers, which are longer than anybody would believe.
    let model = Model::new("acme/one")
        .prompt_price(0.0)
        .completion_price(10.0);
    let mock = MockOpenRouter::open().model(model.max_completion_tokens(100_000));
    let mock = Mock::start(mock.answer_tokens(10_000..=10_000));
    let stage = stage();
    stage.prompts("in.jsonl", 300);
    let limited = [
        "--max-cost",
        "2",
        "--json",
        "--model",
        "acme/one",
        "--concurrency",
        "4",
    ];
    let said = run(&stage, &mock, &limited);
    said.ends_with(3);
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    let shortfall = summary["money"]["shortfall_usd"].as_f64().unwrap();
    // Of the first four, which began when nothing was known; ten times as much would be all.
    assert!(shortfall > 0.0 && shortfall < 0.25, "{summary}");
    let billed = mock.server.counters().total.cost_usd();
    assert!(billed <= 2.0 + shortfall && billed > 1.5, "{billed}");
}

#[test]
fn a_row_without_a_price_is_not_sent_where_money_is_limited() {
    let (stage, mock) = (stage(), priced());
    let line = |model: &str| format!("{{\"prompt\":\"secret words\",\"model\":\"{model}\"}}\n");
    let lines = [line("acme/one"), line("acme/router"), line("acme/unlisted")];
    stage.write(
        "in.jsonl",
        lines.concat() + "{\"prompt\":\"secret words\"}\n",
    );
    let said = run(&stage, &mock, &["--max-cost", "5"]);
    said.ends_with(1).does_not_say("secret words");
    let lines = results(&stage.read("out.jsonl"));
    assert!(lines[0]["error"].is_null(), "{}", lines[0]);
    for line in &lines[1..] {
        assert_eq!(line["error"]["code"], "no_price", "{line}");
    }
    let message = lines[1]["error"]["message"].as_str().unwrap();
    assert!(message.contains("acme/router"), "{message}");
    assert_eq!(mock.posts(), 1);
    // Where it is clear from the start, nothing begins.
    let said = run(
        &stage,
        &mock,
        &["--max-cost", "5", "--model", "acme/router", "--overwrite"],
    );
    said.ends_with(2)
        .says("--max-cost cannot hold")
        .says("acme/router");
    assert_eq!(mock.posts(), 1);
}

#[test]
fn without_a_catalogue_a_limit_is_refused_and_a_run_without_one_goes_on() {
    let (stage, mock) = (stage(), priced());
    let gone = Step::reply(fairkey_mock::Fault::bad_request("no list today"));
    mock.server.script(On::path("/models"), [gone.forever()]);
    stage.prompts("in.jsonl", 3);
    let said = run(&stage, &mock, &["--max-cost", "5"]);
    said.ends_with(2)
        .says("--max-cost needs the prices of the catalogue");
    assert!(!stage.names().contains(&"out.jsonl".to_owned()));
    run(&stage, &mock, &[]).ends_with(0);
    assert_eq!(mock.posts(), 3);
}

#[test]
fn an_amount_that_is_none_is_refused() {
    let stage = stage();
    stage.prompts("in.jsonl", 1);
    let said = stage.run(["run", "in.jsonl", "--mock", "--max-cost", "much"]);
    said.ends_with(2)
        .says("\"much\" is no amount of US dollars");
}

#[test]
fn a_dry_run_sends_nothing_and_says_what_a_run_would_take() {
    let model = Model::new("acme/one")
        .prompt_price(1.0)
        .completion_price(10.0);
    let free = Model::new("acme/two:free")
        .prompt_price(0.0)
        .completion_price(0.0);
    let small = Model::new("acme/small")
        .context_length(20)
        .prompt_price(1.0);
    let key = "sk-or-v1-any-00000000";
    let mock = MockOpenRouter::builder().key(fairkey_mock::Key::new(key).limit_usd(0.5));
    let mock = Mock::start(mock.model(model).model(free).model(small));
    let stage = stage();
    stage.write(
        "fairkey.toml",
        "[[accounts]]\nid = \"acme\"\nlimits = { requests_per_minute = 60 }\n\
         [[keys]]\nid = \"a\"\naccount = \"acme\"\nsecret = { env = \"OPENROUTER_API_KEY\" }\n",
    );
    let line = |model: &str| format!("{{\"prompt\":\"secret words\",\"model\":\"{model}\"}}\n");
    let mut lines = line("acme/one").repeat(600) + &line("acme/two:free") + &line("acme/unknown");
    let long = "secret words".repeat(40);
    lines += &format!("{{\"prompt\":\"{long}\",\"model\":\"acme/small\"}}\n{{\"prompt\":5}}\n");
    stage.write("in.jsonl", lines);
    let dry = ["--dry-run", "--max-tokens", "100", "--max-cost", "0.1"];
    let said = run(&stage, &mock, &dry);
    said.ends_with(1);
    for text in [
        "603 to send, 1 that are no requests; nothing was sent",
        "line 604: \"prompt\" is not a string",
        "at most",
        "caps and budgets leave $0.500000, which will not do",
        "$0.100000, which will not do",
        "1 row of free models",
        "10 min 3 s at least: limits of requests: 60.0 a minute",
        "not in the catalogue",
        "1 row longer than its context: line 603",
        "assumed, max_tokens",
    ] {
        assert!(said.stdout.contains(text), "no {text:?} in {}", said.stdout);
    }
    assert!(!said.stdout.contains("secret words"), "{}", said.stdout);
    let batches = ["--dry-run", "--mode", "upstream-batch"];
    let said = run(&stage, &mock, &batches);
    for text in ["batches cost half of that", "24 hours at most"] {
        assert!(said.stdout.contains(text), "no {text:?} in {}", said.stdout);
    }
    let said = run(&stage, &mock, &[&dry[..], &["--json"]].concat());
    let outlook: Value = serde_json::from_str(&said.stdout).unwrap();
    let cost = |at: &str| outlook["cost_usd"][at].as_f64().unwrap();
    assert!(
        0.0 < cost("low") && cost("low") < cost("expected"),
        "{outlook}"
    );
    // The most of 600 answers of 100 tokens, and of prompts of a token a byte.
    assert!((0.6..0.65).contains(&cost("most")), "{outlook}");
    assert_eq!(outlook["unpriced_rows"], 1);
    assert_eq!(outlook["bad_rows"], 1);
    assert_eq!(mock.posts(), 0);
    assert_eq!(stage.names(), ["fairkey.toml", "in.jsonl"]);
    // What is really spent lies between.
    let two = line("acme/one").repeat(20);
    stage.write("in.jsonl", two);
    let said = run(
        &stage,
        &mock,
        &["--dry-run", "--max-tokens", "100", "--json"],
    );
    let outlook: Value = serde_json::from_str(&said.ends_with(0).stdout).unwrap();
    run(&stage, &mock, &["--max-tokens", "100"]).ends_with(0);
    let billed = mock.server.counters().total.cost_usd();
    assert!(
        billed <= outlook["cost_usd"]["most"].as_f64().unwrap(),
        "{billed} {outlook}"
    );
}

#[test]
fn a_dry_run_without_a_catalogue_counts_all_the_same() {
    let (stage, mock) = (stage(), priced());
    let gone = Step::reply(fairkey_mock::Fault::bad_request("no list today"));
    mock.server.script(On::path("/models"), [gone.forever()]);
    stage.prompts("in.jsonl", 3);
    let said = run(&stage, &mock, &["--dry-run"]);
    said.ends_with(0);
    assert!(
        said.stdout.contains("unknown: there is no catalogue"),
        "{}",
        said.stdout
    );
    let said = stage.run([
        "run",
        "in.jsonl",
        "--mock",
        "--dry-run",
        "--model",
        "openai/gpt-4o-mini",
    ]);
    said.ends_with(0);
    assert!(said.stdout.contains("$0.0"), "{}", said.stdout);
}
