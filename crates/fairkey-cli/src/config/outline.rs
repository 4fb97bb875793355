//! What a configuration says, setting by setting, and how two differ: [`Outline`].
//!
//! Of values only hashes are kept: any of them may be a secret.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The settings of a file by their paths, such as `retry.attempts`, `keys.search-team.weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline(BTreeMap<String, u64>);

/// How one configuration differs from the one before, by paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// Whether tokens are asked for now, or no longer.
    pub(crate) opens: bool,
}

impl Outline {
    /// Reads a file that has been read before, so that nothing in it is wrong.
    pub(super) fn of(text: &str) -> Self {
        let mut outline = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            outline.table("", table.get_ref());
        }
        outline
    }

    pub(crate) fn changes(&self, before: &Self) -> Changes {
        let mut changes = Changes::default();
        for (path, value) in &self.0 {
            match before.0.get(path) {
                None => changes.added.push(path.clone()),
                Some(other) if other != value => changes.changed.push(path.clone()),
                Some(_) => {}
            }
        }
        let gone = before.0.keys().filter(|path| !self.0.contains_key(*path));
        changes.removed.extend(gone.cloned());
        changes
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table.iter() {
            self.value(format!("{prefix}{}", name.get_ref()), value.get_ref());
        }
    }

    fn value(&mut self, path: String, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.table(&format!("{path}."), table),
            DeValue::Array(array) if array.iter().any(|entry| id(entry).is_some()) => {
                for entry in array.iter() {
                    if let (Some(id), DeValue::Table(table)) = (id(entry), entry.get_ref()) {
                        self.table(&format!("{path}.{id}."), table);
                    }
                }
            }
            value => {
                let mut hasher = DefaultHasher::new();
                hash(value, &mut hasher);
                self.0.insert(path, hasher.finish());
            }
        }
    }
}

/// Returns the label of an entry of an array of tables.
fn id<'a>(entry: &'a Spanned<DeValue<'_>>) -> Option<&'a str> {
    entry.get_ref().get("id")?.get_ref().as_str()
}

/// Hashes a value without where it stands.
fn hash(value: &DeValue<'_>, hasher: &mut DefaultHasher) {
    match value {
        DeValue::String(text) => (0, text).hash(hasher),
        DeValue::Integer(number) => (1, number.to_string()).hash(hasher),
        DeValue::Float(number) => (2, number.to_string()).hash(hasher),
        DeValue::Boolean(yes) => (3, yes).hash(hasher),
        DeValue::Datetime(time) => (4, time.to_string()).hash(hasher),
        DeValue::Array(array) => {
            (5, array.len()).hash(hasher);
            array.iter().for_each(|entry| hash(entry.get_ref(), hasher));
        }
        DeValue::Table(table) => {
            (6, table.len()).hash(hasher);
            for (name, value) in table.iter() {
                name.get_ref().hash(hasher);
                hash(value.get_ref(), hasher);
            }
        }
    }
}

impl Changes {
    /// Returns those that hold only after a restart.
    pub(crate) fn waiting(&self) -> Vec<&str> {
        let all = self.added.iter().chain(&self.changed).chain(&self.removed);
        let is_waiting = |path: &&str| !is_live(path) || self.opens && path.starts_with("clients.");
        all.map(String::as_str).filter(is_waiting).collect()
    }
}

/// Whether a setting can change while calls are made.
fn is_live(path: &str) -> bool {
    const LIVE: [&str; 6] = [
        "keys.",
        "accounts.",
        "limits.",
        "routes.",
        "clients.",
        "gateway.",
    ];
    const NOT: [&str; 6] = [
        "gateway.access_log",
        "gateway.listen",
        "gateway.tls.",
        "gateway.hosts",
        "gateway.origins",
        "gateway.spend",
    ];
    LIVE.iter().any(|prefix| path.starts_with(prefix))
        && !NOT.iter().any(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_by_label_wherever_they_stand() {
        let before = "[upstream]\nbase_url = \"x\"\n[[keys]]\nid = \"a\"\nsecret = \"canary\"\n\
                      [[keys]]\nid = \"b\"\nweight = 1\n";
        let after = "# moved\n[[keys]]\nid = \"b\"\nweight = 2\n[[keys]]\nid = \"c\"\n\
                     [upstream]\nbase_url = \"y\"\n";
        let (before, after) = (Outline::of(before), Outline::of(after));
        let changes = after.changes(&before);
        assert_eq!(changes.added, ["keys.c.id"]);
        assert_eq!(changes.changed, ["keys.b.weight", "upstream.base_url"]);
        assert_eq!(changes.removed, ["keys.a.id", "keys.a.secret"]);
        assert_eq!(changes.waiting(), ["upstream.base_url"]);
        assert_eq!(after.changes(&after), Changes::default());
        assert!(!format!("{before:?}{changes:?}").contains("canary"));
    }

    #[test]
    fn where_to_listen_changes_with_a_restart_only() {
        for (path, live) in [
            ("gateway.listen", false),
            ("gateway.tls.cert", false),
            ("gateway.access_log", false),
            ("gateway.spend", false),
            ("upstream.ca", false),
            ("otlp.ca", false),
            ("gateway.limits.connections", true),
            ("admin.token", false),
            ("state.path", false),
            ("clients.team-a.models", true),
        ] {
            assert_eq!(is_live(path), live, "{path}");
        }
    }
}
