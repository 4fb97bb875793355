//! The shapes of answers on the wire, written out on their own: the mock shares no type with any
//! client.

pub(crate) mod messages;
pub(crate) mod responses;

use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::ask::Shape;
use crate::catalog::Entry;
use crate::fault::{Fault, Place};

/// What every chunk and the whole answer begin with.
#[derive(Clone, Debug)]
pub(crate) struct Preamble {
    pub(crate) id: std::sync::Arc<str>,
    pub(crate) created: u64,
    pub(crate) model: std::sync::Arc<str>,
    pub(crate) provider: std::sync::Arc<str>,
    pub(crate) shape: Shape,
}

#[derive(Serialize)]
struct Envelope<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    provider: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    openrouter_metadata: Option<&'a Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
    finish_reason: Option<&'a str>,
    native_finish_reason: Option<&'a str>,
    logprobs: Option<()>,
}

/// A message, or what a delta adds to it.
#[derive(Default, Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// Absent, null or text.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Option<()>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Option<()>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// Token counts and cost, as in every answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) total_tokens: u64,
    pub(crate) cost: f64,
    is_byok: bool,
    prompt_tokens_details: PromptDetails,
    cost_details: CostDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Debug, Default, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
    audio_tokens: u64,
    video_tokens: u64,
}

#[derive(Clone, Debug, Serialize)]
struct CostDetails {
    upstream_inference_cost: Option<f64>,
    upstream_inference_prompt_cost: f64,
    upstream_inference_completions_cost: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    image_tokens: u64,
}

impl Usage {
    pub(crate) fn new(
        entry: &Entry,
        provider: usize,
        prompt_tokens: u64,
        completion_tokens: u64,
    ) -> Self {
        let prompt = entry.cost(provider, prompt_tokens, 0);
        let completion = entry.cost(provider, 0, completion_tokens);
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            cost: (prompt + completion).usd(),
            is_byok: false,
            prompt_tokens_details: PromptDetails::default(),
            cost_details: CostDetails {
                upstream_inference_cost: None,
                upstream_inference_prompt_cost: prompt.usd(),
                upstream_inference_completions_cost: completion.usd(),
            },
            completion_tokens_details: CompletionDetails::default(),
        }
    }
}

impl Preamble {
    /// A whole answer, with the fault that it ends in, if it does.
    pub(crate) fn whole(
        &self,
        answer: &Answer,
        usage: &Usage,
        fault: Option<&Fault>,
        metadata: Option<&Value>,
    ) -> Vec<u8> {
        let ending = Ending::of(answer.finish_reason, fault);
        let tool_id;
        let mut said = Said {
            role: Some("assistant"),
            refusal: Some(None),
            ..Said::default()
        };
        said.reasoning = Some(None);
        match &answer.tool {
            Some(name) => {
                tool_id = self.tool_id();
                said.content = Some(None);
                said.tool_calls = Some([ToolCall {
                    index: 0,
                    id: Some(&tool_id),
                    kind: "function",
                    function: Function {
                        name: Some(name),
                        arguments: &answer.text,
                    },
                }]);
            }
            None => said.content = Some(Some(&answer.text)),
        }
        let text = self.shape == Shape::Text;
        let choice = Choice {
            index: 0,
            delta: None,
            message: (!text).then_some(said),
            text: text.then_some(&answer.text),
            error: ending.choice_error,
            finish_reason: Some(ending.finish),
            native_finish_reason: Some(ending.native),
            logprobs: None,
        };
        let object = if text {
            "text_completion"
        } else {
            "chat.completion"
        };
        let mut envelope = self.envelope(object, std::slice::from_ref(&choice));
        envelope.system_fingerprint = Some(None);
        envelope.usage = Some(usage);
        envelope.openrouter_metadata = metadata;
        to_json(&envelope)
    }

    /// The first delta: the role, and no content yet.
    pub(crate) fn role_chunk(&self) -> Vec<u8> {
        let said = Said {
            role: Some("assistant"),
            content: Some(Some("")),
            ..Said::default()
        };
        self.chunk(said, "", None, None)
    }

    /// A delta with content.
    pub(crate) fn content_chunk(&self, delta: &str) -> Vec<u8> {
        let said = Said {
            content: Some(Some(delta)),
            ..Said::default()
        };
        self.chunk(said, delta, None, None)
    }

    /// A delta of a tool call; the first one carries its name.
    pub(crate) fn tool_chunk(&self, name: Option<&str>, arguments: &str) -> Vec<u8> {
        let id = name.map(|_| self.tool_id());
        let call = ToolCall {
            index: 0,
            id: id.as_deref(),
            kind: "function",
            function: Function { name, arguments },
        };
        let said = Said {
            content: Some(None),
            tool_calls: Some([call]),
            ..Said::default()
        };
        self.chunk(said, "", None, None)
    }

