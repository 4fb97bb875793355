//! The table `[otlp]`: a collector of OpenTelemetry.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairkey_core::ApiKey;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use toml::Spanned;

use super::bounds::Time;
use super::ca::Ca;
use super::secret::Secret;
use super::{Config, SecretFrom, Sources, Wrong};

/// Where a collector listens that runs beside the program, by the protocol.
const ENDPOINT: &str = "http://127.0.0.1:4318";
/// The variable by which programs are told of another one.
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What the table may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Table {
    endpoint: Option<Spanned<String>>,
    ca: Option<Spanned<PathBuf>>,
    headers: BTreeMap<Spanned<String>, Spanned<Secret>>,
    service: Option<String>,
    traces: Option<bool>,
    metrics: Option<bool>,
    sample: Option<Spanned<f64>>,
    interval: Option<Time>,
}

/// A collector, and what it is sent.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "otlp"),
    expect(dead_code, reason = "refused before any of it is read")
)]
pub(crate) struct Otlp {
    pub(crate) endpoint: Uri,
    /// Whose certificates are trusted besides the well-known ones.
    pub(crate) ca: Option<Ca>,
    /// Names that may be shown, and values that may not.
    pub(crate) headers: HeaderMap,
    /// Where each of these is, by name.
    pub(super) from: BTreeMap<String, SecretFrom>,
    pub(crate) service: String,
    pub(crate) traces: bool,
    pub(crate) metrics: bool,
    pub(crate) sample: f64,
    pub(crate) interval: Duration,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Config {
    pub(super) fn add_otlp(
        &mut self,
        table: Spanned<Table>,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<(), Wrong> {
        let (begins, table) = (table.span().start, table.into_inner());
        if !cfg!(feature = "otlp") {
            return Err(Wrong {
                at: begins,
                message:
                    "this program was built without OTLP: build it with `--features otlp`, or \
                          leave [otlp] out"
                        .to_owned(),
            });
        }
        let (at, endpoint) = match table.endpoint {
            Some(endpoint) => (endpoint.span().start, endpoint.into_inner()),
            None => {
                let said = (sources.env)(VARIABLE).filter(|said| !said.trim().is_empty());
                self.variables.push(VARIABLE.to_owned());
                (begins, said.unwrap_or_else(|| ENDPOINT.to_owned()))
            }
        };
        let endpoint = read_endpoint(&endpoint).map_err(|message| Wrong { at, message })?;
        let ca = (table.ca)
            .map(|path| Ca::read(path, dir, sources))
            .transpose()?;
        let (mut headers, mut from) = (HeaderMap::new(), BTreeMap::new());
        for (name, secret) in table.headers {
            let at = name.span().start;
            let what = format!("the header {:?} of [otlp]", name.get_ref());
            let wrong = |message: &str| Wrong {
                at,
                message: format!("{what} {message}"),
            };
            let header: HeaderName = (name.get_ref().parse())
                .map_err(|_| wrong("has a name that no header can have"))?;
            from.insert(header.to_string(), secret.get_ref().from());
            let secret = self.secret(secret, &what, dir, sources)?;
            let value = value(&header, &secret)
                .ok_or_else(|| wrong("has a value that no header can have"))?;
            self.tokens.push(secret);
            headers.insert(header, value);
        }
        let sample = match table.sample {
            Some(sample) if !(0.0..=1.0).contains(sample.get_ref()) => {
                return Err(Wrong {
                    at: sample.span().start,
                    message: format!("sample is a share from 0 to 1, not {}", sample.get_ref()),
                });
            }
            Some(sample) => sample.into_inner(),
            None => 1.0,
        };
        self.otlp = Some(Otlp {
            endpoint,
            ca,
            headers,
            from,
            service: table.service.unwrap_or_else(|| "fairkey".to_owned()),
            traces: table.traces.unwrap_or(true),
            metrics: table.metrics.unwrap_or(true),
            sample,
            interval: table
                .interval
                .map_or(Duration::from_secs(60), |Time(time)| time),
        });
        Ok(())
    }
}

/// Reads where a collector is.
fn read_endpoint(text: &str) -> Result<Uri, String> {
    let text = text.trim().trim_end_matches('/');
    let uri = text.parse::<Uri>().ok();
    uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && !text.contains('@')
    })
    .ok_or_else(|| {
        format!(
            "{text:?} is no collector: an endpoint looks like {ENDPOINT}, without a path to signals"
        )
    })
}

/// Returns the value of a header; what authorizes without saying how is a bearer's token.
fn value(name: &HeaderName, secret: &ApiKey) -> Option<HeaderValue> {
    let text = secret.expose();
    let is_token = *name == http::header::AUTHORIZATION && !text.contains(' ');
    let mut value = match is_token {
        true => HeaderValue::from_str(&format!("Bearer {text}")),
        false => HeaderValue::from_str(text),
    }
    .ok()?;
    value.set_sensitive(true);
    Some(value)
}
