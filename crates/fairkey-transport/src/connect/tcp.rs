//! Name lookup and TCP, several addresses at once (RFC 8305, "happy eyeballs").

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Connector, connect_error};
use crate::target::is_loopback;
use crate::{TransportError, TransportErrorKind};

/// How long one address has for itself before the next is tried beside it; RFC 8305 section 8
/// recommends a quarter of a second.
const STAGGER: Duration = Duration::from_millis(250);

/// More addresses than this are not tried; a name with more is a mistake or an attack.
const MOST_ADDRESSES: usize = 16;

impl Connector {
    /// Connects to the first address of `host` that answers.
    pub(super) async fn tcp(
        &self,
        host: &str,
        port: u16,
        loopback_only: bool,
    ) -> Result<TcpStream, TransportError> {
        let mut addresses = self.addresses(host, port).await?;
        if loopback_only {
            addresses.retain(|address| is_loopback(address.ip()));
            if addresses.is_empty() {
                return Err(TransportError::new(
                    TransportErrorKind::Connect,
                    "the name stands for loopback but resolves elsewhere; plain http is not sent \
                     there",
                ));
            }
        }
        let stream = race(interleave(addresses)).await?;
        // Without it a small write waits for the answer to the one before: 40 ms per token.
        stream
            .set_nodelay(true)
            .map_err(|error| connect_error("the new connection broke at once", error))?;
        Ok(stream)
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, TransportError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if let Some(addresses) = self.overrides.get(host) {
            return Ok(addresses
                .iter()
                .map(|a| SocketAddr::new(*a, port))
                .collect());
        }
        match tokio::net::lookup_host((host, port)).await {
            Ok(found) => Ok(found.collect()),
            Err(error) => Err(connect_error("the host name was not found", error)),
        }
    }
}

/// Returns the addresses with the two families taking turns, beginning with the first one's: a
/// family without a route then costs one step and not all of its addresses.
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = VecDeque::new();
    while !(one.is_empty() && other.is_empty()) {
        turns.extend(one.pop_front());
        turns.extend(other.pop_front());
    }
    turns.truncate(MOST_ADDRESSES);
    turns
}

/// Connects to whichever address answers first; a failed one makes room for the next at once.
async fn race(mut waiting: VecDeque<SocketAddr>) -> Result<TcpStream, TransportError> {
    // A set that is dropped, or was answered, aborts what is still under way.
    let mut attempts = JoinSet::new();
    let mut last_error = None;
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.spawn(TcpStream::connect(address));
        }
        let answer = if waiting.is_empty() {
            attempts.join_next().await
        } else {
            tokio::select! {
                biased;
                answer = attempts.join_next() => answer,
                () = tokio::time::sleep(STAGGER) => continue,
            }
        };
        match answer {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last_error = Some(error),
            Some(Err(error)) => last_error = Some(io::Error::other(error)),
            None => {
                let error = last_error.unwrap_or_else(|| io::Error::other("no address"));
                return Err(connect_error("no address took a connection", error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        let turns = interleave(addresses.map(|a| a.parse().unwrap()).into());
        let turns: Vec<_> = turns.iter().map(ToString::to_string).collect();
        assert_eq!(
            turns,
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]
        );
    }

    #[tokio::test]
    async fn small_writes_do_not_wait_for_each_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connector = Connector {
            tls: Err("none".into()),
            proxy_tls: None,
            proxy: None,
            plain_protocol: crate::connect::Protocol::Http1,
            allow_plaintext: false,
            overrides: std::collections::HashMap::new(),
            dialer: None,
        };
        let stream = connector.tcp("127.0.0.1", port, true).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[test]
    fn only_so_many_addresses_are_tried() {
        let many = (0..100)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        assert_eq!(interleave(many).len(), MOST_ADDRESSES);
    }
}
