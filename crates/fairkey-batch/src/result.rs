//! Result lines, in the shape of OpenAI's batch results.
//!
//! ```json
//! {"id":"row-1","custom_id":"a","response":{"status_code":200,"request_id":"gen-…","body":{…}},
//!  "error":null,"fairkey":{"line":1,"key":"north","attempts":1,"cost_usd":0.000012}}
//! ```
//!
//! What is in `fairkey` is ours; readers of batch results ignore it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Attempt, BadLine, Failure, Place, Reply, Spend};

#[derive(Serialize)]
struct Line<'a> {
    id: String,
    custom_id: &'a str,
    response: Option<Response<'a>>,
    error: Option<Error<'a>>,
    fairkey: Served<'a>,
}

#[derive(Serialize)]
struct Response<'a> {
    status_code: u16,
    request_id: &'a str,
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Error { error: UpstreamError<'a> },
    Text(String),
}

#[derive(Serialize)]
struct UpstreamError<'a> {
    code: u16,
    message: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    scope: &'a str,
    cause: Option<&'a str>,
    attempts: Vec<Tried<'a>>,
}

#[derive(Serialize)]
struct Tried<'a> {
    key: &'a str,
    scope: Option<&'a str>,
    cause: Option<&'a str>,
    status: Option<u16>,
}

#[derive(Serialize)]
struct Served<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    attempts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    byok_cost_usd: Option<f64>,
}

impl<'a> Served<'a> {
    fn new(place: &'a Place, key: Option<&'a str>, took: &Took) -> Self {
        let usd = |micro_usd: u64| micro_usd as f64 / 1e6;
        let said = took.spend.cost.requests > 0 || took.spend.cost.micro_usd > 0;
        let byok = took.spend.byok_micro_usd;
        Self {
            file: place.file.as_deref(),
            line: place.line,
            key,
            attempts: took.attempts,
            cost_usd: said.then(|| usd(took.spend.cost.micro_usd)),
            byok_cost_usd: (byok > 0).then(|| usd(byok)),
        }
    }
}

/// What all calls for a row took together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    pub(crate) attempts: u64,
    pub(crate) spend: Spend,
}

/// Who a result is for.
pub(crate) struct Address<'a> {
    pub(crate) index: u64,
    pub(crate) place: &'a Place,
    pub(crate) id: &'a str,
}

impl Address<'_> {
    fn id(&self) -> String {
        format!("row-{}", self.index + 1)
    }
}

impl<'a> Response<'a> {
    fn of(reply: &'a Reply) -> Self {
        let body = match serde_json::from_slice::<&RawValue>(&reply.body) {
            Ok(json) => Body::Json(json),
            Err(_) => Body::Text(String::from_utf8_lossy(&reply.body).into_owned()),
        };
        Self {
            status_code: reply.status,
            request_id: reply.request_id.as_deref().unwrap_or_default(),
            body,
        }
    }
}

/// Makes the line of a row that was answered. `took` counts all calls for the row.
pub(crate) fn answered(to: &Address<'_>, reply: &Reply, took: &Took) -> Vec<u8> {
    line(&Line {
        id: to.id(),
        custom_id: to.id,
        response: Some(Response::of(reply)),
        error: None,
        fairkey: Served::new(to.place, Some(reply.key.as_str()), took),
    })
}

/// Makes the line of a row that has failed, with the answer beside the error where one came.
pub(crate) fn failed(to: &Address<'_>, failure: &Failure, took: &Took) -> Vec<u8> {
    let answer = failure.answer.as_deref();
    let refusal = || {
        failure.status.map(|status_code| Response {
            status_code,
            request_id: "",
            // What came may repeat secrets; the message was cleaned.
            body: Body::Error {
                error: UpstreamError {
                    code: status_code,
                    message: &failure.message,
                },
            },
        })
    };
    line(&Line {
        id: to.id(),
        custom_id: to.id,
        response: answer.map(Response::of).or_else(refusal),
        error: Some(Error {
            code: &failure.code,
            message: &failure.message,
            scope: failure.scope.as_str(),
            cause: failure.cause.as_deref(),
            attempts: failure.attempts.iter().map(tried).collect(),
        }),
        fairkey: Served::new(to.place, answer.map(|answer| answer.key.as_str()), took),
    })
}

/// Makes the line of a row that is no request.
pub(crate) fn bad_line(to: &Address<'_>, bad: &BadLine) -> Vec<u8> {
    refused(to, "bad_line", &bad.to_string(), "request")
}

