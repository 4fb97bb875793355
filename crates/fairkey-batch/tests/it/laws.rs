//! Laws of reading and writing.

use std::io::{self, Read};
use std::time::Duration;

use fairkey_batch::{MemoryOutput, ReadConfig, RowReader, Stop, run};
use proptest::prelude::*;

use crate::fake::{End, Fake, Step, indexes, rows};
use crate::runner::config;

/// Hands out its bytes a few at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.len().min(self.1).min(buffer.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn piece() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\xef\xbb\xbf".to_vec()),
        Just(br#"{"prompt":"x"}"#.to_vec()),
        Just(br#"{"messages":[{"role":"user","content":"x"}],"stream":true}"#.to_vec()),
        Just(br#"{"custom_id":"a","method":"POST","url":"/v1/x","body":{"a":1}}"#.to_vec()),
        Just(b"{\"body\":".to_vec()),
    ]
}

fn count_of_lines(input: &[u8]) -> usize {
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let lines = input.split(|&byte| byte == b'\n');
    lines.filter(|line| !line.trim_ascii().is_empty()).count()
}

proptest! {
    #[test]
    fn every_line_that_is_not_blank_is_one_row_however_it_arrives(
        pieces in proptest::collection::vec(piece(), 0..30),
        at_once in 1_usize..50,
    ) {
        let input = pieces.concat();
        let mut reader = RowReader::new(Dribble(&input, at_once), ReadConfig::default());
        let mut rows = Vec::new();
        loop {
            match reader.next_row() {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => break,
                Err(error) => {
                    // One object over several lines: nothing of it is taken for a row.
                    prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    prop_assert_eq!(rows.len(), 0);
                    return Ok(());
                }
            }
        }
        prop_assert_eq!(rows.len(), count_of_lines(&input));
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(row.index, index as u64);
            if let Ok(request) = &row.request {
                let body: Result<serde_json::Value, _> = serde_json::from_slice(&request.body);
                prop_assert!(body.is_ok_and(|body| body.is_object()), "{:?}", request);
                prop_assert!(request.path.starts_with('/'));
            } else if let Err(bad) = &row.request {
                prop_assert_eq!(bad.place.line, row.line);
            }
        }
    }

    #[test]
    fn a_name_comes_out_as_it_went_in(id in ".*", prompt in ".+") {
        let line = serde_json::json!({ "custom_id": id, "prompt": prompt }).to_string();
        let mut reader = RowReader::new(line.as_bytes(), ReadConfig::default());
        let row = reader.next_row().unwrap().unwrap();
        prop_assert_eq!(row.custom_id.as_deref(), Some(&*id));
        let body: serde_json::Value =
            serde_json::from_slice(&row.request.unwrap().body).unwrap();
        prop_assert_eq!(&body["messages"][0]["content"], &serde_json::json!(prompt));
    }

    #[test]
    fn results_are_in_order_and_complete_whatever_rows_do(
        plan in proptest::collection::vec((0_u64..500, 0_u8..8), 1..80),
        in_flight in 1_usize..20,
    ) {
        let n = plan.len() as u64;
        let caller = Fake::new(move |index, before| {
            let (millis, kind) = plan[index as usize];
            let ends = match (kind, before) {
                (0, _) => End::Fail,
                (1, 0..3) => End::Wait(Some(Duration::from_millis(millis)), Vec::new()),
                _ => End::Answer,
            };
            Step { takes: Duration::from_millis(millis), ends }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let output = MemoryOutput::new();
        let mut config = config(in_flight);
        config.window_rows = 1;
        let summary =
            runtime.block_on(run(rows(n), caller, output.clone(), config, Stop::new(), ()));
        prop_assert_eq!(indexes(&output.lines()), (0..n).collect::<Vec<_>>());
        prop_assert_eq!(summary.rows.answered + summary.rows.failed, n);
        prop_assert_eq!((summary.rows.written, summary.rows.lost), (n, 0));
        prop_assert!(summary.peak_in_flight <= in_flight as u64);
    }
}
