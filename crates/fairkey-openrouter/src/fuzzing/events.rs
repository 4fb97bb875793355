//! The body of the target `event_stream`.

use crate::{EventFormat, EventItem, EventStreamReader};

/// A reader gives the same items however the bytes are cut, ends exactly once, and never says
/// `Done` of a stream without content and without a reason to have ended. The first byte chooses
/// the format.
pub fn event_stream(input: &[u8]) {
    let (first, stream) = input.split_at(input.len().min(1));
    let format = match first {
        [b'm', ..] => EventFormat::Messages,
        [b'r', ..] => EventFormat::Responses,
        _ => EventFormat::Other,
    };
    let items = |parts: &[&[u8]]| {
        let mut reader = EventStreamReader::with_limit(format, 4096);
        let (mut items, mut last) = (Vec::new(), 0);
        let mut take = |reader: &mut EventStreamReader| {
            while let Some(item) = reader.next() {
                match &item {
                    EventItem::Fault(fault) => {
                        super::check(fault);
                        last += 1;
                    }
                    EventItem::Done => {
                        assert!(reader.has_content() || reader.stop_reason().is_some());
                        last += 1;
                    }
                    _ => {}
                }
                items.push(format!("{item:?}"));
            }
        };
        for part in parts {
            reader.push(part);
            take(&mut reader);
        }
        reader.finish();
        take(&mut reader);
        assert_eq!(last, 1, "one end");
        assert!(reader.is_over());
        (items, reader.has_content(), reader.usage().cloned())
    };
    let whole = items(&[stream]);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(items(&bytes), whole, "byte by byte");
    for at in 0..stream.len().min(64) {
        let (left, right) = stream.split_at(at * stream.len() / 64.min(stream.len()));
        assert_eq!(items(&[left, right]), whole, "cut at {}", left.len());
    }
}
