//! Rows of Apache Parquet files.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Repetition;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use serde_json::Value;

use super::line::{Parsed, Parser};
use super::table::{IDS, lacks};
use super::{ReadConfig, invalid};
use crate::{BadLine, Place, Row};

/// Columns that make a request without a template.
const OF_REQUESTS: [&str; 8] = [
    "prompt", "input", "system", "model", "messages", "body", "url", "method",
];

/// Reads the rows of a file. What is held is a page of each column that is needed.
pub(super) struct ParquetRows {
    rows: RowIter<'static>,
    parser: Parser,
    /// Rows so far, and in all.
    count: u64,
    total: u64,
    bytes: u64,
    /// Whether a field that is null is one: for a template. A request is better off without it,
    /// since a table cannot lack a field.
    keeps_nulls: bool,
}

impl ParquetRows {
    /// Looks at the columns of a file.
    ///
    /// # Errors
    ///
    /// Where it is no Parquet file, or lacks a column.
    pub(super) fn open(file: File, config: ReadConfig) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let reader = SerializedFileReader::new(file).map_err(|error| wrong(&error))?;
        let metadata = reader.metadata().file_metadata();
        let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
        let schema = metadata.schema_descr().root_schema().clone();
        let names: Vec<String> = schema
            .get_fields()
            .iter()
            .map(|field| field.name().to_owned())
            .collect();
        let wanted = columns(&names, &config).map_err(invalid)?;
        let fields = schema.get_fields().iter();
        let fields = fields.filter(|field| wanted.contains(&field.name()));
        let projection = Type::group_type_builder(schema.name())
            .with_fields(fields.cloned().collect())
            .build()
            .map_err(|error| wrong(&error))?;
        if let Some(field) = projection
            .get_fields()
            .iter()
            .find(|field| is_bare_list(field))
        {
            return Err(invalid(format!(
                "the column {:?} is a repeated field of an old kind: write it as a list",
                field.name()
            )));
        }
        let rows = RowIter::from_file_into(Box::new(reader));
        let rows = rows
            .project(Some(projection))
            .map_err(|error| wrong(&error))?;
        Ok(Self {
            rows,
            keeps_nulls: config.template.is_some(),
            parser: Parser::new(config.defaults, config.template, config.endpoint),
            count: 0,
            total,
            bytes,
        })
    }

    /// Returns the next row; `None` at the end.
    pub(super) fn next_row(&mut self) -> io::Result<Option<Row>> {
        let Some(row) = self.rows.next() else {
            return Ok(None);
        };
        let mut value = row.map_err(|error| wrong(&error))?.to_json_value();
        if !self.keeps_nulls {
            without_nulls(&mut value);
        }
        let bytes = Bytes::from(value.to_string());
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let (custom_id, request): Parsed = self.parser.json(text, &bytes);
        let index = self.count;
        self.count += 1;
        let line = self.count;
        let end_byte =
            u128::from(self.bytes) * u128::from(self.count) / u128::from(self.total.max(1));
        Ok(Some(Row {
            index,
            file: None,
            line,
            end_byte: u64::try_from(end_byte).unwrap_or(self.bytes),
            custom_id,
            request: request.map_err(|problem| BadLine {
                place: Place { file: None, line },
                column: None,
                message: problem.message,
            }),
        }))
    }

    /// Returns how many rows were read.
    pub(super) fn line(&self) -> u64 {
        self.count
    }
}

/// Returns the columns that are needed.
fn columns<'n>(names: &'n [String], config: &'n ReadConfig) -> Result<Vec<&'n str>, String> {
    let has = |name: &str| names.iter().any(|own| own == name);
    let mut wanted: Vec<&str> = IDS.into_iter().filter(|name| has(name)).collect();
    let Some(template) = &config.template else {
        let request = OF_REQUESTS.into_iter().filter(|name| has(name));
        wanted.extend(request);
        let makes_one = ["prompt", "input", "messages", "body"];
        return if makes_one.iter().any(|name| has(name)) {
            Ok(wanted)
        } else {
            Err(lacks("prompt", names))
        };
    };
    for name in template.names() {
        let outer = name.split('.').next().unwrap_or(name);
        let found = [name, outer].into_iter().find(|name| has(name));
        wanted.push(found.ok_or_else(|| lacks(name, names))?);
    }
    Ok(wanted)
}

/// A list without a group around it, which the reader of rows does not know.
fn is_bare_list(field: &Arc<Type>) -> bool {
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn wrong(error: &ParquetError) -> io::Error {
    invalid(format!("it is no sound Parquet file: {error}"))
}
