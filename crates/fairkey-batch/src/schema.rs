//! What answers shall look like: [`Schema`], a JSON Schema that tells the first thing that is wrong.
//!
//! The vocabulary is that of validation and applicators of draft 2020-12, and what drafts 6 and 7
//! wrote otherwise. `format` and the `content…` keywords are annotations, as the draft has it: they
//! assert nothing. What would assert something that is not known here is refused when the schema is
//! read, and not passed over.

mod answer;
mod check;
mod checked;
mod compile;

use std::fmt;

use regex_lite::Regex;
use serde_json::{Number, Value};

pub use self::checked::{Checked, SchemaCheck, SchemaStats};

/// A JSON Schema, ready to be checked against.
///
/// ```
/// use fairkey_batch::Schema;
/// use serde_json::json;
///
/// let schema = Schema::new(&json!({
///     "type": "object",
///     "properties": { "price": { "type": "number", "minimum": 0 } },
///     "required": ["price"],
/// }))?;
/// assert!(schema.check(&json!({ "price": 5 })).is_ok());
/// let wrong = schema.check(&json!({ "price": "5" })).unwrap_err();
/// assert_eq!(wrong.to_string(), "/price: is a string, not a number");
/// # Ok::<(), fairkey_batch::SchemaError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schema {
    nodes: Vec<Node>,
    unknown: Vec<String>,
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer that begins with `#`.
    pub at: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

impl std::error::Error for SchemaError {}

/// The first thing that is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a JSON pointer; empty for the value itself.
    pub path: String,
    /// The same with `*` for every place of an array, to be counted by.
    pub kind: String,
    /// What is wrong. Nothing of the value is repeated but names of properties, and those in short.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl Schema {
    /// Reads a schema. One that stands in a `response_format`, or in a `json_schema` with a name, is
    /// found there.
    ///
    /// # Errors
    ///
    /// Where it is no schema, or would assert what is not known here: references to other
    /// documents, `unevaluatedProperties`, patterns with look-around and the like.
    pub fn new(schema: &Value) -> Result<Self, SchemaError> {
        let (nodes, unknown) = compile::compile(inner(schema))?;
        Ok(Self { nodes, unknown })
    }

    /// Returns where the schema has keywords that are none, up to 16 of them: they assert nothing,
    /// and may be misspelled.
    #[must_use]
    pub fn unknown_keywords(&self) -> &[String] {
        &self.unknown
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in the order of the value.
    pub fn check(&self, value: &Value) -> Result<(), Violation> {
        check::check(&self.nodes, value)
    }

    /// Checks a text, which has to be one JSON value and nothing else.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_text(&self, text: &str) -> Result<(), Violation> {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => self.check(&value),
            Err(error) => {
                let message = if text.trim_start().starts_with("```") {
                    "is no JSON: it stands in a code fence".to_owned()
                } else if text.trim().is_empty() {
                    "is no JSON: it is empty".to_owned()
                } else {
                    format!("is no JSON ({error})")
                };
                Err(Violation {
                    path: String::new(),
                    kind: NO_JSON.to_owned(),
                    message,
                })
            }
        }
    }
}

/// What answers that are no JSON are counted as.
const NO_JSON: &str = "(no JSON)";

/// Returns the schema itself, where it stands in the form of a request.
pub(crate) fn inner(schema: &Value) -> &Value {
    let outer = schema.get("json_schema").unwrap_or(schema);
    let is_schema = [
        "type",
        "properties",
        "$ref",
        "anyOf",
        "allOf",
        "oneOf",
        "enum",
        "$schema",
    ]
    .iter()
    .any(|keyword| outer.get(keyword).is_some());
    match outer.get("schema") {
        Some(inner) if !is_schema => inner,
        _ => outer,
    }
}

/// A schema or a part of one; parts name each other by their places.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Whether nothing passes.
    never: bool,
    checks: Vec<Check>,
}

#[derive(Clone, Debug)]
enum Check {
    Types(Types),
    Enum(Vec<Value>),
    Const(Value),
    Minimum(Number),
    Maximum(Number),
    Above(Number),
    Below(Number),
    MultipleOf(Number),
    MinLength(u64),
    MaxLength(u64),
    Pattern(Regex),
    Required(Vec<String>),
    Properties(Properties),
    PropertyNames(usize),
    MinProperties(u64),
    MaxProperties(u64),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, usize)>),
    Items {
        prefix: Vec<usize>,
        rest: Option<usize>,
    },
    Contains {
        node: usize,
        min: u64,
        max: Option<u64>,
    },
    MinItems(u64),
    MaxItems(u64),
    Unique,
    All(Vec<usize>),
    Any(Vec<usize>),
    One(Vec<usize>),
    Not(usize),
    If {
        condition: usize,
        then: Option<usize>,
        otherwise: Option<usize>,
    },
    Ref(usize),
}

#[derive(Clone, Debug, Default)]
struct Properties {
    named: std::collections::HashMap<String, usize>,
    patterns: Vec<(Regex, usize)>,
    /// For those that are neither.
    rest: Option<usize>,
}

/// A set of types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Types(u8);

impl Types {
    const NAMES: [(&'static str, &'static str); 7] = [
        ("null", "null"),
        ("boolean", "a boolean"),
        ("object", "an object"),
        ("array", "an array"),
        ("number", "a number"),
        ("string", "a string"),
        ("integer", "an integer"),
    ];
    const INTEGER: u8 = 1 << 6;

    fn add(&mut self, name: &str) -> bool {
        let place = Self::NAMES.iter().position(|(own, _)| *own == name);
        self.0 |= place.map_or(0, |place| 1 << place);
        place.is_some()
    }

    /// What a value is, as a number and as an integer at once where it is both.
    fn of(value: &Value) -> Self {
        Self(match value {
            Value::Null => 1,
            Value::Bool(_) => 1 << 1,
            Value::Object(_) => 1 << 2,
            Value::Array(_) => 1 << 3,
            Value::Number(number) if is_integer(number) => 1 << 4 | Self::INTEGER,
            Value::Number(_) => 1 << 4,
            Value::String(_) => 1 << 5,
        })
    }

    fn admits(self, value: &Value) -> bool {
        self.0 & Self::of(value).0 != 0
    }

    /// `a number or null`
    fn words(self) -> String {
        let names: Vec<&str> = (0..Self::NAMES.len())
            .rev()
            .filter(|place| self.0 & 1 << place != 0)
            .map(|place| Self::NAMES[place].1)
            .collect();
        match names.as_slice() {
            [] => "anything".to_owned(),
            [one] => (*one).to_owned(),
            [most @ .., last] => format!("{} or {last}", most.join(", ")),
        }
    }
}

fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
}

#[cfg(test)]
mod tests;
