use serde_json::json;

use super::*;

#[track_caller]
fn schema(schema: &Value) -> Schema {
    Schema::new(schema).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

/// What is wrong with a value, in words; empty where nothing is.
#[track_caller]
fn wrong(of: &Value, value: &Value) -> String {
    let result = schema(of).check(value);
    result.map_or_else(|wrong| wrong.to_string(), |()| String::new())
}

/// For each schema, values that fit and values that do not.
fn cases() -> Vec<(Value, Vec<Value>, Vec<Value>)> {
    let cases = json!([
        [true, [1, null], []],
        [false, [], [1, null]],
        [{"type": "integer"}, [1, 1.0, -3], [1.5, "1", null]],
        [{"type": ["number", "null"]}, [1, 1.5, null], ["1", true, [], {}]],
        [{"enum": [1, "a", [1, {"b": 2}]]}, [1.0, "a", [1.0, {"b": 2}]], [2, "b", [{"b": 2}, 1]]],
        [{"const": {"a": 1, "b": 2}}, [{"b": 2.0, "a": 1}], [{"a": 1}, 0]],
        [{"minimum": 1, "exclusiveMaximum": 2}, [1, 1.9, "x"], [0.9, 2, 2.1]],
        [{"exclusiveMinimum": -0.5, "maximum": 18446744073709551615_u64},
            [0, 18446744073709551615_u64], [-0.5, -1]],
        [{"multipleOf": 0.1}, [0.3, 1, 4.2, "x"], [0.35]],
        [{"multipleOf": 3}, [9, -3, 9.0], [10, 9.5]],
        [{"minLength": 2, "maxLength": 3}, ["äö", "abc", 1], ["ä", "abcd"]],
        [{"pattern": "^\\d{4}-\\d\\d$"}, ["2026-11", 5], ["x2026-11", "2026-1"]],
        [{"pattern": "b"}, ["abc"], ["ac"]],
        [{"required": ["a", "b"]}, [{"a": 1, "b": null}, []], [{"a": 1}]],
        [{"properties": {"a": {"type": "string"}}, "additionalProperties": false},
            [{}, {"a": "x"}, 5], [{"a": 1}, {"b": 1}]],
        [{"properties": {"a": true}, "patternProperties": {"^x": {"type": "null"}},
            "additionalProperties": {"type": "integer"}},
            [{"a": "s", "x1": null, "y": 1}], [{"x1": 1}, {"y": "s"}]],
        [{"properties": {"xa": {"type": "number"}}, "patternProperties": {"^x": {"minimum": 5}}},
            [{"xa": 5}], [{"xa": 4}, {"xa": "5"}]],
        [{"propertyNames": {"maxLength": 2}}, [{"ab": 1}, {}], [{"abc": 1}]],
        [{"minProperties": 1, "maxProperties": 2}, [{"a": 1}, 5], [{}, {"a": 1, "b": 1, "c": 1}]],
        [{"dependentRequired": {"a": ["b"]}}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]],
        [{"dependentSchemas": {"a": {"required": ["b"]}}}, [{}, {"a": 1, "b": 1}], [{"a": 1}]],
        [{"dependencies": {"a": ["b"], "c": {"minProperties": 2}}},
            [{}, {"a": 1, "b": 1}, {"c": 1, "d": 1}], [{"a": 1}, {"c": 1}]],
        [{"items": {"type": "integer"}}, [[], [1, 2], "x"], [[1, "2"]]],
        [{"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": false},
            [[], [1], [1, "a"]], [["a"], [1, "a", 2]]],
        [{"items": [{"type": "integer"}], "additionalItems": {"type": "string"}},
            [[1, "a", "b"]], [["a"], [1, 2]]],
        [{"contains": {"type": "integer"}}, [["a", 1]], [[], ["a"]]],
        [{"contains": {"type": "integer"}, "minContains": 2, "maxContains": 3},
            [[1, 2], [1, 2, 3, "a"]], [[1], [1, 2, 3, 4]]],
        [{"contains": {"type": "integer"}, "minContains": 0}, [[], ["a"]], []],
        [{"minItems": 1, "maxItems": 2}, [[1], [1, 2], {}], [[], [1, 2, 3]]],
        [{"uniqueItems": true}, [[1, "1", [1], {"a": 1}, true]], [[1, 1.0], [{"a": 1, "b": 2},
            {"b": 2, "a": 1.0}]]],
        [{"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, 2], [0, 3]],
        [{"anyOf": [{"type": "string"}, {"minimum": 5}]}, ["a", 5, null], [4]],
        [{"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}, [2, 3], [6, 1]],
        [{"not": {"type": "string"}}, [1], ["a"]],
        [{"if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"required": ["b"]},
            "else": {"required": ["c"]}},
            [{"a": 1, "b": 1}, {"a": 2, "c": 1}], [{"a": 1, "c": 1}, {"a": 2, "b": 1}]],
        [{"if": {"type": "string"}}, ["a", 1], []],
        [{"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["v"],
            "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}}}}},
            [{"v": 1}, {"v": 1, "next": {"v": 2, "next": {"v": 3}}}],
            [{"v": 1, "next": {"v": 2, "next": {"v": "3"}}}, {"next": {"v": 1}}]],
        [{"$id": "urn:x", "$ref": "urn:x#pos", "$defs": {"p": {"$anchor": "pos", "minimum": 1}}},
            [1], [0]],
        [{"properties": {"a": {"$ref": "#/definitions/a~1b%25"}},
            "definitions": {"a/b%": {"type": "string"}}}, [{"a": "x"}], [{"a": 1}]],
        [{"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}, "minimum": 5}, [5], [4, "x"]],
        [{"type": "string", "format": "date", "title": "t", "x-own": 5}, ["not a date"], [1]]
    ]);
    let list = |value: &Value| value.as_array().unwrap().clone();
    let cases = list(&cases).into_iter().map(|case| list(&case));
    cases
        .map(|case| (case[0].clone(), list(&case[1]), list(&case[2])))
        .collect()
}

#[test]
fn values_fit_or_do_not_as_the_draft_has_it() {
    for (of, good, bad) in cases() {
        for value in good {
            assert_eq!(wrong(&of, &value), "", "{of} {value}");
        }
        for value in bad {
            assert_ne!(wrong(&of, &value), "", "{of} {value}");
        }
    }
}

#[test]
fn long_lists_are_unique_by_the_same_rule_as_short_ones() {
    let of = json!({"uniqueItems": true});
    let mut list: Vec<Value> = (0..100).map(|n| json!({"n": n, "m": [n]})).collect();
    assert_eq!(wrong(&of, &Value::from(list.clone())), "");
    list.push(json!({"m": [7.0], "n": 7}));
    assert_eq!(wrong(&of, &list.into()), "has item 100 more than once");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_without_the_value() {
    let of = json!({
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {
                "type": "object",
                "properties": {"price": {"type": ["number", "null"]}, "a/b": {"minimum": 1}},
                "required": ["price"],
                "additionalProperties": false,
            }},
            "kind": {"enum": ["a", "b"]},
            "any": {"anyOf": [{"type": "null"}, {"type": "object", "properties":
                {"n": {"type": "integer"}}}]},
        },
    });
    for (value, expected) in [
        (json!("secret"), "is a string, not an object"),
        (
            json!({"items": [{"price": "secret"}]}),
            "/items/0/price: is a string, not a number or null",
        ),
        (
            json!({"items": [{"price": 1}, {}]}),
            "/items/1: lacks \"price\"",
        ),
        (
            json!({"items": [{"price": 1, "a/b": 0}]}),
            "/items/0/a~1b: is less than 1",
        ),
        (
            json!({"items": [{"price": 1, "made up": 0}]}),
            "/items/0: has \"made up\", which is not allowed",
        ),
        (
            json!({"kind": "secret"}),
            "/kind: is none of the 2 values that are allowed",
        ),
        (
            json!({"any": {"n": "secret"}}),
            "/any/n: is a string, not an integer",
        ),
        (
            json!({"any": "secret"}),
            "/any: fits none of 2 alternatives",
        ),
    ] {
        assert_eq!(wrong(&of, &value), expected);
    }
    let violation = schema(&of)
        .check(&json!({"items": [{"price": 1}, {}]}))
        .unwrap_err();
    assert_eq!(
        (&*violation.path, &*violation.kind),
        ("/items/1", "/items/*")
    );
    let long = json!({"items": [{"price": 1, "x".repeat(10_000): 0}]});
    assert!(wrong(&of, &long).len() < 200);
}

#[test]
fn a_text_is_one_value_of_json_and_nothing_else() {
    let number = schema(&json!({"type": "number"}));
    assert_eq!(number.check_text(" 5\n"), Ok(()));
    for (text, expected) in [
        ("", "is no JSON: it is empty"),
        ("```json\n5\n```", "is no JSON: it stands in a code fence"),
        (
            "5 apples",
            "is no JSON (trailing characters at line 1 column 3)",
        ),
        (
            "The price is 5",
            "is no JSON (expected value at line 1 column 1)",
        ),
    ] {
        let wrong = number.check_text(text).unwrap_err();
        assert_eq!(
            (wrong.to_string().as_str(), &*wrong.kind),
            (expected, "(no JSON)")
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(number.check_text(&deep).is_err());
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    for (of, at, message) in [
        (json!(5), "#", "is no schema"),
        (
            json!({"properties": {"a/b": {"type": "int"}}}),
            "#/properties/a~1b/type",
            "\"int\" is no",
        ),
        (
            json!({"items": {"required": "a"}}),
            "#/items/required",
            "not an array",
        ),
        (json!({"anyOf": []}), "#/anyOf", "empty"),
        (
            json!({"allOf": [{"not": 1}]}),
            "#/allOf/0/not",
            "is no schema",
        ),
        (json!({"minimum": "1"}), "#/minimum", "not a number"),
        (
            json!({"exclusiveMinimum": true}),
            "#/exclusiveMinimum",
            "not a number",
        ),
        (json!({"multipleOf": 0}), "#/multipleOf", "more than 0"),
        (json!({"maxLength": -1}), "#/maxLength", "whole number"),
        (json!({"pattern": "(?=a)"}), "#/pattern", "cannot be used"),
        (json!({"pattern": "["}), "#/pattern", "cannot be used"),
        (
            json!({"$ref": "https://example.com/a.json"}),
            "#/$ref",
            "nothing is fetched",
        ),
        (json!({"$ref": "#/$defs/a"}), "#/$ref", "there is no"),
        (json!({"$ref": "#a"}), "#/$ref", "no anchor"),
        (
            json!({"unevaluatedProperties": false}),
            "#/unevaluatedProperties",
            "not known here",
        ),
        (json!({"$ref": "#"}), "#", "without an end"),
        (
            json!({"items": {"anyOf": [{"type": "null"}, {"$ref": "#/items"}]}}),
            "#/items",
            "without an end",
        ),
    ] {
        let error = Schema::new(&of).expect_err(&of.to_string());
        assert_eq!(error.at, at, "{of}");
        assert!(error.message.contains(message), "{of}: {error}");
    }
}

#[test]
fn keywords_that_are_none_are_told() {
    let of = schema(&json!({"requird": ["a"], "properties": {"a": {"typ": "x", "title": "A"}}}));
    assert_eq!(of.unknown_keywords(), ["#/requird", "#/properties/a/typ"]);
}

#[test]
fn a_schema_is_found_in_the_form_of_a_request() {
    let of = json!({"type": "string"});
    let named = json!({"name": "answer", "strict": true, "schema": of});
    let format = json!({"type": "json_schema", "json_schema": named});
    for form in [&of, &named, &format] {
        assert_eq!(
            wrong(form, &json!(5)),
            "is a number, not a string",
            "{form}"
        );
    }
    // A property that is called so is none.
    let own = json!({"type": "object", "properties": {"schema": {"type": "string"}}});
    assert_eq!(
        wrong(&own, &json!({"schema": 1})),
        "/schema: is a number, not a string"
    );
}

#[test]
fn a_schema_that_asks_too_much_ends() {
    let node = json!({"$ref": "#/$defs/n"});
    let twice = json!({"anyOf": [{"items": node}, {"items": node}, {"type": "null"}]});
    let of = json!({"$ref": "#/$defs/n", "$defs": {"n": {"allOf": [{"type": "array"}, twice]}}});
    let mut value = json!(5);
    for _ in 0..100 {
        value = json!([value]);
    }
    assert_ne!(wrong(&of, &value), "");
}
