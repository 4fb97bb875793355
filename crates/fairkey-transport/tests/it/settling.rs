//! HTTP/1.1 connections whose peer has answered before it has read the whole request, on virtual
//! time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::{ByteStream, Dial, HttpTransport};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::server::*;

/// More than a pipe holds.
const BODY: usize = 1 << 20;

/// Answers every request by its head alone, and reads its body after a pause, but for the first
/// connections, which never do.
#[derive(Debug)]
struct Hasty {
    dialed: AtomicUsize,
    stuck: usize,
    pause: Duration,
}

#[async_trait::async_trait]
impl Dial for Hasty {
    async fn dial(&self, _: &str, _: u16) -> io::Result<Box<dyn ByteStream>> {
        let number = self.dialed.fetch_add(1, Ordering::SeqCst);
        let pause = (number >= self.stuck).then_some(self.pause);
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(answer_early(theirs, pause));
        Ok(Box::new(ours))
    }
}

async fn answer_early(mut pipe: DuplexStream, pause: Option<Duration>) -> Option<()> {
    loop {
        let head = read_head(&mut pipe).await?;
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        pipe.write_all(answer).await.ok()?;
        match pause {
            Some(pause) => sleep(pause).await,
            None => std::future::pending().await,
        }
        pipe.read_exact(&mut vec![0; length]).await.ok()?;
    }
}

async fn read_head(pipe: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(pipe.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn hasty(stuck: usize, pause: Duration) -> (HttpTransport, Arc<Hasty>) {
    bounded(stuck, pause, 1_000)
}

/// The same with so many connections at most.
fn bounded(stuck: usize, pause: Duration, most: usize) -> (HttpTransport, Arc<Hasty>) {
    let dialer = Arc::new(Hasty {
        dialed: AtomicUsize::new(0),
        stuck,
        pause,
    });
    let transport = builder().dialer(Arc::clone(&dialer) as _);
    let transport = transport.max_connections_per_origin(most).build().unwrap();
    (transport, dialer)
}

async fn call(transport: &HttpTransport) {
    let request = Request::post("http://127.0.0.1/").body(Bytes::from(vec![b'x'; BODY]));
    assert_eq!(fetch(transport, request.unwrap()).await.unwrap(), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_peer_reads_no_further_holds_up_no_other_call() {
    let (transport, dialer) = hasty(1, Duration::ZERO);
    let began = Instant::now();
    call(&transport).await;
    call(&transport).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(dialer.dialed.load(Ordering::SeqCst), 2);
    // It is of no use, and is closed.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(transport.stats().connections_open, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_free_in_a_moment_is_waited_for() {
    let (transport, dialer) = hasty(0, Duration::from_millis(20));
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let transport = transport.clone();
        callers.spawn(async move {
            for _ in 0..10 {
                call(&transport).await;
            }
        });
    }
    callers.join_all().await;
    assert_eq!(dialer.dialed.load(Ordering::SeqCst), 64);
}

#[tokio::test(start_paused = true)]
async fn connections_of_no_use_make_room_for_others_where_there_may_be_no_more() {
    for later in [Duration::ZERO, Duration::from_secs(1)] {
        let (transport, dialer) = bounded(2, Duration::ZERO, 2);
        let mut callers = JoinSet::new();
        for _ in 0..2 {
            let transport = transport.clone();
            callers.spawn(async move { call(&transport).await });
        }
        callers.join_all().await;
        assert_eq!(dialer.dialed.load(Ordering::SeqCst), 2);
        // They are tried for a while, which is to hold nobody up.
        sleep(later).await;
        let began = Instant::now();
        call(&transport).await;
        let took = began.elapsed();
        assert!(took < Duration::from_millis(500), "{later:?}: {took:?}");
        // One made room, and the other is left until it may be of use.
        assert_eq!(dialer.dialed.load(Ordering::SeqCst), 3);
        assert_eq!(transport.stats().connections_open, 2);
    }
}
