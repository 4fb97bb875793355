//! [`Splice`]: edits, and where they fall.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{SpliceError, members};

/// Edits of a body's top-level members. [`finish`](Self::finish) makes them.
///
/// Without edits, or where none of them changes anything, the very same bytes come back. Several
/// edits of one name are one: the last. Each edit is compared with each member's name, so this is
/// made for a handful of edits.
#[derive(Clone)]
#[must_use = "edits are made by `finish`"]
pub struct Splice {
    body: Bytes,
    edits: Vec<Edit>,
    error: Option<SpliceError>,
}

#[derive(Clone, Debug)]
struct Edit {
    name: String,
    action: Action,
}

/// The values are JSON.
#[derive(Clone)]
enum Action {
    Set(Vec<u8>),
    Default(Vec<u8>),
    Remove,
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "Set",
            Self::Default(_) => "Default",
            Self::Remove => "Remove",
        })
    }
}

impl std::fmt::Debug for Splice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The body holds prompts.
        f.debug_struct("Splice")
            .field("edits", &self.edits)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Splice {
    /// Returns no edits of `body`. It is not looked at before [`finish`](Self::finish).
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            edits: Vec::new(),
            error: None,
        }
    }

    /// Sets a member: replaces its value where it stands, or appends it to the object.
    ///
    /// Where the name comes several times, the value of the last is replaced, and the others are
    /// removed.
    pub fn set(self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.write(name.into(), &value, Action::Set)
    }

    /// Sets a member to JSON that is written already; every byte of it is kept.
    pub fn set_raw(self, name: impl Into<String>, value: &RawValue) -> Self {
        self.edit(name.into(), Action::Set(value.get().as_bytes().to_vec()))
    }

    /// Appends a member where the object has none of this name. One that is `null` is one.
    pub fn set_default(self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.write(name.into(), &value, Action::Default)
    }

    /// Removes all members of this name, each with one comma beside it.
    pub fn remove(self, name: impl Into<String>) -> Self {
        self.edit(name.into(), Action::Remove)
    }

    fn write(
        mut self,
        name: String,
        value: &impl Serialize,
        action: impl FnOnce(Vec<u8>) -> Action,
    ) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => self.edit(name, action(json)),
            Err(_) => {
                self.error.get_or_insert(SpliceError::value(&name));
                self
            }
        }
    }

    fn edit(mut self, name: String, action: Action) -> Self {
        self.edits.retain(|edit| edit.name != name);
        self.edits.push(Edit { name, action });
        self
    }

    /// Makes the edits and returns the new body. Appended members stand in the order of the edits.
    ///
    /// # Errors
    ///
    /// Where the body is no JSON object, as far as that is checked (see the
    /// [module](crate::splice)); without edits it is not looked at. Where a value cannot be
    /// written as JSON.
    pub fn finish(self) -> Result<Bytes, SpliceError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.edits.is_empty() {
            return Ok(self.body);
        }
        let plan = Plan::of(&self.body, &self.edits)?;
        if plan.pieces.is_empty() {
            return Ok(self.body);
        }
        Ok(Bytes::from(plan.carry_out(&self.body)))
    }
}

/// A member with an edit.
struct Touched {
    edit: usize,
    /// How many members stand before it.
    index: usize,
    /// Where the member before it ends, or the object begins.
    gap: usize,
    begin: usize,
    value: usize,
    end: usize,
    /// Where the member behind it begins; its own end where it is the last.
    next: usize,
}

/// What takes the place of `body[from..to]`.
struct Piece {
    from: usize,
    to: usize,
    json: Vec<u8>,
}

struct Plan {
    pieces: Vec<Piece>,
}

impl Plan {
    fn of(body: &[u8], edits: &[Edit]) -> Result<Self, SpliceError> {
        let mut touched: Vec<Touched> = Vec::new();
        // The member of each edit that counts.
        let mut last: Vec<Option<usize>> = vec![None; edits.len()];
        let mut count = 0;
        let mut end = 0;
        let mut iter = members(body);
        while let Some(member) = iter.next() {
            let (member, index) = (member?, count);
            let range = member.range();
            if index == 0 {
                end = iter.begin();
            }
            if let Some(before) = touched.last_mut()
                && before.index + 1 == index
            {
                before.next = range.start;
            }
            let edit = member
                .name()
                .and_then(|name| edits.iter().position(|edit| edit.name == name));
            if let Some(edit) = edit {
                last[edit] = Some(index);
                touched.push(Touched {
                    edit,
                    index,
                    gap: end,
                    begin: range.start,
                    value: member.value_range().start,
                    end: range.end,
                    next: range.end,
                });
            }
            end = range.end;
            count += 1;
        }
        if count == 0 {
            end = iter.begin();
        }

        let mut pieces = Vec::new();
        let mut removed = 0;
        for member in touched {
            let json = match &edits[member.edit].action {
                Action::Default(_) => continue,
                Action::Set(json) if last[member.edit] == Some(member.index) => {
                    if body[member.value..member.end] != **json {
                        pieces.push(Piece {
                            from: member.value,
                            to: member.end,
                            json: json.clone(),
                        });
                    }
                    continue;
                }
                Action::Set(_) | Action::Remove => Vec::new(),
            };
            // With the comma before it; without a member before it, with the one behind it.
            let (from, to) = if member.index > removed {
                (member.gap, member.end)
            } else {
                (member.begin, member.next)
            };
            removed += 1;
            pieces.push(Piece { from, to, json });
        }

        let mut json = Vec::new();
        for (edit, last) in edits.iter().zip(&last) {
            if let (None, Action::Set(value) | Action::Default(value)) = (last, &edit.action) {
                if count > removed || !json.is_empty() {
                    json.push(b',');
                }
                // A text is always written.
                json.extend(serde_json::to_vec(&edit.name).unwrap_or_default());
                json.push(b':');
                json.extend(value);
            }
        }
        if !json.is_empty() {
            pieces.push(Piece {
                from: end,
                to: end,
                json,
            });
        }
        Ok(Self { pieces })
    }

