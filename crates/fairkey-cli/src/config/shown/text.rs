//! What is shown as a file could say it: TOML, with where each value comes from behind it.

use serde_json::{Value, json};

use super::{Setting, Shape, Shown, Token};
use crate::config::SecretFrom;

impl Shown {
    /// Returns it as a file could say it, with where each value comes from behind it.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = match &self.file {
            Some(file) => format!("# {file}, the environment and defaults\n"),
            None => "# no configuration file: the environment and defaults\n".to_owned(),
        };
        for section in &self.sections {
            if let Some(off) = section.off {
                text.push_str(&format!("\n# [{}]: {off}\n", section.name));
                continue;
            }
            text.push_str(&format!("\n[{}]\n", section.name));
            lines(&section.settings, &mut text);
        }
        for (name, entries) in [
            ("accounts", &self.accounts),
            ("keys", &self.keys),
            ("clients", &self.clients),
        ] {
            for entry in entries {
                let mut block = format!("[[{name}]]\n");
                lines(&entry.0, &mut block);
                text.push('\n');
                for line in block.lines() {
                    // What the environment says need not be said by a file.
                    text.push_str(if entry.is_environment() { "# " } else { "" });
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        for (name, route) in &self.routes {
            text.push_str(&format!("\n[routes.{}]\n", key(name)));
            lines(&route.0, &mut text);
        }
        text
    }
}

/// A key as TOML writes it.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        json!(name).to_string()
    }
}

/// Adds settings, one in a line, with where they come from in one column.
fn lines(settings: &[Setting], text: &mut String) {
    /// Longer lines push their own comment aside, and nobody else's.
    const WIDEST: usize = 60;
    let shown: Vec<String> = settings.iter().map(line).collect();
    let lengths = shown.iter().map(|line| line.chars().count());
    let width = lengths
        .filter(|length| *length <= WIDEST)
        .max()
        .unwrap_or(0);
    for (line, setting) in shown.iter().zip(settings) {
        text.push_str(&format!("{line:<width$}  # {}\n", setting.from.text()));
    }
}

fn line(Setting { name, value, .. }: &Setting) -> String {
    match value {
        Shape::Plain(value) => format!("{name} = {}", toml(value)),
        Shape::Off(what) => format!("# {name}: {what}"),
        Shape::Secret(from @ SecretFrom::Env(_, Some(_))) => format!("{name}: {from}"),
        Shape::Secret(from) => format!("{name} = {}", place(from)),
        Shape::Tokens(all) => {
            let each = all.iter().map(|token| match token {
                Token::Secret(from) => place(from),
                Token::Sha256(hash) => format!("{{ sha256 = \"{hash}\" }}"),
            });
            match &each.collect::<Vec<_>>()[..] {
                [one] => format!("{name} = {one}"),
                all => format!("{name} = [{}]", all.join(", ")),
            }
        }
    }
}

/// Where a secret is, as TOML says it.
fn place(from: &SecretFrom) -> String {
    match from {
        SecretFrom::Literal => "\"[hidden]\"".to_owned(),
        SecretFrom::Env(variable, _) => format!("{{ env = {} }}", json!(variable)),
        SecretFrom::File(path) => format!("{{ file = {} }}", json!(path)),
    }
}

/// Strings, numbers and arrays are the same in TOML as in JSON.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let each: Vec<String> = fields
                .map(|(name, value)| format!("{} = {}", key(name), toml(value)))
                .collect();
            format!("{{ {} }}", each.join(", "))
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let each: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", each.join(", "))
        }
        other => other.to_string(),
    }
}