/// Makes the line of a row that this process failed on.
pub(crate) fn internal(to: &Address<'_>) -> Vec<u8> {
    refused(
        to,
        "internal",
        "sending the row panicked: please report this",
        "local",
    )
}

/// Makes the line of a row that others have waited for long enough.
pub(crate) fn overdue(to: &Address<'_>, wait: std::time::Duration) -> Vec<u8> {
    let message = format!(
        "the row had no answer after {} s, and results behind it waited",
        wait.as_secs_f64()
    );
    refused(to, "overdue", &message, "local")
}

fn refused(to: &Address<'_>, code: &str, message: &str, scope: &str) -> Vec<u8> {
    line(&Line {
        id: to.id(),
        custom_id: to.id,
        response: None,
        error: Some(Error {
            code,
            message,
            scope,
            cause: None,
            attempts: Vec::new(),
        }),
        fairkey: Served::new(to.place, None, &Took::default()),
    })
}

fn tried(attempt: &Attempt) -> Tried<'_> {
    let refusal = attempt.refusal.as_ref();
    Tried {
        key: attempt.key.as_str(),
        scope: refusal.map(|refusal| refusal.scope.as_str()),
        cause: refusal.map(|refusal| &*refusal.cause),
        status: refusal.and_then(|refusal| refusal.status),
    }
}

fn line(line: &Line<'_>) -> Vec<u8> {
    // Nothing in it can fail to be serialized: strings, numbers, and JSON that was read before.
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    // Between the tokens of a body there may be line ends; inside of strings there are none.
    bytes.retain(|byte| !matches!(byte, b'\n' | b'\r'));
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fairkey_core::Cost;
    use serde_json::{Value, json};

    use super::*;

    const TO: Address<'_> = Address {
        index: 6,
        place: &Place {
            file: None,
            line: 9,
        },
        id: "a\"b",
    };

    fn reply(body: &'static [u8]) -> Reply {
        Reply {
            status: 200,
            request_id: Some("gen-1".to_owned()),
            body: Bytes::from_static(body),
            key: "k".into(),
            cost: Some(Cost {
                requests: 1,
                tokens: 3,
                micro_usd: 12,
            }),
            attempts: Vec::new(),
            waited: std::time::Duration::ZERO,
        }
    }

    fn took(attempts: u64) -> Took {
        let spend = reply(b"").spend();
        Took { attempts, spend }
    }

    #[test]
    fn an_answer_that_is_not_good_enough_stands_beside_the_error_with_its_price() {
        let failure = Failure {
            code: "schema_invalid".into(),
            message: "/a: is not a number".to_owned(),
            scope: fairkey_core::Scope::Model,
            cause: None,
            status: None,
            attempts: vec![Attempt::good("k".into(), None)],
            then: crate::Then::Fail,
            answer: Some(Box::new(reply(b"{\"a\":\"x\"}"))),
        };
        let took = Took {
            attempts: 1,
            spend: Spend {
                byok_micro_usd: 7,
                ..failure.spend()
            },
        };
        let value: Value = serde_json::from_slice(&failed(&TO, &failure, &took)).unwrap();
        assert_eq!(value["response"]["body"]["a"], "x");
        assert_eq!(value["error"]["code"], "schema_invalid");
        assert_eq!(value["error"]["scope"], "model");
        let ours = json!({"line": 9, "key": "k", "attempts": 1, "cost_usd": 0.000012,
            "byok_cost_usd": 0.000007});
        assert_eq!(value["fairkey"], ours);
    }

    #[test]
    fn a_body_over_several_lines_becomes_one_and_stays_the_same() {
        let bytes = answered(
            &TO,
            &reply(b"\n {\n\"a\": 1.50,\r\n\"b\": \"x\\ny\"}\n"),
            &took(2),
        );
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains(r#""body":{"a": 1.50,"b": "x\ny"}"#), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["id"], "row-7");
        assert_eq!(value["custom_id"], "a\"b");
        assert_eq!(value["error"], Value::Null);
        assert_eq!(value["response"]["request_id"], "gen-1");
        let ours = json!({"line": 9, "key": "k", "attempts": 2, "cost_usd": 0.000012});
        assert_eq!(value["fairkey"], ours);
    }

    #[test]
    fn a_body_that_is_no_json_becomes_a_string() {
        let bytes = answered(&TO, &reply(b"\xffplain\ntext"), &took(1));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["response"]["body"], "\u{fffd}plain\ntext");
        assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }
}
