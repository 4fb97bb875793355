//! Splicing beside a parser that keeps members in order, with their bytes.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::splice::{self, Splice};

/// The members of an object: each name, and each value's text.
#[derive(Debug, PartialEq)]
struct Object<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Object(members))
            }
        }

        from.deserialize_map(Members)
    }
}

fn object(body: &[u8]) -> Option<Object<'_>> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    serde_json::from_slice(body).ok()
}

#[derive(Clone, Copy, Debug)]
enum Edit {
    Set,
    Default,
    Remove,
}

const NEW: &str = r#"{"n":[1.0,"]"]}"#;

/// Splicing is editing the parsed members, changes no other byte, takes every valid object, and
/// never panics.
pub fn splice(input: &[u8]) {
    for member in splice::members(input).flatten() {
        assert!(member.value_range().end <= input.len());
        assert_eq!(&input[member.value_range()], member.value());
    }
    let peek = splice::peek(input);
    assert_eq!(
        Splice::new(input.to_vec()).finish().as_deref(),
        Ok(input),
        "no edit is the identity"
    );
    let Some(parsed) = object(input) else {
        match splice::members(input).find_map(Result::err) {
            Some(error) => assert!(error.position().is_some_and(|at| at <= input.len())),
            None => assert!(peek.is_ok()),
        }
        return;
    };
    assert!(peek.is_ok(), "an object is refused");
    let mut names: BTreeSet<&str> = parsed.0.iter().map(|(name, _)| name.as_str()).collect();
    names.insert("model");
    names.insert("a \"new\" one");
    let names: Vec<&str> = names.into_iter().take(12).collect();
    for name in &names {
        for edit in [Edit::Set, Edit::Default, Edit::Remove] {
            check(input, &parsed, &[(name, edit)]);
        }
    }
    // All at once, in every turn of the three.
    for turn in 0..3 {
        let edits: Vec<(&str, Edit)> = names
            .iter()
            .zip(
                [Edit::Set, Edit::Remove, Edit::Default]
                    .into_iter()
                    .cycle()
                    .skip(turn),
            )
            .map(|(name, edit)| (*name, edit))
            .collect();
        check(input, &parsed, &edits);
    }
    check(
        input,
        &parsed,
        &names
            .iter()
            .map(|name| (*name, Edit::Remove))
            .collect::<Vec<_>>(),
    );
}

fn check(input: &[u8], parsed: &Object<'_>, edits: &[(&str, Edit)]) {
    let new = RawValue::from_string(NEW.to_owned()).unwrap_or_else(|_| unreachable!("it is JSON"));
    let spliced = edits
        .iter()
        .fold(
            Splice::new(input.to_vec()),
            |splice, (name, edit)| match edit {
                Edit::Set => splice.set_raw(*name, &new),
                Edit::Default => splice.set_default(*name, &new),
                Edit::Remove => splice.remove(*name),
            },
        )
        .finish()
        .unwrap_or_else(|error| panic!("an object is refused: {error}"));

    // The same on the parsed members.
    let mut expected: Vec<(&str, &str)> = Vec::new();
    for (index, (name, value)) in parsed.0.iter().enumerate() {
        let is_last = !parsed.0[index + 1..].iter().any(|(later, _)| later == name);
        match edits.iter().find(|(edited, _)| edited == name) {
            Some((_, Edit::Remove)) => {}
            Some((_, Edit::Set)) if is_last => expected.push((name, NEW)),
            Some((_, Edit::Set)) => {}
            Some((_, Edit::Default)) | None => expected.push((name, value)),
        }
    }
    for (name, edit) in edits {
        let is_there = parsed.0.iter().any(|(own, _)| own == name);
        if !is_there && !matches!(edit, Edit::Remove) {
            expected.push((name, NEW));
        }
    }
    let got = object(&spliced).unwrap_or_else(|| panic!("no object after {edits:?}"));
    let got: Vec<(&str, &str)> = got
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(got, expected, "after {edits:?}");

    // One edit of a name that comes once, to the byte, placed by the parser and not by the scanner.
    if let [(name, Edit::Set)] = edits {
        let mut own = parsed.0.iter().filter(|(own, _)| own == name);
        if let (Some((_, value)), None) = (own.next(), own.next()) {
            let at = value.as_ptr() as usize - input.as_ptr() as usize;
            let (before, rest) = input.split_at(at);
            let whole = [before, NEW.as_bytes(), &rest[value.len()..]].concat();
            assert_eq!(spliced, whole, "a byte beside {name:?} has changed");
        }
    }
    // Twice is once.
    let again = edits
        .iter()
        .fold(
            Splice::new(spliced.clone()),
            |splice, (name, edit)| match edit {
                Edit::Set => splice.set_raw(*name, &new),
                Edit::Default => splice.set_default(*name, &new),
                Edit::Remove => splice.remove(*name),
            },
        )
        .finish();
    assert_eq!(again, Ok(spliced), "twice is not once: {edits:?}");
}
