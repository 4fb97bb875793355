//! The wire form of every field of every request, and that it is read again as it was written.

use std::collections::BTreeMap;
use std::fmt::Debug;

use fairkey_openrouter::{
    CacheControl, CacheTtl, ChatRequest, ContentPart, Cutoff, DataCollection, DebugOptions, Effort,
    EmbeddingsInput, EmbeddingsParts, EmbeddingsRequest, EncodingFormat, FunctionDefinition,
    ImageDetail, InputItem, JsonSchema, MaxPrice, Message, MessagesFallback, MessagesRequest,
    MessagesTool, MessagesToolChoice, Modality, OutputConfig, Partition, PdfEngine, Plugin,
    Prediction, PromptCacheOptions, ProviderPreferences, Quantization, Reasoning, RerankDocument,
    RerankParts, RerankRequest, ResponseFormat, ResponsesRequest, ResponsesTool, Route,
    ServiceTier, Sort, SortBy, StopCondition, StreamOptions, SummaryVerbosity, TextOptions,
    Thinking, Tool, ToolCall, ToolChoice, Trace, Verbosity,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Returns the wire form for people, after a round trip.
#[track_caller]
fn wire<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
    let json = serde_json::to_string_pretty(value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *value);
    json
}

fn map(json: &Value) -> Map<String, Value> {
    json.as_object().cloned().unwrap()
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn trace() -> Trace {
    Trace::new()
        .trace_id("t-1")
        .trace_name("nightly")
        .span_name("summaries")
        .generation_name("summary")
        .parent_span_id("p-1")
}

fn preferences() -> ProviderPreferences {
    ProviderPreferences::new()
        .order(["anthropic", "google-vertex/us-east5"])
        .only(["anthropic", "google-vertex"])
        .ignore(["azure"])
        .allow_fallbacks(false)
        .require_parameters(true)
        .data_collection(DataCollection::Deny)
        .zdr(true)
        .enforce_distillable_text(true)
        .quantizations(Quantization::KNOWN.to_vec())
        .sort(Sort::within(SortBy::Throughput, Partition::None))
        .preferred_min_throughput(
            Cutoff::percentiles()
                .p50(50.0)
                .p75(40.0)
                .p90(30.0)
                .p99(20.0),
        )
        .preferred_max_latency(1.5)
        .max_price(
            MaxPrice::new()
                .prompt("1")
                .completion("2")
                .request("0.5")
                .image("0.1")
                .audio("0.2"),
        )
}

fn plugins() -> [Plugin; 10] {
    [
        Plugin::auto_router()
            .allowed_models(["openai/*"])
            .excluded_models(["a/b"])
            .cost_quality_tradeoff(7)
            .cost_tier("medium")
            .pin_model(true),
        Plugin::auto_beta_router().enabled(false),
        Plugin::moderation(),
        Plugin::web()
            .engine("exa")
            .max_results(3)
            .max_uses(2)
            .search_prompt("The web says:")
            .include_domains(["example.com"])
            .exclude_domains(["example.org"]),
        Plugin::web_fetch()
            .allowed_domains(["example.com"])
            .blocked_domains(["example.org"])
            .max_content_tokens(5_000)
            .max_uses(2),
        Plugin::file_parser(PdfEngine::CloudflareAi),
        Plugin::response_healing(),
        Plugin::context_compression().engine("middle-out"),
        Plugin::pareto_router()
            .min_coding_score(0.5)
            .max_price(2.5)
            .price_source("prompt"),
        Plugin::fusion()
            .analysis_models(["a/b"])
            .model("c/d")
            .preset("general-fast")
            .max_tool_calls(4),
    ]
}

#[test]
fn every_field_of_a_chat_request() {
    let parts = vec![
        ContentPart::text("What is this?").cache_control(CacheControl::ephemeral()),
        ContentPart::image("https://example.com/x.png", ImageDetail::Low),
        ContentPart::image_url("data:image/png;base64,iVBO"),
        ContentPart::input_audio("UklGR", "wav"),
        ContentPart::video_url("https://example.com/x.mp4"),
        ContentPart::file("a.pdf", "https://example.com/a.pdf"),
        ContentPart::file_id("file-1"),
    ];
    let mut thinker = Message::assistant("A cat.").name("model");
    thinker.reasoning = Some("It has whiskers.".into());
    thinker.reasoning_details = Some(vec![
        json!({"type": "reasoning.text", "text": "It has whiskers."}),
    ]);
    let function = FunctionDefinition::new("weather")
        .description("Tells the weather.")
        .parameters(schema())
        .strict(true);
    let request = ChatRequest::new("a/b:nitro")
        .models(["a/b", "c/d"])
        .message(Message::system("Be brief.").name("boss"))
        .message(Message::developer("Be kind."))
        .user(parts)
        .message(thinker)
        .message(Message::tool_calls([ToolCall::function(
            "call_1", "weather", "{}",
        )]))
        .tool_result("call_1", "21 °C")
        .provider(preferences())
        .preset("polite")
        .stream(true)
        .stream_options(StreamOptions::new().include_usage(true))
        .max_tokens(16)
        .max_completion_tokens(16)
        .temperature(0.5)
        .top_p(0.9)
        .top_k(40)
        .min_p(0.05)
        .top_a(0.2)
        .frequency_penalty(0.5)
        .presence_penalty(-0.5)
        .repetition_penalty(1.1)
        .logit_bias([("50256".to_owned(), -100.0)])
        .logprobs(true)
        .top_logprobs(5)
        .seed(-7)
        .stop(["\n\n", "END"])
        .tool(function)
        .tool(Tool::server("openrouter:web_search").parameters(json!({"max_results": 3})))
        .tool_choice(ToolChoice::Function("weather".into()))
        .parallel_tool_calls(false)
        .stop_server_tools_when([
            StopCondition::step_count_is(3),
            StopCondition::has_tool_call("weather"),
            StopCondition::max_tokens_used(5_000),
            StopCondition::max_cost(0.25),
            StopCondition::finish_reason_is("length"),
        ])
        .response_format(
            ResponseFormat::new("json_schema").json_schema(
                JsonSchema::new("city")
                    .description("A city.")
                    .schema(schema())
                    .strict(true),
            ),
        )
        .verbosity(Verbosity::Low)
        .reasoning(
            Reasoning::from(Effort::Low)
                .max_tokens(100)
                .exclude(true)
                .enabled(true)
                .summary(SummaryVerbosity::Concise),
        )
        .reasoning_effort(Effort::Low)
        .modalities([Modality::Text, Modality::Image])
        .image_config(map(&json!({"aspect_ratio": "16:9"})))
        .prediction(Prediction::new("A cat."))
        .plugins(plugins())
        .service_tier(ServiceTier::Flex)
        .route(Route::Fallback)
        .cache_control(CacheControl::ephemeral().ttl(CacheTtl::OneHour))
        .prompt_cache_key("k-1")
        .prompt_cache_options(PromptCacheOptions::explicit().ttl("30m"))
        .user_id("u-1")
        .session_id("s-1")
        .metadata([("team".to_owned(), "search".to_owned())])
        .trace(trace())
        .debug(DebugOptions::new().echo_upstream_body(true));
    insta::assert_snapshot!("chat", wire(&request));
}

#[test]
fn every_field_of_an_embeddings_request() {
    let parts = EmbeddingsParts {
        content: vec![
            ContentPart::text("A cat."),
            ContentPart::image_url("https://example.com/x.png"),
        ],
        ..EmbeddingsParts::default()
    };
    let request = EmbeddingsRequest::new("a/b", EmbeddingsInput::Parts(vec![parts]))
        .dimensions(256)
        .encoding_format(EncodingFormat::Base64)
        .input_type("search_query")
        .provider(preferences())
        .user("u-1");
    insta::assert_snapshot!("embeddings", wire(&request));
}

#[test]
fn every_field_of_a_rerank_request() {
    let picture = RerankParts::new()
        .text("Paris")
        .image("https://example.com/x.png");
    let request = RerankRequest::new(
        "a/b",
        "capital",
        [RerankDocument::from("Lyon"), picture.into()],
    )
    .top_n(1)
    .provider(preferences());
    insta::assert_snapshot!("rerank", wire(&request));
}

#[test]
fn every_field_of_a_responses_request() {
    let request = ResponsesRequest::new("a/b", "What is the weather?")
        .item(
            InputItem::function_call("call_1", "weather", "{}")
                .id("fc_1")
                .status("completed"),
        )
        .item(InputItem::function_call_output("call_1", "21 °C"))
        .models(["a/b", "c/d"])
        .instructions("Be brief.")
        .provider(preferences())
        .stream(true)
        .max_output_tokens(16)
        .max_tool_calls(4)
        .temperature(0.5)
        .top_p(0.9)
        .top_k(40)
        .top_logprobs(5)
        .frequency_penalty(0.5)
        .presence_penalty(-0.5)
        .reasoning(Reasoning::from(Effort::Low).summary(SummaryVerbosity::Auto))
        .text(TextOptions::schema("city", schema()).verbosity(Verbosity::Low))
        .tools([ResponsesTool::function("weather", schema())
            .description("Tells.")
            .strict(true)])
        .tool_choice("auto")
        .parallel_tool_calls(false)
        .stop_server_tools_when([StopCondition::step_count_is(3)])
        .include(["reasoning.encrypted_content"])
        .modalities([Modality::Text])
        .image_config(map(&json!({"aspect_ratio": "16:9"})))
        .plugins([Plugin::moderation()])
        .prompt(json!({"id": "p-1", "variables": {"city": "Paris"}}))
        .truncation("auto")
        .service_tier(ServiceTier::Auto)
        .route(Route::Sort)
        .cache_control(CacheControl::ephemeral())
        .prompt_cache_key("k-1")
        .prompt_cache_options(PromptCacheOptions::explicit())
        .user("u-1")
        .safety_identifier("h-1")
        .session_id("s-1")
        .metadata(BTreeMap::from([("team".to_owned(), "search".to_owned())]))
        .trace(trace())
        .debug(DebugOptions::new().echo_upstream_body(true))
        .background(false)
        .store(false);
    insta::assert_snapshot!("responses", wire(&request));
}

#[test]
fn every_field_of_a_messages_request() {
    let result = ContentPart::new("tool_result", "tool_use_id", "t_1").with("content", "21 °C");
    let request = MessagesRequest::new("a/b", 2_000)
        .user("What is the weather?")
        .assistant([ContentPart::new("tool_use", "id", "t_1")
            .with("name", "weather")
            .with("input", json!({"city": "Paris"}))])
        .user([result])
        .system([ContentPart::text("Be brief.").cache_control(CacheControl::ephemeral())])
        .models(["a/b", "c/d"])
        .fallbacks([MessagesFallback::new("c/d")])
        .provider(preferences())
        .stream(true)
        .temperature(0.5)
        .top_p(0.9)
        .top_k(40)
        .stop_sequences(["END"])
        .thinking(Thinking::enabled(1024).display("summarized"))
        .output_config(
            OutputConfig::new()
                .effort(Effort::High)
                .format(json!({"type": "json_schema", "schema": schema()}))
                .task_budget(json!({"type": "tokens", "total": 20_000})),
        )
        .tools([
            MessagesTool::new("weather", schema())
                .description("Tells the weather.")
                .cache_control(CacheControl::ephemeral()),
            MessagesTool::server("openrouter:web_search"),
        ])
        .tool_choice(MessagesToolChoice::tool("weather").disable_parallel_tool_use(true))
        .stop_server_tools_when([StopCondition::step_count_is(3)])
        .context_management(json!({"edits": [{"type": "clear_tool_uses_20250919"}]}))
        .plugins([Plugin::moderation()])
        .service_tier("auto")
        .speed("fast")
        .route(Route::Fallback)
        .cache_control(CacheControl::ephemeral())
        .metadata(json!({"user_id": "u-1"}))
        .user_id("u-1")
        .session_id("s-1")
        .trace(trace());
    insta::assert_snapshot!("messages", wire(&request));
}
