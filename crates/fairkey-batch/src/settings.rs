//! Fields that a run sets in every request: [`Settings`].

use bytes::Bytes;
use fairkey_openrouter::splice::{Splice, SpliceError, members};
use serde_json::value::RawValue;

/// Fields of requests by their paths, as `temperature` or `provider.sort`, each with a value of
/// JSON.
///
/// A field that is filled in stays as it is where a request has it, and is not null; one that is
/// replaced is replaced everywhere. A path leads through objects, which are made where they are
/// lacking. No byte of a request changes but for what is set.
///
/// ```
/// use fairkey_batch::Settings;
///
/// let mut settings = Settings::default();
/// settings.fill("temperature=0")?;
/// settings.fill("provider.order=[\"groq\"]")?;
/// settings.replace("user=batch 7")?;
///
/// let error = settings.fill("temperature=1").unwrap_err();
/// assert_eq!(error, "temperature is set twice");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(Vec<Node>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    name: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Value { json: String, replaces: bool },
    Inside(Vec<Node>),
}

/// Why a request cannot be set.
#[derive(Debug)]
pub(crate) enum Unset {
    /// The request has something else in the place of an object: its path.
    NoObject(String),
    Body(SpliceError),
}

impl Settings {
    /// Adds a field to be filled in, written `path=value`. A value that is no JSON is a text.
    ///
    /// # Errors
    ///
    /// Where that cannot be, and what to write instead.
    pub fn fill(&mut self, setting: &str) -> Result<(), String> {
        self.add(setting, false)
    }

    /// Adds a field to be replaced, written `path=value`. A value that is no JSON is a text.
    ///
    /// # Errors
    ///
    /// Where that cannot be, and what to write instead.
    pub fn replace(&mut self, setting: &str) -> Result<(), String> {
        self.add(setting, true)
    }

    /// Returns whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the model that every request shall have, where one is set.
    #[must_use]
    pub fn model(&self) -> Option<String> {
        let node = self.0.iter().find(|node| node.name == "model")?;
        match &node.what {
            What::Value { json, .. } => serde_json::from_str(json).ok(),
            What::Inside(_) => None,
        }
    }

    fn add(&mut self, setting: &str, replaces: bool) -> Result<(), String> {
        let (path, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("{setting:?} is not written path=value"))?;
        let names: Vec<&str> = path.split('.').map(str::trim).collect();
        if names.iter().any(|name| name.is_empty()) {
            return Err(format!("{path:?} is no path: write it like provider.sort"));
        }
        let json = json(path, value)?;
        match names[0] {
            "stream" | "stream_options" => {
                return Err("answers of a run are not streamed: a result is a whole line".into());
            }
            "model" if !replaces => {
                return Err("use --model for the model of lines that name none".into());
            }
            "model" if !json.starts_with('"') => return Err("a model is a text".into()),
            _ => {}
        }
        let (last, above) = names.split_last().unwrap_or((&"", &[]));
        let mut nodes = &mut self.0;
        for name in above {
            let at = match nodes.iter().position(|node| node.name == *name) {
                Some(at) => at,
                None => {
                    nodes.push(Node {
                        name: (*name).to_owned(),
                        what: What::Inside(Vec::new()),
                    });
                    nodes.len() - 1
                }
            };
            match &mut nodes[at].what {
                What::Inside(inside) => nodes = inside,
                What::Value { .. } => {
                    return Err(format!("{path} lies in {name}, which is set as a whole"));
                }
            }
        }
        match nodes.iter().find(|node| node.name == *last) {
            Some(Node {
                what: What::Inside(_),
                ..
            }) => Err(format!("{path} is set as a whole, and fields in it, too")),
            Some(_) => Err(format!("{path} is set twice")),
            None => {
                nodes.push(Node {
                    name: (*last).to_owned(),
                    what: What::Value { json, replaces },
                });
                Ok(())
            }
        }
    }

    /// Sets the fields of a body.
    pub(crate) fn apply(&self, body: Bytes) -> Result<Bytes, Unset> {
        if self.0.is_empty() {
            return Ok(body);
        }
        apply(&self.0, &body, "")
    }
}

fn apply(nodes: &[Node], body: &Bytes, within: &str) -> Result<Bytes, Unset> {
    // What the object has of each, as it stands there.
    let mut there: Vec<Option<(usize, usize)>> = vec![None; nodes.len()];
    for member in members(body) {
        let member = member.map_err(Unset::Body)?;
        let Some(name) = member.name() else { continue };
        if let Some(at) = nodes.iter().position(|node| node.name == name) {
            let range = member.value_range();
            there[at] = Some((range.start, range.end));
        }
    }
    let mut splice = Splice::new(body.clone());
    for (node, there) in nodes.iter().zip(there) {
        let there = there
            .map(|(begin, end)| body.slice(begin..end))
            .filter(|value| value != "null");
        let json = match (&node.what, there) {
            (
                What::Value {
                    replaces: false, ..
                },
                Some(_),
            ) => continue,
            (What::Value { json, .. }, _) => json.clone(),
            (What::Inside(inside), None) => {
                let mut json = String::new();
                write(inside, &mut json);
                json
            }
            (What::Inside(inside), Some(object)) => {
                let path = format!("{within}{}", node.name);
                if !object.starts_with(b"{") {
                    return Err(Unset::NoObject(path));
                }
                let object = apply(inside, &object, &format!("{path}."))?;
                String::from_utf8_lossy(&object).into_owned()
            }
        };
        // It was read as JSON before, all of it.
        if let Ok(json) = RawValue::from_string(json) {
            splice = splice.set_raw(node.name.as_str(), &json);
        }
    }
    splice.finish().map_err(Unset::Body)
}

