//! `fairkey serve` as it is operated: reloads, drains, operators, bounds.
#![cfg(unix)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use fairkey_mock::{Fault, Latency, MockOpenRouter, On, Step};
use serde_json::Value;

use crate::program::{Mock, Running, Stage, is_post};

/// A configuration for the mock, with `more` behind it.
fn config(mock: &Mock, more: &str) -> String {
    format!("[upstream]\nbase_url = \"{}\"\n{more}", mock.url())
}

const KEY_A: &str = "[[keys]]\nid = \"a\"\nsecret.file = \"a.key\"\n";

/// A stage with the secret of `a` in a file, and a configuration.
fn stage(mock: &Mock, more: &str) -> Stage {
    let stage = Stage::new();
    stage.write("a.key", "sk-or-v1-secret-of-a\n");
    stage.write("fairkey.toml", config(mock, more));
    stage
}

fn serve(stage: &Stage) -> Running {
    Running::start(&mut stage.command(["serve", "--listen", "127.0.0.1:0"]))
}

/// Waits until it listens, and returns the address.
fn addr(serve: &Running) -> String {
    let line = serve.wait_for("listening on http://");
    line.trim().rsplit('/').next().unwrap().to_owned()
}

/// Returns where callers are served, and operators: told on two streams, in either order.
fn addrs(serve: &Running) -> (String, String) {
    let (mut callers, mut operators) = (None, None);
    while callers.is_none() || operators.is_none() {
        let line = serve.wait_for("http://127.0.0.1:");
        let addr = line.trim().rsplit('/').next().unwrap().to_owned();
        if line.contains("operators: http://") {
            operators = Some(addr);
        } else if line.contains("listening on http://") {
            callers = Some(addr);
        }
    }
    (callers.unwrap(), operators.unwrap())
}

fn send(addr: &str, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let length = body.len();
    let text = format!(
        "{head} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

fn rest(mut stream: impl Read) -> String {
    let mut said = Vec::new();
    // What comes before a reset counts; one that stays open is none.
    if let Err(error) = stream.read_to_end(&mut said) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "it is not closed");
    }
    String::from_utf8(said).unwrap()
}

fn ask(addr: &str, head: &str, body: &str) -> String {
    rest(send(addr, head, body))
}

fn json(said: &str) -> Value {
    let (_, body) = said
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{said}"));
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{said}"))
}

const CHAT: &str = r#"{"model":"openai/gpt-4o","messages":[{"role":"user","content":"Hi"}]}"#;

fn chat(addr: &str) -> String {
    ask(addr, "POST /v1/chat/completions", CHAT)
}

#[test]
fn a_configuration_that_cannot_be_keeps_the_old_one_and_a_good_one_is_taken() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = stage(&mock, &format!("{KEY_A}[gateway]\nwatch = \"0s\"\n"));
    let serve = serve(&stage);
    let addr = addr(&serve);
    assert!(chat(&addr).contains("x-fairkey-key: a\r\n"));
    stage.write("fairkey.toml", "[upstream]\nbase_url = 7\n");
    serve.signal("HUP");
    let line = serve.wait_for("is not taken, and the old one stays");
    assert!(line.contains("fairkey.toml, line 2 column 12"), "{line}");
    assert!(chat(&addr).contains("x-fairkey-key: a\r\n"));
    let other = "[[keys]]\nid = \"b\"\nweight = 2\nsecret = \"sk-or-v1-secret-of-b\"\n\
                 [retry]\nattempts = 2\n[gateway]\nwatch = \"0s\"\n";
    stage.write("fairkey.toml", config(&mock, other));
    serve.signal("HUP");
    let line = serve.wait_for("configuration reloaded (SIGHUP)");
    for part in ["added keys.b.id", "retry.attempts", "removed keys.a.id"] {
        assert!(line.contains(part), "{line}");
    }
    let line = serve.wait_for("holds only after a restart");
    assert!(
        line.contains("retry.attempts") && !line.contains("keys.b"),
        "{line}"
    );
    assert!(chat(&addr).contains("x-fairkey-key: b\r\n"));
    serve.signal("TERM");
    let said = serve.end();
    said.ends_with(0);
    assert!(!said.stderr.contains("secret-of"), "{}", said.stderr);
}

