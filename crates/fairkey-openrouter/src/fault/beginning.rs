//! The beginning of a JSON text, made whole: [`completed`].

/// Ends whatever is open at the end of `text`. A string that was cut ends there; a number, a word or
/// a name that was cut is left out. Where `text` does not begin as JSON does, neither does what this
/// returns.
pub(super) fn completed(text: &str) -> String {
    let bytes = text.as_bytes();
    // What ends the objects and lists that are open.
    let mut ends = Vec::new();
    // Up to where nothing but these is missing.
    let mut whole = 0;
    let mut is_name = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                ends.push(if byte == b'{' { '}' } else { ']' });
                is_name = byte == b'{';
                whole = at;
            }
            b'}' | b']' => {
                ends.pop();
                is_name = false;
                whole = at;
            }
            b',' => {
                is_name = ends.last() == Some(&'}');
                whole = at - 1;
            }
            b':' => is_name = false,
            b'"' => match after_string(&bytes[at..]) {
                Ok(length) => {
                    at += length;
                    if !is_name {
                        whole = at;
                    }
                }
                Err(_) if is_name => break,
                Err(length) => {
                    whole = at + length;
                    ends.push('"');
                    break;
                }
            },
            _ => {}
        }
    }
    let mut completed = text[..whole].to_owned();
    completed.extend(ends.iter().rev());
    completed
}

/// Returns what comes after a string, of which `rest` follows its first quote.
///
/// # Errors
///
/// Where it does not end: how much of it is no half of anything.
fn after_string(rest: &[u8]) -> Result<usize, usize> {
    let mut at = 0;
    // Where the first half of a pair of surrogates began, which is nothing alone.
    let mut half = None;
    while let Some(byte) = rest.get(at) {
        let length = match (byte, rest.get(at + 1)) {
            (b'"', _) => return Ok(at + 1),
            (b'\\', Some(b'u')) => 6,
            (b'\\', _) => 2,
            _ => 1,
        };
        let Some(piece) = rest.get(at..at + length) else {
            break;
        };
        let is_half = matches!(
            piece,
            [
                _,
                _,
                b'd' | b'D',
                b'8' | b'9' | b'a' | b'b' | b'A' | b'B',
                ..
            ]
        );
        half = is_half.then_some(at);
        at += length;
    }
    Err(half.unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_open_is_ended_and_what_is_half_is_left_out() {
        for (text, expected) in [
            (r#"{"a":{"b":[1,{"c":"te"#, r#"{"a":{"b":[1,{"c":"te"}]}}"#),
            (r#"{"a":"x","b"#, r#"{"a":"x"}"#),
            (r#"{"a":"x","b":"#, r#"{"a":"x"}"#),
            (r#"{"a":"x","b":12"#, r#"{"a":"x"}"#),
            (r#"{"a":"x","b":12,"#, r#"{"a":"x","b":12}"#),
            (r#"{"a":nul"#, "{}"),
            (r#"{"a":[{},tr"#, r#"{"a":[{}]}"#),
            (r#"{"a":"x\"#, r#"{"a":"x"}"#),
            (r#"{"a":"x\\"#, r#"{"a":"x\\"}"#),
            (r#"{"a":"x\u00e"#, r#"{"a":"x"}"#),
            (r#"{"a":"x\ud83d\ude"#, r#"{"a":"x"}"#),
            (r#"{"a":"x\ud83d"#, r#"{"a":"x"}"#),
            (r#"{"a":",{[\"","b":"}"#, r#"{"a":",{[\"","b":"}"}"#),
            (r#""text"#, r#""text""#),
            ("no JSON", ""),
            ("", ""),
        ] {
            assert_eq!(completed(text), expected, "{text}");
        }
    }

    #[test]
    fn every_beginning_of_an_object_is_one() {
        let text = r#" {"error": {"code": 400, "m\u00e9\"": "a \"b\" \ud83d\ude00 \\ é",
            "list": [1.5e3, true, null, [], {"x": ["y"]}], "o": {}}, "id": "x"} "#;
        let whole: Value = serde_json::from_str(text).unwrap();
        for cut in (2..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let completed = completed(&text[..cut]);
            let value = serde_json::from_str::<Value>(&completed);
            let value = value.unwrap_or_else(|error| panic!("{completed}: {error}"));
            let code = &value["error"]["code"];
            assert!(code.is_null() || *code == 400, "{completed}");
            assert!(cut < text.len() || value == whole, "{completed}");
        }
    }
}
