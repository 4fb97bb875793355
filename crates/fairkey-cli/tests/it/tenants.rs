//! `fairkey serve` with `[[clients]]`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use fairkey_mock::{MockOpenRouter, On, Step};
use serde_json::Value;

use crate::program::{Mock, Running, Stage};

const KEY: &str = "sk-or-v1-canary-key-0123456789";
const TOKEN: &str = "tok-canary-team-a-0123456789";
const CHAT: &str =
    r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"prompt-canary"}]}"#;
const MESSAGE: &str = r#"{"model":"anthropic/claude-sonnet-4.5","max_tokens":50,"messages":[{"role":"user","content":"Hi"}]}"#;

/// A gateway that runs before a mock in this process.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) mock: Mock,
    /// Locked, so that several threads may ask at once.
    serve: Mutex<Option<Running>>,
    url: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(at, _)| *at == name).map(|(_, value)| value)
    }
}

impl World {
    /// Starts both, with `more` in the configuration.
    pub(crate) fn start(more: &str) -> Self {
        Self::before(MockOpenRouter::open(), more)
    }

    pub(crate) fn before(mock: fairkey_mock::Builder, more: &str) -> Self {
        let mock = Mock::start(mock);
        let stage = Stage::new().env("KEY", KEY).env("TOKEN", TOKEN);
        let base_url = mock.url();
        stage.write(
            "fairkey.toml",
            format!(
                "[upstream]\nbase_url = \"{base_url}\"\n[[keys]]\nid = \"k\"\naccount = \"acme\"\n\
                 secret = {{ env = \"KEY\" }}\n{more}"
            ),
        );
        let mut world = Self {
            stage,
            mock,
            serve: Mutex::new(None),
            url: String::new(),
        };
        world.open();
        world
    }

    /// Starts the gateway, after another one of the same configuration.
    pub(crate) fn open(&mut self) {
        let args = ["serve", "--listen", "127.0.0.1:0"];
        let serve = Running::start(&mut self.stage.command(args));
        let line = serve.wait_for("listening on ");
        self.url = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap()
            .to_owned();
        *self.serve.get_mut().unwrap() = Some(serve);
    }

    /// Ends it by a signal; returns all it said.
    pub(crate) fn end(&mut self, signal: &str) -> String {
        let serve = self.serve.get_mut().unwrap().take().unwrap();
        serve.signal(signal);
        format!("{:?}", serve.end())
    }

    /// Asks, with a header; returns all that comes until the connection ends.
    pub(crate) fn ask(&self, line: &str, header: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.url).unwrap();
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             {header}\r\ncontent-length: {length}\r\n\r\n{body}",
            self.url
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn chat(&self) -> Answer {
        self.chat_as(TOKEN)
    }

    pub(crate) fn chat_as(&self, token: &str) -> Answer {
        let header = format!("authorization: Bearer {token}");
        self.ask("POST /v1/chat/completions", &header, CHAT)
    }

    /// Begins a call whose answer is not waited for.
    fn begin(&self, token: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.url).unwrap();
        let text = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{CHAT}",
            self.url,
            CHAT.len()
        );
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// A call of a model whose price no list has: it is let through while anything is left.
    fn unlisted(&self) -> Answer {
        let body = CHAT.replace("openai/gpt-4o-mini", "acme/unlisted");
        let header = format!("authorization: Bearer {TOKEN}");
        self.ask("POST /v1/chat/completions", &header, &body)
    }

    /// All that came in at the mock.
    fn seen(&self) -> String {
        format!("{:?}", self.mock.server.log().events())
    }
}

fn team(limits: &str) -> String {
    format!("[[clients]]\nid = \"team-a\"\ntoken = {{ env = \"TOKEN\" }}\n{limits}\n")
}