#[test]
fn a_secret_file_that_is_written_anew_is_read_without_a_signal() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = stage(&mock, &format!("{KEY_A}[gateway]\nwatch = \"20ms\"\n"));
    let serve = serve(&stage);
    let addr = addr(&serve);
    assert!(chat(&addr).starts_with("HTTP/1.1 200"));
    stage.write("a.key", "sk-or-v1-the-next-secret-of-a\n");
    serve.wait_for("another secret for a");
    assert!(chat(&addr).starts_with("HTTP/1.1 200"));
    // The mock names keys in the order in which it first hears of them.
    let events = mock.server.log().events();
    let last = events.iter().filter_map(|event| event.key()).next_back();
    assert_eq!(last, Some("key-2"), "the secret is another one");
    serve.signal("TERM");
    serve.end().ends_with(0);
}

#[test]
fn a_drain_takes_no_more_calls_and_says_what_the_second_signal_cut() {
    let latency = Latency::new(Duration::from_secs(600), Duration::ZERO);
    let mock = Mock::start(MockOpenRouter::open().latency(latency));
    let stage = stage(&mock, KEY_A);
    let serve = serve(&stage);
    let addr = addr(&serve);
    assert!(ask(&addr, "GET /readyz", "").ends_with("ready\n"));
    let call = send(&addr, "POST /v1/chat/completions", CHAT);
    let log = mock.server.log();
    mock.runtime.block_on(async {
        let sent = log.wait_for(|event| event.key().is_some());
        tokio::time::timeout(Duration::from_secs(60), sent)
            .await
            .unwrap();
    });
    serve.signal("TERM");
    serve.wait_for("draining: 1 call under way");
    let ready = ask(&addr, "GET /readyz", "");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.ends_with("draining\n"),
        "{ready}"
    );
    assert!(ask(&addr, "GET /healthz", "").ends_with("ok\n"));
    let refused = chat(&addr);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("connection: close\r\n"), "{refused}");
    assert_eq!(
        json(&refused)["error"]["metadata"]["reason"],
        "shutting_down"
    );
    serve.signal("TERM");
    let line = serve.wait_for("cut off 1 call under way: req-");
    assert_eq!(line.matches("req-").count(), 1, "{line}");
    serve.end().ends_with(3);
    assert_eq!(rest(call), "");
}

#[test]
fn what_is_not_over_when_the_grace_is_ends_and_is_said_by_name() {
    // Answers that begin at once, and end in ten minutes: the mock drips.
    let drip = Step::drip(1, Duration::from_secs(1)).forever();
    let mock = Mock::start(MockOpenRouter::open().script(On::any(), [drip]));
    let stage = stage(&mock, &format!("{KEY_A}[gateway]\ngrace = \"300ms\"\n"));
    let serve = serve(&stage);
    let addr = addr(&serve);
    let calls = [(); 3].map(|()| send(&addr, "POST /v1/chat/completions", CHAT));
    let log = mock.server.log();
    mock.runtime.block_on(async {
        let all = log.wait_for_nth(3, is_post);
        tokio::time::timeout(Duration::from_secs(60), all)
            .await
            .unwrap();
    });
    serve.signal("TERM");
    let line = serve.wait_for("draining: 3 calls under way, for 300ms at most");
    assert!(line.contains("second signal"), "{line}");
    let line = serve.wait_for("cut off 3 calls under way: req-");
    assert_eq!(line.matches("req-").count(), 3, "{line}");
    serve.end().ends_with(3);
    for call in calls {
        assert_eq!(rest(call), "", "nothing was answered");
    }
}

