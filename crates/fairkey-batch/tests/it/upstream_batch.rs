//! Rows through the Batch API of the mock, in memory and on virtual time.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fairkey_batch::{
    BatchConfig, BatchReport, BatchState, ClientBatches, ClientCaller, DoneRows, MemoryOutput,
    ReadConfig, Row, RowReader, RunConfig, Stop, Summary, UpstreamBatches, run,
};
use fairkey_client::Client;
use fairkey_core::Key;
use fairkey_mock::{
    Account, BatchPlan, Builder, Event, EventKind, Fault, MockOpenRouter, On, Step,
};
use fairkey_transport::{ByteStream, Dial, HttpTransport};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

const PATH: &str = "/api/beta/batches";
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Pipe(Arc<MockOpenRouter>);

#[async_trait::async_trait]
impl Dial for Pipe {
    async fn dial(&self, _: &str, _: u16) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(self.0.connect()))
    }
}

struct World {
    mock: Arc<MockOpenRouter>,
    folder: TempDir,
    config: BatchConfig,
}

/// What came of a run.
struct Outcome {
    summary: Summary,
    lines: Vec<Value>,
    batches: Vec<BatchReport>,
    notices: Vec<String>,
    halted: Option<String>,
}

/// Looks at the run so rarely that days pass fast.
fn patient() -> RunConfig {
    let mut config = RunConfig::default();
    config.tick = Duration::from_secs(600);
    config
}

/// Two accounts; the first with two keys.
fn mock() -> Builder {
    let key = |secret: &str, account: &str| {
        fairkey_mock::Key::new(format!("sk-or-v1-{secret}"))
            .label(secret)
            .account(account)
    };
    MockOpenRouter::builder()
        .account(Account::new("one").balance_usd(100.0))
        .account(Account::new("two").balance_usd(100.0))
        .key(key("a", "one"))
        .key(key("b", "one"))
        .key(key("c", "two"))
        .any_model(true)
        .job_duration(2 * HOUR)
}

impl World {
    fn new(mock: Builder) -> Self {
        let mut config = BatchConfig::default();
        config.rows = 4;
        Self {
            mock: Arc::new(mock.start_in_memory().unwrap()),
            folder: tempfile::tempdir().unwrap(),
            config,
        }
    }

