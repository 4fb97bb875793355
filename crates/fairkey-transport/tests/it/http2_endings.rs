//! HTTP/2: which ends of a stream make an answer whole (RFC 9113, 8.1).

use bytes::Bytes;
use fairkey_transport::{Body, StreamedBody, Transport, TransportErrorKind};
use http::Request;
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::http2::plain_http2;
use crate::http2_goaway::until_headers;
use crate::server::frames::*;
use crate::server::*;

/// Flags of a frame.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Answers the first request of a connection with these frames, all at once, and takes no more of
/// its body than one window.
async fn answering(frames: Vec<u8>) -> Server {
    Server::start(move |_, mut stream: TcpStream| {
        let frames = frames.clone();
        async move {
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            assert_eq!(until_headers(&mut stream, true).await, Some(1));
            stream.write_all(&frames).await.unwrap();
            until_gone(&mut stream).await;
        }
    })
    .await
}

/// A head of 200, which may tell a length, and a part of a body: `part`.
fn begun(length: Option<u8>) -> Vec<u8> {
    // `:status: 200` is the eighth entry of HPACK's table, `content-length` the twenty-eighth: with
    // 15 in the first byte, and the rest in the next.
    let mut head = vec![0x88];
    if let Some(length) = length {
        head.extend([0x0f, 28 - 15, 1, b'0' + length]);
    }
    [
        frame(HEADERS, END_HEADERS, 1, &head),
        frame(DATA, 0, 1, b"part"),
    ]
    .concat()
}

fn reset(reason: h2::Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &u32::from(reason).to_be_bytes())
}

/// Far more than a window.
fn large() -> Bytes {
    vec![b'x'; 1 << 20].into()
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_end_is_no_whole_answer_whatever_the_reason() {
    within(async {
        // It does not cover stream 1.
        let leaving = frame(GOAWAY, 0, 0, &[0; 8]);
        for (name, end) in [
            ("CANCEL", reset(h2::Reason::CANCEL)),
            ("NO_ERROR", reset(h2::Reason::NO_ERROR)),
            ("INTERNAL_ERROR", reset(h2::Reason::INTERNAL_ERROR)),
            ("GOAWAY", leaving),
        ] {
            // It may say how long it is: longer than what has come.
            for length in [None, Some(9)] {
                let server = answering([begun(length), end.clone()].concat()).await;
                let transport = plain_http2();
                let sent = transport.send(post(server.address, "/", "{}")).await;
                let mut body = sent.unwrap().into_body();
                assert_eq!(
                    body.frame().await.unwrap().unwrap().into_data().unwrap(),
                    "part",
                    "{name}, {length:?}"
                );
                let error = body.frame().await.expect("it is told").unwrap_err();
                assert_eq!(error.kind(), TransportErrorKind::Reset, "{name}");
                assert!(!error.before_sent(), "{}", printed(&error));
                assert!(body.frame().await.is_none(), "once");
                assert_eq!(transport.stats().resends, 0);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_whole_answer_before_the_request_was_read_is_a_success() {
    within(async {
        let last = frame(DATA, END_STREAM, 1, b" and end");
        // With a name that is in no table: `a: b`.
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0\x01a\x01b");
        for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
            for (begun, end) in [
                (begun(None), last.clone()),
                (begun(None), trailers.clone()),
                (begun(Some(4)), trailers.clone()),
            ] {
                let server = answering([begun, end, reset(reason)].concat()).await;
                let transport = plain_http2();
                let uri = format!("http://{}/", server.address);
                let whole = Request::post(&uri).body(large()).unwrap();
                let streamed = StreamedBody::new(Body::new(Full::new(large())));
                let streamed = Request::post(&uri).body(streamed).unwrap();
                let other = plain_http2();
                for answer in [
                    transport.send(whole).await.unwrap(),
                    other.send_streamed(streamed).await.unwrap(),
                ] {
                    let body = read(answer).await;
                    let body = body.unwrap_or_else(|error| panic!("{reason:?}: {error:?}"));
                    assert!(body.starts_with(b"part"), "{body:?}");
                }
                for transport in [transport, other] {
                    assert_eq!(transport.stats().streams_in_use, 0);
                }
            }
        }
        // Without an end, too, where its length says that nothing is missing.
        let server = answering([begun(Some(4)), reset(h2::Reason::NO_ERROR)].concat()).await;
        let body = fetch(&plain_http2(), post(server.address, "/", "{}")).await;
        assert_eq!(body.unwrap(), "part");
    })
    .await;
}