#[test]
fn what_is_over_before_the_grace_is_was_not_cut() {
    let latency = Latency::new(Duration::from_millis(300), Duration::ZERO);
    let mock = Mock::start(MockOpenRouter::open().latency(latency));
    let stage = stage(&mock, KEY_A);
    let serve = serve(&stage);
    let addr = addr(&serve);
    let call = send(&addr, "POST /v1/chat/completions", CHAT);
    let log = mock.server.log();
    mock.runtime.block_on(async {
        let sent = log.wait_for(|event| event.key().is_some());
        tokio::time::timeout(Duration::from_secs(60), sent)
            .await
            .unwrap();
    });
    serve.signal("TERM");
    let answer = rest(call);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let said = serve.end();
    said.ends_with(0).does_not_say("cut off");
}

#[test]
fn what_a_reload_does_not_change_keeps_its_state() {
    let script = [Step::reply(Fault::credits_exhausted()).forever()];
    let mock = Mock::start(MockOpenRouter::open().script(On::key("sk-or-v1-secret-of-a"), script));
    let client = "[[clients]]\nid = \"team\"\ntoken = \"tok-of-team\"\n\
                  limits = { requests = { limit = 3, per = \"1h\" } }\n\
                  [[clients]]\nid = \"other\"\ntoken = \"tok-of-other\"\n";
    let more = |weight: u32| {
        format!(
            "{KEY_A}[[keys]]\nid = \"b\"\nweight = {weight}\nsecret = \"sk-or-v1-secret-of-b\"\n\
             {client}[gateway]\nwatch = \"0s\"\nspend = \"spend.log\"\n"
        )
    };
    let stage = stage(&mock, &more(1));
    let serve = serve(&stage);
    let addr = addr(&serve);
    let call_as = |token: &str| {
        let mut stream = TcpStream::connect(&addr).unwrap();
        let text = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {token}\r\n\
             connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n\
             {CHAT}",
            CHAT.len()
        );
        stream.write_all(text.as_bytes()).unwrap();
        rest(stream)
    };
    let call = || call_as("tok-of-team");
    for _ in 0..2 {
        assert!(call().contains("x-fairkey-key: b\r\n"));
    }
    let refused = || {
        let events = mock.server.log().events();
        events
            .iter()
            .filter(|event| event.status() == Some(402))
            .count()
    };
    // Chance says whose turn it is; sooner or later it is that of `a`.
    let mut others = 0;
    while refused() == 0 {
        assert!(others < 200, "a was never asked");
        assert!(call_as("tok-of-other").contains("x-fairkey-key: b\r\n"));
        others += 1;
    }
    let before = refused();
    assert_eq!(before, 1, "a is out");
    let line = format!("{}access_log = \"access.log\"\n", more(7));
    stage.write(
        "fairkey.toml",
        config(&mock, &line.replace("spend.log", "other.log")),
    );
    serve.signal("HUP");
    let line = serve.wait_for("configuration reloaded (SIGHUP)");
    assert!(line.contains("keys.b.weight"), "{line}");
    // What cannot change under way is said by name.
    let line = serve.wait_for("holds only after a restart");
    for setting in ["gateway.access_log", "gateway.spend"] {
        assert!(line.contains(setting), "{line}");
    }
    assert!(call().contains("x-fairkey-key: b\r\n"));
    assert_eq!(refused(), before, "a is out, still");
    // The window of the client has gone on.
    let answer = call();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert_eq!(json(&answer)["error"]["metadata"]["reason"], "over_rate");
    serve.signal("TERM");
    serve.end().ends_with(0);
    assert!(!stage.path("other.log").exists() && !stage.path("access.log").exists());
}

#[test]
fn an_access_log_that_was_renamed_is_opened_anew_with_the_signal() {
    let mock = Mock::start(MockOpenRouter::open());
    let more = format!("{KEY_A}[gateway]\nwatch = \"0s\"\naccess_log = \"access.log\"\n");
    let stage = stage(&mock, &more);
    let serve = serve(&stage);
    let addr = addr(&serve);
    let id = |answer: String| {
        let (_, rest) = answer.split_once("x-fairkey-request-id: ").unwrap();
        rest.split("\r\n").next().unwrap().to_owned()
    };
    let first = id(chat(&addr));
    // Lines are written a moment after their calls.
    while !stage.read("access.log").contains(&first) {
        std::thread::yield_now();
    }
    std::fs::rename(stage.path("access.log"), stage.path("access.log.1")).unwrap();
    serve.signal("HUP");
    serve.wait_for("configuration reloaded (SIGHUP)");
    let second = id(chat(&addr));
    serve.signal("TERM");
    serve.end().ends_with(0);
    let (before, after) = (stage.read("access.log.1"), stage.read("access.log"));
    assert!(
        before.contains(&first) && !before.contains(&second),
        "{before}"
    );
    assert!(
        after.contains(&second) && !after.contains(&first),
        "{after}"
    );
}

