//! Which parameters a request sends, by the names under which endpoints list them.

use crate::request::ChatRequest;

/// Returns the parameters that a request sends, by the names under which endpoints list those that
/// they support.
///
/// ```
/// use fairkey_openrouter::{ChatRequest, ResponseFormat, route};
///
/// let request = ChatRequest::new("a/b")
///     .seed(7)
///     .response_format(ResponseFormat::schema("x", true));
/// assert_eq!(route::parameters(&request), ["seed", "response_format", "structured_outputs"]);
/// ```
#[must_use]
pub fn parameters(request: &ChatRequest) -> Vec<&'static str> {
    let format = request.response_format.as_ref();
    let some = [
        ("temperature", request.temperature.is_some()),
        ("top_p", request.top_p.is_some()),
        ("top_k", request.top_k.is_some()),
        ("min_p", request.min_p.is_some()),
        ("top_a", request.top_a.is_some()),
        ("frequency_penalty", request.frequency_penalty.is_some()),
        ("presence_penalty", request.presence_penalty.is_some()),
        ("repetition_penalty", request.repetition_penalty.is_some()),
        ("max_tokens", request.max_tokens.is_some()),
        (
            "max_completion_tokens",
            request.max_completion_tokens.is_some(),
        ),
        ("logit_bias", request.logit_bias.is_some()),
        ("logprobs", request.logprobs.is_some()),
        ("top_logprobs", request.top_logprobs.is_some()),
        ("prediction", request.prediction.is_some()),
        ("seed", request.seed.is_some()),
        (
            "response_format",
            format.is_some_and(|format| format.kind != "text"),
        ),
        (
            "structured_outputs",
            format.is_some_and(|format| format.kind == "json_schema"),
        ),
        ("stop", request.stop.is_some()),
        (
            "tools",
            request.tools.as_ref().is_some_and(|tools| {
                // Tools that OpenRouter runs need nothing of the model's provider that is listed.
                tools.iter().any(|tool| tool.kind == "function")
            }),
        ),
        ("tool_choice", request.tool_choice.is_some()),
        ("parallel_tool_calls", request.parallel_tool_calls.is_some()),
        ("reasoning", request.reasoning.is_some()),
        ("reasoning_effort", request.reasoning_effort.is_some()),
        ("verbosity", request.verbosity.is_some()),
        (
            "include_reasoning",
            request.extra.contains_key("include_reasoning"),
        ),
        (
            "web_search_options",
            request.extra.contains_key("web_search_options"),
        ),
    ];
    some.into_iter()
        .filter_map(|(name, is_sent)| is_sent.then_some(name))
        .collect()
}
