//! A caller that asks again for what does not fit: [`Checked`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fairkey_core::Scope;
use fairkey_openrouter::endpoint;
use fairkey_openrouter::splice::{Splice, find};
use serde_json::{Value, json};

use super::answer::{self, Said};
use super::{NO_JSON, Schema, SchemaError, Violation, inner};
use crate::{Allowance, Attempt, Caller, CallerState, Failure, Reply, Request, Then};

/// How many kinds of what is wrong are counted one by one.
const KINDS: usize = 256;
/// What the others are counted as.
const OTHERS: &str = "(other)";

/// A schema for answers, and what is done about those that do not fit.
#[derive(Debug)]
pub struct SchemaCheck {
    schema: Schema,
    /// The schema as it was given.
    text: String,
    retries: u32,
    /// What requests get that ask for no format of their own: for chats, and for responses.
    format: Option<[Value; 2]>,
    stats: Mutex<SchemaStats>,
}

/// How answers fitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaStats {
    /// Answers that fit.
    pub valid: u64,
    /// Answers that do not; those that were asked for again are among them.
    pub invalid: u64,
    /// Answers in which there is nothing to check: they call tools, or the endpoint writes no text.
    pub unchecked: u64,
    /// How often a row was asked again.
    pub asked_again: u64,
    /// The answers that do not fit by the first place that is wrong, a JSON pointer with `*` for
    /// every place of an array; `(no JSON)` for those that are none. At most 256, then `(other)`.
    pub wrong: BTreeMap<String, u64>,
}

impl SchemaCheck {
    /// Makes one that asks nobody again, and adds nothing to requests.
    ///
    /// # Errors
    ///
    /// As [`Schema::new`].
    pub fn new(schema: &Value) -> Result<Self, SchemaError> {
        Ok(Self {
            schema: Schema::new(schema)?,
            text: inner(schema).to_string(),
            retries: 0,
            format: None,
            stats: Mutex::default(),
        })
    }

    /// Sets how often a row is asked again whose answer does not fit, as far as its attempts
    /// reach. It is the same request again. Default 0.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Adds the schema, `schema` as it was given to [`new`](Self::new), to requests that ask for
    /// no format themselves: as `response_format` to chats, as `text.format` to responses. Strict
    /// where it says itself that objects have no other members. Default: requests go as they are.
    #[must_use]
    pub fn inject(mut self, schema: &Value) -> Self {
        let schema = inner(schema);
        let strict = schema.get("additionalProperties") == Some(&Value::Bool(false));
        let named = json!({ "name": "answer", "strict": strict, "schema": schema });
        let mut flat = named.clone();
        flat["type"] = "json_schema".into();
        let chat = json!({ "type": "json_schema", "json_schema": named });
        self.format = Some([chat, flat]);
        self
    }

    /// Returns the schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the schema as text, to tell it from others.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns how answers fitted so far.
    #[must_use]
    pub fn stats(&self) -> SchemaStats {
        self.held().clone()
    }

    fn held(&self) -> MutexGuard<'_, SchemaStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the body with the format in it; `None` where it stays as it is.
    fn filled(&self, request: &Request) -> Option<Bytes> {
        let [chat, responses] = self.format.as_ref()?;
        let path = request.path.split('?').next().unwrap_or_default();
        let filled = if path.ends_with(endpoint::CHAT_COMPLETIONS) {
            Splice::new(request.body.clone()).set_default("response_format", chat)
        } else if path.ends_with(endpoint::RESPONSES) {
            let [text] = find(&request.body, ["text"]).ok()?;
            let mut text: Value = match text {
                Some(text) => serde_json::from_slice(text).ok()?,
                None => Value::Null,
            };
            if text.get("format").is_some_and(|format| !format.is_null()) {
                return None;
            }
            if text.is_null() {
                text = json!({});
            }
            text.as_object_mut()?
                .insert("format".to_owned(), responses.clone());
            Splice::new(request.body.clone()).set("text", &text)
        } else {
            return None;
        };
        filled.finish().ok()
    }

    /// Checks an answer, and counts it.
    fn check(&self, path: &str, body: &[u8]) -> Result<(), Violation> {
        let result = match answer::read(path, body) {
            Some(Said::Nothing) => {
                self.held().unchecked += 1;
                return Ok(());
            }
            Some(Said::Texts(texts)) => self.texts(&texts),
            None => Err(no_text()),
        };
        let mut stats = self.held();
        match &result {
            Ok(()) => stats.valid += 1,
            Err(wrong) => {
                stats.invalid += 1;
                let kind = match wrong.kind.as_str() {
                    "" => "/",
                    kind => kind,
                };
                let full = stats.wrong.len() >= KINDS && !stats.wrong.contains_key(kind);
                let kind = if full { OTHERS } else { kind };
                *stats.wrong.entry(kind.to_owned()).or_default() += 1;
            }
        }
        result
    }

