//! From the text of a schema to what is checked.

use std::collections::HashMap;

use regex_lite::Regex;
use serde_json::{Map, Number, Value};

use super::{Check, Node, Properties, SchemaError, Types};

/// How many keywords that are none are told.
const UNKNOWN_TOLD: usize = 16;
/// Keywords that assert nothing.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "id",
    "$anchor",
    "$comment",
    "$defs",
    "definitions",
    "$vocabulary",
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    // Read together with others.
    "then",
    "else",
    "minContains",
    "maxContains",
    "additionalItems",
    "prefixItems",
    "patternProperties",
    "additionalProperties",
];
/// Keywords that would assert something.
const NOT_DONE: &[&str] = &[
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
    "$dynamicAnchor",
];

/// Compiles a schema: its parts, the whole of it first, and where it has keywords that are none.
pub(super) fn compile(root: &Value) -> Result<(Vec<Node>, Vec<String>), SchemaError> {
    let mut compiler = Compiler {
        root,
        nodes: Vec::new(),
        places: HashMap::new(),
        waiting: Vec::new(),
        unknown: Vec::new(),
    };
    compiler.node("#".to_owned(), root);
    while let Some((place, at, schema)) = compiler.waiting.pop() {
        compiler.nodes[place] = compiler.read(&at, schema)?;
    }
    compiler.no_circles()?;
    Ok((compiler.nodes, compiler.unknown))
}

struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// Which part of the schema is which node.
    places: HashMap<String, usize>,
    waiting: Vec<(usize, String, &'a Value)>,
    unknown: Vec<String>,
}

fn error<T>(at: &str, message: impl Into<String>) -> Result<T, SchemaError> {
    Err(SchemaError {
        at: at.to_owned(),
        message: message.into(),
    })
}

