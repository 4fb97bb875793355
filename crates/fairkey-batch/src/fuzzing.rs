//! What the fuzz targets of this crate run, and the test that replays their seeds.
//!
//! Not part of the API.

mod journal;

use std::io::{self, Read};

use crate::{Endpoint, Format, OutputFormat, ReadConfig, Row, RowReader, Settings};

pub use self::journal::journal;

/// A target: its name, which is also the folder of its seeds, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 3] = [("rows", rows), ("results", results), ("journal", journal)];

/// The longest line: so short that it is passed.
const MAX_LINE: usize = 200;

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

/// A first byte that says how to read, and an input: the same rows however it arrives, each with
/// its number, and each request an object of JSON.
pub fn rows(input: &[u8]) {
    let Some((how, input)) = input.split_first() else {
        return;
    };
    let config = config(*how);
    let (whole, ended) = read(input, input.len().max(1), &config);
    for at_once in [1, 7] {
        let (parts, ends) = read(input, at_once, &config);
        assert_eq!(ended, ends);
        // How much of a damaged archive comes out depends on how much was put in at once.
        assert!(whole.len() == parts.len() || ended == Some(io::ErrorKind::InvalidData));
        for (one, other) in whole.iter().zip(&parts) {
            assert_eq!((one.index, one.line), (other.index, other.line));
            assert_eq!(one.custom_id, other.custom_id);
            assert_eq!(one.request, other.request);
        }
    }
    let mut last = 0;
    for (index, row) in whole.iter().enumerate() {
        assert_eq!(row.index, index as u64);
        assert!(row.line > 0 && row.line >= last);
        last = row.line;
        assert!(row.end_byte <= input.len() as u64);
        match &row.request {
            Ok(request) => {
                assert!(request.path.starts_with('/'));
                let body: serde_json::Value =
                    serde_json::from_slice(&request.body).expect("a body is JSON");
                let body = body.as_object().expect("a body is an object");
                assert!(body.get("stream") != Some(&true.into()));
                if how & 0x40 != 0 {
                    assert_eq!(body["seed"], 7);
                }
            }
            Err(bad) => assert_eq!(bad.place, row.place()),
        }
    }
}

fn config(how: u8) -> ReadConfig {
    let mut settings = Settings::default();
    if how & 0x40 != 0 {
        settings.replace("seed=7").expect("it is a setting");
        settings
            .fill("provider.sort=price")
            .expect("it is a setting");
    }
    let mut config = ReadConfig {
        format: match how & 0x07 {
            0 => Format::Jsonl,
            1 => Format::Text,
            2 => Format::Csv,
            3 => Format::Tsv,
            _ => Format::Auto,
        },
        max_line_bytes: MAX_LINE,
        ..ReadConfig::default()
    };
    if how & 0x08 != 0 {
        config.template = "{text}: {{{text}}}".parse().ok();
    }
    if how & 0x10 != 0 {
        config.defaults.model = Some("a/b".to_owned());
        config.defaults.system = Some("Be brief.".to_owned());
        config.defaults.max_tokens = Some(5);
    }
    if how & 0x20 != 0 {
        let endpoint: Result<Endpoint, _> = "/embeddings".parse();
        config.endpoint = endpoint.expect("it is a path");
    }
    config.defaults.settings = settings;
    config
}

/// Returns the rows, and why there are no more of them.
fn read(input: &[u8], at_once: usize, config: &ReadConfig) -> (Vec<Row>, Option<io::ErrorKind>) {
    let mut reader = RowReader::new(Dribble(input, at_once), config.clone());
    let mut rows = Vec::new();
    loop {
        match reader.next_row() {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => return (rows, None),
            Err(error) => {
                assert!(matches!(reader.next_row(), Ok(None)), "an error is the end");
                return (rows, Some(error.kind()));
            }
        }
    }
}

/// A line of batch results, or of anything else: text is one line, flat JSON an object of fields
/// that are always the same.
pub fn results(line: &[u8]) {
    let text = OutputFormat::Text.render(line);
    let json = OutputFormat::Json.render(line);
    let csv = OutputFormat::Csv.render(line);
    if json == line {
        assert!(text == line && csv == line, "it is no result for any");
        return;
    }
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
    let record: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    let record = record.as_object().expect("it is an object");
    assert_eq!(record.len(), 17);
    let quotes = csv.iter().filter(|byte| **byte == b'"').count();
    assert!(quotes % 2 == 0 && csv.ends_with(b"\n"));
}
