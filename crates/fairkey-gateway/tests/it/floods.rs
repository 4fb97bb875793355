//! Floods of HTTP/2, frame by frame.

use std::time::Duration;

use fairkey_mock::{Event, On, Step};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Why a connection or a stream ends, as HTTP/2 says it.
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header, literally and not to be remembered.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        // An integer with a prefix of seven bits.
        match text.len() {
            short @ 0..127 => field.push(short as u8),
            long => {
                field.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    field.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                field.push(rest as u8);
            }
        }
        field.extend(text.as_bytes());
    }
    field
}

fn head() -> Vec<u8> {
    [
        literal(":method", "POST"),
        literal(":scheme", "http"),
        literal(":authority", "localhost"),
        literal(":path", "/v1/chat/completions"),
        literal("content-type", "application/json"),
    ]
    .concat()
}

/// A connection that has begun.
async fn connect(world: &World) -> TcpStream {
    let mut stream = TcpStream::connect(world.serving.addr()).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
    stream
}

/// A whole call.
fn call(stream: u32) -> Vec<u8> {
    let mut call = frame(HEADERS, END_HEADERS, stream, &head());
    call.extend(frame(DATA, END_STREAM, stream, STREAM.as_bytes()));
    call
}

/// What [`told`] says of a frame that ends its stream, whatever its kind.
const END: u8 = 255;

