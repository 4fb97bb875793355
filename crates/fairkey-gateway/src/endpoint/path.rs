//! From the path that a caller asks for to the one upstream: [`Target`].

/// The longest path that is looked at; a longer one leads nowhere.
const MAX_BYTES: usize = 2_048;

/// A path below `/api`, as OpenRouter has it.
///
/// It is sent as it came, byte for byte: what a server behind us would make of `%2e%2e` or `//` is
/// not ours to guess. What is not plain is therefore never taken for a path that we know, nor sent
/// where a key of the pool would serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `/api/v1/chat/completions`.
    path: String,
    /// Where the area (`v1`, `beta`) ends in it.
    area_end: usize,
}

/// What every path begins with.
const API: &str = "/api/";

impl Target {
    /// Maps the path of a request: `/api/…` as it is, `/v1/…` to `/api/v1/…`, anything else to
    /// nothing. A slash at its end is left out.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.len() > MAX_BYTES {
            return None;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = if path == "/v1" || path.starts_with("/v1/") {
            format!("/api{path}")
        } else if path.starts_with(API) {
            path.to_owned()
        } else {
            return None;
        };
        let area = &path[API.len()..];
        let area_end = API.len() + area.find('/').unwrap_or(area.len());
        Some(Self { path, area_end })
    }

    /// Returns the whole path: `/api/v1/chat/completions`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the area: `v1`, `beta`, `alpha`.
    pub(crate) fn area(&self) -> &str {
        &self.path[API.len()..self.area_end]
    }

    /// Returns whether the path is below the stable version.
    pub(crate) fn is_v1(&self) -> bool {
        self.area() == "v1"
    }

    /// Returns what follows the area, with its slash: `/chat/completions`.
    pub(crate) fn below(&self) -> &str {
        &self.path[self.area_end..]
    }

    /// Returns whether every server reads the path alike: no escapes, no empty or dotted parts.
    pub(crate) fn is_plain(&self) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:@+,!$'()*;=".contains(c);
        let mut parts = self.path[1..].split('/');
        parts.all(|part| {
            !part.is_empty() && !part.chars().all(|c| c == '.') && part.chars().all(is_plain)
        })
    }

    /// Returns what the client is asked for, whose base URL is `base_url`: below the base a path
    /// relative to it, beside it a whole URL. `None`: the base has no `/v1` for others to be beside
    /// of.
    pub(crate) fn uri(&self, base_url: &str, query: Option<&str>) -> Option<String> {
        let mut uri = if self.is_v1() {
            match self.below() {
                "" => "/".to_owned(),
                below => below.to_owned(),
            }
        } else {
            let origin = base_url.strip_suffix("/v1")?;
            format!("{origin}{}", &self.path[API.len() - 1..])
        };
        if let Some(query) = query {
            uri.push('?');
            uri.push_str(query);
        }
        Some(uri)
    }
}
