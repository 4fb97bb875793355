//! Tables, archives and several inputs, as a library.

use std::io::{self, Read, Write};

use fairkey_batch::{Format, Input, InputReader, ReadConfig, ReaderThread, Row, RowReader, Source};
use proptest::prelude::*;

fn config(format: Format, template: &str) -> ReadConfig {
    let mut config = ReadConfig::default();
    config.format = format;
    config.template = (!template.is_empty()).then(|| template.parse().unwrap());
    config
}

fn read(input: &[u8], config: ReadConfig) -> io::Result<Vec<Row>> {
    let mut reader = RowReader::new(input, config);
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    Ok(rows)
}

fn prompt(row: &Row) -> String {
    let Ok(request) = &row.request else {
        return String::new();
    };
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn says(row: &Row) -> String {
    row.request.as_ref().unwrap_err().to_string()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(content, level)
}

#[test]
fn rows_that_are_no_rows_are_told_with_the_line_they_begin_in() {
    let input =
        b"id,text\r\n1,\"two\nlines\"\n\n2\n   \n3,a,b\n4,\xff\n5,  \n6,\"open\nto the\nend";
    let rows = read(input, config(Format::Csv, "{text}")).unwrap();
    let lines: Vec<u64> = rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [2, 5, 7, 8, 9, 10]);
    assert_eq!(prompt(&rows[0]), "two\nlines");
    assert!(says(&rows[1]).starts_with("line 5: the row has 1 cell and the header 2"));
    assert!(says(&rows[2]).starts_with("line 7: the row has 3 cells"));
    assert!(says(&rows[3]).contains("column \"text\" is not UTF-8"));
    assert_eq!(rows[3].custom_id.as_deref(), Some("4"));
    assert!(says(&rows[4]).contains("the prompt is empty"));
    assert!(
        says(&rows[5]).contains("never closed: from line 10 on"),
        "{}",
        says(&rows[5])
    );
    assert_eq!(rows[5].end_byte, input.len() as u64);
}

#[test]
fn a_record_beyond_the_bound_is_an_error_and_the_next_one_is_read() {
    let mut bounded = config(Format::Csv, "{t}");
    bounded.max_line_bytes = 10;
    let mut input = b"t,u\n12345,67890\n12345,678901\n".to_vec();
    input.extend_from_slice(format!("\"{}\",y\nok,y\n", "x\n".repeat(100_000)).as_bytes());
    let rows = read(&input, bounded).unwrap();
    let good: Vec<bool> = rows.iter().map(|row| row.request.is_ok()).collect();
    assert_eq!(good, [true, false, false, true]);
    assert!(says(&rows[2]).contains("is one of its quotes not closed?"));
    assert_eq!(rows[3].line, 100_005);
    let wide = format!("t\n{}\nx\n", ",".repeat(20_000));
    let rows = read(wide.as_bytes(), config(Format::Csv, "{t}")).unwrap();
    assert!(says(&rows[0]).contains("too many cells"));
    assert_eq!(prompt(&rows[1]), "x");
}

