//! Splicing: what holds for every body and every edit.

use fairkey_openrouter::fuzzing;
use fairkey_openrouter::splice::{self, Splice};
use proptest::prelude::*;
use proptest::strategy::Strategy;

/// JSON as people and programs write it: white space anywhere, names escaped or not, numbers of any
/// length.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
        string(),
    ];
    leaf.prop_recursive(depth, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(spaced(inner.clone()), 0..4)
                .prop_map(|list| format!("[{}]", list.join(","))),
            object_of(inner),
        ]
    })
}

fn spaced(json: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    ("[ \n\r\t]{0,2}", json, "[ \n\r\t]{0,2}").prop_map(|(a, json, b)| a + &json + &b)
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9 {}\\[\\],:é𝄞]{0,8}",
        prop::sample::select(vec![
            r#"\""#,
            r"\\",
            r"\/",
            r"\n",
            r"\u0065",
            r"\ud834\udd1e"
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            r#""model""#, r#""mod\u0065l""#, r#""stream""#, r#""a""#, r#""\u0061""#, r#""""#,
        ])
        .prop_map(str::to_owned),
        1 => string(),
    ]
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (spaced(name()), spaced(value)).prop_map(|(name, value)| name + ":" + &value);
    prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn body() -> impl Strategy<Value = String> {
    (prop::bool::ANY, spaced(object_of(json(4))))
        .prop_map(|(bom, body)| if bom { format!("\u{feff}{body}") } else { body })
}

proptest! {
    #[test]
    fn splicing_is_editing_the_parsed_members(body in body()) {
        fuzzing::splice(body.as_bytes());
    }

    #[test]
    fn a_body_that_is_cut_off_or_damaged_is_told_and_never_panics(
        body in body(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = body.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        fuzzing::splice(&bytes);
        fuzzing::splice(&bytes[..at]);
    }

    #[test]
    fn a_cut_body_is_never_taken_for_a_whole_one(
        body in body(), at in any::<prop::sample::Index>(),
    ) {
        let body = body.trim_end();
        let cut = &body.as_bytes()[..at.index(body.len())];
        let error = Splice::new(cut.to_vec()).set("model", 1).finish().unwrap_err();
        prop_assert!(error.position().is_some_and(|position| position <= cut.len()));
        prop_assert!(splice::peek(cut).is_err());
    }

    #[test]
    fn any_bytes_at_all_are_survived(bytes in any::<Vec<u8>>()) {
        fuzzing::splice(&bytes);
    }
}

#[test]
fn nesting_takes_no_stack() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let edited = Splice::new(deep.clone()).set("b", 1).finish().unwrap();
    assert_eq!(edited.len(), deep.len() + r#","b":1"#.len());
}
