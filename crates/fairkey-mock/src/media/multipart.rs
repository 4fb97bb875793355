//! `multipart/form-data`, as far as uploads need it.

use bytes::Bytes;
use http::header;
use http::request::Parts;

use crate::fault::Fault;

/// Forms with more parts are refused.
const MAX_PARTS: usize = 100;

pub(super) struct Multipart(Vec<Part>);

pub(super) struct Part {
    name: String,
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) content: Bytes,
}

impl Multipart {
    /// The form that a request carries; `None` where it says that it carries none.
    pub(super) fn of(head: &Parts, body: &Bytes) -> Result<Option<Self>, Fault> {
        let kind = head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("multipart/form-data") {
            return Ok(None);
        }
        let boundary = parameter(kind, "boundary").filter(|boundary| !boundary.is_empty());
        let boundary = boundary.ok_or_else(|| Fault::bad_request("The form has no boundary"))?;
        let parts = parse(body, &boundary);
        parts
            .map(|parts| Some(Self(parts)))
            .ok_or_else(|| Fault::bad_request("The form is malformed"))
    }

    pub(super) fn part(&self, name: &str) -> Option<&Part> {
        self.0.iter().find(|part| part.name == name)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let part = self.part(name)?;
        Some(String::from_utf8_lossy(&part.content).trim().to_owned())
    }
}

fn parse(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let first = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut at = find(body, first.as_bytes(), 0)? + first.len();
    let mut parts = Vec::new();
    while !body.get(at..)?.starts_with(b"--") {
        let head_end = find(body, b"\r\n\r\n", at)?;
        let content = head_end + 4;
        let end = find(body, delimiter.as_bytes(), content)?;
        let head = String::from_utf8_lossy(&body[at..head_end]).into_owned();
        parts.push(part(&head, body.slice(content..end))?);
        if parts.len() > MAX_PARTS {
            return None;
        }
        at = end + delimiter.len();
    }
    Some(parts)
}

fn part(head: &str, content: Bytes) -> Option<Part> {
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    };
    let disposition = header("content-disposition")?;
    Some(Part {
        name: parameter(disposition, "name")?,
        file_name: parameter(disposition, "filename"),
        content_type: header("content-type").map(str::to_owned),
        content,
    })
}

/// A parameter of a header's value, without its quotes.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut parameters = value
        .split(';')
        .skip(1)
        .filter_map(|part| part.split_once('='));
    let found = parameters.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = haystack.get(from..)?;
    let mut windows = rest.windows(needle.len());
    windows
        .position(|window| window == needle)
        .map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_whatever_they_contain() {
        let body = "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\none\r\n--\r\n--x\r\n\
                    Content-Disposition: form-data; name=\"f\"; filename=\"n.wav\"\r\n\
                    Content-Type: audio/wav\r\n\r\n\r\n--x--\r\n";
        let parts = parse(&Bytes::from(body), "x").unwrap();
        assert_eq!(
            (parts[0].name.as_str(), &parts[0].content[..]),
            ("a", &b"one\r\n--"[..])
        );
        assert_eq!(parts[1].file_name.as_deref(), Some("n.wav"));
        assert_eq!(parts[1].content_type.as_deref(), Some("audio/wav"));
        assert!(parts[1].content.is_empty());
        for bad in [
            "",
            "--x",
            "--x\r\n",
            "--x\r\n\r\n\r\n--x--",
            "--x\r\na\r\n\r\nb",
        ] {
            assert!(parse(&Bytes::from(bad), "x").is_none(), "{bad:?}");
        }
    }
}
