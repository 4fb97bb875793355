//! What the pool is told at the end of each attempt.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{Call, Client, RetryConfig};
use fairkey_core::{Candidate, Observer, Outcome, Report, Scope};
use fairkey_transport::{Deadlines, TransportErrorKind};
use http::Request;
use http_body_util::BodyExt;

use crate::scripted::{
    BAD, NO_CREDIT, PROVIDER_FULL, Part, REVOKED, Reply, Scripted, builder, data, delta, event,
    finish, good_body, prompt, role,
};

/// A name, what is answered, and who is to be charged.
type Case = (&'static str, fn() -> Reply, Charge);
/// `Ok` for a success, `Err(None)` for nobody.
type Charge = Result<(), Option<Scope>>;

#[derive(Debug, Default)]
struct Reports(Mutex<Vec<Report>>);

impl Observer for Reports {
    fn settled(&self, _: Candidate<'_>, report: &Report) {
        self.0.lock().unwrap().push(*report);
    }
}

/// A client of one key that makes one attempt for each call, and what its pool was told.
fn told(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Client, Arc<Reports>) {
    let reports = Arc::new(Reports::default());
    let transport = Scripted::new(move |_| reply());
    let deadlines = Deadlines {
        head: Duration::from_secs(9),
        ..Deadlines::default()
    };
    let client = builder(1, &transport)
        .retry(RetryConfig::never())
        .deadlines(deadlines)
        .observer(Arc::<Reports>::clone(&reports))
        .build()
        .unwrap();
    (client, reports)
}

impl Reports {
    /// Who was charged, for each attempt.
    fn charged(&self) -> Vec<Charge> {
        let charge = |report: &Report| match report.outcome {
            Outcome::Success => Ok(()),
            Outcome::Neutral => Err(None),
            fault => Err(fault.scope()),
        };
        self.0.lock().unwrap().iter().map(charge).collect()
    }

    fn only(&self) -> Report {
        let reports = self.0.lock().unwrap();
        assert_eq!(reports.len(), 1);
        reports[0]
    }
}

fn events() -> Request<Bytes> {
    let body = Bytes::from_static(br#"{"stream":true}"#);
    Request::post("/chat/completions").body(body).unwrap()
}

fn whole_stream() -> Reply {
    let wait = Part::Wait(Duration::from_secs(1));
    let start = [role(), wait.clone(), delta("a"), wait, delta("b")];
    Reply::stream(start.into_iter().chain(finish()))
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_call_charges_exactly_one_scope() {
    let cases: [Case; 9] = [
        ("good", || Reply::good("x"), Ok(())),
        (
            "bad request",
            || Reply::status(400, BAD),
            Err(Some(Scope::Request)),
        ),
        (
            "revoked",
            || Reply::status(401, REVOKED),
            Err(Some(Scope::Key)),
        ),
        (
            "poor",
            || Reply::status(402, NO_CREDIT),
            Err(Some(Scope::Account)),
        ),
        (
            "full",
            || Reply::status(429, PROVIDER_FULL),
            Err(Some(Scope::Provider)),
        ),
        (
            "page",
            || Reply::status(502, "<html>"),
            Err(Some(Scope::Service)),
        ),
        (
            "reset",
            || Reply::Error(TransportErrorKind::Reset),
            Err(Some(Scope::Network)),
        ),
        ("silence", || Reply::Silence, Err(Some(Scope::Provider))),
        (
            "nothing",
            || Reply::status(200, " "),
            Err(Some(Scope::Provider)),
        ),
    ];
    for (name, reply, expected) in cases {
        let (client, reports) = told(reply);
        let answer = client.chat(&prompt("x")).await;
        assert_eq!(answer.is_ok(), expected.is_ok(), "{name}");
        assert_eq!(reports.charged(), [expected], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_stream_charges_exactly_one_scope() {
    let cases: [Case; 5] = [
        ("whole", whole_stream, Ok(())),
        (
            "cut",
            || Reply::stream([delta("x")]),
            Err(Some(Scope::Provider)),
        ),
        (
            "error",
            || Reply::stream([delta("x"), event(PROVIDER_FULL)]),
            Err(Some(Scope::Provider)),
        ),
        (
            "reset",
            || Reply::stream([delta("x"), Part::Break(TransportErrorKind::Reset)]),
            Err(Some(Scope::Network)),
        ),
        (
            "reset after the end",
            || {
                let broken = [Part::Break(TransportErrorKind::Reset)];
                Reply::stream([delta("x")].into_iter().chain(finish()).chain(broken))
            },
            Ok(()),
        ),
    ];
    for (name, reply, expected) in cases {
        let (client, reports) = told(reply);
        let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
        let mut last = None;
        while let Some(chunk) = stream.next().await {
            last = Some(chunk);
        }
        assert_eq!(last.unwrap().is_ok(), expected.is_ok(), "{name}");
        assert_eq!(reports.charged(), [expected], "typed stream, {name}");

        let (client, reports) = told(reply);
        let body = client.send(events()).await.unwrap().into_body();
        let bytes = body.collect().await;
        assert_eq!(bytes.is_ok(), expected.is_ok() || name == "error", "{name}");
        assert_eq!(reports.charged(), [expected], "bytes, {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_early_charges_nobody_unless_the_end_was_there() {
    let (client, reports) = told(whole_stream);
    drop(client.chat_stream(&prompt("x")).await.unwrap());
    drop(client.send(events()).await.unwrap());
    assert_eq!(reports.charged(), [Err(None), Err(None)]);

    let (client, reports) = told(|| Reply::stream([role(), event(PROVIDER_FULL), Part::Hang]));
    // A fault that was told before the caller left is told.
    drop(client.send(events()).await.unwrap());
    assert_eq!(reports.charged(), [Err(Some(Scope::Provider))]);

    let (client, reports) = told(|| Reply::Silence);
    let call = Call::chat(&prompt("x")).deadline(Duration::from_secs(1));
    client.call(call).await.unwrap_err();
    let charged = reports.charged();
    assert!(
        matches!(charged[..], [Err(None | Some(Scope::Caller))]),
        "{charged:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_handed_on_in_parts_stays_the_fault_it_was() {
    let large = format!(
        r#"{{"error":{{"code":402,"message":"{}"}}}}"#,
        "x".repeat(300 << 10)
    );
    let (client, reports) = told(move || {
        let parts = large
            .as_bytes()
            .chunks(10_000)
            .map(|c| std::str::from_utf8(c).unwrap());
        Reply::Answer {
            status: 402,
            headers: Vec::new(),
            body: parts.map(data).collect(),
        }
    });
    let response = client.send(events()).await.unwrap();
    assert!(reports.charged().is_empty(), "the body is not at its end");
    response.into_body().collect().await.unwrap();
    assert!(
        matches!(reports.charged()[..], [Err(Some(_))]),
        "{:?}",
        reports.charged()
    );
}

#[tokio::test(start_paused = true)]
async fn times_and_usage_reach_the_pool() {
    let (client, reports) = told(whole_stream);
    let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
    while stream.next().await.is_some() {}
    let report = reports.only();
    assert_eq!(report.actual.unwrap().micro_usd, 1_000);
    let first = report.first_content.unwrap().since(report.begun);
    assert_eq!(
        (first.as_secs(), report.ended.since(report.begun).as_secs()),
        (1, 2)
    );

    let (client, reports) = told(|| Reply::Answer {
        status: 200,
        headers: Vec::new(),
        body: vec![
            data("\n"),
            Part::Wait(Duration::from_secs(3)),
            data(&good_body("x")),
        ],
    });
    client.chat(&prompt("x")).await.unwrap();
    let report = reports.only();
    assert_eq!(report.actual.unwrap().tokens, 5);
    assert_eq!(
        report.first_content.unwrap().since(report.begun).as_secs(),
        3
    );
}

/// A binary answer that tells its length, with somebody behind it who never says that it is over.
fn of_known_length(text: &'static str, length: usize) -> Reply {
    Reply::Answer {
        status: 200,
        headers: vec![
            ("content-type", "audio/pcm".to_owned()),
            ("content-length", length.to_string()),
        ],
        body: [text]
            .into_iter()
            .filter(|it| !it.is_empty())
            .map(data)
            .chain([Part::Hang])
            .collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_knows_how_long_an_answer_is_need_not_ask_for_what_comes_behind_it() {
    for (text, length, charge) in [("sound", 5, Ok(())), ("", 0, Ok(())), ("sou", 5, Err(None))] {
        let (client, reports) = told(move || of_known_length(text, length));
        let request = Request::post("/audio/speech").body(Bytes::new()).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        if !text.is_empty() {
            assert!(body.frame().await.unwrap().is_ok());
        }
        drop(body);
        assert_eq!(reports.charged(), [charge], "{text:?} of {length}");
        assert_eq!(client.pool().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_known_length_that_lacks_its_end_says_so_behind_its_last_byte() {
    let Part::Data(text) = delta("x") else {
        unreachable!()
    };
    let (client, reports) = told(move || Reply::Answer {
        status: 200,
        headers: vec![
            ("content-type", "text/event-stream".to_owned()),
            ("content-length", text.len().to_string()),
        ],
        body: vec![data(&text), Part::Hang],
    });
    let request = Request::post("/chat/completions");
    let request = request.body(Bytes::from_static(b"{}")).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(!body.has_ended(), "there is an error to tell");
    // Virtual time: where nobody knows that it has ended, it hangs.
    let next = tokio::time::timeout(Duration::from_secs(60), body.frame()).await;
    assert!(next.expect("its end is known").unwrap().is_err());
    assert!(body.has_ended() && body.frame().await.is_none());
    assert_eq!(reports.charged(), [Err(Some(Scope::Provider))]);
}