    fn client(&self) -> Client {
        let transport = HttpTransport::builder().dialer(Arc::new(Pipe(Arc::clone(&self.mock))));
        Client::builder()
            .keys([
                Key::new("a", "sk-or-v1-a").account("one"),
                Key::new("b", "sk-or-v1-b").account("one"),
                Key::new("c", "sk-or-v1-c").account("two"),
            ])
            .transport(Arc::new(transport.build().unwrap()))
            .base_url(self.mock.base_url())
            .seed(7)
            .build()
            .unwrap()
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn run(&self, input: &str) -> Outcome {
        self.run_until(input, DoneRows::default(), Stop::new())
            .await
    }

    async fn run_until(&self, input: &str, done: DoneRows, stop: Stop) -> Outcome {
        let batches = UpstreamBatches::open(self.folder(), self.config.clone()).unwrap();
        let batches = Arc::new(batches);
        let upstream = ClientBatches::new(self.client()).unwrap();
        let driver = batches.start(rows(input), done, upstream, stop.clone());
        let output = MemoryOutput::new();
        let caller = Arc::clone(&batches);
        let running = run(rows(input), caller, output.clone(), patient(), stop, ());
        let Ok(summary) = timeout(100 * HOUR, running).await else {
            let told = (
                batches.batches(),
                batches.take_notices(),
                output.lines().len(),
            );
            panic!("the run does not end: {told:?}");
        };
        driver.finish().await;
        assert_eq!(summary.rows.lost, 0);
        Outcome {
            summary,
            lines: values(&output),
            batches: batches.batches(),
            notices: batches.take_notices(),
            halted: batches.halted(),
        }
    }

    /// The labels of the keys by which batches were submitted.
    fn submitted(&self) -> Vec<String> {
        self.calls(|path, method| path == PATH && method == "POST")
    }

    fn calls(&self, is_meant: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let events = self.mock.log().events();
        let meant = events.iter().filter(|event| match &event.kind {
            EventKind::Received { path, method, .. } => is_meant(path, method),
            _ => false,
        });
        meant.map(|it| it.key().unwrap_or("-").to_owned()).collect()
    }
}

fn values(output: &MemoryOutput) -> Vec<Value> {
    let lines = output.lines();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Rows that are there already: a thread that reads them is nothing that virtual time waits for.
fn rows(input: &str) -> VecDeque<Row> {
    let mut reader = RowReader::new(input.as_bytes(), ReadConfig::default());
    std::iter::from_fn(|| reader.next_row().unwrap()).collect()
}

fn line(model: &str, n: usize) -> String {
    format!("{{\"custom_id\":\"q{n}\",\"model\":\"{model}\",\"prompt\":\"Question {n}\"}}\n")
}

fn lines(n: usize) -> String {
    (0..n).map(|n| line("acme/small", n)).collect()
}

fn ids(lines: &[Value]) -> Vec<&str> {
    let ids = lines.iter().map(|line| line["custom_id"].as_str().unwrap());
    ids.collect()
}

#[tokio::test(start_paused = true)]
async fn rows_of_all_kinds_are_answered_in_order_at_half_the_price() {
    let world = World::new(mock());
    let mut input = String::new();
    for n in 0..13 {
        input.push_str(&line(["acme/small", "acme/large"][n % 2], n));
    }
    input.push_str(r#"{"custom_id":"m","url":"/v1/messages","body":{"model":"acme/small","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}}"#);
    input.push_str("\nno request\n");
    input.push_str(r#"{"custom_id":"p","body":{"model":"acme/small","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}}"#);
    let before = world.mock.balance_usd("one") + world.mock.balance_usd("two");
    let outcome = world.run(&input).await;
    let rows = &outcome.summary.rows;
    assert_eq!((rows.read, rows.answered, rows.failed), (16, 14, 2));
    let mut expected: Vec<String> = (0..13).map(|n| format!("q{n}")).collect();
    expected.extend(["m".into(), "line-15".into(), "p".into()]);
    assert_eq!(ids(&outcome.lines), expected);
    let picture = &outcome.lines[15]["error"];
    assert_eq!(picture["code"], "not_batchable");
    let message = picture["message"].as_str().unwrap();
    assert!(message.contains("\"image_url\""), "{message}");
    // 7 and 6 rows of two models in fours, and one of messages.
    assert_eq!(outcome.batches.len(), 5);
    let submitted = world.submitted();
    let of_two = submitted.iter().filter(|key| *key == "c").count();
    assert_eq!(of_two, 2, "accounts take turns: {submitted:?}");
    let spent = before - world.mock.balance_usd("one") - world.mock.balance_usd("two");
    let told = outcome.summary.cost.micro_usd as f64 / 1e6;
    assert!(
        spent > 0.0 && (told - spent).abs() < 20e-6,
        "{told} {spent}"
    );
    let each: f64 = (outcome.lines.iter())
        .filter_map(|line| line["fairkey"]["cost_usd"].as_f64())
        .sum();
    assert!((each - told).abs() < 1e-9, "{each} {told}");
    // As the endpoint would have answered.
    let live = Arc::new(ClientCaller::new(world.client()));
    let output = MemoryOutput::new();
    let first = line("acme/small", 0);
    run(
        self::rows(&first),
        live,
        output.clone(),
        patient(),
        Stop::new(),
        (),
    )
    .await;
    let body = |line: &Value| line["response"]["body"]["choices"].clone();
    assert_eq!(body(&outcome.lines[0]), body(&values(&output)[0]));
}

#[tokio::test(start_paused = true)]
async fn results_in_an_order_of_their_own_find_their_rows() {
    let plan = BatchPlan::completes().after(HOUR).shuffled().forever();
    let world = World::new(mock().batches([plan]));
    let straight = World::new(mock());
    let (shuffled, straight) = (world.run(&lines(12)).await, straight.run(&lines(12)).await);
    let said = |outcome: &Outcome| -> Vec<Value> {
        let body = |line: &Value| line["response"]["body"]["choices"].clone();
        outcome.lines.iter().map(body).collect()
    };
    assert_eq!(shuffled.summary.rows.answered, 12);
    assert_eq!(said(&shuffled), said(&straight));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_interrupted_collects_what_it_submitted() {
    let world = World::new(mock());
    let stop = Stop::new();
    let log = world.mock.log();
    let interrupt = async {
        let looked = |event: &Event| matches!(&event.kind, EventKind::Received { method, .. } if method == "GET");
        log.wait_for(looked).await;
        stop.stop();
    };
    let input = lines(10);
    let first = world.run_until(&input, DoneRows::default(), stop.clone());
    let (first, ()) = tokio::join!(first, interrupt);
    assert_eq!(first.summary.rows.answered, 0);
    assert_eq!(world.submitted().len(), 3);
    let open = first
        .batches
        .iter()
        .filter(|it| it.state == BatchState::Submitted);
    assert_eq!(open.count(), 3);
    // Rows that moved, and one more: they go by what they send.
    let mut rows: Vec<String> = input.lines().map(|line| format!("{line}\n")).collect();
    rows.reverse();
    rows.push(line("acme/small", 10));
    let second = world.run(&rows.concat()).await;
    assert_eq!(second.summary.rows.answered, 11);
    assert_eq!(world.submitted().len(), 4, "one for the new row");
    let expected: Vec<String> = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10]
        .map(|n| format!("q{n}"))
        .into();
    assert_eq!(ids(&second.lines), expected);
    // Everything is here: nothing is asked for again, as long as it is not forgotten.
    let third = world.run(&input).await;
    assert_eq!(
        (third.summary.rows.answered, world.submitted().len()),
        (10, 4)
    );
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_asked_for_before_they_are_read_ahead_are_not_submitted_again() {
    let world = World::new(mock());
    let stop = Stop::new();
    let interrupt = async {
        while world.submitted().len() < 3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        stop.stop();
    };
    let input = lines(10);
    let first = world.run_until(&input, DoneRows::default(), stop.clone());
    tokio::join!(first, interrupt);
    let batches = UpstreamBatches::open(world.folder(), world.config.clone()).unwrap();
    let batches = Arc::new(batches);
    let (caller, output) = (Arc::clone(&batches), MemoryOutput::new());
    let running = run(rows(&input), caller, output, patient(), Stop::new(), ());
    let running = tokio::spawn(running);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let upstream = ClientBatches::new(world.client()).unwrap();
    let driver = batches.start(rows(&input), DoneRows::default(), upstream, Stop::new());
    assert_eq!(running.await.unwrap().rows.answered, 10);
    driver.finish().await;
    assert_eq!(world.submitted().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_done_are_not_submitted_and_the_same_row_twice_is() {
    let world = World::new(mock());
    let row = |id: usize| {
        let id = format!("\"custom_id\":\"q{id}\"");
        format!("{{{id},\"model\":\"acme/small\",\"prompt\":\"the same\"}}\n")
    };
    let input: String = (0..3).map(row).collect();
    let batches = UpstreamBatches::open(world.folder(), world.config.clone()).unwrap();
    let upstream = ClientBatches::new(world.client()).unwrap();
    let done = DoneRows::from_iter([1]);
    let driver = batches.start(rows(&input), done, upstream, Stop::new());
    while batches.batches().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let made = batches.batches();
    assert_eq!((made.len(), made[0].rows), (1, 2));
    driver.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_expires_leaves_its_rows_to_the_next_run() {
    let plans = [
        BatchPlan::completes().after(HOUR),
        BatchPlan::expires(),
        BatchPlan::fails("sk-or-v1-0123456789abcdef").after(HOUR),
    ];
    let world = World::new(mock().batches(plans));
    let input = lines(12);
    let first = world.run(&input).await;
    let rows = &first.summary.rows;
    assert_eq!((rows.answered, rows.failed, rows.left), (4, 0, 8));
    assert!(
        first.summary.elapsed >= 24 * HOUR,
        "{:?}",
        first.summary.elapsed
    );
    let said = first.notices.join("\n");
    assert!(
        said.contains("expired") && said.contains("failed: [key]"),
        "{said}"
    );
    let second = world.run(&input).await;
    assert_eq!(second.summary.rows.answered, 12);
    assert_eq!(world.submitted().len(), 5, "two were submitted again");
}

#[tokio::test(start_paused = true)]
async fn rows_that_fail_in_a_batch_fail_alone_and_are_sent_again_on_demand() {
    let plan = BatchPlan::completes().after(HOUR).failing(["row-2"]);
    let mut world = World::new(mock().batches([plan]));
    let input = lines(4);
    let first = world.run(&input).await;
    assert_eq!(
        (first.summary.rows.answered, first.summary.rows.failed),
        (3, 1)
    );
    let failed = &first.lines[1];
    assert_eq!(failed["error"]["code"], "provider_error");
    assert_eq!(failed["error"]["attempts"][0]["key"], "a");
    world.config.retry_failed = true;
    let done = DoneRows::from_iter([0, 2, 3]);
    let batches = UpstreamBatches::open(world.folder(), world.config.clone()).unwrap();
    let upstream = ClientBatches::new(world.client()).unwrap();
    let driver = batches.start(rows(&input), done, upstream, Stop::new());
    while batches.batches().len() < 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(batches.batches()[1].rows, 1);
    driver.finish().await;
    drop(batches);
    world.config.retry_failed = false;
    let third = world.run(&input).await;
    assert_eq!(third.summary.rows.answered, 4, "the newer answer stands");
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_answer_was_lost_is_left_until_somebody_decides() {
    let mut world = World::new(mock());
    // It is made, and nobody hears of it.
    let lost = [Step::cut_after_chunks(0), Step::pass().forever()];
    world.mock.script(On::path(PATH), lost);
    let input = lines(8);
    let first = world.run(&input).await;
    assert_eq!(
        (first.summary.rows.answered, first.summary.rows.left),
        (4, 4)
    );
    assert_eq!(first.batches[0].state, BatchState::InDoubt);
    let said = first.notices.join("\n");
    assert!(said.contains("--resubmit"), "{said}");
    let second = world.run(&input).await;
    assert_eq!(
        (second.summary.rows.answered, second.summary.rows.left),
        (4, 4)
    );
    assert_eq!(world.submitted().len(), 2, "nothing was submitted again");
    world.config.resubmit = true;
    let third = world.run(&input).await;
    assert_eq!(third.summary.rows.answered, 8);
    assert_eq!(world.submitted().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_submitted_when_every_batch_is_in_doubt() {
    let world = World::new(mock());
    let broken = Step::reply(Fault::internal_500()).forever();
    world.mock.script(On::path(PATH), [broken]);
    let outcome = world.run(&lines(40)).await;
    assert_eq!(outcome.summary.rows.left, 40);
    assert_eq!(world.submitted().len(), 3);
    let why = outcome.halted.unwrap();
    assert!(why.contains("3 batches in a row are in doubt"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_spoils_its_batch_is_found_and_the_others_are_answered() {
    let mut world = World::new(mock());
    world.config.rows = 100;
    let odd = json!({"custom_id": "odd", "body": {"model": "acme/small", "messages":
        [{"role": "user", "content": [{"type": "hologram"}]}]}});
    let mut input = lines(11);
    input.push_str(&format!("{odd}\n"));
    input.push_str(&line("acme/small", 11));
    let outcome = world.run(&input).await;
    assert_eq!(
        (outcome.summary.rows.answered, outcome.summary.rows.failed),
        (12, 1)
    );
    let failed = &outcome.lines[11];
    assert_eq!(failed["custom_id"], "odd");
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.contains("not text only"), "{message}");
    let submitted = world.submitted().len();
    assert!(submitted <= 10, "{submitted} submissions for one bad row");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_is_parted() {
    let mut world = World::new(mock().max_batch_requests(3));
    world.config.rows = 100;
    let outcome = world.run(&lines(10)).await;
    assert_eq!(outcome.summary.rows.answered, 10);
    assert!(outcome.batches.iter().all(|batch| batch.rows <= 3));
}

#[tokio::test(start_paused = true)]
async fn bytes_bound_a_batch_as_well() {
    let mut world = World::new(mock());
    (world.config.rows, world.config.bytes) = (1_000, 600);
    let outcome = world.run(&lines(20)).await;
    assert_eq!(outcome.summary.rows.answered, 20);
    assert!(outcome.batches.len() > 3, "{}", outcome.batches.len());
    let mut world = World::new(mock());
    (world.config.rows, world.config.filling_bytes) = (1_000, 2_000);
    let input: String = (0..40)
        .map(|n| line(&format!("acme/m{}", n % 10), n))
        .collect();
    let outcome = world.run(&input).await;
    assert_eq!(outcome.summary.rows.answered, 40);
    assert!(outcome.batches.len() > 10, "{}", outcome.batches.len());
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_out_are_passed_over_and_a_sibling_looks() {
    let world = World::new(mock());
    world.mock.set_balance("two", 0.0);
    let log = world.mock.log();
    let revoke = async {
        let looked = |event: &Event| matches!(&event.kind, EventKind::Received { method, .. } if method == "GET");
        log.wait_for(looked).await;
        world.mock.revoke_key("a");
    };
    let (outcome, ()) = {
        let input = lines(8);
        let running = world.run(&input);
        tokio::join!(running, revoke)
    };
    assert_eq!(outcome.summary.rows.answered, 8);
    assert!(
        outcome
            .batches
            .iter()
            .all(|it| it.account == Some("one".into()))
    );
    let looked = world.calls(|path, method| path.starts_with(PATH) && method == "GET");
    assert!(looked.contains(&"a".to_owned()) && looked.contains(&"b".to_owned()));
    assert!(
        !looked.contains(&"c".to_owned()),
        "another account knows nothing of it"
    );
}

#[tokio::test(start_paused = true)]
async fn looks_become_rarer_and_failures_among_them_pass() {
    let mut world = World::new(mock().job_duration(20 * HOUR));
    world.config.rows = 100;
    let looks = On::path(format!("{PATH}/*"));
    let faults = Step::reply(Fault::internal_500()).times(3);
    world.mock.script(looks, [Step::pass(), faults]);
    let outcome = world.run(&lines(5)).await;
    assert_eq!(outcome.summary.rows.answered, 5);
    let looked = world
        .calls(|path, method| path.starts_with(PATH) && method == "GET")
        .len();
    // 20 hours at five minutes are 240.
    assert!((230..260).contains(&looked), "{looked}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_be_looked_at_is_looked_at_by_the_next_run() {
    let world = World::new(mock());
    let looks = On::path(format!("{PATH}/*"));
    let faults = Step::reply(Fault::internal_500()).forever();
    world.mock.script(looks, [faults]);
    let first = world.run(&lines(4)).await;
    assert_eq!(first.summary.rows.left, 4);
    assert!(first.summary.elapsed < HOUR, "{:?}", first.summary.elapsed);
    world.mock.clear_scripts();
    let second = world.run(&lines(4)).await;
    assert_eq!(
        (second.summary.rows.answered, world.submitted().len()),
        (4, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_deleted_upstream_is_not_paid_again_unasked() {
    let mut world = World::new(mock());
    let looks = On::path(format!("{PATH}/*"));
    let gone = Step::reply(Fault::not_found("Batch not found"));
    world.mock.script(looks, [gone]);
    let first = world.run(&lines(4)).await;
    assert_eq!(first.batches[0].state, BatchState::Gone);
    let second = world.run(&lines(4)).await;
    assert_eq!((second.summary.rows.left, world.submitted().len()), (4, 1));
    world.config.resubmit = true;
    let third = world.run(&lines(4)).await;
    assert_eq!(
        (third.summary.rows.answered, world.submitted().len()),
        (4, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_key_the_run_ends_with_what_it_has() {
    let world = World::new(mock());
    world.mock.set_balance("one", 0.0);
    world.mock.set_balance("two", 0.0);
    let outcome = world.run(&lines(9)).await;
    assert_eq!(outcome.summary.rows.left, 9);
    let why = outcome.halted.unwrap();
    assert!(why.contains("nothing more is submitted"), "{why}");
    assert!(outcome.batches.is_empty());
    world.mock.set_balance("two", 1.0);
    assert_eq!(world.run(&lines(9)).await.summary.rows.answered, 9);
}

#[tokio::test(start_paused = true)]
async fn rows_that_no_batch_takes_can_be_sent_at_once() {
    let world = World::new(mock());
    let batches = UpstreamBatches::open(world.folder(), world.config.clone()).unwrap();
    let batches = Arc::new(batches.fallback(ClientCaller::new(world.client())));
    let mut input = lines(2);
    input.push_str(r#"{"custom_id":"p","body":{"model":"acme/small","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}}"#);
    let upstream = ClientBatches::new(world.client()).unwrap();
    let driver = batches.start(rows(&input), DoneRows::default(), upstream, Stop::new());
    let output = MemoryOutput::new();
    let config = patient();
    let caller = Arc::clone(&batches);
    let summary = run(
        rows(&input),
        caller,
        output.clone(),
        config,
        Stop::new(),
        (),
    )
    .await;
    driver.finish().await;
    assert_eq!(summary.rows.answered, 3);
    let live = world.calls(|path, _| path == "/chat/completions");
    assert_eq!((live.len(), world.submitted().len()), (1, 1));
    batches.forget().unwrap();
    assert!(!world.folder().exists());
    std::fs::create_dir(world.folder()).unwrap();
}
