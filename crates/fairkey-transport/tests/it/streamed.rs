//! Requests whose bodies are sent while they come.

use std::time::Duration;

use fairkey_transport::{
    Body, Deadlines, Phase, StreamedBody, Transport, TransportError, TransportErrorKind,
};
use http::{Method, Request};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::server::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn put(address: std::net::SocketAddr, body: &StreamedBody) -> Request<StreamedBody> {
    Request::builder()
        .method(Method::PUT)
        .uri(format!("http://{address}/files"))
        .body(body.clone())
        .expect("a valid request")
}

fn form() -> StreamedBody {
    StreamedBody::new(Body::full("a form".into()))
}

#[tokio::test]
async fn a_streamed_body_arrives_with_its_length_and_tells_that_it_is_gone() {
    within(async {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(move |_, mut stream: TcpStream| {
            let tell = tell.clone();
            async move {
                let request = read_request(&mut stream).await;
                let _ = tell.send(request);
                let _ = stream.write_all(OK).await;
            }
        })
        .await;
        let body = form();
        let answer = transport().send_streamed(put(server.address, &body)).await;
        assert_eq!(read(answer.unwrap()).await.unwrap(), "ok");
        let request = told.recv().await.flatten().unwrap();
        assert!(request.ends_with("\r\n\r\na form"), "{request}");
        assert!(body.is_begun());
        let again = transport().send_streamed(put(server.address, &body)).await;
        assert!(again.unwrap_err().is_request(), "a body is sent once");
    })
    .await;
}

#[tokio::test]
async fn a_streamed_body_of_which_a_piece_was_sent_is_not_sent_again() {
    within(async {
        // The first request of a connection is answered, the second is read and dropped: one that
        // is idempotent is then sent again, on another connection.
        let server = Server::start(move |_, mut stream: TcpStream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(OK).await;
            read_request(&mut stream).await;
        })
        .await;
        let whole = |_| Request::put(format!("http://{}/", server.address)).body("x".into());
        for streamed in [false, true] {
            let transport = transport();
            fetch(&transport, get(server.address, "/")).await.unwrap();
            let before = server.accepted();
            if streamed {
                let body = form();
                let error = transport.send_streamed(put(server.address, &body)).await;
                let error: TransportError = error.unwrap_err();
                assert!(error.is_reset() && !error.before_sent(), "{error:?}");
                assert_eq!(server.accepted(), before);
            } else {
                let answer = fetch(&transport, whole(()).unwrap()).await;
                assert_eq!(answer.unwrap(), "ok");
                assert_eq!(server.accepted(), before + 1);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_streamed_body_is_still_there_where_no_connection_could_be_made() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let body = form();
        let error = transport().send_streamed(put(address, &body)).await;
        assert!(error.unwrap_err().before_sent());
        assert!(!body.is_begun());
    })
    .await;
}

#[tokio::test]
async fn the_deadline_for_the_head_runs_where_all_of_the_body_is_there() {
    within(async {
        let server = Server::start(move |_, mut stream: TcpStream| async move {
            read_request(&mut stream).await;
            until_gone(&mut stream).await;
        })
        .await;
        for body in [form(), StreamedBody::new(Body::empty())] {
            let mut request = put(server.address, &body);
            request.extensions_mut().insert(Deadlines {
                head: Duration::from_millis(50),
                ..Deadlines::default()
            });
            let error = transport().send_streamed(request).await.unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::Timeout(Phase::Head));
        }
    })
    .await;
}
