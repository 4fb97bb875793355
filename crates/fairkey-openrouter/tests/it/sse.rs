//! Server-sent events.

use fairkey_openrouter::{SseEvent, SseMessage, SseParser};

/// Reads a stream that comes in one piece, and shows every event in one line.
fn read(stream: &[u8]) -> Vec<String> {
    let mut parser = SseParser::new(1024);
    parser.push(stream);
    let mut events = Vec::new();
    while let Some(event) = parser.next() {
        events.push(show(&event.unwrap()));
    }
    events
}

fn show(event: &SseEvent) -> String {
    match event {
        SseEvent::Comment(text) => format!(":{}", String::from_utf8_lossy(text)),
        SseEvent::Message(SseMessage { event, data, id }) => {
            let mut shown = String::from_utf8_lossy(data).into_owned();
            for (name, value) in [("event", event), ("id", id)] {
                if let Some(value) = value {
                    shown += &format!(" {name}={}", String::from_utf8_lossy(value));
                }
            }
            shown
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(stream: &str, events: &[&str]) {
    assert_eq!(read(stream.as_bytes()), events, "{stream:?}");
}

#[test]
fn lines_end_with_lf_cr_or_crlf() {
    check("data: a\n\ndata: b\n\n", &["a", "b"]);
    check("data: a\r\rdata: b\r\r", &["a", "b"]);
    check("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
    check("data: a\r\n\ndata: b\n\rdata: c\r\r\n", &["a", "b", "c"]);
}

#[test]
fn a_crlf_is_one_line_end_wherever_it_is_cut() {
    let stream = b"data: a\r\ndata: b\r\n\r\n";
    check("data: a\r\ndata: b\r\n\r\n", &["a\nb"]);
    // With the CR of the last line end the event is whole.
    for at in 0..stream.len() - 1 {
        let mut parser = SseParser::new(64);
        parser.push(&stream[..at]);
        assert_eq!(parser.next(), None, "cut at {at}");
        parser.push(&stream[at..]);
        assert_eq!(
            show(&parser.next().unwrap().unwrap()),
            "a\nb",
            "cut at {at}"
        );
        assert_eq!(parser.next(), None, "cut at {at}");
    }
}

#[test]
fn an_event_is_ready_as_soon_as_its_blank_line_is() {
    // The LF of the second CRLF has not come yet, and nobody has to wait for it.
    check("data: a\r\n\r", &["a"]);
    let mut parser = SseParser::new(64);
    parser.push(b"data: a\r\n\r");
    assert!(parser.next().is_some());
    parser.push(b"\ndata: b\n\n");
    assert_eq!(show(&parser.next().unwrap().unwrap()), "b");
    assert_eq!(parser.next(), None);
}

#[test]
fn one_space_after_the_colon_is_dropped_and_none_is_needed() {
    check("data:a\n\ndata:  b\n\ndata: c: d\n\n", &["a", " b", "c: d"]);
}

#[test]
fn lines_of_data_are_joined_and_empty_ones_count() {
    check("data: a\ndata:\ndata: b\n\n", &["a\n\nb"]);
    check("data\n\n", &[""]);
    check("data:\ndata\n\n", &["\n"]);
}

#[test]
fn an_event_without_data_is_none() {
    check("event: ping\n\nid: 7\n\n\n\ndata: a\n\n", &["a id=7"]);
}

#[test]
fn names_belong_to_one_event_and_identifiers_stay() {
    check(
        "event: x\nid: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n",
        &["a event=x id=1", "b id=1", "c id=1", "d"],
    );
}

#[test]
fn comments_come_out_where_they_stand() {
    check(
        ": OPENROUTER PROCESSING\n\n:\n\ndata: a\n: in between\n\n",
        &[":OPENROUTER PROCESSING", ":", ":in between", "a"],
    );
}

#[test]
fn unknown_fields_are_ignored() {
    check("retry: 100\ndat: x\ndata : y\nDATA: z\ndata: a\n\n", &["a"]);
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["a"]);
    let mut parser = SseParser::new(64);
    for byte in "\u{feff}data: a\n\n".as_bytes() {
        parser.push(&[*byte]);
    }
    assert_eq!(show(&parser.next().unwrap().unwrap()), "a");
}

#[test]
fn a_character_cut_in_two_stays_whole() {
    let stream = "data: é🦀\n\n".as_bytes();
    for at in 0..stream.len() {
        let mut parser = SseParser::new(64);
        parser.push(&stream[..at]);
        assert_eq!(parser.next(), None);
        parser.push(&stream[at..]);
        let Some(Ok(SseEvent::Message(message))) = parser.next() else {
            panic!("cut at {at}")
        };
        assert_eq!(message.text(), Some("é🦀"));
    }
}

#[test]
fn bytes_that_are_no_text_are_passed_on_and_told() {
    let mut parser = SseParser::new(64);
    parser.push(b"event: \xff\ndata: \xff\n\n");
    let Some(Ok(SseEvent::Message(message))) = parser.next() else {
        panic!()
    };
    assert_eq!((message.text(), message.name()), (None, None));
    assert_eq!(message.data, b"\xff".as_slice());
}

#[test]
fn the_bound_holds_for_a_line_and_for_an_event() {
    let at_the_bound = |data: &[u8]| {
        let mut parser = SseParser::new(16);
        parser.push(data);
        parser.next()
    };
    assert!(at_the_bound(b"data: 0123456789\n\n").unwrap().is_ok());
    let error = at_the_bound(b"data: 0123456789x\n\n").unwrap().unwrap_err();
    assert_eq!(error.limit_bytes(), 16);
    assert!(error.to_string().contains("16 bytes"), "{error}");
    // A line that does not end is given up before it ends.
    assert!(at_the_bound(b"data: 0123456789").is_none());
    assert!(at_the_bound(b"data: 0123456789x").unwrap().is_err());
    // Each line is short, and the event is not.
    assert!(
        at_the_bound(b"data:01234567\ndata:0123456\n\n")
            .unwrap()
            .is_ok()
    );
    assert!(
        at_the_bound(b"data:01234567\ndata:012345678\n\n")
            .unwrap()
            .is_err()
    );
}

#[test]
fn the_bound_is_not_on_the_stream() {
    let mut parser = SseParser::new(16);
    for _ in 0..100 {
        parser.push(b": keep-alive\ndata: 0123456789\n\n");
        assert!(matches!(parser.next(), Some(Ok(SseEvent::Comment(_)))));
        assert!(matches!(parser.next(), Some(Ok(SseEvent::Message(_)))));
        assert_eq!(parser.next(), None);
    }
}

#[test]
fn nothing_comes_after_an_error() {
    let mut parser = SseParser::new(4);
    parser.push(b"data: too long\n\ndata\n\n");
    assert!(parser.next().unwrap().is_err());
    parser.push(b"data\n\n");
    assert_eq!(parser.next(), None);
    assert_eq!(parser.finish(), None);
}

#[test]
fn the_end_gives_back_what_nothing_ended() {
    let rest = |stream: &[u8]| {
        let mut parser = SseParser::new(64);
        parser.push(stream);
        while parser.next().is_some() {}
        parser.finish().map(|event| show(&event))
    };
    assert_eq!(rest(b"data: a\n\n"), None);
    assert_eq!(rest(b"data: a\n"), Some("a".to_owned()));
    assert_eq!(rest(b"data: a\ndata: b"), Some("a\nb".to_owned()));
    assert_eq!(rest(b"data: a\r"), Some("a".to_owned()));
    assert_eq!(rest(b"data: a\n: cut off"), Some("a".to_owned()));
    assert_eq!(rest(b"event: x"), None);
    assert_eq!(rest(b""), None);
}

#[test]
fn data_is_a_slice_of_what_was_pushed() {
    let mut parser = SseParser::new(1 << 20);
    parser.push(b"data: first\n\ndata: second\n\n");
    let Some(Ok(SseEvent::Message(first))) = parser.next() else {
        panic!()
    };
    let Some(Ok(SseEvent::Message(second))) = parser.next() else {
        panic!()
    };
    // Both lie in one allocation, as far apart as they came.
    let distance = second.data.as_ptr() as usize - first.data.as_ptr() as usize;
    assert_eq!(distance, b"first\n\ndata: ".len());
}
