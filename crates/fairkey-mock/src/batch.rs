//! Batches: many requests of one endpoint and model at once, answered later, for half the price.
//!
//! What OpenRouter documents of them, and nothing else: there is no cancel call and no list. What
//! each request is answered with follows from its prompt and the seed, as everywhere, so that it is
//! known when the batch is made; its clock decides when it is told, and a plan how it ends.
//!
//! Where the documentation is silent, the mock assumes: a batch is not there (404) for keys of other
//! accounts, and after 30 days for all; an error of one request has a code and a message; what was
//! not completed is not billed, unless a plan says so.

mod plan;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::ask::{Ask, Shape};
use crate::catalog::Entry;
use crate::fault::Fault;
use crate::inference::{vector, whole};
use crate::money::Money;
use crate::random::{Rng, hash};
use crate::routing::{Preferences, Variant, route};
use crate::server::Shared;
use crate::wire::{self, Preamble, Usage};

pub use plan::BatchPlan;
pub(crate) use plan::{End, Plans};

/// A batch as it was asked for. Its members come in this order in the text, or not at all.
struct Wish {
    endpoint: String,
    model: String,
    requests: Vec<Request>,
}

#[derive(Deserialize)]
struct Request {
    custom_id: String,
    body: Map<String, Value>,
}

/// A batch with all its answers.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) endpoint: String,
    pub(crate) model: String,
    pub(crate) results: Vec<Value>,
    pub(crate) failed: usize,
    /// How many were answered, also where nobody is told the answers.
    pub(crate) answered: usize,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cost: Money,
}

/// Reads a batch and answers its requests, for this account's policy. `plan` is asked for once the
/// batch is known to be good.
pub(crate) fn work(
    shared: &Shared,
    body: &[u8],
    id: &str,
    zdr: bool,
    plan: impl FnOnce() -> BatchPlan,
) -> Result<(Work, BatchPlan), Fault> {
    let wish: Wish = serde_json::from_slice(body)
        .map_err(|error| Fault::bad_request(format!("Invalid request body: {error}")))?;
    let shape = shape(&wish.endpoint)?;
    let entry = shared.catalog.find(Some(&wish.model), shape.task())?;
    let providers = route(
        &entry,
        &Preferences::default(),
        Variant::of(&wish.model),
        zdr,
    )?;
    let provider = providers.first().copied().unwrap_or_default();
    check(&wish, shape)?;
    if shared
        .max_batch
        .is_some_and(|most| wish.requests.len() > most)
    {
        return Err(Fault::payload_too_large());
    }
    let plan = plan();
    let mut work = Work {
        endpoint: wish.endpoint,
        model: wish.model,
        results: Vec::with_capacity(wish.requests.len()),
        failed: 0,
        answered: 0,
        prompt_tokens: 0,
        completion_tokens: 0,
        cost: Money::ZERO,
    };
    let line = Line {
        shared,
        entry: &entry,
        provider,
        shape,
        batch: id,
    };
    for (place, request) in (1..).zip(wish.requests) {
        if !plan.bills(place) {
            // Nobody will know what it was answered.
            work.results.push(Value::Null);
        } else if plan.fails_request(place, &request.custom_id) {
            line.fail(&request, &Fault::provider_error_502("Acme"), &mut work);
        } else {
            line.answer(request, &mut work);
        }
    }
    if plan.is_shuffled {
        let mut rng = Rng::new(&[shared.seed, hash(id.as_bytes()), SHUFFLE]);
        for at in (1..work.results.len()).rev() {
            let other = rng.below(at as u64 + 1) as usize;
            work.results.swap(at, other);
        }
    }
    Ok((work, plan))
}

/// Sets the order of results apart from all other chance.
const SHUFFLE: u64 = 0x7368_7566;

fn shape(endpoint: &str) -> Result<Shape, Fault> {
    match endpoint {
        "/v1/chat/completions" => Ok(Shape::Chat),
        "/v1/responses" => Ok(Shape::Responses),
        "/v1/messages" => Ok(Shape::Messages),
        "/v1/embeddings" => Ok(Shape::Embeddings),
        _ => Err(Fault::bad_request(format!(
            "Invalid endpoint {endpoint:?}: /v1/chat/completions, /v1/responses, /v1/messages or \
             /v1/embeddings"
        ))),
    }
}

/// What makes a whole batch invalid.
fn check(wish: &Wish, shape: Shape) -> Result<(), Fault> {
    let mut ids = HashSet::new();
    for request in &wish.requests {
        let id = &request.custom_id;
        if !ids.insert(id.as_str()) {
            return Err(Fault::bad_request(format!(
                "custom_id {id:?} is not unique"
            )));
        }
        match request.body.get("model") {
            None | Some(Value::Null) => {}
            Some(model) if *model == wish.model => {}
            Some(_) => {
                let message = format!("The model of request {id:?} is not that of the batch");
                return Err(Fault::bad_request(message));
            }
        }
        if has_media(&request.body) {
            let message = format!("Request {id:?} is not text only");
            return Err(Fault::bad_request(message));
        }
        let refused = ["input_type", "provider"]
            .iter()
            .find(|name| shape == Shape::Embeddings && request.body.contains_key(**name));
        if let Some(name) = refused {
            let message = format!("{name} is not supported in batches of embeddings");
            return Err(Fault::bad_request(message));
        }
    }
    let formats = wish
        .requests
        .iter()
        .map(|request| request.body.get("response_format"));
    let formats: HashSet<String> = formats.map(|format| json!(format).to_string()).collect();
    if wish.model.starts_with("google/") && formats.len() > 1 {
        let message = "All requests of a batch on Google models share one response_format";
        return Err(Fault::bad_request(message));
    }
    Ok(())
}