/// Reads frames until `is_last`, or until the gateway closes; returns kinds with their codes, where
/// they have one.
async fn told(
    stream: &mut (impl AsyncRead + Unpin),
    mut is_last: impl FnMut(&(u8, u32)) -> bool,
) -> Vec<(u8, u32)> {
    let (mut told, mut read) = (Vec::new(), Vec::new());
    let mut piece = [0; 16 << 10];
    loop {
        while read.len() >= 9 {
            let length = u32::from_be_bytes([0, read[0], read[1], read[2]]) as usize;
            if read.len() < 9 + length {
                break;
            }
            let code = match read[3] {
                RST_STREAM => &read[9..13],
                GOAWAY => &read[13..17],
                _ => &[0; 4],
            };
            let kind = match read[3] {
                DATA | HEADERS if read[4] & END_STREAM != 0 => END,
                kind => kind,
            };
            told.push((kind, u32::from_be_bytes(code.try_into().unwrap())));
            read.drain(..9 + length);
            if is_last(told.last().unwrap()) {
                return told;
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return told,
            Ok(more) => read.extend_from_slice(&piece[..more]),
        }
    }
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_their_connection_and_hold_no_key() {
    within(async {
        // Those that were looked at do not end it here.
        let world = start_with(mock(), |it| it.limits.cancels = 1_000_000).await;
        let mut stream = connect(&world).await;
        let flood = (0..2_000).flat_map(|n| {
            let id = 2 * n + 1;
            let mut both = call(id);
            both.extend(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
            both
        });
        let flood: Vec<u8> = flood.collect();
        let (mut reading, mut writing) = stream.split();
        let write = async {
            // It may be closed before all of it is written.
            let _ = writing.write_all(&flood).await;
        };
        let mut said = Vec::new();
        let read = async {
            let _ = reading.read_to_end(&mut said).await;
        };
        tokio::join!(write, read);
        let goaway = said
            .windows(9)
            .any(|it| it[3] == GOAWAY && it[0..3] != [0, 0, 0]);
        assert!(goaway || said.is_empty(), "the connection is ended");
        world.is_idle().await;
        let sent = world.keys_at("/chat").len();
        assert!(sent < 500, "{sent} calls reached the upstream");
        // Others are served.
        assert_eq!(
            world.call("POST /v1/chat/completions", CHAT).await.status,
            200
        );
    })
    .await;
}

#[tokio::test]
async fn calls_that_are_left_as_soon_as_they_are_under_way_end_their_connection() {
    within(async {
        let stalled = mock().script(On::any(), [Step::stall_before_head().forever()]);
        let world = start_with(stalled, |it| it.limits.cancels = 10).await;
        let mut stream = connect(&world).await;
        let (mut reading, mut writing) = stream.split();
        let write = async {
            for n in 0..1_000 {
                let id = 2 * n + 1;
                writing.write_all(&call(id)).await.unwrap();
                let at_the_mock = n as usize + 1;
                (world.mock.log())
                    .wait_for_nth(at_the_mock, Event::is_received)
                    .await;
                let reset = frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes());
                writing.write_all(&reset).await.unwrap();
                (world.mock.log())
                    .wait_for_nth(at_the_mock, Event::is_cancelled)
                    .await;
            }
        };
        let read = told(&mut reading, |it| *it == (GOAWAY, ENHANCE_YOUR_CALM));
        let told = tokio::select! {
            told = read => told,
            () = write => panic!("nobody minds"),
        };
        assert!(told.contains(&(GOAWAY, ENHANCE_YOUR_CALM)), "{told:?}");
        // One in each second is forgotten.
        let sent = world.keys_at("/chat").len();
        assert!(
            (11..100).contains(&sent),
            "{sent} calls reached the upstream"
        );
        // Nothing is heard any more of who goes on, and it is not waited for.
        let _ = writing.write_all(&call(9_999)).await;
        assert!(self::told(&mut reading, |_| false).await.is_empty());
        world.is_idle().await;
        assert_eq!(world.keys_at("/chat").len(), sent);
    })
    .await;
}

#[tokio::test]
async fn calls_that_come_to_their_end_are_no_flood() {
    within(async {
        let world = start_with(mock(), |it| it.limits.cancels = 1).await;
        let mut stream = connect(&world).await;
        for n in 0..20 {
            let id = 2 * n + 1;
            let call = match n % 3 {
                0 => call(id),
                1 => [
                    frame(HEADERS, END_HEADERS, id, &head()),
                    frame(DATA, END_STREAM, id, CHAT.as_bytes()),
                ]
                .concat(),
                _ => frame(HEADERS, END_HEADERS | END_STREAM, id, &head()),
            };
            stream.write_all(&call).await.unwrap();
            let mut ends = 0;
            let told = told(&mut stream, |it| {
                ends += u32::from(it.0 == END);
                ends > 0
            });
            let told = told.await;
            assert_eq!(ends, 1, "{told:?}");
            // One that knows the end already says that it is gone.
            let reset = frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes());
            stream.write_all(&reset).await.unwrap();
        }
        drop(stream);
        world.is_idle().await;
        assert_eq!(world.keys_at("/chat").len(), 14);
    })
    .await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    within(async {
        let stalled = mock().script(On::any(), [Step::stall_before_head().forever()]);
        let world = start_with(stalled, |it| it.limits.streams = 10).await;
        let mut stream = connect(&world).await;
        let calls: Vec<u8> = (0..20).flat_map(|n| call(2 * n + 1)).collect();
        stream.write_all(&calls).await.unwrap();
        let mut refused = 0;
        let told = told(&mut stream, |it| {
            refused += u32::from(*it == (RST_STREAM, REFUSED_STREAM));
            refused == 10
        });
        let told = told.await;
        assert_eq!(refused, 10, "{told:?}");
        let mut received = 0;
        while received < 10 {
            world.mock.log().wait_for(Event::is_stalled).await;
            received = world.keys_at("/chat").len();
            tokio::task::yield_now().await;
        }
        assert_eq!(world.keys_at("/chat").len(), 10);
        drop(stream);
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn a_head_that_never_ends_or_is_too_large_reaches_nobody() {
    within(async {
        let world = start(mock()).await;
        let value = "v".repeat(16_000);
        let field = literal("x-a", &value);
        for (name, frames, ends) in [("large", 20, true), ("endless", 5_000, false)] {
            let mut stream = connect(&world).await;
            let (mut reading, mut writing) = stream.split();
            let write = async {
                let mut ok = writing
                    .write_all(&frame(HEADERS, END_STREAM, 1, &head()))
                    .await;
                for n in 0..frames {
                    let flags = if ends && n + 1 == frames {
                        END_HEADERS
                    } else {
                        0
                    };
                    ok = ok.and(
                        writing
                            .write_all(&frame(CONTINUATION, flags, 1, &field))
                            .await,
                    );
                    if ok.is_err() {
                        break;
                    }
                }
                let _ = writing.shutdown().await;
            };
            let mut said = Vec::new();
            let read = async {
                let _ = reading.read_to_end(&mut said).await;
            };
            tokio::join!(write, read);
            let goaway = said.windows(17).any(|it| {
                it[3] == GOAWAY && it[4] == 0 && it[13..17] == ENHANCE_YOUR_CALM.to_be_bytes()
            });
            // A head that ended is answered 431, which is one byte of the table of headers or a
            // literal; what matters is that it is no call.
            assert!(goaway || ends, "{name}: {said:?}");
        }
        assert!(
            world.keys_at("/").is_empty(),
            "nothing reached the upstream"
        );
        world.is_idle().await;
        assert_eq!(
            world.call("POST /v1/chat/completions", CHAT).await.status,
            200
        );
    })
    .await;
}

#[tokio::test]
async fn pings_do_not_keep_a_connection_on_which_nothing_is_asked() {
    within(async {
        let world = start_with(mock(), |it| {
            it.limits.idle_time = Duration::from_millis(200);
        })
        .await;
        for calls in [0, 1] {
            let mut stream = connect(&world).await;
            for n in 0..calls {
                stream.write_all(&call(2 * n + 1)).await.unwrap();
                told(&mut stream, |it| it.0 == END).await;
            }
            let (mut reading, mut writing) = stream.split();
            let write = async {
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                loop {
                    pace.tick().await;
                    // It may be closed by now, of which the other half hears.
                    let _ = writing.write_all(&frame(PING, 0, 0, &[0; 8])).await;
                }
            };
            let told = tokio::select! {
                told = told(&mut reading, |_| false) => told,
                () = write => Vec::new(),
            };
            let pings = told.iter().filter(|it| it.0 == PING).count();
            assert!(pings > 0, "they are answered until then: {told:?}");
        }
    })
    .await;
}
