//! What became of each request of a batch: [`BatchResult`].

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::BatchEndpoint;
use crate::fault::{Fault, malformed_json};
use crate::lenient::{object, odd_is_none, optional_count};
use crate::response::Usage;
use crate::stream::EventFormat;

/// The results of a batch, one after the other; each is read when it is asked for, and its body
/// is not copied.
#[derive(Debug)]
pub struct BatchResults {
    items: std::vec::IntoIter<Bytes>,
}

impl BatchResults {
    pub(super) fn read(json: Option<&Bytes>) -> Result<Self, Fault> {
        let items = match json {
            None => Vec::new(),
            Some(json) => {
                let items: Vec<&RawValue> = serde_json::from_slice(json).map_err(|error| {
                    Fault::malformed(&format!(
                        "the results of the batch: {}",
                        malformed_json(&error)
                    ))
                })?;
                let slice = |item: &&RawValue| json.slice_ref(item.get().as_bytes());
                items.iter().map(slice).collect()
            }
        };
        Ok(Self {
            items: items.into_iter(),
        })
    }
}

impl Iterator for BatchResults {
    /// An error: a result that names no request.
    type Item = Result<BatchResult, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.items.next().map(|item| BatchResult::read(&item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl ExactSizeIterator for BatchResults {}

/// What became of one request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchResult {
    /// The name that the request was given.
    pub custom_id: String,
    /// The name of the result, which is that of the generation.
    pub id: Option<String>,
    /// The answer, or why there is none.
    pub answer: Result<BatchAnswer, Fault>,
}

/// An answer of the endpoint, with a status of success.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchAnswer {
    /// The status: 200, as a rule.
    pub status: u16,
    /// The name of the generation.
    pub request_id: Option<String>,
    /// The body as it stands in the batch.
    pub body: Bytes,
}

impl BatchAnswer {
    /// Returns what the answer says it used; in whichever words the endpoint has for it.
    #[must_use]
    pub fn usage(&self, endpoint: BatchEndpoint) -> Option<Usage> {
        #[derive(Deserialize)]
        struct Probe {
            #[serde(default, deserialize_with = "odd_is_none")]
            usage: Option<Usage>,
        }
        let probe: Option<Probe> = serde_json::from_slice(&self.body).ok();
        let usage = probe.and_then(|probe| probe.usage);
        // A cost alone is no usage of a format whose words are others.
        usage
            .filter(|usage| usage.cost().tokens > 0)
            .or_else(|| EventFormat::of_path(endpoint.path()).usage(&self.body))
    }
}

/// Does not show the body.
impl fmt::Debug for BatchAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchAnswer")
            .field("status", &self.status)
            .field("request_id", &self.request_id)
            .field("bytes", &self.body.len())
            .finish()
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    custom_id: String,
    #[serde(default, deserialize_with = "odd_is_none")]
    id: Option<String>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireResponse<'a> {
    #[serde(default, deserialize_with = "optional_count")]
    status_code: Option<u64>,
    #[serde(default, deserialize_with = "odd_is_none")]
    request_id: Option<String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

impl BatchResult {
    fn read(json: &Bytes) -> Result<Self, Fault> {
        let wire: Wire<'_> = object(json).map_err(|error| {
            Fault::malformed(&format!(
                "a result of the batch: {}",
                malformed_json(&error)
            ))
        })?;
        let there = |raw: &&RawValue| raw.get() != "null";
        let answer = match (wire.response.filter(there), wire.error.filter(there)) {
            (_, Some(error)) => Err(failure(error)),
            (Some(response), None) => answer(json, response),
            (None, None) => Err(Fault::malformed("neither an answer nor an error")),
        };
        Ok(Self {
            custom_id: wire.custom_id,
            id: wire.id,
            answer,
        })
    }
}

fn answer(json: &Bytes, response: &RawValue) -> Result<BatchAnswer, Fault> {
    let wire: WireResponse<'_> = object(response.get().as_bytes())
        .map_err(|error| Fault::malformed(&format!("the response: {}", malformed_json(&error))))?;
    let status = wire.status_code.unwrap_or(200);
    let status = u16::try_from(status).unwrap_or(0);
    let Some(body) = wire.body else {
        return Err(Fault::malformed("the response has no body").with_status(status));
    };
    match StatusCode::from_u16(status) {
        Ok(code) if code.is_success() => Ok(BatchAnswer {
            status,
            request_id: wire.request_id,
            body: json.slice_ref(body.get().as_bytes()),
        }),
        Ok(code) => {
            let body = body.get().as_bytes();
            Err(Fault::from_response(code, &HeaderMap::new(), body))
        }
        Err(_) => Err(Fault::malformed("the response has no status")),
    }
}