#[test]
fn headers_that_cannot_be_are_refused() {
    for (input, says) in [
        (&b"\xff,text\n"[..], "not UTF-8"),
        (b"\"text", "a quote in it is not closed"),
        (
            b"a,b\n",
            "there is no column \"text\": the columns are \"a\", \"b\"",
        ),
        (b"text,x,text\n1,2,3\n", "\"text\" comes twice"),
        (b"id,text,id\n", "\"id\" comes twice"),
    ] {
        let error = read(input, config(Format::Csv, "{text}")).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    // Another column may come twice, and names may stand between blanks.
    let rows = read(
        b"\xef\xbb\xbf text ,x,x\n\0,1,2\n",
        config(Format::Csv, "{text}"),
    )
    .unwrap();
    assert_eq!(prompt(&rows[0]), "\0");
    for empty in [&b""[..], b"\n\r\n", b"text", b"text\r\n\r\n"] {
        assert!(
            read(empty, config(Format::Csv, "{text}"))
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn a_table_without_a_template_has_prompts_and_what_goes_with_them() {
    let input = b"model\tprompt\tsystem\tcustom_id\tid\tother\n\
                  m/x\tHi\tBe brief.\t\tq1\t5\n\tBye\t\tq2\t\t6\n";
    let mut config = config(Format::Tsv, "");
    config.defaults.model = Some("a/default".to_owned());
    config.defaults.system = Some("S".to_owned());
    let rows = read(input, config).unwrap();
    let body = |at: usize| std::str::from_utf8(&rows[at].request.as_ref().unwrap().body).unwrap();
    assert_eq!(
        body(0),
        r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}],"model":"m/x"}"#
    );
    assert_eq!(
        body(1),
        r#"{"messages":[{"role":"system","content":"S"},{"role":"user","content":"Bye"}],"model":"a/default"}"#
    );
    let ids: Vec<_> = rows
        .iter()
        .map(|row| row.custom_id.as_deref().unwrap())
        .collect();
    assert_eq!(ids, ["q1", "q2"]);
}

#[test]
fn archives_come_in_parts_and_are_read_to_their_end() {
    let parts =
        |pack: fn(&[u8]) -> Vec<u8>| [pack(b"one\n"), pack(b""), pack(b"two\nthree")].concat();
    let mut skippable = vec![0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
    skippable.extend(parts(zstd));
    for packed in [parts(gzip), parts(zstd), skippable] {
        let rows = read(&packed, ReadConfig::default()).unwrap();
        let prompts: Vec<String> = rows.iter().map(prompt).collect();
        assert_eq!(prompts, ["one", "two", "three"]);
        assert!(rows.iter().all(|row| row.end_byte <= packed.len() as u64));
        for end in 1..packed.len() {
            // Cut anywhere: an error, or the end of a part.
            match read(&packed[..end], ReadConfig::default()) {
                Ok(rows) => assert!(rows.len() <= 3, "{end}"),
                Err(error) => assert!(
                    error.to_string().contains("cut off") || error.to_string().contains("damaged"),
                    "{end}: {error}"
                ),
            }
        }
    }
    let mut wrong = zstd(b"one\n");
    *wrong.last_mut().unwrap() ^= 1;
    let error = read(&wrong, ReadConfig::default()).unwrap_err();
    assert!(
        error.to_string().contains("zstd archive is damaged"),
        "{error}"
    );
}

#[test]
fn lengths_pass_four_gigabytes() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("huge.txt");
    let file = std::fs::File::create(&path).unwrap();
    // A hole: it takes no room on the disk.
    file.set_len(6 << 30).unwrap();
    drop(file);
    let input = Input::file(&path).unwrap();
    assert_eq!(input.bytes(), Some(6 << 30));
    let reader = InputReader::new(
        vec![input, Input::file(&path).unwrap()],
        ReadConfig::default(),
    );
    assert_eq!(reader.total_bytes(), Some(12 << 30));
}

#[tokio::test]
async fn several_inputs_are_numbered_through_and_a_broken_one_is_the_end() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.csv"), "prompt\nx\ny\n").unwrap();
    std::fs::write(path("b.TXT.GZ"), gzip(b"{not json\nz\n")).unwrap();
    let noise: Vec<u8> = (0..4_000_u32)
        .map(|n| b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)
        .flat_map(|byte| [byte, b'\n'])
        .collect();
    let packed = gzip(&noise);
    std::fs::write(path("c.txt.gz"), &packed[..packed.len() / 2]).unwrap();
    std::fs::write(path("d.txt"), "never\n").unwrap();
    let input = |name: &str| Input::file(path(name)).unwrap();
    let inputs = vec![
        input("a.csv"),
        Input::stream("pipe", &b"p\n"[..]),
        input("b.TXT.GZ"),
        input("c.txt.gz"),
        input("d.txt"),
    ];
    let reader = InputReader::new(inputs, ReadConfig::default());
    reader.check().unwrap();
    assert_eq!(reader.total_bytes(), None, "a pipe has no length");
    let mut rows = ReaderThread::start_inputs(reader).unwrap();
    let (mut count, mut last) = (0, 0);
    let error = loop {
        match rows.next().await {
            Ok(Some(row)) => {
                assert_eq!(row.index, count);
                assert!(row.end_byte >= last);
                (count, last) = (count + 1, row.end_byte);
                assert!(row.request.is_ok(), "{:?}", row.request);
                match count {
                    2 => assert!(row.id().ends_with("a.csv:3"), "{}", row.id()),
                    3 => assert_eq!(row.id(), "pipe:1"),
                    _ => {}
                }
            }
            Ok(None) => panic!("it ends without an error"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        count > 6 && error.contains("c.txt.gz cannot be read beyond line "),
        "{count} {error}"
    );
    assert!(rows.next().await.unwrap().is_none(), "the error is the end");
}

#[tokio::test]
async fn a_reader_that_panics_is_a_failure_and_no_end() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("in a test")
        }
    }
    let mut rows = ReaderThread::start(Panics, ReadConfig::default(), None).unwrap();
    let error = rows.next().await.unwrap_err();
    assert!(error.to_string().contains("this is a bug"), "{error}");
}

proptest! {
    #[test]
    fn whatever_a_writer_of_csv_writes_is_read_as_it_was(
        rows in proptest::collection::vec(("[a-z0-9]{1,5}", "(?s).*"), 1..20),
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t')],
        crlf: bool,
    ) {
        let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .terminator(end)
            .from_writer(Vec::new());
        writer.write_record(["id", "text"]).unwrap();
        for (id, text) in &rows {
            writer.write_record([id, text]).unwrap();
        }
        let mut config = config(Format::Csv, "<{text}>");
        config.delimiter = Some(delimiter);
        let read = read(&writer.into_inner().unwrap(), config).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        for (row, (id, text)) in read.iter().zip(&rows) {
            prop_assert_eq!(row.custom_id.as_deref(), Some(&**id));
            prop_assert_eq!(prompt(row), format!("<{text}>"));
        }
    }

    #[test]
    fn a_template_without_braces_is_what_it_says(template in "[^{}]*[a-z]") {
        let rows = read(b"id\n1\n2\n", config(Format::Csv, &template)).unwrap();
        prop_assert_eq!(prompt(&rows[0]), template.clone());
        prop_assert_eq!(prompt(&rows[1]), template);
    }

    #[test]
    fn packed_or_not_rows_are_the_same(input in proptest::collection::vec(any::<u8>(), 1..400)) {
        prop_assume!(!input.starts_with(&[0x1f]) && !input.starts_with(&[0x28]));
        let prompts = |input: &[u8]| {
            let rows = read(input, config(Format::Text, ""));
            rows.map(|rows| rows.iter().map(|row| row.request.clone().ok()).collect::<Vec<_>>()).ok()
        };
        let plain = prompts(&input);
        prop_assert_eq!(&prompts(&gzip(&input)), &plain);
        prop_assert_eq!(&prompts(&zstd(&input)), &plain);
    }
}
