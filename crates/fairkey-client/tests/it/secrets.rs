//! No secret in any text that the client makes.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairkey_client::{Call, Client};
use fairkey_core::{ApiKey, Ask, Key};
use fairkey_transport::TransportErrorKind;

use crate::scripted::{
    BAD, DOWN, NO_CREDIT, Part, REVOKED, Reply, Scripted, builder, delta, prompt,
};

const CANARY: &str = "sk-or-v1-0123456789abcdefcanary";

/// Everything that was printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<String>>);

impl Printed {
    fn add(&self, thing: &impl Debug) {
        let mut all = self.0.lock().unwrap();
        write!(all, "{thing:?}\n{thing:#?}\n").unwrap();
    }

    fn text(&self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }
}

fn one(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Client {
    let transport = Scripted::new(move |_| reply());
    let keys = [
        Key::new("a", CANARY).account("acme"),
        Key::new("b", format!("{CANARY}-2")),
    ];
    builder(0, &transport)
        .keys(keys)
        .max_wait(Duration::from_secs(1))
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_output_shows_a_secret() {
    let printed = Printed::default();
    let builder = Client::builder()
        .key("a", CANARY)
        .base_url(format!("https://u:{CANARY}@x/"));
    printed.add(&builder);
    printed.add(&builder.build().map(|_| ()));
    // An upstream that quotes the key in its words.
    let quoting = format!(r#"{{"error":{{"code":400,"message":"bad key {CANARY}"}}}}"#);
    let clients = [
        one(|| Reply::good("x")),
        one(|| Reply::status(401, REVOKED)),
        one(|| Reply::status(402, NO_CREDIT)),
        one(|| Reply::status(400, BAD)),
        one(|| Reply::status(503, DOWN)),
        one(move || Reply::status(400, &quoting)),
        one(|| Reply::status(302, "")),
        one(|| Reply::status(200, "<html>")),
        one(|| Reply::stream([delta("x"), Part::Break(TransportErrorKind::Reset)])),
        one(|| Reply::Error(TransportErrorKind::Tls)),
        one(|| Reply::Silence),
    ];
    for client in clients {
        printed.add(&client);
        for _ in 0..2 {
            match client.chat(&prompt("x")).await {
                Ok(answer) => printed.add(&answer),
                Err(error) => {
                    printed.add(&error);
                    printed.text(&error.to_string());
                }
            }
        }
        match client.chat_stream(&prompt("x")).await {
            Ok(mut stream) => {
                printed.add(&stream);
                while let Some(chunk) = stream.next().await {
                    printed.add(&chunk);
                }
            }
            Err(error) => printed.add(&error),
        }
        let request = http::Request::get("/key")
            .body(bytes::Bytes::new())
            .unwrap();
        match client.send(request).await {
            Ok(response) => printed.add(&response),
            Err(error) => printed.add(&error),
        }
        printed.add(&client.call(Call::get("/key")).await);
        printed.add(&client.key_info("a").await);
        printed.add(&client.credits(&ApiKey::new(CANARY)).await);
        printed.add(&client.stats());
        printed.add(&client.pool().explain(&Ask::new()));
        printed.add(&client.map([prompt("x")], 1));
    }
    let printed = printed.0.lock().unwrap();
    assert!(printed.len() > 10_000, "there was something to look at");
    assert!(printed.contains("\"a\""), "keys are named by label");
    for part in [CANARY, "0123456789abcdef", "canary"] {
        let at = printed
            .find(part)
            .map(|at| &printed[at.saturating_sub(200)..at]);
        assert!(at.is_none(), "…{}", at.unwrap());
    }
}