/// Reads an error whose form nobody has documented: an object as elsewhere, with or without
/// `error` around it, or mere words. With a status of its own it means what it means elsewhere.
fn failure(raw: &RawValue) -> Fault {
    #[derive(Deserialize)]
    struct Probe {
        #[serde(default, deserialize_with = "optional_count")]
        code: Option<u64>,
        #[serde(default, deserialize_with = "optional_count")]
        status_code: Option<u64>,
    }
    let text = raw.get();
    let probe: Option<Probe> = object(text.as_bytes()).ok();
    let status = probe.and_then(|probe| probe.status_code.or(probe.code));
    let status = status
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (400..600).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok());
    let body = format!("{{\"error\":{text}}}");
    match status {
        Some(status) => Fault::from_response(status, &HeaderMap::new(), body.as_bytes()),
        None => Fault::in_body(body.as_bytes())
            .unwrap_or_else(|| Fault::malformed("an error without words")),
    }
}

#[cfg(test)]
mod tests {
    use fairkey_core::Scope;

    use super::*;

    fn results(json: &'static str) -> Vec<Result<BatchResult, Fault>> {
        let json = Bytes::from_static(json.as_bytes());
        BatchResults::read(Some(&json)).unwrap().collect()
    }

    #[test]
    fn an_answer_is_a_slice_of_what_came() {
        let all = results(
            r#"[{"custom_id":"a","id":"gen-batch-1","response":{"status_code":200,"request_id":"r",
                "body": {"usage":{"total_tokens":3,"cost":0.5}, "n":1.50}},"error":null}]"#,
        );
        let result = all[0].as_ref().unwrap();
        assert_eq!(result.custom_id, "a");
        let answer = result.answer.as_ref().unwrap();
        assert_eq!(
            answer.body,
            r#"{"usage":{"total_tokens":3,"cost":0.5}, "n":1.50}"#
        );
        let cost = answer.usage(BatchEndpoint::ChatCompletions).unwrap().cost();
        assert_eq!((cost.tokens, cost.micro_usd), (3, 500_000));
        assert!(!format!("{result:?}").contains("total_tokens"));
    }

    #[test]
    fn usage_is_read_in_the_words_of_each_endpoint() {
        let answer = BatchAnswer {
            status: 200,
            request_id: None,
            body: Bytes::from_static(
                br#"{"usage":{"input_tokens":7,"output_tokens":1,"cost":0.5}}"#,
            ),
        };
        let cost = answer.usage(BatchEndpoint::Messages).unwrap().cost();
        assert_eq!((cost.tokens, cost.micro_usd), (8, 500_000));
    }

    #[test]
    fn every_form_of_an_error_is_a_fault_with_words() {
        for (item, says) in [
            (r#"{"custom_id":"a","error":"out of luck"}"#, "out of luck"),
            (
                r#"{"custom_id":"a","error":{"code":400,"message":"bad row"}}"#,
                "bad row",
            ),
            (
                r#"{"custom_id":"a","error":{"code":"odd","message":"bad row"}}"#,
                "bad row",
            ),
            (
                r#"{"custom_id":"a","response":{"status_code":429,"body":{"error":{"message":"slow"}}}}"#,
                "slow",
            ),
            (r#"{"custom_id":"a"}"#, "neither"),
            (r#"{"custom_id":"a","response":7}"#, "response"),
            (
                r#"{"custom_id":"a","response":{"status_code":7,"body":{}}}"#,
                "status",
            ),
            (
                r#"{"custom_id":"a","response":{"status_code":200}}"#,
                "body",
            ),
        ] {
            let json = format!("[{item}]");
            let result = BatchResults::read(Some(&json.into())).unwrap().next();
            let fault = result.unwrap().unwrap().answer.unwrap_err();
            assert!(fault.to_string().contains(says), "{item}: {fault}");
        }
        let json = r#"[{"custom_id":"a","error":{"code":400,"message":"bad row"}}]"#;
        let fault = results(json).remove(0).unwrap().answer.unwrap_err();
        assert_eq!((fault.scope(), fault.status()), (Scope::Request, Some(400)));
    }

    #[test]
    fn a_result_without_a_name_costs_only_itself() {
        let all = results(r#"[{"response":null},{"custom_id":"b","error":"x"}]"#);
        assert!(all[0].is_err());
        assert_eq!(all[1].as_ref().unwrap().custom_id, "b");
        assert!(BatchResults::read(Some(&Bytes::from_static(b"{}"))).is_err());
    }
}
