//! Nothing that prints itself prints a secret.

use bytes::Bytes;
use fairkey_transport::{Deadlines, Transport, TransportError};
use http::Request;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::server::*;

/// Sends a request whose header, query and body are secret, and returns the error.
async fn fails(transport: &impl Transport, url: &str) -> TransportError {
    let mut request = Request::post(format!("{url}?key=hunter2"))
        .header("authorization", "Bearer hunter2")
        .header("x-other", "hunter2")
        .body(Bytes::from_static(b"hunter2"))
        .unwrap();
    let total = Duration::from_millis(300);
    request.extensions_mut().insert(Deadlines {
        total,
        ..Deadlines::default()
    });
    fetch(transport, request).await.expect_err(url)
}

#[tokio::test]
async fn no_error_prints_a_header_a_query_or_a_body() {
    within(async {
        let transport = transport();
        let mut errors = vec![
            fails(&transport, "http://192.0.2.1/a").await,
            fails(&transport, "ftp://127.0.0.1/a").await,
            fails(&transport, "https://localhost:1/a").await,
            fails(&transport, "http://localhost:1/a").await,
        ];
        for answer in [
            &b""[..],
            b"hunter2 hunter2\r\n\r\n",
            b"HTTP/1.1 200 hunter2\r\nhunter2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: hunter2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhunter2\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhunter2",
        ] {
            for closes in [true, false] {
                let server = Server::start(move |_, mut stream: TcpStream| async move {
                    read_request(&mut stream).await;
                    let _ = stream.write_all(answer).await;
                    if !closes {
                        until_gone(&mut stream).await;
                    }
                })
                .await;
                errors.push(fails(&transport, &format!("http://{}/a", server.address)).await);
            }
        }
        for error in errors {
            let text = printed(&error);
            assert!(!text.contains("hunter2"), "{text}");
        }
        let text = format!("{transport:?} {:?}", builder());
        assert!(!text.contains("hunter2"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_response_and_its_body_print_no_content() {
    within(async {
        let server = Server::start(|_, stream| echo_paths(stream)).await;
        let response = transport()
            .send(get(server.address, "/hunter2"))
            .await
            .unwrap();
        let text = format!("{response:?}");
        assert!(!text.contains("hunter2"), "{text}");
    })
    .await;
}
