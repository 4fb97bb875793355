//! Bounds in time and number, on raw sockets.

use std::time::Duration;

use fairkey_core::Scope;
use fairkey_gateway::{Departure, End, Operation, Settings};
use fairkey_mock::{Event, On, Reply, Step};
use fairkey_transport::{Deadlines, HttpTransport, ProxyOptions, Transport as _};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::world::*;

async fn bounded(change: impl FnOnce(&mut Settings)) -> World {
    start_with(mock(), change).await
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.serving.addr()).await.unwrap()
}

/// Writes pieces that come one after the other.
async fn write_apart(stream: &mut TcpStream, pieces: [&[u8]; 2]) {
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        let mut none = [0];
        let _ = tokio::time::timeout(Duration::from_millis(10), stream.peek(&mut none)).await;
    }
}

/// Reads until the gateway closes the connection.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset tells as much as an end.
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

/// Writes a byte now and then until the gateway has closed the connection; returns what it said.
async fn trickle(stream: &mut TcpStream, byte: &[u8]) -> String {
    let mut said = Vec::new();
    let mut piece = [0; 4 << 10];
    loop {
        let written = stream.write_all(byte).await;
        match tokio::time::timeout(Duration::from_millis(2), stream.read(&mut piece)).await {
            Err(_) if written.is_ok() => {}
            Ok(Ok(read)) if read > 0 => said.extend_from_slice(&piece[..read]),
            _ => return String::from_utf8_lossy(&said).into_owned(),
        }
    }
}