#[test]
fn a_wrong_token_is_refused_in_the_format_of_the_caller_and_a_right_one_stays_here() {
    let mut world = World::start(&team("models = [\"openai/*\", \"anthropic/*\"]"));
    let wrong = "authorization: Bearer tok-canary-wrong";
    let chat = world.ask("POST /v1/chat/completions", wrong, CHAT);
    assert_eq!(
        (chat.status, &chat.json()["error"]["code"]),
        (401, &401.into())
    );
    let message = world.ask("POST /v1/messages", "x-api-key: tok-canary-wrong", MESSAGE);
    let kind = &message.json()["error"]["type"];
    assert_eq!(
        (message.status, kind),
        (401, &"authentication_error".into())
    );
    assert_eq!(world.ask("POST /v1/messages", "x: y", MESSAGE).status, 401);
    assert_eq!(world.ask("GET /healthz", "x: y", "").status, 200);
    // But for what the gateway asks itself.
    assert!(!world.seen().contains("POST"), "{}", world.seen());

    assert_eq!(world.chat().status, 200);
    let header = format!("x-api-key: {TOKEN}");
    assert_eq!(world.ask("POST /v1/messages", &header, MESSAGE).status, 200);
    let seen = world.seen();
    assert!(
        seen.contains("Received") && !seen.contains("tok-canary"),
        "{seen}"
    );

    let gpt = CHAT.replace("openai/", "google/");
    let bearer = format!("authorization: Bearer {TOKEN}");
    let refused = world.ask("POST /v1/chat/completions", &bearer, &gpt);
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("x-fairkey-error"), Some("model_not_allowed"));
    let said = world.end("TERM");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn limits_of_a_client_are_kept_and_the_time_to_come_again_is_true() {
    let world = World::start(&team("limits = { requests_per_minute = 2 }"));
    assert_eq!([world.chat().status, world.chat().status], [200, 200]);
    let over = world.chat();
    assert_eq!(
        (over.status, over.header("x-fairkey-error")),
        (429, Some("over_rate"))
    );
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    // The window, and the step of it that the first request fell into.
    assert!((1..=61).contains(&wait), "{over:?}");

    let world = World::start(&team("limits = { tokens = { limit = 50, per = \"1h\" } }"));
    let over = world.chat();
    let said = over.json()["error"]["message"].to_string();
    assert!(
        over.status == 429 && said.contains("max_tokens"),
        "{over:?}"
    );
    assert_eq!(over.header("retry-after"), None, "it never fits");

    let world = World::start(&team("limits = { usd_per_day = 0.000001 }"));
    assert_eq!(world.unlisted().status, 200);
    let over = world.unlisted();
    assert_eq!(
        (over.status, over.header("x-fairkey-error")),
        (429, Some("over_budget"))
    );
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{over:?}");
}

#[test]
fn what_a_client_has_spent_outlives_the_process_however_it_ends() {
    for signal in ["TERM", "KILL"] {
        let limit = team("limits = { usd_in_all = 0.000001 }");
        let mut world = World::start(&format!("[gateway]\nspend = \"spend\"\n{limit}"));
        assert_eq!(world.unlisted().status, 200);
        // Until it is written, a killed process may lose it: for a quarter of a second.
        let path = world.stage.path("spend");
        while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains("team-a")) {
            std::thread::yield_now();
        }
        world.end(signal);
        world.open();
        let over = world.unlisted();
        assert_eq!(
            over.header("x-fairkey-error"),
            Some("over_budget"),
            "{signal} {over:?}"
        );
        assert!(!world.stage.read("spend").contains("canary"));
    }
}

#[test]
fn with_clients_other_machines_may_be_served() {
    let world = World::start(&format!("[gateway]\nlisten = \"0.0.0.0:0\"\n{}", team("")));
    // The flag counts more; with both, this is the only one that could not be tried without it.
    assert_eq!(world.chat().status, 200);
    let args = ["serve", "--listen", "0.0.0.0:0"];
    let serve = Running::start(&mut world.stage.command(args));
    serve.wait_for("listening on http://0.0.0.0:");
}

