//! `fairkey serve` with `[[clients]]`.

use std::io::{Read, Write};
use std::net::TcpStream;

use fairkey_mock::MockOpenRouter;
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
    serve: Option<Running>,
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
            serve: None,
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
        self.serve = Some(serve);
    }

    /// Ends it by a signal; returns all it said.
    pub(crate) fn end(&mut self, signal: &str) -> String {
        let serve = self.serve.take().unwrap();
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