fn post(path: &str, media: &str, length: usize, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_head_that_trickles_is_not_waited_for() {
    within(async {
        let world = bounded(|it| it.limits.head_time = Duration::from_millis(60)).await;
        for begins in ["", "GET /healthz HTTP/1.1\r\nx-a: "] {
            let mut stream = connect(&world).await;
            stream.write_all(begins.as_bytes()).await.unwrap();
            assert_eq!(trickle(&mut stream, b"x").await, "", "{begins:?}");
        }
        // Nothing but what may be the first byte of HTTP/2, and what turns out not to be that.
        for rest in ["", "OST / HTTP/1.1\r\nx-a: "] {
            let mut stream = connect(&world).await;
            write_apart(&mut stream, [b"P", rest.as_bytes()]).await;
            assert_eq!(rest_of(&mut stream).await, "", "{rest:?}");
        }
        // The next head of a connection has no more time than the first.
        let mut stream = connect(&world).await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGE")
            .await
            .unwrap();
        let said = trickle(&mut stream, b"T").await;
        assert!(said.ends_with("ok\n"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_408_in_the_callers_format() {
    within(async {
        let world = bounded(|it| it.limits.body_time = Duration::from_millis(60)).await;
        for (path, kind) in [
            ("/v1/chat/completions", "\"reason\":\"too_slow\""),
            ("/v1/messages", "\"type\":\"error\""),
            ("/v1/responses", "\"error\""),
        ] {
            let mut stream = connect(&world).await;
            let text = post(path, "application/json", 1_000_000, "{\"model\":\"a/b\"");
            stream.write_all(text.as_bytes()).await.unwrap();
            let said = trickle(&mut stream, b" ").await;
            assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
            assert!(said.contains(kind), "{path}: {said}");
            assert!(said.contains("x-fairkey-error: too_slow\r\n"), "{said}");
        }
        assert!(
            world.keys_at("/").is_empty(),
            "nothing reached the upstream"
        );
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_stalls_holds_no_key() {
    within(async {
        let world = bounded(|it| it.limits.idle_time = Duration::from_millis(80)).await;
        let mut stream = connect(&world).await;
        let media = "multipart/form-data; boundary=x";
        let text = post(
            "/v1/audio/transcriptions",
            media,
            100_000,
            "--x\r\ncontent-disposi",
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let said = rest_of(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!(said.contains("\"reason\":\"too_slow\""), "{said}");
        world.is_idle().await;
        let faults = world.client.stats().faults;
        let is_ours = |scope| matches!(scope, Scope::Local | Scope::Caller | Scope::Request);
        assert!(
            faults.iter().all(|fault| is_ours(fault.scope)),
            "{faults:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_and_one_with_a_call_is_not() {
    within(async {
        let slow = mock().script(On::any(), [Step::delay(Duration::from_millis(400))]);
        let world = start_with(slow, |it| {
            it.limits.idle_time = Duration::from_millis(60);
            it.limits.head_time = Duration::from_secs(3_600);
        })
        .await;
        let mut stream = connect(&world).await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        assert!(rest_of(&mut stream).await.ends_with("ok\n"));
        // An answer that takes longer is waited for.
        let answer = world.call("POST /v1/chat/completions", CHAT).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // HTTP/2, whose preface is no request, and no head that is waited for.
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for cut in [0, 1, 14] {
            let mut stream = connect(&world).await;
            let (first, second) = preface.split_at(cut);
            write_apart(&mut stream, [first, second]).await;
            rest_of(&mut stream).await;
        }
    })
    .await;
}

/// A stream of so many chunks of 64 kB, as fast as they are taken.
fn long(chunks: usize) -> Reply {
    let text = "x".repeat(64 << 10);
    let chunk = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    Reply::sse(std::iter::repeat_n(bytes::Bytes::from(chunk), chunks))
}

/// A caller that has asked for a stream, in whose place the system takes no more than so many bytes.
async fn streaming(world: &World, bytes: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    let mut stream = socket.connect(world.serving.addr()).await.unwrap();
    let path = "/v1/chat/completions";
    let text = post(path, "application/json", STREAM.len(), STREAM);
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_caller_that_takes_nothing_of_its_answer_is_left_and_its_key_is_free() {
    within(async {
        let mock = mock().script(On::any(), [Step::reply(long(1_000))]);
        let mut world =
            start_with(mock, |it| it.limits.idle_time = Duration::from_millis(100)).await;
        let mut stream = streaming(&world, 4 << 10).await;
        world.mock.log().wait_for(Event::is_cancelled).await;
        assert_eq!(world.ended.recv().await.unwrap().end, End::Left);
        world.is_idle().await;
        assert!(
            world.client.stats().faults.is_empty(),
            "it is nobody's fault"
        );
        let _ = stream.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_takes_nothing_of_one_stream_is_left_there_and_only_there() {
    within(async {
        let long = Step::reply(long(1_000)).forever();
        let mock = mock().script(On::model("m/long"), [long]);
        let mut world =
            start_with(mock, |it| it.limits.idle_time = Duration::from_millis(100)).await;
        let caller = HttpTransport::builder().http2_prior_knowledge(true);
        let caller = caller.proxy(ProxyOptions::none()).build().unwrap();
        let uri = format!("http://{}/v1/chat/completions", world.serving.addr());
        let ask = |body: String| {
            let request = Request::post(&uri)
                .header("content-type", "application/json")
                .body(body.into());
            caller.send(request.unwrap())
        };
        let unread = ask(STREAM.replace("openai/gpt-4o-mini", "m/long"));
        let mut unread = unread.await.unwrap().into_body();
        // Others of its connection have their answers meanwhile.
        let answer = ask(CHAT.to_owned()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let _ = answer.into_body().collect_bounded(1 << 20).await.unwrap();
        assert_eq!(caller.stats().connections_opened, 1);
        world.mock.log().wait_for(Event::is_cancelled).await;
        let (one, other) = (world.ended.recv().await, world.ended.recv().await);
        assert_eq!(
            [one.unwrap().end, other.unwrap().end],
            [End::Whole, End::Left]
        );
        world.is_idle().await;
        assert!(
            world.client.stats().faults.is_empty(),
            "it is nobody's fault"
        );
        // It hears that what it has is not all.
        let end = loop {
            match unread.frame().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        assert!(end.unwrap().is_err());
    })
    .await;
}

/// A gateway that leaves those who take nothing for a second, and whose calls may take 600 ms.
async fn hurried() -> World {
    hurried_with(|_| {}).await
}

async fn hurried_with(change: impl FnOnce(&mut Settings)) -> World {
    let mock = mock().script(On::any(), [Step::reply(long(600)).forever()]);
    let mut settings = Settings::default();
    settings.limits.idle_time = Duration::from_secs(1);
    change(&mut settings);
    let deadlines = Deadlines {
        total: Duration::from_millis(600),
        ..Deadlines::default()
    };
    World::start(mock, settings, |client| client.deadlines(deadlines)).await
}

/// Asserts that a call was ended by its own deadline.
async fn is_overdue(world: &mut World) {
    let end = world.ended.recv().await.unwrap().end;
    assert!(matches!(end, End::Broken | End::Left), "{end:?}");
    world.is_idle().await;
    let faults = world.client.stats().faults;
    assert!(
        faults.iter().all(|fault| fault.scope == Scope::Caller),
        "nobody upstream is blamed: {faults:?}"
    );
}

#[tokio::test]
async fn a_caller_that_takes_little_at_a_time_holds_its_key_no_longer_than_a_call_may_take() {
    within(async {
        let mut world = hurried().await;
        let mut stream = streaming(&world, 64 << 10).await;
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut piece = vec![0; 64 << 10];
        let read = async {
            loop {
                pace.tick().await;
                if !matches!(stream.read(&mut piece).await, Ok(1..)) {
                    break;
                }
            }
        };
        tokio::join!(read, is_overdue(&mut world));
    })
    .await;
}

#[tokio::test]
async fn a_caller_of_http2_that_takes_little_at_a_time_hears_that_its_time_is_over() {
    within(async {
        let mut world = hurried().await;
        let caller = HttpTransport::builder().http2_prior_knowledge(true);
        let caller = caller.proxy(ProxyOptions::none()).build().unwrap();
        let request = Request::post(format!(
            "http://{}/v1/chat/completions",
            world.serving.addr()
        ))
        .header("content-type", "application/json")
        .body(STREAM.into());
        let mut body = caller.send(request.unwrap()).await.unwrap().into_body();
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut last = bytes::Bytes::new();
        let read = async {
            loop {
                pace.tick().await;
                match body.frame().await {
                    Some(frame) => last = frame.unwrap().into_data().unwrap(),
                    None => break,
                }
            }
        };
        tokio::join!(read, is_overdue(&mut world));
        let last = String::from_utf8_lossy(&last);
        let event = last.rsplit("data: ").next().unwrap();
        assert!(event.contains("\"reason\":\"deadline\""), "{event:.300}");
    })
    .await;
}

#[tokio::test]
async fn what_is_left_since_its_time_is_over_is_not_read_on_for_its_usage() {
    within(async {
        let mut world = hurried_with(|it| {
            it.limits.idle_time = Duration::from_secs(3_600);
            // How often it is looked.
            it.limits.head_time = Duration::from_millis(400);
            it.departures.insert(Operation::Chat, Departure::drain());
        })
        .await;
        let mut stream = connect(&world).await;
        let text = post(
            "/v1/chat/completions",
            "application/json",
            STREAM.len(),
            STREAM,
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(world.ended.recv().await.unwrap().end, End::Left);
        world.is_idle().await;
    })
    .await;
}
