//! Where to listen: [`ListenAddr`].

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen: an address of TCP, or the path of a Unix socket.
///
/// ```
/// use fairkey_gateway::ListenAddr;
///
/// let tcp: ListenAddr = "127.0.0.1:4210".parse().unwrap();
/// assert_eq!(tcp.to_string(), "127.0.0.1:4210");
/// let unix: ListenAddr = "unix:/run/fairkey.sock".parse().unwrap();
/// assert_eq!(unix.to_string(), "unix:/run/fairkey.sock");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// TCP; port 0 picks a free one.
    Tcp(SocketAddr),
    /// A Unix socket, which only its owner may open.
    Unix(PathBuf),
}

/// A text is nothing to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseListenAddrError;

impl fmt::Display for ParseListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this is nothing to listen on: give an address and a port, such as 127.0.0.1:4210, or \
             unix:/path/of/a.sock",
        )
    }
}

impl std::error::Error for ParseListenAddrError {}

impl FromStr for ListenAddr {
    type Err = ParseListenAddrError;

    fn from_str(text: &str) -> Result<Self, ParseListenAddrError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ParseListenAddrError),
            Some(path) => Ok(Self::Unix(path.into())),
            None => {
                let text = match text.strip_prefix("localhost:") {
                    Some(port) => format!("127.0.0.1:{port}"),
                    None => text.to_owned(),
                };
                text.parse()
                    .map(Self::Tcp)
                    .map_err(|_| ParseListenAddrError)
            }
        }
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_an_address_nor_a_path_is_refused() {
        for text in ["", "4210", "unix:", "127.0.0.1", "example.com:80"] {
            assert_eq!(text.parse::<ListenAddr>(), Err(ParseListenAddrError));
        }
        let local: ListenAddr = "localhost:4210".parse().unwrap();
        assert_eq!(local, ListenAddr::Tcp(([127, 0, 0, 1], 4210).into()));
    }
}