#[test]
fn the_configuration_of_clients_is_shown_without_a_token() {
    let mut world = World::start(&team("class = \"batch\"\nlimits = { usd_per_day = 5.0 }"));
    world.end("TERM");
    let said = world.stage.run(["config", "show"]);
    said.ends_with(0);
    let text = &said.stdout;
    for part in [
        "[[clients]]",
        "id = \"team-a\"",
        "token = { env = \"TOKEN\" }",
        "class = \"batch\"",
        "limits = { usd_per_day = 5.0 }",
        "listen = \"127.0.0.1:4210\"",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
    // It can be read again.
    world.stage.write("again.toml", text);
    let check = world
        .stage
        .run(["config", "check", "--config", "again.toml", "--json"]);
    check.ends_with(0);
    assert!(check.stdout.contains("team-a"), "{check:?}");
}

/// Returns the value of a sample.
fn sample(text: &str, start: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn every_request_is_counted_and_written_down_once_without_a_secret_or_a_prompt() {
    let mut world = World::start(&format!(
        "[gateway]\nmetrics = true\naccess_log = \"access.log\"\n{}",
        team("models = [\"openai/*\"]")
    ));
    assert_eq!(world.chat().status, 200);
    let stream = CHAT.replace("\"messages\"", "\"stream\":true,\"messages\"");
    let bearer = format!("authorization: Bearer {TOKEN}");
    let chat = "POST /v1/chat/completions";
    assert_eq!(world.ask(chat, &bearer, &stream).status, 200);
    assert_eq!(world.chat_as("tok-canary-wrong").status, 401);
    let other = CHAT.replace("openai/", "canary-free/");
    assert_eq!(world.ask(chat, &bearer, &other).status, 403);
    let preset = CHAT.replace("\"messages\"", "\"preset\":\"p\",\"messages\"");
    let refused = world.ask(chat, &bearer, &preset);
    assert_eq!(refused.header("x-fairkey-error"), Some("model_not_allowed"));
    assert_eq!(
        world.ask("GET /v1/prompt-canary-path", &bearer, "").status,
        404
    );
    assert_eq!(world.ask("GET /v1/models", &bearer, "").status, 200);
    assert_eq!(world.ask("GET /v1/videos/unknown", &bearer, "").status, 404);

    let metrics = world.ask("GET /metrics", "x: y", "").body;
    for (start, expected) in [
        (
            r#"fairkey_requests_total{operation="chat",tenant="team-a",status="2xx"}"#,
            2.0,
        ),
        (
            r#"fairkey_requests_total{operation="chat",tenant="team-a",status="4xx"}"#,
            2.0,
        ),
        (
            r#"fairkey_requests_total{operation="none",tenant="",status="4xx"}"#,
            1.0,
        ),
        (
            r#"fairkey_requests_total{operation="catalogue",tenant="team-a",status="2xx"}"#,
            1.0,
        ),
        (
            r#"fairkey_requests_total{operation="videos",tenant="team-a",status="4xx"}"#,
            1.0,
        ),
        (r#"fairkey_failures_total{reason="model_not_allowed"}"#, 2.0),
        (
            r#"fairkey_attempts_total{key="k",account="acme",outcome="ok"}"#,
            2.0,
        ),
        (r#"fairkey_key_up{key="k",account="acme"}"#, 1.0),
        (r#"fairkey_key_in_flight{key="k"}"#, 0.0),
        (r#"fairkey_waiting{class="batch"}"#, 0.0),
        (r#"fairkey_tenant_in_flight{tenant="team-a"}"#, 0.0),
        ("fairkey_build_info{version=", 1.0),
    ] {
        assert_eq!(
            sample(&metrics, start),
            Some(expected),
            "{start} in {metrics}"
        );
    }
    let spent = r#"fairkey_spend_usd_total{tenant="team-a",key="k",model="openai/gpt-4o-mini"}"#;
    assert!(
        sample(&metrics, spent).is_some_and(|usd| usd > 0.0),
        "{metrics}"
    );

    let said = world.end("TERM");
    let log = world.stage.read("access.log");
    let lines: Vec<Value> = log
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines.len(), 8, "{log}");
    let first = &lines[0];
    for (field, expected) in [
        ("tenant", "team-a"),
        ("operation", "chat"),
        ("model", "openai/gpt-4o-mini"),
        ("key", "k"),
        ("end", "whole"),
    ] {
        assert_eq!(first[field], expected, "{first}");
    }
    assert!(
        first["tokens"].as_u64() > Some(0) && first["usd"].as_f64() > Some(0.0),
        "{first}"
    );
    assert!(first["bytes_out"].as_u64() > Some(100), "{first}");
    assert!(lines[1]["stream"] == true && lines[1]["first_content_ms"].is_number());
    assert_eq!(lines[2]["reason"], "unauthorized");
    for secret in ["tok-canary", "sk-or-v1", "prompt-canary"] {
        let all = format!("{log}{metrics}{said}");
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn metrics_of_clients_are_nobodys_business_unless_the_file_says_so() {
    let world = World::start(&team(""));
    let answer = world.ask("GET /metrics", "x: y", "");
    assert_eq!(answer.status, 401, "{answer:?}");
    let world = World::start("");
    assert_eq!(world.ask("GET /metrics", "x: y", "").status, 200);
    let page = world.ask("GET /metrics", "origin: https://evil.example", "");
    assert_eq!(page.status, 403);
}

#[test]
fn class_and_weight_of_a_client_decide_who_waits() {
    // One call at a time, and the first one stays until all others wait.
    let clients = ["slow", "fast"].map(|id| {
        let class = if id == "slow" { "batch" } else { "interactive" };
        format!(
            "[[clients]]\nid = \"{id}\"\ntoken = \"tok-of-{id}-0123456789\"\nclass = \"{class}\"\n"
        )
    });
    let account = "[[accounts]]\nid = \"acme\"\nlimits = { in_flight = 1 }\n";
    let stall = On::path("/chat/completions");
    let mock = MockOpenRouter::open().script(stall, [Step::stall_before_head()]);
    let more = format!("{account}[gateway]\nmetrics = true\n{}", clients.join(""));
    let world = World::before(mock, &more);
    let waiting = |class: &str, calls: f64| {
        let start = format!("fairkey_waiting{{class=\"{class}\"}}");
        while sample(&world.ask("GET /metrics", "x: y", "").body, &start) != Some(calls) {
            std::thread::yield_now();
        }
    };
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let call = |id: &'static str| {
            let (world, ended) = (&world, &ended);
            scope.spawn(move || {
                let answer = world.chat_as(&format!("tok-of-{id}-0123456789"));
                assert_eq!(answer.status, 200, "{answer:?}");
                ended.lock().unwrap().push(id);
            });
        };
        let first = world.begin("tok-of-slow-0123456789");
        while !world.seen().contains("POST") {
            std::thread::yield_now();
        }
        call("slow");
        call("slow");
        waiting("batch", 2.0);
        call("fast");
        waiting("interactive", 1.0);
        // It leaves, and its place is free.
        drop(first);
    });
    let ended = ended.into_inner().unwrap();
    let fast = ended.iter().position(|id| *id == "fast").unwrap();
    assert!(fast < 2, "the one in a hurry is not the last: {ended:?}");
}