/// Whether a message has parts that are no text, or an answer shall be more than text.
fn has_media(body: &Map<String, Value>) -> bool {
    let modalities = body.get("modalities").and_then(Value::as_array);
    if modalities.is_some_and(|all| all.iter().any(|modality| modality != "text")) {
        return true;
    }
    let of = |name| body.get(name).and_then(Value::as_array);
    let said = of("messages").into_iter().chain(of("input")).flatten();
    let mut parts = said
        .filter_map(|said| said.get("content")?.as_array())
        .flatten();
    parts.any(|part| {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
        !matches!(
            kind,
            "text"
                | "input_text"
                | "output_text"
                | "refusal"
                | "thinking"
                | "redacted_thinking"
                | "tool_use"
                | "tool_result"
        )
    })
}

/// One request of a batch.
struct Line<'a> {
    shared: &'a Shared,
    entry: &'a Arc<Entry>,
    provider: usize,
    shape: Shape,
    batch: &'a str,
}

impl Line<'_> {
    fn answer(&self, request: Request, work: &mut Work) {
        let mut body = request.body;
        body.insert("model".to_owned(), work.model.clone().into());
        body.remove("stream");
        let text = Value::Object(body).to_string();
        let id = self.generation(&text, &request.custom_id);
        let result = match Ask::read(text.as_bytes(), self.shape) {
            Ok(ask) => {
                let body = self.body(&ask, &id, work);
                work.answered += 1;
                json!({
                    "id": id,
                    "custom_id": request.custom_id,
                    "response": {"status_code": 200, "request_id": id, "body": body},
                    "error": null,
                })
            }
            Err(fault) => {
                work.failed += 1;
                failed(&id, &request.custom_id, &fault)
            }
        };
        work.results.push(result);
    }

    /// Refuses a request that would have an answer.
    fn fail(&self, request: &Request, fault: &Fault, work: &mut Work) {
        let id = self.generation("", &request.custom_id);
        work.failed += 1;
        work.results.push(failed(&id, &request.custom_id, fault));
    }

    fn generation(&self, text: &str, custom_id: &str) -> String {
        let mut rng = Rng::new(&[
            self.shared.seed,
            hash(text.as_bytes()),
            hash(self.batch.as_bytes()),
            hash(custom_id.as_bytes()),
        ]);
        format!("gen-batch-{}", rng.alphanumeric(20))
    }

    /// The answer, as the endpoint would give it, at half the price.
    fn body(&self, ask: &Ask, id: &str, work: &mut Work) -> Value {
        let answer = Answer::to(ask, self.shared.seed, self.shared.answer_tokens);
        let completion = if self.shape.generates() {
            answer.tokens()
        } else {
            0
        };
        let mut usage = Usage::new(self.entry, self.provider, ask.prompt_tokens, completion);
        let full = self
            .entry
            .cost(self.provider, ask.prompt_tokens, completion);
        let cost = full.half();
        usage.cost = cost.usd();
        work.prompt_tokens += ask.prompt_tokens;
        work.completion_tokens += completion;
        work.cost += cost;
        let preamble = Preamble {
            id: id.into(),
            created: self.shared.clock.now().unix_seconds(),
            model: Arc::clone(&self.entry.id),
            provider: Arc::clone(&self.entry.providers[self.provider]),
            shape: self.shape,
        };
        let json = if self.shape == Shape::Embeddings {
            let vectors: Vec<_> = ask.inputs.iter().map(|input| vector(*input)).collect();
            wire::embeddings(&preamble, &vectors, &usage)
        } else {
            whole(&preamble, answer, &usage, None, None, "")
        };
        serde_json::from_slice(&json).unwrap_or(Value::Null)
    }
}

fn failed(id: &str, custom_id: &str, fault: &Fault) -> Value {
    json!({
        "id": id,
        "custom_id": custom_id,
        "response": null,
        "error": {"code": fault.status(), "message": fault.text()},
    })
}

impl<'de> Deserialize<'de> for Wish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WishVisitor)
    }
}

struct WishVisitor;

impl<'de> Visitor<'de> for WishVisitor {
    type Value = Wish;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch: endpoint, model, then requests")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Wish, A::Error> {
        let (mut endpoint, mut model, mut requests) = (None, None, None);
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "endpoint" => endpoint = Some(members.next_value()?),
                "model" => model = Some(members.next_value()?),
                "requests" if endpoint.is_none() || model.is_none() => {
                    // The text is read as it comes: who reads the requests must know these two.
                    return Err(de::Error::custom(
                        "endpoint and model must precede requests",
                    ));
                }
                "requests" => requests = Some(members.next_value::<Vec<Request>>()?),
                _ => drop(members.next_value::<de::IgnoredAny>()?),
            }
        }
        let missing = de::Error::missing_field;
        let requests = requests.ok_or_else(|| missing("requests"))?;
        if requests.is_empty() {
            return Err(de::Error::custom("requests must not be empty"));
        }
        Ok(Wish {
            endpoint: endpoint.ok_or_else(|| missing("endpoint"))?,
            model: model.ok_or_else(|| missing("model"))?,
            requests,
        })
    }
}