    /// The pieces stand in order and do not overlap.
    fn carry_out(&self, body: &[u8]) -> Vec<u8> {
        let added: usize = self.pieces.iter().map(|piece| piece.json.len()).sum();
        let cut: usize = self.pieces.iter().map(|piece| piece.to - piece.from).sum();
        let mut new = Vec::with_capacity(body.len() - cut + added);
        let mut at = 0;
        for piece in &self.pieces {
            new.extend_from_slice(&body[at..piece.from]);
            new.extend_from_slice(&piece.json);
            at = piece.to;
        }
        new.extend_from_slice(&body[at..]);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &'static str, edit: impl FnOnce(Splice) -> Splice, expected: &str) {
        let new = edit(Splice::new(body)).finish().unwrap();
        assert_eq!(std::str::from_utf8(&new).unwrap(), expected);
    }

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        check(
            "\u{feff}{ \"model\" : \"a\" ,\n \"n\":1e999}",
            |s| s.set("model", "b"),
            "\u{feff}{ \"model\" : \"b\" ,\n \"n\":1e999}",
        );
        check(
            r#"{"mod\u0065l":1}"#,
            |s| s.set("model", 2),
            r#"{"mod\u0065l":2}"#,
        );
    }

    #[test]
    fn a_new_member_is_appended() {
        check("{}", |s| s.set("a", 1), r#"{"a":1}"#);
        check("{ }\n", |s| s.set("a", 1), "{\"a\":1 }\n");
        check(
            r#"{"b":[] }"#,
            |s| s.set("a\"", ()),
            r#"{"b":[],"a\"":null }"#,
        );
        check(
            r#"{"b":1}"#,
            |s| s.set("c", 1).set("a", 2),
            r#"{"b":1,"c":1,"a":2}"#,
        );
    }

    #[test]
    fn a_member_goes_with_one_comma() {
        let body = r#"{ "a":1, "b":2,  "c":3 }"#;
        check(body, |s| s.remove("a"), r#"{ "b":2,  "c":3 }"#);
        check(body, |s| s.remove("b"), r#"{ "a":1,  "c":3 }"#);
        check(body, |s| s.remove("c"), r#"{ "a":1, "b":2 }"#);
        check(body, |s| s.remove("a").remove("b"), r#"{ "c":3 }"#);
        check(body, |s| s.remove("b").remove("c"), r#"{ "a":1 }"#);
        check(body, |s| s.remove("a").remove("c"), r#"{ "b":2 }"#);
        check(body, |s| s.remove("a").remove("b").remove("c"), "{  }");
        check(
            body,
            |s| s.remove("a").remove("b").remove("c").set("d", 4),
            r#"{ "d":4 }"#,
        );
        check(
            body,
            |s| s.remove("c").set("d", 4),
            r#"{ "a":1, "b":2,"d":4 }"#,
        );
    }

    #[test]
    fn of_a_name_that_comes_twice_one_is_left() {
        let body = r#"{"a":1,"b":2,"a":3,"b":4}"#;
        check(body, |s| s.set("a", 9), r#"{"b":2,"a":9,"b":4}"#);
        check(body, |s| s.remove("b"), r#"{"a":1,"a":3}"#);
        check(body, |s| s.remove("a").remove("b"), "{}");
        check(body, |s| s.set_default("a", 9), body);
        // The value is there already, but the earlier ones are not the same.
        check(body, |s| s.set("a", 3), r#"{"b":2,"a":3,"b":4}"#);
    }

    #[test]
    fn a_default_stands_back() {
        check(r#"{"a":null}"#, |s| s.set_default("a", 1), r#"{"a":null}"#);
        check(r#"{"b":0}"#, |s| s.set_default("a", 1), r#"{"b":0,"a":1}"#);
    }

    #[test]
    fn the_last_edit_of_a_name_counts() {
        check(r#"{"a":0}"#, |s| s.remove("a").set("a", 1), r#"{"a":1}"#);
        check(r#"{"a":0}"#, |s| s.set("a", 1).remove("a"), "{}");
    }

    #[test]
    fn raw_json_is_kept_to_the_byte() {
        let raw = RawValue::from_string("{ \"x\" : 1e400 }".to_owned()).unwrap();
        check("{}", |s| s.set_raw("a", &raw), "{\"a\":{ \"x\" : 1e400 }}");
    }

    #[test]
    fn no_change_gives_the_very_same_bytes() {
        let body = Bytes::from_static(b"no json at all");
        let same = Splice::new(body.clone()).finish().unwrap();
        assert_eq!(same.as_ptr(), body.as_ptr());
        let body = Bytes::from_static(br#"{"a": 1}"#);
        let edits = Splice::new(body.clone())
            .remove("b")
            .set("a", 1)
            .set_default("a", 2);
        assert_eq!(edits.finish().unwrap().as_ptr(), body.as_ptr());
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_no_panic() {
        let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = Splice::new("{}").set("a", keys).finish().unwrap_err();
        assert!(error.to_string().contains("\"a\"") && error.position().is_none());
        assert_eq!(
            Splice::new("{")
                .remove("a")
                .finish()
                .unwrap_err()
                .position(),
            Some(1)
        );
    }

    #[test]
    fn debug_output_shows_no_value() {
        let edits = Splice::new(r#"{"a":"secret"}"#).set("b", "secret");
        let shown = format!("{edits:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
