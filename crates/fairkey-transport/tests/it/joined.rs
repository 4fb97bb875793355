//! Chunks that are here at once are passed on as one.

use bytes::Bytes;
use fairkey_transport::{Body, Transport};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::server::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Writes the parts of an answer, each as soon as it may.
async fn in_parts(parts: &'static [&'static str], allowed: watch::Receiver<usize>) -> Server {
    Server::start(move |_, mut stream: TcpStream| {
        let mut allowed = allowed.clone();
        async move {
            read_request(&mut stream).await;
            for (at, part) in parts.iter().enumerate() {
                allowed.wait_for(|allowed| *allowed > at).await.unwrap();
                stream.write_all(part.as_bytes()).await.unwrap();
            }
            until_gone(&mut stream).await;
        }
    })
    .await
}

async fn next(body: &mut Body) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn chunks_that_came_together_are_one_and_none_waits_for_the_next() {
    within(async {
        let (allow, allowed) = watch::channel(1);
        const PARTS: &[&str] = &[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n",
            "1\r\ne\r\n",
            "1\r\nf\r\n0\r\nx-sum: 7\r\n\r\n",
        ];
        assert!(PARTS[0].starts_with(HEAD));
        let server = in_parts(PARTS, allowed).await;
        let transport = transport();
        let mut body = transport
            .send(get(server.address, "/"))
            .await
            .unwrap()
            .into_body();
        assert_eq!(next(&mut body).await, "abcd");
        allow.send_replace(2);
        // The server waits for us: were the chunk to wait for another one, so would both.
        assert_eq!(next(&mut body).await, "e");
        allow.send_replace(3);
        assert_eq!(next(&mut body).await, "f");
        assert!(!http_body::Body::is_end_stream(&body));
        let trailers = body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        assert_eq!(trailers["x-sum"], "7");
        assert!(body.frame().await.is_none());
        assert_eq!(transport.stats().streams_in_use, 0);
    })
    .await;
}

#[tokio::test]
async fn an_error_behind_chunks_comes_after_them() {
    within(async {
        let (_allow, allowed) = watch::channel(1);
        const PARTS: &[&str] =
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\nno length\r\n"];
        let server = in_parts(PARTS, allowed).await;
        let transport = transport();
        let answer = transport.send(get(server.address, "/")).await.unwrap();
        let mut body = answer.into_body();
        assert_eq!(next(&mut body).await, "abc");
        assert!(body.frame().await.unwrap().unwrap_err().is_body());
        assert!(body.frame().await.is_none());
        assert_eq!(transport.stats().streams_in_use, 0);
    })
    .await;
}

#[tokio::test]
async fn too_many_bytes_behind_a_chunk_are_an_error_after_it() {
    within(async {
        let (_allow, allowed) = watch::channel(1);
        const PARTS: &[&str] = &[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n3\r\nbcd\r\n3\r\nefg\r\n",
        ];
        let server = in_parts(PARTS, allowed).await;
        let transport = builder().max_body_bytes(4).build().unwrap();
        let answer = transport.send(get(server.address, "/")).await.unwrap();
        let mut body = answer.into_body();
        assert_eq!(next(&mut body).await, "abcd");
        assert!(body.frame().await.unwrap().unwrap_err().is_too_large());
        assert!(body.frame().await.is_none());
    })
    .await;
}
