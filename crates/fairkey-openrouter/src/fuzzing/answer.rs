//! The body of the target `answer`.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{EventFormat, Fault, endpoint, management};

/// Reading a whole answer is total, always the same, and bounded in what it keeps.
///
/// The input is written like an answer: a line with the status, lines with headers, an empty line,
/// and the body.
pub fn answer(input: &[u8]) {
    let (status, headers, body) = parse(input);
    let fault = Fault::from_response(status, &headers, body);
    assert_eq!(fault, Fault::from_response(status, &headers, body));
    check(&fault);
    for path in [
        endpoint::CHAT_COMPLETIONS,
        endpoint::MESSAGES,
        endpoint::RESPONSES,
        endpoint::EMBEDDINGS,
        "/other",
    ] {
        let found = Fault::in_answer(path, body);
        // Whoever looks for more finds no less.
        assert!(found.is_some() || Fault::in_body(body).is_none(), "{path}");
        found.iter().for_each(check);
        let _ = EventFormat::of_path(path);
    }
    assert!(crate::fault::is_glance_right(body));
    for name in [
        None,
        Some("error"),
        Some("response.failed"),
        Some("message"),
    ] {
        Fault::from_event(name, body).iter().for_each(check);
    }
    administer(status, &headers, body);
}

/// Answers to calls of administration are read or refused, and no error shows a secret.
fn administer(status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    let faults = [
        management::credits().read(status, headers, body).err(),
        call(management::list_keys(&management::KeyFilter::new()))
            .read(status, headers, body)
            .err(),
        call(management::create_key(&management::NewKey::new("a")))
            .read(status, headers, body)
            .err(),
        call(management::get_key("a"))
            .read(status, headers, body)
            .err(),
        call(management::delete_key("a"))
            .read(status, headers, body)
            .err(),
    ];
    faults.iter().flatten().for_each(check);
}

fn call<T>(
    call: Result<management::ManagementCall<T>, management::InvalidCall>,
) -> management::ManagementCall<T> {
    call.unwrap_or_else(|error| unreachable!("{error}"))
}

fn check(fault: &Fault) {
    super::check(fault);
    assert!(fault.message().chars().count() <= 500);
    assert!(fault.previous_errors().len() <= 16);
    assert!(fault.unknown_words().len() <= 8);
    for unknown in fault.unknown_words() {
        let is_short = unknown.word.len() <= 64;
        assert!(is_short && unknown.word.is_ascii(), "{unknown:?}");
    }
}

fn parse(input: &[u8]) -> (StatusCode, HeaderMap, &[u8]) {
    let (head, body) = match input.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (&b""[..], input),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines
        .next()
        .and_then(|line| StatusCode::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    (status.unwrap_or(StatusCode::BAD_GATEWAY), headers, body)
}