    fn texts(&self, texts: &[answer::Text]) -> Result<(), Violation> {
        let many = texts.len() > 1;
        for (n, said) in texts.iter().enumerate() {
            let mut result = self.schema.check_text(&said.text);
            if let Err(wrong) = &mut result {
                if said.is_refusal {
                    "the model refused to answer".clone_into(&mut wrong.message);
                } else if said.is_cut {
                    wrong
                        .message
                        .push_str("; it was cut off by the limit of its length");
                }
                if many {
                    wrong.message.push_str(&format!("; it is choice {}", n + 1));
                }
            }
            result?;
        }
        Ok(())
    }
}

fn no_text() -> Violation {
    Violation {
        path: String::new(),
        kind: NO_JSON.to_owned(),
        message: "has no text".to_owned(),
    }
}

/// Sends rows through another caller, and holds their answers against a schema, if there is one.
///
/// A row whose answer does not fit is asked again as often as the [`SchemaCheck`] says and the
/// row's attempts reach, and then fails with `schema_invalid`; the last answer is kept. All that was
/// asked for counts: attempts and money.
#[derive(Debug)]
pub struct Checked<C> {
    inner: C,
    check: Option<std::sync::Arc<SchemaCheck>>,
}

impl<C> Checked<C> {
    /// Sends through `inner`.
    pub fn new(inner: C, check: Option<std::sync::Arc<SchemaCheck>>) -> Self {
        Self { inner, check }
    }
}

impl<C: Caller> Caller for Checked<C> {
    async fn call(&self, request: &Request, left: Allowance) -> Result<Reply, Failure> {
        let Some(check) = &self.check else {
            return self.inner.call(request, left).await;
        };
        let filled = check.filled(request).map(|body| Request {
            body,
            ..request.clone()
        });
        let request = filled.as_ref().unwrap_or(request);
        // Of the answers before, which did not fit.
        let mut before: Vec<Attempt> = Vec::new();
        let mut waited = std::time::Duration::ZERO;
        let mut last: Option<(Reply, Violation)> = None;
        let mut asked = 0;
        loop {
            let mut reply = match self.inner.call(request, left.less(&before)).await {
                Ok(reply) => reply,
                Err(mut failure) => {
                    let is_later = matches!(failure.then, Then::Wait { .. });
                    if let Some((reply, wrong)) = last.filter(|_| !is_later) {
                        // There is no better answer than the last one.
                        let mut attempts = with_last(before, &reply);
                        attempts.append(&mut failure.attempts);
                        return Err(invalid(reply, attempts, &wrong));
                    }
                    before.append(&mut failure.attempts);
                    failure.attempts = before;
                    return Err(failure);
                }
            };
            waited += reply.waited;
            let Err(wrong) = check.check(&request.path, &reply.body) else {
                before.append(&mut reply.attempts);
                reply.attempts = before;
                reply.waited = waited;
                return Ok(reply);
            };
            before.extend(billed(&reply));
            if asked >= check.retries || left.less(&before).is_used_up() {
                let attempts = with_last(before, &reply);
                return Err(invalid(reply, attempts, &wrong));
            }
            asked += 1;
            check.held().asked_again += 1;
            last = Some((reply, wrong));
        }
    }

    fn state(&self) -> &dyn CallerState {
        self.inner.state()
    }
}

/// The attempts of an answer that is not the last, with what it cost in the bill of the good one.
fn billed(reply: &Reply) -> Vec<Attempt> {
    let mut attempts = reply.attempts.clone();
    if let Some(good) = attempts.last_mut() {
        good.bill.cost = reply.cost;
    }
    attempts
}

/// The attempts of all answers, of which the last stands with its cost itself.
fn with_last(mut attempts: Vec<Attempt>, reply: &Reply) -> Vec<Attempt> {
    attempts.truncate(attempts.len() - reply.attempts.len());
    attempts.extend(reply.attempts.iter().cloned());
    attempts
}

fn invalid(reply: Reply, attempts: Vec<Attempt>, wrong: &Violation) -> Failure {
    Failure {
        code: Cow::Borrowed("schema_invalid"),
        message: format!("the answer does not fit the schema: {wrong}"),
        scope: Scope::Model,
        cause: None,
        status: None,
        attempts,
        then: Then::Fail,
        answer: Some(Box::new(reply)),
    }
}