    /// The delta that ends the choice, with the usage in it where that is wanted.
    pub(crate) fn finish_chunk(
        &self,
        finish: &str,
        native: &str,
        usage: Option<&Usage>,
    ) -> Vec<u8> {
        let said = Said {
            content: Some(Some("")),
            ..Said::default()
        };
        self.chunk(said, "", Some((finish, native)), usage)
    }

    /// The chunk with the usage and without a choice.
    pub(crate) fn usage_chunk(&self, usage: &Usage, metadata: Option<&Value>) -> Vec<u8> {
        let mut envelope = self.envelope::<Choice<'_>>(self.chunk_object(), &[]);
        envelope.usage = Some(usage);
        envelope.openrouter_metadata = metadata;
        to_json(&envelope)
    }

    /// The chunk that a failing stream ends with.
    pub(crate) fn error_chunk(&self, fault: &Fault) -> Vec<u8> {
        match fault.place() {
            Place::NativeFinish { native, .. } => self.finish_chunk("error", native, None),
            Place::ChoiceError { .. } => {
                let said = Said {
                    content: Some(Some("")),
                    ..Said::default()
                };
                let choice = self.choice(said, "", Some(("error", "error")));
                let mut envelope =
                    self.envelope(self.chunk_object(), std::slice::from_ref(&choice));
                envelope.error = Some(fault.error());
                to_json(&envelope)
            }
            _ => to_json(&json!({ "error": fault.error() })),
        }
    }

    fn chunk(
        &self,
        said: Said<'_>,
        text: &str,
        finish: Option<(&str, &str)>,
        usage: Option<&Usage>,
    ) -> Vec<u8> {
        let choice = self.choice(said, text, finish);
        let mut envelope = self.envelope(self.chunk_object(), std::slice::from_ref(&choice));
        envelope.usage = usage;
        to_json(&envelope)
    }

    fn choice<'a>(
        &self,
        said: Said<'a>,
        text: &'a str,
        finish: Option<(&'a str, &'a str)>,
    ) -> Choice<'a> {
        let is_text = self.shape == Shape::Text;
        Choice {
            index: 0,
            delta: (!is_text).then_some(said),
            message: None,
            text: is_text.then_some(text),
            error: None,
            finish_reason: finish.map(|(finish, _)| finish),
            native_finish_reason: finish.map(|(_, native)| native),
            logprobs: None,
        }
    }

    fn chunk_object(&self) -> &'static str {
        if self.shape == Shape::Text {
            "text_completion"
        } else {
            "chat.completion.chunk"
        }
    }

    fn envelope<'a, C>(&'a self, object: &'static str, choices: &'a [C]) -> Envelope<'a, C> {
        Envelope {
            id: &self.id,
            object,
            created: self.created,
            model: &self.model,
            provider: &self.provider,
            system_fingerprint: None,
            error: None,
            choices,
            usage: None,
            openrouter_metadata: None,
        }
    }

    /// Follows from the generation's ID, which is unique.
    fn tool_id(&self) -> String {
        let tail = self.id.rsplit('-').next().unwrap_or_default();
        format!("call_{tail}")
    }
}

/// How the one choice of a whole answer ends.
struct Ending<'a> {
    finish: &'a str,
    native: &'a str,
    choice_error: Option<Value>,
}

impl<'a> Ending<'a> {
    fn of(finish: &'a str, fault: Option<&'a Fault>) -> Self {
        match fault.map(|fault| (fault, fault.place())) {
            Some((_, Place::NativeFinish { native, .. })) => Self {
                finish: "error",
                native,
                choice_error: None,
            },
            Some((fault, _)) => Self {
                finish: "error",
                native: "error",
                choice_error: Some(fault.error()),
            },
            None => Self {
                finish,
                native: finish,
                choice_error: None,
            },
        }
    }
}

/// The body of `/embeddings`: a unit vector per input, of eight dimensions.
pub(crate) fn embeddings(preamble: &Preamble, vectors: &[[f64; 8]], usage: &Usage) -> Vec<u8> {
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    to_json(&json!({
        "id": &*preamble.id,
        "object": "list",
        "model": &*preamble.model,
        "provider": &*preamble.provider,
        "data": data,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "total_tokens": usage.total_tokens,
            "cost": usage.cost,
        },
    }))
}

/// The body of `/rerank`: the documents by falling relevance.
pub(crate) fn rerank(
    preamble: &Preamble,
    ranked: &[(usize, f64)],
    documents: &[Value],
    usage: &Usage,
) -> Vec<u8> {
    let results: Vec<Value> = ranked
        .iter()
        .map(|(index, score)| {
            let document = match &documents[*index] {
                Value::String(text) => json!({ "text": text }),
                document => document.clone(),
            };
            json!({"index": index, "relevance_score": score, "document": document})
        })
        .collect();
    to_json(&json!({
        "id": &*preamble.id,
        "model": &*preamble.model,
        "provider": &*preamble.provider,
        "results": results,
        "usage": {
            "search_units": 1,
            "total_tokens": usage.total_tokens,
            "cost": usage.cost,
        },
    }))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data without maps of other keys than text is JSON")
}
