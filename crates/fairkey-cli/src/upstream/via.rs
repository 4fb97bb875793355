//! A running gateway in place of OpenRouter.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Client, RetryConfig};
use fairkey_core::{ApiKey, Key};
use fairkey_openrouter::profile;
use fairkey_transport::{Deadlines, HttpTransport};

use super::{CONNECTIONS, Upstream};
use crate::args::{UpstreamArgs, WayArgs};
use crate::config::{self, Ca, Config, base_url, tidy};
use crate::{redaction, terminal};

/// What the gateway is called where a key would be named.
pub(crate) const KEY: &str = "via";
/// The variable that holds the token for the gateway.
const TOKEN: &str = "FAIRKEY_TOKEN";
/// A gateway has a call wait for a key, and tries again: longer than any of that takes.
const PATIENCE: Duration = Duration::from_secs(1_800);

impl Upstream {
    /// Builds a client of a gateway, by the token of the environment or of a file.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the address, the token or the certificates.
    pub(crate) fn via(
        url: &str,
        way: &WayArgs,
        args: &UpstreamArgs,
        in_flight: usize,
    ) -> Result<Self, String> {
        let token = token(way.via_token.as_deref())?;
        redaction::hide([token.clone()]);
        let deadlines = Deadlines {
            head: PATIENCE,
            first_content: PATIENCE,
            total: PATIENCE,
            ..Deadlines::default()
        };
        let mut transport = HttpTransport::builder()
            .deadlines(deadlines)
            .max_connections_per_origin(in_flight.max(CONNECTIONS));
        let base = match url.strip_prefix("unix:") {
            Some(path) => {
                transport = unix(transport, Path::new(path))?;
                "http://localhost/api/v1".to_owned()
            }
            None => base_of(url)?,
        };
        if let Some(path) = &way.ca {
            if !base.starts_with("https:") {
                return Err(format!(
                    "--ca is for a gateway at https://, and {url} has no certificate"
                ));
            }
            transport = transport.tls(Ca::open(path)?.tls);
        }
        let transport = transport.build().map_err(|error| error.to_string())?;
        let key = Key::new(KEY, token);
        let mut builder = Client::builder()
            .keys([key.clone()])
            .transport(Arc::new(transport))
            .deadlines(deadlines)
            .base_url(base);
        if let Some(seed) = args.seed {
            builder = builder.seed(seed);
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        let config = Config::default();
        Ok(Self {
            client,
            management_keys: HashMap::new(),
            keys: 1,
            retry: RetryConfig {
                attempts: super::BATCH_ATTEMPTS,
                ..RetryConfig::default()
            },
            accounts: 1,
            remembers: false,
            profiles: config.profiles.clone(),
            gateway: config.gateway.clone(),
            clients: Vec::new(),
            config,
            key_list: vec![key],
            base_url: Some(url.to_owned()),
            mock: None,
            is_via: true,
        })
    }
}

/// Returns what is asked for at a gateway, whose routes are its own.
pub(super) fn named(model: Option<&String>, route: Option<&String>) -> Option<String> {
    match route {
        Some(route) if route.starts_with(profile::PREFIX) => Some(route.clone()),
        Some(route) => Some(format!("{}{route}", profile::PREFIX)),
        None => model.cloned(),
    }
}

/// Returns the base URL of a gateway's address.
fn base_of(url: &str) -> Result<String, String> {
    let trimmed = url.trim_end_matches('/');
    let base = match trimmed.ends_with("/v1") {
        true => trimmed.to_owned(),
        false => format!("{trimmed}/api/v1"),
    };
    base_url::check(&base).map_err(|error| format!("--via: {error}"))?;
    Ok(base)
}

fn token(file: Option<&Path>) -> Result<ApiKey, String> {
    let (text, from) = match file {
        Some(path) => {
            let name = path.display();
            let text = fs::read_to_string(path);
            let text = text.map_err(|error| format!("the token in {name}: {error}"))?;
            (text, name.to_string())
        }
        None => match env::var(TOKEN) {
            Ok(text) => (text, TOKEN.to_owned()),
            Err(env::VarError::NotUnicode(_)) => return Err(format!("{TOKEN} is not text")),
            // A gateway without clients asks for none.
            Err(env::VarError::NotPresent) => return Ok(ApiKey::new("none")),
        },
    };
    let (token, oddities) = tidy(&text);
    if let Some(warning) = config::Oddity::warning(&from, &oddities) {
        terminal::warn(&warning);
    }
    if token.is_empty() {
        return Err(format!("{from} holds no token"));
    }
    Ok(ApiKey::new(token))
}

#[cfg(unix)]
fn unix(
    transport: fairkey_transport::HttpTransportBuilder,
    path: &Path,
) -> Result<fairkey_transport::HttpTransportBuilder, String> {
    use std::io;
    use std::path::PathBuf;

    use fairkey_transport::{ByteStream, Dial};

    #[derive(Debug)]
    struct Socket(PathBuf);

    #[async_trait::async_trait]
    impl Dial for Socket {
        async fn dial(&self, _: &str, _: u16) -> io::Result<Box<dyn ByteStream>> {
            Ok(Box::new(tokio::net::UnixStream::connect(&self.0).await?))
        }
    }

    if path.as_os_str().is_empty() {
        return Err("--via unix: needs the path of a socket".to_owned());
    }
    Ok(transport.dialer(Arc::new(Socket(path.to_owned()))))
}

#[cfg(not(unix))]
fn unix<T>(_: T, _: &Path) -> Result<T, String> {
    Err("this system has no Unix sockets".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_base_url() {
        for (url, base) in [
            ("http://127.0.0.1:4210", "http://127.0.0.1:4210/api/v1"),
            ("http://127.0.0.1:4210/", "http://127.0.0.1:4210/api/v1"),
            ("https://g.example/api/v1", "https://g.example/api/v1"),
            ("https://g.example/v1/", "https://g.example/v1"),
        ] {
            assert_eq!(base_of(url).as_deref(), Ok(base));
        }
        for bad in ["127.0.0.1:4210", "", "ftp://x", "http://"] {
            assert!(base_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn routes_are_the_gateways_own() {
        let name = "fast".to_owned();
        let prefixed = format!("{}fast", profile::PREFIX);
        assert_eq!(named(None, Some(&name)), Some(prefixed));
        assert_eq!(named(Some(&name), None), Some(name));
    }
}
