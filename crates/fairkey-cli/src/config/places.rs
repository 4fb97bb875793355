//! Where in the file each setting stands: [`Places`].

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::position::Position;

/// The line of every setting of a file, by its path: `retry.attempts`, `keys.0.id`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(HashMap<String, usize>);

impl Places {
    /// Reads a file that has been read before, so that nothing in it is wrong.
    pub(super) fn of(text: &str) -> Self {
        let mut places = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            places.table("", table.get_ref(), text);
        }
        places
    }

    /// Returns the line of a setting; `None`: the file does not say it.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        self.0.get(path).copied()
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, text: &str) {
        for (name, value) in table.iter() {
            let path = format!("{prefix}{}", name.get_ref());
            let line = Position::of(text, name.span().start).line;
            self.value(&path, value, text);
            self.0.insert(path, line);
        }
    }

    fn value(&mut self, path: &str, value: &Spanned<DeValue<'_>>, text: &str) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(&format!("{path}."), table, text),
            DeValue::Array(array) => {
                for (at, value) in array.iter().enumerate() {
                    self.value(&format!("{path}.{at}"), value, text);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_the_line_it_stands_in() {
        let places = Places::of(
            "[upstream]\nbase_url = \"x\"\napp = { url = \"y\" }\n\n[[keys]]\nid = \"a\"\n\
             [[keys]]\nid = \"b\"\nsecret.env = \"X\"\n",
        );
        for (path, line) in [
            ("upstream.base_url", Some(2)),
            ("upstream.app.url", Some(3)),
            ("keys.0.id", Some(6)),
            ("keys.1.id", Some(8)),
            ("keys.1.secret.env", Some(9)),
            ("keys.1.weight", None),
        ] {
            assert_eq!(places.line(path), line, "{path}");
        }
    }
}