fn write(nodes: &[Node], json: &mut String) {
    let mut separator = '{';
    for node in nodes {
        json.push(separator);
        separator = ',';
        json.push_str(&serde_json::to_string(&node.name).unwrap_or_default());
        json.push(':');
        match &node.what {
            What::Value { json: value, .. } => json.push_str(value),
            What::Inside(inside) => write(inside, json),
        }
    }
    json.push('}');
}

/// Reads a value: JSON where it is some, else a text.
fn json(path: &str, value: &str) -> Result<String, String> {
    let trimmed = value.trim();
    if serde_json::from_str::<&RawValue>(trimmed).is_ok() {
        return Ok(trimmed.to_owned());
    }
    let instead = match trimmed {
        "True" => Some("true"),
        "False" => Some("false"),
        "None" | "nil" => Some("null"),
        _ => None,
    };
    if let Some(instead) = instead {
        return Err(format!(
            "{path}: write {instead}, or \"{trimmed}\" in quotes for a text"
        ));
    }
    if trimmed.starts_with(['{', '[', '"']) {
        let why = serde_json::from_str::<&RawValue>(trimmed);
        let why = why.err().map(|why| why.to_string()).unwrap_or_default();
        return Err(format!("{path}: the value is no JSON: {why}"));
    }
    if trimmed.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(format!(
            "{path}: {trimmed} is no number of JSON: write it like 0.5, or in quotes for a text"
        ));
    }
    serde_json::to_string(value).map_err(|why| format!("{path}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(fill: &[&str], replace: &[&str]) -> Settings {
        let mut settings = Settings::default();
        for setting in fill {
            settings.fill(setting).unwrap();
        }
        for setting in replace {
            settings.replace(setting).unwrap();
        }
        settings
    }

    #[track_caller]
    fn check(settings: &Settings, body: &'static str, expected: &str) {
        let set = settings.apply(Bytes::from(body)).unwrap();
        assert_eq!(std::str::from_utf8(&set).unwrap(), expected);
    }

    #[test]
    fn what_is_lacking_is_filled_in_and_no_other_byte_changes() {
        let settings = settings(&["temperature=0", "stop=END", "user=\"7\""], &[]);
        check(
            &settings,
            r#"{ "n":1.00 }"#,
            r#"{ "n":1.00,"temperature":0,"stop":"END","user":"7" }"#,
        );
        check(
            &settings,
            r#"{"temperature" : 1e0,"stop":null,  "user":""}"#,
            r#"{"temperature" : 1e0,"stop":"END",  "user":""}"#,
        );
    }

    #[test]
    fn what_is_replaced_is_replaced_where_it_stands() {
        let settings = settings(&[], &["model=a/b", "provider.sort=price"]);
        check(
            &settings,
            r#"{"model":"x", "provider":{ "order":["o"], "sort" : "latency" }}"#,
            r#"{"model":"a/b", "provider":{ "order":["o"], "sort" : "price" }}"#,
        );
        check(
            &settings,
            "{}",
            r#"{"model":"a/b","provider":{"sort":"price"}}"#,
        );
        assert_eq!(settings.model().as_deref(), Some("a/b"));
    }

    #[test]
    fn a_path_leads_into_objects_and_makes_them() {
        let settings = settings(
            &[
                "provider.sort=price",
                "provider.max_price.prompt=1",
                "a.b.c=[1, 2]",
            ],
            &[],
        );
        check(
            &settings,
            r#"{"provider":null}"#,
            r#"{"provider":{"sort":"price","max_price":{"prompt":1}},"a":{"b":{"c":[1, 2]}}}"#,
        );
        check(
            &settings,
            r#"{"provider":{"max_price":{"prompt":2}},"a":{ "b":{} }}"#,
            r#"{"provider":{"max_price":{"prompt":2},"sort":"price"},"a":{ "b":{"c":[1, 2]} }}"#,
        );
        match settings.apply(Bytes::from(r#"{"a":{"b":5}}"#)) {
            Err(Unset::NoObject(path)) => assert_eq!(path, "a.b"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_setting_that_cannot_be_is_told() {
        for (setting, says) in [
            ("temperature", "not written path=value"),
            ("=1", "no path"),
            ("a..b=1", "no path"),
            ("stream=true", "not streamed"),
            ("model=x", "use --model"),
            ("a=True", "write true"),
            ("a=None", "write null"),
            ("a=[1", "no JSON"),
            ("a={b}", "no JSON"),
            ("a=.5", "no number of JSON"),
            ("a=+1", "no number of JSON"),
            ("b=1", "set twice"),
            ("b.c=1", "lies in b"),
            ("d=1", "fields in it"),
        ] {
            let mut settings = settings(&["b=1", "d.e=1"], &[]);
            let error = settings.fill(setting).unwrap_err();
            assert!(error.contains(says), "{setting}: {error}");
        }
        let error = Settings::default().replace("model=5").unwrap_err();
        assert!(error.contains("a model is a text"), "{error}");
    }
}
