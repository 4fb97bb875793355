//! Sends many calls at once to a server that allows few streams per connection.
//!
//! Look at the counts that it prints: with 10 streams per connection, 50 calls open 5 connections
//! and take about as long as one call. It needs no network: the server is its own.
//!
//! ```text
//! cargo run -p fairkey-transport --example parallel
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::{HttpTransport, Transport};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CALLS: usize = 50;
const STREAMS_PER_CONNECTION: u32 = 10;
const ANSWER_TIME: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = start_server().await?;
    let transport = HttpTransport::builder()
        .http2_prior_knowledge(true)
        .build()?;
    for round in ["cold", "warm"] {
        let began = tokio::time::Instant::now();
        let mut calls = JoinSet::new();
        for call in 0..CALLS {
            let transport = transport.clone();
            let request = http::Request::get(format!("http://{address}/{call}"));
            let request = request.body(Bytes::new())?;
            calls.spawn(async move {
                transport
                    .send(request)
                    .await?
                    .into_body()
                    .collect_bounded(1024)
                    .await
            });
        }
        while let Some(answer) = calls.join_next().await {
            answer??;
        }
        println!(
            "{round}: {CALLS} calls in {:?}: {:?}",
            began.elapsed(),
            transport.stats()
        );
    }
    Ok(())
}

async fn start_server() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(STREAMS_PER_CONNECTION);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (_, mut respond) = accepted?;
        tokio::spawn(async move {
            tokio::time::sleep(ANSWER_TIME).await;
            let mut body = respond.send_response(http::Response::new(()), false)?;
            body.send_data("hello".into(), true)
        });
    }
    Ok(())
}
