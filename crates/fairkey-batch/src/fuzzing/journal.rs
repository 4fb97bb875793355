//! The fuzz target of journals.

use crate::journal::record::{HEAD_BYTES, HEADER_BYTES, Head, Header, check};
use crate::journal::replay::Replay;

/// A journal is read whatever it holds: records are where they say and what they were made as, in
/// the order of the file, without overlap; what is cut off behind the last one changes none.
pub fn journal(input: &[u8]) {
    if let Header::Json { len, check: sum } = Header::decode(input) {
        let json = input.get(HEADER_BYTES..HEADER_BYTES + len as usize);
        let _ = json.map(|json| check(json) == sum);
    }
    let mut replay = Replay::new(input, 0);
    let mut records = Vec::new();
    let mut before = 0;
    while let Some(record) = replay.next_record().unwrap_or_default() {
        let from = record.offset as usize;
        let payload = &input[from + HEAD_BYTES..][..record.head.len as usize];
        assert!(from >= before, "no byte belongs to two records");
        assert_eq!(record.payload, payload);
        assert_eq!(record.head.encode(), input[from..from + HEAD_BYTES]);
        assert_eq!(check(payload), record.head.check);
        before = from + HEAD_BYTES + payload.len();
        records.push((record.offset, record.head));
    }
    let (end, damaged) = replay.end();
    assert!(end <= input.len() as u64 && damaged <= end);
    let mut again = Replay::new(&input[..end as usize], 0);
    for (offset, head) in &records {
        let record = again.next_record().unwrap_or_default();
        let record = record.map(|record| (record.offset, record.head));
        assert_eq!(record, Some((*offset, *head)));
    }
    assert!(matches!(again.next_record(), Ok(None)));
    // What a journal is made of is read back after whatever came before.
    let head = Head {
        kind: 1,
        flags: 1,
        len: 2,
        index: 3,
        identity: 4,
        micro_usd: 5,
        tokens: 6,
        check: check(b"{}"),
    };
    let mut more = input[..end as usize].to_vec();
    more.extend_from_slice(&head.encode());
    more.extend_from_slice(b"{}");
    let mut replay = Replay::new(&*more, 0);
    let mut count = 0;
    while let Some(record) = replay.next_record().unwrap_or_default() {
        count += 1;
        if count > records.len() {
            assert_eq!((record.offset, record.head), (end, head));
        }
    }
    assert_eq!(count, records.len() + 1);
}
