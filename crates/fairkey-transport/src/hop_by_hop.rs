//! Headers of one connection: [`strip_hop_by_hop`].

use http::header::{self, HeaderMap, HeaderName};

static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes off what belongs to one connection (RFC 9110, section 7.6.1): the headers that are known
/// to, and those that `Connection` names.
///
/// Whoever passes a message of somebody else on does that before adding headers of its own, which a
/// peer could name there. The transport does it to every request once more.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in &named {
            headers.remove(name);
        }
    }
    // Most have none of these: to look at what is there takes less than to look for each.
    let there: Vec<HeaderName> = (headers.keys())
        .filter(|name| is_hop_by_hop(name))
        .cloned()
        .collect();
    for name in &there {
        headers.remove(name);
    }
}

/// Returns whether a header is known to belong to one connection. What `Connection` names is not
/// known by its name.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}