#[test]
fn operators_see_and_say_what_keys_do_and_others_do_not() {
    let mock = Mock::start(MockOpenRouter::open());
    let more = format!(
        "{KEY_A}account = \"acme\"\n[[keys]]\nid = \"b\"\nsecret = \"sk-or-v1-secret-of-b\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"the-token-of-operators\"\n"
    );
    let stage = stage(&mock, &more);
    let serve = serve(&stage);
    let (addr, admin) = addrs(&serve);
    let operator = |call: &str| {
        let mut stream = TcpStream::connect(&admin).unwrap();
        let text = format!(
            "{call} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             authorization: Bearer the-token-of-operators\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        rest(stream)
    };
    assert!(ask(&admin, "GET /admin/v1/keys", "").starts_with("HTTP/1.1 401"));
    assert!(ask(&addr, "GET /admin/v1/keys", "").starts_with("HTTP/1.1 404"));
    // Which of two would count is anybody's guess.
    let first = "authorization: Bearer the-token-of-operators";
    let twice = operator(&format!("GET /admin/v1/keys HTTP/1.1\r\n{first}\r\nx-a:"));
    assert!(twice.starts_with("HTTP/1.1 400"), "{twice}");
    assert!(operator("GET /admin/v1/nothing").starts_with("HTTP/1.1 404"));
    assert!(operator("GET /admin/v1/drain").starts_with("HTTP/1.1 405"));
    let keys = json(&operator("GET /admin/v1/keys"));
    assert_eq!(keys["keys"][0]["key"], "a");
    assert_eq!(keys["keys"][0]["in"], true);
    let told = json(&operator("POST /admin/v1/accounts/acme/disable"));
    assert_eq!(told["changed"], true, "{told}");
    serve.wait_for("an operator said: disable account \"acme\"");
    let explained = json(&operator("GET /admin/v1/explain?model=openai%2Fgpt-4o"));
    assert_eq!(explained["admitted"], 1, "{explained}");
    let words = explained["keys"][0]["denied"][0]["words"].as_str().unwrap();
    assert!(words.starts_with("closed by Switch"), "{words}");
    let answer = chat(&addr);
    assert!(answer.contains("x-fairkey-key: b\r\n"), "{answer}");
    let decisions = json(&operator("GET /admin/v1/decisions"));
    let last = &decisions["decisions"][0];
    assert_eq!(
        (&last["key"], &last["operation"]),
        (&"b".into(), &"chat".into())
    );
    let id = last["request_id"].as_str().unwrap();
    assert!(
        answer.contains(&format!("x-fairkey-request-id: {id}\r\n")),
        "{answer}"
    );
    let why = last["others"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("closed by Switch"), "{last}");
    assert_eq!(last["others"][0]["keys"][0], "a");
    let told = json(&operator("POST /admin/v1/accounts/acme/enable"));
    assert_eq!(told["changed"], true, "{told}");
    let told = json(&operator("POST /admin/v1/keys/b/disable"));
    assert_eq!(told["key"]["in"], false, "{told}");
    assert!(chat(&addr).contains("x-fairkey-key: a\r\n"));
    let told = json(&operator("POST /admin/v1/reload"));
    assert_eq!(told["changed"], Value::Array(Vec::new()), "{told}");
    // What was not changed keeps its state.
    assert_eq!(json(&operator("GET /admin/v1/keys/b"))["disabled"], true);
    assert_eq!(json(&operator("GET /admin/v1/status"))["ready"], true);
    assert_eq!(json(&operator("POST /admin/v1/drain"))["draining"], true);
    serve.end().ends_with(0);
}

#[test]
fn a_unix_socket_is_its_owners_and_a_stale_one_is_replaced() {
    let stage = Stage::new();
    let path = stage.path("x.sock");
    // Nobody listens to it any more.
    drop(UnixListener::bind(&path).unwrap());
    let args = ["serve", "--mock", "--listen", "unix:x.sock"];
    let serve = Running::start(&mut stage.command(args));
    serve.wait_for("listening on unix:x.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert!(rest(stream).ends_with("ok\n"));
    let second = stage.run(args);
    second.ends_with(2).says("another process listens");
    serve.signal("TERM");
    serve.end().ends_with(0);
    assert!(!path.exists());
    stage.write("x.sock", "a file");
    stage.run(args).ends_with(2).says("is no socket");
    assert_eq!(stage.read("x.sock"), "a file");
}

#[test]
fn connections_are_bounded_in_number_and_a_head_in_time() {
    let mock = Mock::start(MockOpenRouter::open());
    let more = format!(
        "{KEY_A}[gateway]\nhead_timeout = \"200ms\"\nlimits = {{ connections = 2, headers = 20 }}\n"
    );
    let stage = stage(&mock, &more);
    let serve = serve(&stage);
    let addr = addr(&serve);
    let half = |text: &str| {
        let mut stream = TcpStream::connect(&addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    // One that sends half a head, and one that sends nothing, until their time is over.
    let (first, second) = (half("GET /healthz HTTP/1.1\r\nho"), half(""));
    let third = ask(&addr, "GET /healthz", "");
    assert!(third.starts_with("HTTP/1.1 503"), "{third}");
    assert_eq!(json(&third)["error"]["metadata"]["reason"], "overloaded");
    assert_eq!((rest(first), rest(second)), (String::new(), String::new()));
    // A place is free a moment after its connection is seen to end.
    let again = || (0..1_000).any(|_| ask(&addr, "GET /healthz", "").ends_with("ok\n"));
    assert!(again(), "there is room again");
    let many = format!("GET /healthz HTTP/1.1\r\n{}z: GET /", "x: y\r\n".repeat(30));
    let refused = (0..1_000).any(|_| ask(&addr, &many, "").starts_with("HTTP/1.1 431"));
    assert!(refused, "thirty headers are too many");
    serve.signal("TERM");
    serve.end().ends_with(0);
}

#[test]
fn without_file_descriptors_connections_are_answered_503_and_served_again_later() {
    let stage = Stage::new();
    // However slow the machine is: nobody is turned away for having said nothing.
    stage.write("fairkey.toml", "[gateway]\nhead_timeout = \"10m\"\n");
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 60 && exec \"$0\" serve --mock --listen 127.0.0.1:0",
        ])
        .arg(env!("CARGO_BIN_EXE_fairkey"))
        .current_dir(stage.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let serve = Running::start(&mut command);
    let addr = addr(&serve);
    let held: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(&addr).unwrap())
        .collect();
    let refused = ask(&addr, "GET /healthz", "");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    drop(held);
    // Its connections end one after the other.
    let again = (0..1_000).any(|_| ask(&addr, "GET /readyz", "").ends_with("ready\n"));
    assert!(again, "connections are served again");
    serve.signal("TERM");
    serve.end().ends_with(0);
}

#[test]
fn what_is_spent_and_cannot_be_kept_is_an_error_at_the_start() {
    let mock = Mock::start(MockOpenRouter::open());
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for (spend, said) in [
        ("none/spend.log", "its folder has to be there"),
        ("a.key", "it is none: it is left as it is"),
    ] {
        let more = format!("{KEY_A}[gateway]\nspend = \"{spend}\"\n");
        let stage = stage(&mock, &more);
        let run = stage.run(serve);
        run.ends_with(2).says("[gateway] spend: ").says(said);
        assert_eq!(stage.read("a.key"), "sk-or-v1-secret-of-a\n");
    }
}
