//! A quick look at a chat completion, which most often is well: [`glance`].

use crate::fault::body::AnswerTold;
use crate::strict::Strict;

/// Returns what a chat completion tells of itself, where it is surely well and simply written.
/// `None` says nothing about it: it is for whoever reads it whole.
///
/// Somewhat more than half of the work that parsing it is, and nothing is taken from the allocator.
pub(super) fn glance(body: &[u8]) -> Option<AnswerTold<'_>> {
    let mut strict = Strict::new(std::str::from_utf8(body).ok()?);
    let mut told = AnswerTold::default();
    // Members that count must not come twice: parsers differ in which of them they take.
    let (mut kind, mut status, mut choices) = (false, false, None);
    strict.object(|at, name| match name {
        "id" => once(&mut told.id, at.value()?),
        "provider" => once(&mut told.provider, at.value()?),
        "usage" => once(&mut told.usage, at.value()?),
        "choices" if choices.is_none() => {
            let mut all = Choices::default();
            at.list(|at| all.choice(at))?;
            choices = Some(all);
            Some(())
        }
        "type" if !kind => {
            kind = true;
            (at.value()? != r#""error""#).then_some(())
        }
        "status" if !status => {
            status = true;
            (at.value()? != r#""failed""#).then_some(())
        }
        "error" | "error_type" | "choices" | "type" | "status" | "data" => None,
        _ => at.value().map(drop),
    })?;
    (strict.is_over() && choices?.first_has_ended).then_some(told.without_nulls())
}

/// Tells whether a glance at a body, where it sees something, sees what reading it whole finds.
pub(crate) fn is_glance_right(body: &[u8]) -> bool {
    glance(body).is_none_or(|told| (None, Some(told)) == crate::fault::body::read_whole(body))
}

fn once<'a>(member: &mut Option<&'a str>, value: &'a str) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

#[derive(Default)]
struct Choices {
    count: usize,
    /// The first one says why it ended.
    first_has_ended: bool,
}

impl Choices {
    /// Goes over one of them; `None`: it may have failed.
    fn choice(&mut self, at: &mut Strict<'_>) -> Option<()> {
        let (mut reason, mut message) = (None, None);
        at.object(|at, name| match name {
            "finish_reason" => once(&mut reason, at.value()?),
            "message" => once(&mut message, at.value()?),
            "error" => None,
            _ => at.value().map(drop),
        })?;
        let reason = reason.filter(|reason| *reason != "null");
        // With an escape it could be any.
        if reason.is_some_and(|reason| {
            reason == r#""error""# || !reason.starts_with('"') || reason.contains('\\')
        }) {
            return None;
        }
        if self.count == 0 {
            self.first_has_ended = reason.is_some_and(|reason| reason.len() > r#""""#.len());
        }
        self.count += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Fault;

    const GOOD: &str = r#"{"id":"gen-1","object":"chat.completion","type":"x","status":"done",
        "provider":"Acme \"Inc\"","choices":[{"index":0,"message":{"role":"assistant","content":
        "a\nb"},"finish_reason":"stop"},{"finish_reason":null}],
        "usage":{"prompt_tokens":3,"details":{"a":[1,2.5e3]}}}"#;

    /// Whether a body is well at a glance; what that sees is right, whatever it is.
    #[track_caller]
    fn sees(body: &str) -> bool {
        assert!(is_glance_right(body.as_bytes()), "{body}");
        glance(body.as_bytes()).is_some()
    }

    #[test]
    fn an_answer_that_is_well_is_seen_at_a_glance() {
        assert!(sees(GOOD));
        assert!(sees(&GOOD.replace("gen-1", "")));
        assert!(sees(&GOOD.replace(r#""gen-1""#, "null")));
        assert!(sees(r#"{"choices":[{"finish_reason":"stop"}]}"#));
        let told = glance(GOOD.as_bytes()).unwrap();
        assert_eq!(told.id, Some(r#""gen-1""#));
        assert_eq!(told.provider, Some(r#""Acme \"Inc\"""#));
    }

    #[test]
    fn one_that_may_have_failed_is_not() {
        for (from, to) in [
            (r#""x""#, r#""error""#),
            (r#""done""#, r#""failed""#),
            (r#""stop""#, r#""error""#),
            (r#""stop""#, r#""\u0065rror""#),
            (r#""stop""#, r#""""#),
            (r#""stop""#, "null"),
            (r#""stop""#, "7"),
            (r#""finish_reason":null"#, r#""finish_reason":"error""#),
            (r#""finish_reason":null"#, r#""error":{}"#),
            (r#""finish_reason":null"#, r#""\u0065rror":{}"#),
            (r#""object""#, r#""error""#),
            (r#""object""#, r#""error_type""#),
            (r#""object""#, r#""id""#),
            (r#""object""#, r#""choices""#),
            (r#""object""#, r#""\u0065rror""#),
            (r#""index":0"#, r#""finish_reason":"stop""#),
            (r#"{"prompt"#, r#"{prompt"#),
        ] {
            let body = GOOD.replacen(from, to, 1);
            assert_ne!(body, GOOD);
            assert!(!sees(&body), "{body}");
        }
        for body in ["", "{}", "[]", r#"{"choices":[]}"#, r#"{"choices":{}}"#] {
            assert!(!sees(body), "{body}");
        }
        assert!(!sees(&format!("{GOOD}x")));
        assert!(Fault::in_chat_body(GOOD.as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn what_is_seen_at_a_glance_is_what_is_there(
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..0x80_u8), 1..4),
        ) {
            let mut body = GOOD.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
            sees(&String::from_utf8(body).unwrap());
        }

        #[test]
        fn members_in_any_order_and_number_are_seen_as_they_are(
            members in prop::collection::vec(prop::sample::select(vec![
                r#""id":"a""#, r#""id":null"#, r#""error":null"#, r#""error":{}"#, r#""type":"error""#,
                r#""type":"x""#, r#""status":"failed""#, r#""status":[]"#, r#""data":[]"#, r#""usage":{}"#,
                r#""usage":null"#, r#""provider":"P""#, r#""choices":[{"finish_reason":"stop"}]"#,
                r#""choices":[]"#, r#""choices":null"#, r#""choices":[{"finish_reason":"error"}]"#,
                r#""choices":[{"error":null,"finish_reason":"stop"}]"#, r#""more":{"error":1}"#,
                r#""choices":[{"message":{"content":"x"}}]"#, r#""error_type":"x""#,
                r#""choices":[["stop"]]"#,
            ]), 0..6),
        ) {
            sees(&format!("{{{}}}", members.join(",")));
        }
    }
}
