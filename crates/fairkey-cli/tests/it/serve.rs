//! `fairkey serve`.

use std::io::{Read, Write};
use std::net::TcpStream;

use fairkey_mock::{Fault, MockOpenRouter, On, Step};

use crate::program::{Mock, Running, Stage, results};

fn url(line: &str) -> String {
    line.trim()
        .strip_prefix("listening on ")
        .unwrap()
        .to_owned()
}

/// Says something to a server and hears all it says.
fn ask(url: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    let text = format!(
        "{head}\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}",
        url.strip_prefix("http://").unwrap()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

const MESSAGE: &str = r#"{"model":"anthropic/claude-sonnet-4.5","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

#[test]
fn with_an_embedded_mock_every_client_is_served_without_a_key() {
    let stage = Stage::new().env("OPENROUTER_API_KEY", "of-no-use");
    let serve = Running::start(&mut stage.command(["serve", "--mock", "--listen", "127.0.0.1:0"]));
    let url = url(&serve.wait_for("listening on http://127.0.0.1:"));
    assert!(ask(&url, "GET /healthz HTTP/1.1", "").ends_with("ok\n"));
    let base = format!("{url}/api/v1");
    stage.prompts("in.jsonl", 20);
    let args = ["run", "in.jsonl", "--base-url", &base, "-o", "-", "--quiet"];
    let said = stage.run(args);
    said.ends_with(0);
    assert_eq!(results(&said.stdout).len(), 20);
    stage.run(["ask", "Hi", "--base-url", &base]).ends_with(0);
    // The base URL of Anthropic's clients is /api, to which they add the rest.
    let said = ask(
        &url,
        "POST /api/v1/messages HTTP/1.1\r\nx-api-key: any",
        MESSAGE,
    );
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    assert!(said.contains("event: message_stop"), "{said}");
    assert!(said.contains("x-fairkey-key: "), "{said}");
    let said = ask(&url, "GET /v1/models HTTP/1.1", "");
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    serve.signal("TERM");
    serve.end().ends_with(0);
}

#[test]
fn keys_of_the_environment_serve_and_none_is_told() {
    let script = [Step::reply(Fault::key_revoked()).forever()];
    let mock = Mock::start(MockOpenRouter::open().script(On::key("sk-or-v1-bad"), script));
    let stage = Stage::new().env("OPENROUTER_API_KEYS", "sk-or-v1-bad,sk-or-v1-good");
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--base-url",
        &mock.url(),
    ];
    let serve = Running::start(&mut stage.command(args));
    let url = url(&serve.wait_for("listening on "));
    for _ in 0..4 {
        let said = ask(&url, "POST /v1/messages HTTP/1.1", MESSAGE);
        assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
        assert!(said.contains("x-fairkey-key: api-keys-2"), "{said}");
    }
    serve.signal("INT");
    let said = serve.end();
    said.ends_with(0);
    assert!(!format!("{said:?}").contains("sk-or-v1"), "{said:?}");
}

#[test]
fn what_other_machines_can_reach_is_refused_and_so_is_an_address_in_use() {
    let stage = Stage::new();
    let said = stage.run(["serve", "--mock", "--listen", "0.0.0.0:0"]);
    said.ends_with(2).says("listen on 127.0.0.1");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let said = stage.run(["serve", "--mock", "--listen", &taken]);
    said.ends_with(2)
        .says("cannot listen on 127.0.0.1:")
        .says("end it, or take another port");
}
