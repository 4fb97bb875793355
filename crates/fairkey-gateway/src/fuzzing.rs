//! What the fuzz targets of this crate run, and the test that replays their seeds.
//!
//! Not part of the API.

use bytes::Bytes;
use http::{Method, Uri};

use crate::endpoint::{Endpoint, Treatment};
use crate::relay::Frames;

/// The head of a request, `METHOD URI`: whatever is asked for, nothing administrative is taken for
/// something else, and what goes upstream is the path that came, below the base.
pub fn head(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (method, uri) = text.split_once(' ').unwrap_or(("GET", text));
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), uri.parse::<Uri>()) else {
        return;
    };
    let Some(endpoint) = Endpoint::of(&method, uri.path(), uri.query()) else {
        return;
    };
    let lower = endpoint.target.below().to_ascii_lowercase();
    let administers = [
        "keys",
        "credits",
        "workspaces",
        "guardrails",
        "byok",
        "auth",
    ];
    let first = lower.split('/').find(|part| !part.is_empty());
    let is_key = lower.trim_end_matches('/') == "/auth/key";
    if endpoint.target.is_v1() && first.is_some_and(|it| administers.contains(&it)) && !is_key {
        let is_kept = matches!(endpoint.treatment, Treatment::Manage | Treatment::Unknown);
        assert!(is_kept, "{endpoint:?}");
    }
    let base = "https://openrouter.ai/api/v1";
    let Some(sent) = endpoint.target.uri(base, uri.query()) else {
        return;
    };
    let sent = sent
        .strip_prefix("https://openrouter.ai/api")
        .unwrap_or(&sent);
    let (path, query) = sent
        .split_once('?')
        .map_or((sent, None), |(p, q)| (p, Some(q)));
    assert_eq!(query, uri.query());
    assert!(path.starts_with('/'));
    let came = uri.path().strip_suffix('/').unwrap_or(uri.path());
    assert!(path == "/" || came.ends_with(path), "{came} became {path}");
}

/// A stream of events, its first byte saying how it is cut: however that is, the same bytes pass in
/// the same order, and what is whole by then has passed.
pub fn frames(input: &[u8]) {
    let Some((cut, input)) = input.split_first() else {
        return;
    };
    let (mut frames, mut out, mut seen) = (Frames::default(), Vec::new(), 0);
    for chunk in input.chunks(usize::from(*cut).max(1)) {
        seen += chunk.len();
        if let Some(passed) = frames.push(Bytes::copy_from_slice(chunk)) {
            assert!(!passed.is_empty());
            out.extend_from_slice(&passed);
        }
        assert!(input.starts_with(&out));
        if input[..seen].ends_with(b"\n\n") || input[..seen].ends_with(b"\r\n\r\n") {
            assert_eq!(out.len(), seen, "an event that is whole waits");
        }
    }
    out.extend(frames.finish().unwrap_or_default());
    assert_eq!(out, input);
}

/// A target: its name, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 2] = [("gateway_head", head), ("gateway_frames", frames)];
