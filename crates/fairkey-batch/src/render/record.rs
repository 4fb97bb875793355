//! What the flat shapes have of a result: [`Record`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The names of the fields, as the header of CSV.
pub(super) const HEADER: &str = "custom_id,text,error,error_code,error_scope,cost_usd,\
    prompt_tokens,completion_tokens,finish_reason,model,provider,key,attempts,status,request_id,\
    file,line\n";

/// One result. The order of the fields is that of the header.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) custom_id: Cow<'a, str>,
    pub(crate) text: Option<Cow<'a, str>>,
    pub(crate) error: Option<Cow<'a, str>>,
    pub(crate) error_code: Option<Cow<'a, str>>,
    pub(crate) error_scope: Option<Cow<'a, str>>,
    pub(crate) cost_usd: Option<f64>,
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
    pub(crate) finish_reason: Option<Cow<'a, str>>,
    pub(crate) model: Option<Cow<'a, str>>,
    pub(crate) provider: Option<Cow<'a, str>>,
    pub(crate) key: Option<Cow<'a, str>>,
    pub(crate) attempts: u64,
    pub(crate) status: Option<u64>,
    pub(crate) request_id: Option<Cow<'a, str>>,
    pub(crate) file: Option<Cow<'a, str>>,
    pub(crate) line: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    custom_id: Cow<'a, str>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
    #[serde(borrow)]
    error: Option<Error<'a>>,
    #[serde(borrow)]
    fairkey: Option<Served<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    status_code: u64,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    scope: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Served<'a> {
    #[serde(borrow, default)]
    file: Option<Cow<'a, str>>,
    #[serde(default)]
    line: u64,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(default)]
    attempts: u64,
    #[serde(default)]
    cost_usd: Option<f64>,
}

/// An answer of any endpoint. What is not as it should be is as good as not there.
#[derive(Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    provider: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    /// Of chats and completions.
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    /// Of Responses.
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    /// Of Messages.
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<&'a RawValue>,
    /// Of embeddings.
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    embedding: &'a RawValue,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

impl<'a> Record<'a> {
    /// Reads a line of batch results; `None` where it is none.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let line: Line<'a> = serde_json::from_slice(line).ok()?;
        let served = line.fairkey.unwrap_or_default();
        let mut record = Self {
            custom_id: line.custom_id,
            cost_usd: served.cost_usd,
            key: served.key,
            attempts: served.attempts,
            file: served.file,
            line: served.line,
            ..Self::default()
        };
        if let Some(response) = line.response {
            record.status = Some(response.status_code);
            record.request_id = response.request_id.filter(|id| !id.is_empty());
            if line.error.is_none() {
                record.answer(response.body);
            }
        }
        if let Some(error) = line.error {
            record.error = Some(error.message);
            record.error_code = Some(error.code);
            record.error_scope = error.scope;
        }
        Some(record)
    }

    fn answer(&mut self, json: &'a RawValue) {
        let body: Body<'a> = read(Some(json)).unwrap_or_default();
        self.model = read(body.model);
        self.provider = read(body.provider);
        let usage: Usage = read(body.usage).unwrap_or_default();
        self.prompt_tokens = usage.prompt_tokens.or(usage.input_tokens);
        self.completion_tokens = usage.completion_tokens.or(usage.output_tokens);
        if body.choices.is_some() {
            let choices: Vec<Choice<'a>> = read(body.choices).unwrap_or_default();
            let Some(choice) = choices.into_iter().next() else {
                return;
            };
            self.finish_reason = choice.finish_reason;
            self.text = match choice.message {
                Some(message) => {
                    let calls = || message.tool_calls.filter(|calls| calls.get() != "null");
                    content(message.content).or_else(|| calls().map(|calls| calls.get().into()))
                }
                None => choice.text,
            };
        } else if body.output.is_some() {
            self.finish_reason = read(body.status);
            let items: Vec<Item<'a>> = read(body.output).unwrap_or_default();
            let mut texts = items.iter().filter_map(|item| content(item.content));
            self.text = texts
                .next()
                .map(|first| texts.fold(first, |all, text| Cow::Owned(all.into_owned() + &text)));
        } else if body.content.is_some() {
            self.finish_reason = read(body.stop_reason);
            self.text = content(body.content);
        } else if let Some(vectors) = read::<Vec<Vector<'a>>>(body.data) {
            self.text = match &*vectors {
                [vector] => Some(vector.embedding.get().into()),
                vectors => {
                    let all: Vec<&str> = vectors.iter().map(|one| one.embedding.get()).collect();
                    Some(format!("[{}]", all.join(",")).into())
                }
            };
        } else {
            self.text = read(Some(json)).or_else(|| Some(json.get().into()));
        }
    }
}

/// Returns the text of a content: a text, or parts with texts.
fn content(json: Option<&RawValue>) -> Option<Cow<'_, str>> {
    if let Some(text) = read(json) {
        return Some(text);
    }
    let parts: Vec<Part<'_>> = read(json)?;
    let mut texts = parts.into_iter().filter_map(|part| part.text);
    let first = texts.next()?;
    Some(texts.fold(first, |all, text| Cow::Owned(all.into_owned() + &text)))
}

fn read<'a, T: Deserialize<'a>>(json: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(json?.get()).ok()
}
