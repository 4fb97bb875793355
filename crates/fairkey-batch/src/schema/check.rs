//! A value against a schema, up to the first thing that is wrong.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{Check, Node, Properties, Types, Violation};

/// How many parts of a schema are asked for one value at most: a schema can ask more than any
/// machine can answer.
const STEPS: u32 = 200_000;
/// How deep.
const DEPTH: u32 = 1_024;
/// How much of a name that an answer made up is repeated.
const NAME: usize = 48;

pub(super) fn check(nodes: &[Node], value: &Value) -> Result<(), Violation> {
    let mut checker = Checker {
        nodes,
        steps: 0,
        depth: 0,
        path: Vec::new(),
    };
    checker.node(0, value)
}

struct Checker<'a> {
    nodes: &'a [Node],
    steps: u32,
    depth: u32,
    path: Vec<Step>,
}

enum Step {
    Name(String),
    Place(usize),
}

type Checked = Result<(), Violation>;

impl Checker<'_> {
    fn wrong(&self, message: impl Into<String>) -> Checked {
        let (mut path, mut kind) = (String::new(), String::new());
        for step in &self.path {
            match step {
                Step::Name(name) => {
                    let name = shortened(name).replace('~', "~0").replace('/', "~1");
                    path.push_str(&format!("/{name}"));
                    kind.push_str(&format!("/{name}"));
                }
                Step::Place(place) => {
                    path.push_str(&format!("/{place}"));
                    kind.push_str("/*");
                }
            }
        }
        Err(Violation {
            path,
            kind,
            message: message.into(),
        })
    }

    fn node(&mut self, node: usize, value: &Value) -> Checked {
        let nodes = self.nodes;
        let node = &nodes[node];
        self.steps += 1;
        if self.steps > STEPS || self.depth >= DEPTH {
            return self.wrong("takes more steps to check than any answer may");
        }
        if node.never {
            return self.wrong("is not allowed");
        }
        self.depth += 1;
        let mut checks = node.checks.iter();
        let result = checks.try_for_each(|check| self.check(check, value));
        self.depth -= 1;
        result
    }

    fn at(&mut self, step: Step, node: usize, value: &Value) -> Checked {
        self.path.push(step);
        let result = self.node(node, value);
        self.path.pop();
        result
    }

    fn check(&mut self, check: &Check, value: &Value) -> Checked {
        match (check, value) {
            (Check::Types(types), _) if !types.admits(value) => {
                let is = Types(Types::of(value).0 & !Types::INTEGER).words();
                self.wrong(format!("is {is}, not {}", types.words()))
            }
            (Check::Enum(values), _) if !values.iter().any(|one| same(one, value)) => {
                let n = values.len();
                self.wrong(format!("is none of the {n} values that are allowed"))
            }
            (Check::Const(one), _) if !same(one, value) => {
                self.wrong("is not the one value that is allowed")
            }
            (_, Value::Number(number)) => self.number(check, number, value),
            (_, Value::String(text)) => self.text(check, text, value),
            (_, Value::Object(object)) => self.object(check, object, value),
            (_, Value::Array(list)) => self.list(check, list, value),
            _ => self.any(check, value),
        }
    }

    fn number(&mut self, check: &Check, number: &Number, value: &Value) -> Checked {
        let order = |other: &Number| compare(number, other);
        match check {
            Check::Minimum(least) if order(least) == Ordering::Less => {
                self.wrong(format!("is less than {least}"))
            }
            Check::Maximum(most) if order(most) == Ordering::Greater => {
                self.wrong(format!("is more than {most}"))
            }
            Check::Above(least) if order(least) != Ordering::Greater => {
                self.wrong(format!("is not more than {least}"))
            }
            Check::Below(most) if order(most) != Ordering::Less => {
                self.wrong(format!("is not less than {most}"))
            }
            Check::MultipleOf(of) if !is_multiple(number, of) => {
                self.wrong(format!("is no multiple of {of}"))
            }
            _ => self.any(check, value),
        }
    }

    fn text(&mut self, check: &Check, text: &str, value: &Value) -> Checked {
        let length = || text.chars().count() as u64;
        match check {
            Check::MinLength(least) if length() < *least => {
                self.wrong(format!("has fewer than {least} characters"))
            }
            Check::MaxLength(most) if length() > *most => {
                self.wrong(format!("has more than {most} characters"))
            }
            Check::Pattern(pattern) if !pattern.is_match(text) => {
                self.wrong(format!("does not match the pattern {:?}", pattern.as_str()))
            }
            _ => self.any(check, value),
        }
    }

    fn object(&mut self, check: &Check, object: &Map<String, Value>, value: &Value) -> Checked {
        let lacks = |names: &[String]| {
            let lacking = names.iter().find(|name| !object.contains_key(*name));
            lacking.map(|name| format!("lacks {name:?}"))
        };
        match check {
            Check::Required(names) => match lacks(names) {
                Some(message) => self.wrong(message),
                None => Ok(()),
            },
            Check::Properties(properties) => self.properties(properties, object),
            Check::PropertyNames(node) => object.keys().try_for_each(|name| {
                let text = Value::String(name.clone());
                let result = self.node(*node, &text);
                match result {
                    Ok(()) => Ok(()),
                    Err(wrong) => {
                        let message = wrong.message;
                        self.wrong(format!("the name {:?} {message}", shortened(name)))
                    }
                }
            }),
            Check::MinProperties(least) if (object.len() as u64) < *least => {
                self.wrong(format!("has fewer than {least} members"))
            }
            Check::MaxProperties(most) if object.len() as u64 > *most => {
                self.wrong(format!("has more than {most} members"))
            }
            Check::DependentRequired(all) => {
                let mut held = all.iter().filter(|(name, _)| object.contains_key(name));
                match held.find_map(|(name, names)| Some((name, lacks(names)?))) {
                    Some((name, message)) => self.wrong(format!("has {name:?} and {message}")),
                    None => Ok(()),
                }
            }
            Check::DependentSchemas(all) => {
                let mut held = all.iter().filter(|(name, _)| object.contains_key(name));
                held.try_for_each(|(_, node)| self.node(*node, value))
            }
            _ => self.any(check, value),
        }
    }

    fn properties(&mut self, all: &Properties, object: &Map<String, Value>) -> Checked {
        for (name, value) in object {
            let named = all.named.get(name);
            let matching = all.patterns.iter();
            let matching = matching.filter(|(pattern, _)| pattern.is_match(name));
            let mut nodes: Vec<usize> = named.copied().into_iter().collect();
            nodes.extend(matching.map(|(_, node)| *node));
            if nodes.is_empty() {
                let Some(rest) = all.rest else { continue };
                if self.nodes[rest].never {
                    let name = shortened(name);
                    return self.wrong(format!("has {name:?}, which is not allowed"));
                }
                nodes.push(rest);
            }
            for node in nodes {
                self.at(Step::Name(name.clone()), node, value)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, check: &Check, list: &[Value], value: &Value) -> Checked {
        let length = list.len() as u64;
        match check {
            Check::Items { prefix, rest } => {
                for (place, item) in list.iter().enumerate() {
                    if let Some(node) = prefix.get(place).copied().or(*rest) {
                        self.at(Step::Place(place), node, item)?;
                    }
                }
                Ok(())
            }
            Check::MinItems(least) if length < *least => {
                self.wrong(format!("has fewer than {least} items"))
            }
            Check::MaxItems(most) if length > *most => {
                self.wrong(format!("has more than {most} items"))
            }
            Check::Unique => match repeated(list) {
                Some(place) => self.wrong(format!("has item {place} more than once")),
                None => Ok(()),
            },
            Check::Contains { node, min, max } => {
                let fit = list.iter().filter(|item| self.node(*node, item).is_ok());
                let fit = fit.count() as u64;
                if fit < *min {
                    self.wrong(format!("has {fit} items of a kind of which it needs {min}"))
                } else if max.is_some_and(|max| fit > max) {
                    self.wrong(format!("has {fit} items of a kind, which is too many"))
                } else {
                    Ok(())
                }
            }
            _ => self.any(check, value),
        }
    }

    /// What is asked of values of any type.
    fn any(&mut self, check: &Check, value: &Value) -> Checked {
        match check {
            Check::All(nodes) => nodes.iter().try_for_each(|node| self.node(*node, value)),
            Check::Any(nodes) => self.alternatives(nodes, value),
            Check::One(nodes) => {
                let fit = nodes.iter().filter(|node| self.node(**node, value).is_ok());
                match fit.count() {
                    0 => self.alternatives(nodes, value),
                    1 => Ok(()),
                    n => self.wrong(format!("fits {n} alternatives of which it may fit one")),
                }
            }
            Check::Not(node) => match self.node(*node, value) {
                Ok(()) => self.wrong("is of a kind that is not allowed"),
                Err(_) => Ok(()),
            },
            Check::If {
                condition,
                then,
                otherwise,
            } => {
                let then = match self.node(*condition, value) {
                    Ok(()) => then,
                    Err(_) => otherwise,
                };
                then.map_or(Ok(()), |node| self.node(node, value))
            }
            Check::Ref(node) => self.node(*node, value),
            _ => Ok(()),
        }
    }

    /// Of several schemas one has to fit. Where one of them was clearly meant, since it got further
    /// into the value than all others, its trouble is told.
    fn alternatives(&mut self, nodes: &[usize], value: &Value) -> Checked {
        let here = self.path.len();
        let mut deepest: Option<(usize, Violation)> = None;
        let mut ties = 0;
        for node in nodes {
            match self.node(*node, value) {
                Ok(()) => return Ok(()),
                Err(wrong) => {
                    let depth = wrong.path.matches('/').count();
                    match &deepest {
                        Some((most, _)) if *most > depth => {}
                        Some((most, _)) if *most == depth => ties += 1,
                        _ => {
                            deepest = Some((depth, wrong));
                            ties = 0;
                        }
                    }
                }
            }
        }
        match deepest {
            Some((_, wrong)) if nodes.len() == 1 => Err(wrong),
            Some((depth, wrong)) if depth > here && ties == 0 => Err(wrong),
            _ => self.wrong(format!("fits none of {} alternatives", nodes.len())),
        }
    }
}

/// Says a name that an answer made up in short.
fn shortened(name: &str) -> String {
    let mut out: String = name.chars().take(NAME).collect();
    if out.len() < name.len() {
        out.push('…');
    }
    out.replace(char::is_control, " ")
}

/// Returns the place of the first item that an item before it equals.
fn repeated(list: &[Value]) -> Option<usize> {
    /// Longer lists are compared by their text first.
    const SHORT: usize = 32;
    if list.len() <= SHORT {
        let mut places = 0..list.len();
        return places.find(|at| list[..*at].iter().any(|one| same(one, &list[*at])));
    }
    let mut seen = std::collections::HashSet::new();
    list.iter().position(|item| !seen.insert(canonical(item)))
}

/// Returns a text that is the same for values that are the same, and for no others.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) if is_whole(number) => match whole(number) {
            Some(whole) => whole.to_string(),
            None => format!("{:?}", number.as_f64()),
        },
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(object) => {
            let mut members: Vec<String> = object
                .iter()
                .map(|(name, value)| {
                    format!("{}:{}", Value::String(name.clone()), canonical(value))
                })
                .collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

fn is_whole(number: &Number) -> bool {
    super::is_integer(number)
}

/// The number as an integer, where it is one that fits.
fn whole(number: &Number) -> Option<i128> {
    let of_float = || {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        // Beyond that, floats are no exact integers anyway.
        (float.abs() < 1e30).then_some(float as i128)
    };
    (number.as_i64().map(i128::from))
        .or_else(|| number.as_u64().map(i128::from))
        .or_else(of_float)
}

fn compare(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => {
            let float = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
            float(one)
                .partial_cmp(&float(other))
                .unwrap_or(Ordering::Equal)
        }
    }
}

fn is_multiple(number: &Number, of: &Number) -> bool {
    if let (Some(number), Some(of)) = (whole(number), whole(of)) {
        return number % of == 0;
    }
    let (Some(number), Some(of)) = (number.as_f64(), of.as_f64()) else {
        return true;
    };
    // Decimals are no exact floats: 0.3 is a multiple of 0.1.
    let times = number / of;
    times.is_finite() && (times - times.round()).abs() <= 1e-9 * times.abs().max(1.0)
}

/// Whether two values are the same: 1 and 1.0 are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Ordering::Equal,
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let in_other = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|other| same(value, other))
            };
            one.len() == other.len() && one.iter().all(in_other)
        }
        _ => one == other,
    }
}
