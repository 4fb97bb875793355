//! Parquet, read and written.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use fairkey_batch::{Input, InputReader, Output, ParquetOutput, ReadConfig, ResultLine, Row};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

/// `(row, its values, definition levels, repetition levels)` of one column.
type Texts<'a> = (&'a [&'a str], &'a [i16], Option<&'a [i16]>);

/// Writes a file of texts, and of one number first where the schema has one.
fn write(path: &Path, schema: &str, numbers: Option<&[i64]>, texts: &[Texts<'_>]) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    if let Some(numbers) = numbers {
        let mut column = rows.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(numbers, None, None)
            .unwrap();
        column.close().unwrap();
    }
    for (values, definitions, repetitions) in texts {
        let values: Vec<ByteArray> = values.iter().map(|text| ByteArray::from(*text)).collect();
        let mut column = rows.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&values, Some(definitions), *repetitions)
            .unwrap();
        column.close().unwrap();
    }
    rows.close().unwrap();
    writer.close().unwrap();
}

fn read(path: &Path, template: Option<&str>) -> std::io::Result<Vec<Row>> {
    let mut config = ReadConfig::default();
    config.template = template.map(|template| template.parse().unwrap());
    let mut reader = InputReader::new(vec![Input::file(path)?], config);
    reader.check()?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    Ok(rows)
}

fn bodies(rows: &[Row]) -> Vec<&str> {
    let body = |row| {
        let row: &Row = row;
        let request = row.request.as_ref();
        request.map_or("bad", |request| std::str::from_utf8(&request.body).unwrap())
    };
    rows.iter().map(body).collect()
}

const TABLE: &str = "message m {
    REQUIRED INT64 id;
    OPTIONAL BYTE_ARRAY text (STRING);
    OPTIONAL BYTE_ARRAY other (STRING);
}";

fn table(path: &Path) {
    let some: Texts<'_> = (&["one", "three"], &[1, 0, 1], None);
    write(path, TABLE, Some(&[7, 8, 9]), &[some, some]);
}

#[test]
fn a_template_makes_prompts_of_columns_and_nulls_are_empty() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("in.parquet");
    table(&path);
    let rows = read(&path, Some("Say {text} to {id}")).unwrap();
    assert_eq!(
        bodies(&rows),
        [
            r#"{"messages":[{"role":"user","content":"Say one to 7"}]}"#,
            r#"{"messages":[{"role":"user","content":"Say  to 8"}]}"#,
            r#"{"messages":[{"role":"user","content":"Say three to 9"}]}"#,
        ]
    );
    assert_eq!(rows[2].custom_id.as_deref(), Some("9"));
    assert_eq!((rows[2].index, rows[2].line), (2, 3));
    let size = std::fs::metadata(&path).unwrap().len();
    assert_eq!(rows[2].end_byte, size);
    assert!(rows[0].end_byte > 0 && rows[0].end_byte < rows[1].end_byte);
}

#[test]
fn a_file_is_known_by_its_first_bytes_and_its_columns_are_checked() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    table(&path);
    assert_eq!(read(&path, Some("{text}")).unwrap().len(), 3);
    let error = read(&path, Some("{txt}")).unwrap_err().to_string();
    assert!(error.contains("there is no column \"txt\""), "{error}");
    let error = read(&path, None).unwrap_err().to_string();
    assert!(error.contains("there is no column \"prompt\""), "{error}");
    assert!(error.contains("\"id\", \"text\", \"other\""), "{error}");
}

#[test]
fn messages_in_a_list_of_groups_become_a_body_without_nulls() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("chats.parquet");
    let schema = "message m {
        OPTIONAL GROUP messages (LIST) {
            REPEATED GROUP list {
                OPTIONAL GROUP element {
                    OPTIONAL BYTE_ARRAY content (STRING);
                    OPTIONAL BYTE_ARRAY name (STRING);
                    OPTIONAL BYTE_ARRAY role (STRING);
                }
            }
        }
        OPTIONAL BYTE_ARRAY system (STRING);
    }";
    let again: Option<&[i16]> = Some(&[0, 1, 0]);
    let columns: [Texts<'_>; 4] = [
        (&["Hi", "Bye"], &[4, 4, 0], again),
        (&["Ann"], &[3, 4, 0], again),
        (&["system", "user"], &[4, 4, 0], again),
        (&[], &[0, 0], None),
    ];
    write(&path, schema, None, &columns);
    let rows = read(&path, None).unwrap();
    assert_eq!(
        bodies(&rows),
        [
            r#"{"messages":[{"content":"Hi","role":"system"},{"content":"Bye","name":"Ann","role":"user"}]}"#,
            "bad",
        ]
    );
    let nested = read(&path, Some("{messages}")).unwrap();
    assert!(bodies(&nested)[0].contains("Bye"));
}

#[test]
fn a_file_that_is_no_parquet_or_broken_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("in.parquet");
    for content in [
        &b""[..],
        b"PAR1",
        b"garbage that is longer than a footer",
        b"PAR1PAR1PAR1PAR1",
    ] {
        std::fs::write(&path, content).unwrap();
        let error = read(&path, None).unwrap_err().to_string();
        assert!(error.contains("no sound Parquet file"), "{error}");
    }
    table(&path);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        std::fs::write(&path, &broken).unwrap();
        // The crate may panic, which the thread that reads tells as a failure; but no row comes
        // that nobody wrote.
        let read = std::panic::catch_unwind(|| read(&path, Some("{text}")));
        if let Ok(Ok(rows)) = read {
            assert!(rows.len() <= 3, "byte {at}");
        }
    }
}

fn result(index: u64, text: &str) -> ResultLine {
    let line = format!(
        "{{\"id\":\"row-1\",\"custom_id\":\"q{index}\",\"response\":{{\"status_code\":200,\
         \"request_id\":\"\",\"body\":{{\"choices\":[{{\"message\":{{\"content\":{text:?}}}}}]}}}},\
         \"error\":null,\"fairkey\":{{\"line\":{},\"attempts\":1,\"cost_usd\":0.5}}}}\n",
        index + 1
    );
    ResultLine::new(index, true, line.into_bytes())
}

#[tokio::test]
async fn results_become_a_file_when_it_is_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.parquet");
    let mut output = ParquetOutput::create(&path).unwrap();
    // More than one group of rows.
    let rows = 70_000;
    for index in 0..rows {
        output.push(result(index, "an\nswer"));
    }
    assert!(
        !path.exists() && output.written() == 0,
        "not before its end"
    );
    output.finish().await.unwrap();
    output.finish().await.unwrap();
    assert_eq!(output.written(), rows);
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 2);
    let last = reader.get_row_iter(None).unwrap().last().unwrap().unwrap();
    let last = last.to_json_value();
    assert_eq!(last["custom_id"], "q69999");
    assert_eq!(last["text"], "an\nswer");
    assert_eq!(last["cost_usd"], 0.5);
    assert_eq!(last["line"], 70_000);
    assert!(last["error"].is_null() && last["file"].is_null());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn a_file_that_is_given_up_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let mut output = ParquetOutput::create(folder.path().join("out.parquet")).unwrap();
    output.push(result(0, "x"));
    drop(output);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