/// The pointer of a part.
fn part(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl<'a> Compiler<'a> {
    /// Returns the place of a part, which is read later.
    fn node(&mut self, at: String, schema: &'a Value) -> usize {
        if let Some(place) = self.places.get(&at) {
            return *place;
        }
        let place = self.nodes.len();
        self.nodes.push(Node::default());
        self.places.insert(at.clone(), place);
        self.waiting.push((place, at, schema));
        place
    }

    fn read(&mut self, at: &str, schema: &'a Value) -> Result<Node, SchemaError> {
        let object = match schema {
            Value::Bool(passes) => {
                return Ok(Node {
                    never: !passes,
                    checks: Vec::new(),
                });
            }
            Value::Object(object) => object,
            _ => return error(at, "is no schema: a schema is an object, true or false"),
        };
        let mut checks = Vec::new();
        for (name, value) in object {
            let here = part(at, name);
            if let Some(check) = self.keyword(&here, name, value, object)? {
                checks.push(check);
            }
        }
        if let Some(check) = self.properties(at, object)? {
            checks.push(check);
        }
        if let Some(check) = self.items(at, object)? {
            checks.push(check);
        }
        // What tells most comes first.
        checks.sort_by_key(|check| !matches!(check, Check::Types(_)));
        Ok(Node {
            never: false,
            checks,
        })
    }

    fn keyword(
        &mut self,
        at: &str,
        name: &str,
        value: &'a Value,
        all: &'a Map<String, Value>,
    ) -> Result<Option<Check>, SchemaError> {
        Ok(Some(match name {
            "type" => Check::Types(types(at, value)?),
            "enum" => Check::Enum(array(at, value)?.clone()),
            "const" => Check::Const(value.clone()),
            "minimum" => Check::Minimum(number(at, value)?),
            "maximum" => Check::Maximum(number(at, value)?),
            "exclusiveMinimum" => Check::Above(number(at, value)?),
            "exclusiveMaximum" => Check::Below(number(at, value)?),
            "multipleOf" => {
                let number = number(at, value)?;
                if number.as_f64().is_none_or(|number| number <= 0.0) {
                    return error(at, "is not more than 0");
                }
                Check::MultipleOf(number)
            }
            "minLength" => Check::MinLength(count(at, value)?),
            "maxLength" => Check::MaxLength(count(at, value)?),
            "pattern" => Check::Pattern(pattern(at, text(at, value)?)?),
            "required" => Check::Required(texts(at, value)?),
            "propertyNames" => Check::PropertyNames(self.node(at.to_owned(), value)),
            "minProperties" => Check::MinProperties(count(at, value)?),
            "maxProperties" => Check::MaxProperties(count(at, value)?),
            "dependentRequired" => Check::DependentRequired(
                (object(at, value)?.iter())
                    .map(|(name, value)| Ok((name.clone(), texts(&part(at, name), value)?)))
                    .collect::<Result<_, _>>()?,
            ),
            "dependentSchemas" => Check::DependentSchemas(self.named(at, value)?),
            "dependencies" => return self.dependencies(at, value).map(Some),
            "contains" => Check::Contains {
                node: self.node(at.to_owned(), value),
                min: (all.get("minContains")).map_or(Ok(1), |value| count(at, value))?,
                max: (all.get("maxContains"))
                    .map(|value| count(at, value))
                    .transpose()?,
            },
            "minItems" => Check::MinItems(count(at, value)?),
            "maxItems" => Check::MaxItems(count(at, value)?),
            "uniqueItems" => match value {
                Value::Bool(true) => Check::Unique,
                Value::Bool(false) => return Ok(None),
                _ => return error(at, "is neither true nor false"),
            },
            "allOf" => Check::All(self.listed(at, value)?),
            "anyOf" => Check::Any(self.listed(at, value)?),
            "oneOf" => Check::One(self.listed(at, value)?),
            "not" => Check::Not(self.node(at.to_owned(), value)),
            "if" => {
                let at = at.strip_suffix("/if").unwrap_or(at);
                let mut other = |name: &str| {
                    let value = all.get(name)?;
                    Some(self.node(part(at, name), value))
                };
                Check::If {
                    then: other("then"),
                    otherwise: other("else"),
                    condition: self.node(part(at, "if"), value),
                }
            }
            "$ref" => Check::Ref(self.reference(at, text(at, value)?)?),
            // Read together.
            "properties" | "items" => return Ok(None),
            name if ANNOTATIONS.contains(&name) => return Ok(None),
            name if NOT_DONE.contains(&name) => {
                return error(
                    at,
                    "this keyword is not known here, and what it asserts would go unchecked: write \
                     the schema without it",
                );
            }
            _ => {
                if self.unknown.len() < UNKNOWN_TOLD {
                    self.unknown.push(at.to_owned());
                }
                return Ok(None);
            }
        }))
    }

    /// What objects may have.
    fn properties(
        &mut self,
        at: &str,
        schema: &'a Map<String, Value>,
    ) -> Result<Option<Check>, SchemaError> {
        let mut all = Properties::default();
        if let Some(value) = schema.get("properties") {
            all.named = self
                .named(&part(at, "properties"), value)?
                .into_iter()
                .collect();
        }
        if let Some(value) = schema.get("patternProperties") {
            let at = part(at, "patternProperties");
            for (name, value) in object(&at, value)? {
                let here = part(&at, name);
                let regex = pattern(&here, name)?;
                all.patterns.push((regex, self.node(here, value)));
            }
        }
        if let Some(value) = schema.get("additionalProperties") {
            all.rest = Some(self.node(part(at, "additionalProperties"), value));
        }
        let is_empty = all.named.is_empty() && all.patterns.is_empty() && all.rest.is_none();
        Ok((!is_empty).then_some(Check::Properties(all)))
    }

    /// What arrays may have: of draft 2020-12, and of those before, where a list of schemas is
    /// called `items` and the rest `additionalItems`.
    fn items(
        &mut self,
        at: &str,
        schema: &'a Map<String, Value>,
    ) -> Result<Option<Check>, SchemaError> {
        let (prefix, rest) = match (schema.get("prefixItems"), schema.get("items")) {
            (None, Some(Value::Array(_))) => ("items", "additionalItems"),
            _ => ("prefixItems", "items"),
        };
        let prefix = match schema.get(prefix) {
            Some(value) => self.listed(&part(at, prefix), value)?,
            None => Vec::new(),
        };
        let value = schema.get(rest);
        let rest = value.map(|value| self.node(part(at, rest), value));
        let is_empty = prefix.is_empty() && rest.is_none();
        Ok((!is_empty).then_some(Check::Items { prefix, rest }))
    }

    /// Of draft 7: both kinds of dependencies under one name.
    fn dependencies(&mut self, at: &str, value: &'a Value) -> Result<Check, SchemaError> {
        let mut schemas = Vec::new();
        for (name, value) in object(at, value)? {
            let here = part(at, name);
            let place = match value {
                Value::Array(_) => {
                    let required = Check::Required(texts(&here, value)?);
                    self.nodes.push(Node {
                        never: false,
                        checks: vec![required],
                    });
                    self.nodes.len() - 1
                }
                _ => self.node(here, value),
            };
            schemas.push((name.clone(), place));
        }
        Ok(Check::DependentSchemas(schemas))
    }

    fn named(&mut self, at: &str, value: &'a Value) -> Result<Vec<(String, usize)>, SchemaError> {
        let schemas = object(at, value)?.iter();
        Ok(schemas
            .map(|(name, value)| (name.clone(), self.node(part(at, name), value)))
            .collect())
    }

    fn listed(&mut self, at: &str, value: &'a Value) -> Result<Vec<usize>, SchemaError> {
        let schemas = array(at, value)?;
        if schemas.is_empty() {
            return error(at, "is an empty list");
        }
        let schemas = schemas.iter().enumerate();
        Ok(schemas
            .map(|(n, value)| self.node(part(at, &n.to_string()), value))
            .collect())
    }

    fn reference(&mut self, at: &str, to: &str) -> Result<usize, SchemaError> {
        let own = self.root.get("$id").and_then(Value::as_str);
        let fragment = match to.split_once('#') {
            Some((document, fragment)) if document.is_empty() || Some(document) == own => fragment,
            None if Some(to) == own => "",
            _ => {
                return error(
                    at,
                    format!(
                        "{to:?} is in another document, and nothing is fetched: write it into this \
                         one, under $defs"
                    ),
                );
            }
        };
        let decoded = percent_decoded(fragment);
        if decoded.is_empty() || decoded.starts_with('/') {
            return match self.root.pointer(&decoded) {
                Some(schema) => Ok(self.node(format!("#{decoded}"), schema)),
                None => error(at, format!("there is no {to:?} in the schema")),
            };
        }
        match anchor(self.root, "#".to_owned(), &decoded, 0) {
            Some((place, schema)) => Ok(self.node(place, schema)),
            None => error(at, format!("there is no anchor {to:?} in the schema")),
        }
    }

    /// Refuses schemas that ask for themselves of the very same value, for ever.
    fn no_circles(&self) -> Result<(), SchemaError> {
        // 0 not seen, 1 on the way, 2 done.
        let mut state = vec![0_u8; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut way = vec![(start, self.in_place(start), 0)];
            if state[start] != 0 {
                continue;
            }
            state[start] = 1;
            while let Some((node, next, at)) = way.last_mut() {
                match next.get(*at) {
                    None => {
                        state[*node] = 2;
                        way.pop();
                    }
                    Some(&to) => {
                        *at += 1;
                        match state[to] {
                            0 => {
                                state[to] = 1;
                                way.push((to, self.in_place(to), 0));
                            }
                            1 => {
                                let place = self.places.iter().find(|(_, place)| **place == to);
                                let at = place.map_or("#", |(at, _)| at);
                                return error(at, "leads back to itself without an end");
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The nodes that a node asks for the same value.
    fn in_place(&self, node: usize) -> Vec<usize> {
        let mut next = Vec::new();
        for check in &self.nodes[node].checks {
            match check {
                Check::All(all) | Check::Any(all) | Check::One(all) => next.extend(all),
                Check::Not(one) | Check::Ref(one) => next.push(*one),
                Check::If {
                    condition,
                    then,
                    otherwise,
                } => next.extend([Some(*condition), *then, *otherwise].into_iter().flatten()),
                Check::DependentSchemas(all) => next.extend(all.iter().map(|(_, node)| *node)),
                _ => {}
            }
        }
        next
    }
}

/// Finds a part by its `$anchor`.
fn anchor<'a>(
    schema: &'a Value,
    at: String,
    name: &str,
    depth: usize,
) -> Option<(String, &'a Value)> {
    if depth > 128 {
        return None;
    }
    match schema {
        Value::Object(object) => {
            if object.get("$anchor").and_then(Value::as_str) == Some(name) {
                return Some((at, schema));
            }
            let mut parts = object.iter();
            parts.find_map(|(key, value)| anchor(value, part(&at, key), name, depth + 1))
        }
        Value::Array(list) => {
            let mut parts = list.iter().enumerate();
            parts.find_map(|(n, value)| anchor(value, part(&at, &n.to_string()), name, depth + 1))
        }
        _ => None,
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let code = (first == b'%').then(|| others.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn types(at: &str, value: &Value) -> Result<Types, SchemaError> {
    let names = match value {
        Value::Array(names) => names.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut types = Types::default();
    for name in names {
        if !name.as_str().is_some_and(|name| types.add(name)) {
            let known: Vec<&str> = Types::NAMES.iter().map(|(name, _)| *name).collect();
            return error(
                at,
                format!("{name} is no type; types are {}", known.join(", ")),
            );
        }
    }
    Ok(types)
}

fn array<'a>(at: &str, value: &'a Value) -> Result<&'a Vec<Value>, SchemaError> {
    value
        .as_array()
        .map_or_else(|| error(at, "is not an array"), Ok)
}

fn object<'a>(at: &str, value: &'a Value) -> Result<&'a Map<String, Value>, SchemaError> {
    value
        .as_object()
        .map_or_else(|| error(at, "is not an object"), Ok)
}

fn text<'a>(at: &str, value: &'a Value) -> Result<&'a str, SchemaError> {
    value
        .as_str()
        .map_or_else(|| error(at, "is not a string"), Ok)
}

fn texts(at: &str, value: &Value) -> Result<Vec<String>, SchemaError> {
    let all = array(at, value)?.iter();
    all.map(|value| text(at, value).map(str::to_owned))
        .collect()
}

fn number(at: &str, value: &Value) -> Result<Number, SchemaError> {
    match value {
        Value::Number(number) => Ok(number.clone()),
        _ => error(at, "is not a number"),
    }
}

fn count(at: &str, value: &Value) -> Result<u64, SchemaError> {
    let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
    match value.as_u64().or_else(|| whole(value.as_f64()?)) {
        Some(count) => Ok(count),
        None => error(at, "is not a whole number from 0 on"),
    }
}

fn pattern(at: &str, pattern: &str) -> Result<Regex, SchemaError> {
    Regex::new(pattern).or_else(|why| {
        error(
            at,
            format!("the pattern cannot be used ({why}); look-around and \\p{{…}} are not known"),
        )
    })
}
