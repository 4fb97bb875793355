//! Checks before sending: each rule on a request that breaks it, and on one that just does not.

use fairkey_openrouter::check::{Checks, Finding, Level, Severity};
use fairkey_openrouter::{
    CacheControl, ChatRequest, Cutoff, DataCollection, DebugOptions, Effort, MaxPrice, Message,
    Modality, Partition, Plugin, ProviderList, ProviderPreferences, Quantization, Reasoning,
    ResponseFormat, Route, ServiceTier, Sort, SortBy, StreamOptions, Tool, ToolCall, ToolChoice,
};
use serde_json::json;

fn fine() -> ChatRequest {
    ChatRequest::new("a/b").user("Hi")
}

fn with(provider: ProviderPreferences) -> ChatRequest {
    fine().provider(provider)
}

fn prefer() -> ProviderPreferences {
    ProviderPreferences::new()
}

fn find(request: &ChatRequest, field: &str) -> Option<Finding> {
    let found = request.check(Level::Warn).unwrap();
    found.into_iter().find(|own| own.field == field)
}

/// There is one finding of this field, and it is that bad.
#[track_caller]
fn bad(severity: Severity, field: &str, request: &ChatRequest) {
    let Some(found) = find(request, field) else {
        panic!("nothing on {field}: {:?}", request.check(Level::Warn))
    };
    assert_eq!(found.severity, severity, "{found}");
    assert!(!found.value.is_empty() && !found.rule.is_empty() && !found.cure.is_empty());
    let is_refused = request.check(Level::Strict).is_err();
    assert_eq!(is_refused, severity == Severity::Error, "{found}");
    assert_eq!(request.check(Level::Off), Ok(Vec::new()));
}

#[track_caller]
fn good(request: &ChatRequest) {
    assert_eq!(request.check(Level::Strict), Ok(Vec::new()));
}

use Severity::{Advice, Error, Warning};

#[test]
fn a_usual_request_has_no_findings() {
    good(&fine());
    let call = ToolCall::function("call_1", "f", "{}");
    good(
        &fine()
            .models(["a/b", "c/d:free", "~e/f-latest"])
            .message(Message::tool_calls([call]))
            .tool_result("call_1", "21")
            .tool(Tool::function("f", "").cache_control(CacheControl::ephemeral()))
            .tool_choice(ToolChoice::Function("f".into()))
            .response_format(ResponseFormat::schema("x-1", json!({})))
            .temperature(2.0)
            .top_p(1.0)
            .frequency_penalty(-2.0)
            .logprobs(true)
            .top_logprobs(20)
            .stop(["a", "b", "c", "d"])
            .service_tier(ServiceTier::Flex)
            .provider(
                prefer()
                    .order(["deepinfra/turbo", "amazon-bedrock"])
                    .only(["deepinfra", "amazon-bedrock"])
                    .ignore(["azure"])
                    .allow_fallbacks(false)
                    .quantizations([Quantization::Unknown])
                    .data_collection(DataCollection::Deny)
                    .max_price(MaxPrice::new().prompt(0.0).completion("1.5")),
            ),
    );
}

#[test]
fn models_are_at_most_three_well_formed_and_named_once() {
    let models = |list: &[&str]| ChatRequest::default().user("Hi").models(list.to_vec());
    bad(Error, "models", &models(&["a/1", "a/2", "a/3", "a/4"]));
    good(&models(&["a/1", "a/2", "a/3"]));
    bad(Error, "model", &ChatRequest::new("a b").user("Hi"));
    bad(Error, "models[1]", &models(&["a/1", ""]));
    bad(Warning, "models[1]", &models(&["a/1", "a/1"]));
    bad(Warning, "models[1]", &fine().models(["c/d", "a/b"]));
    good(&fine().models(["a/b", "c/d"]));
    bad(Advice, "model", &ChatRequest::new("a/b:online").user("Hi"));
}

#[test]
fn messages_have_a_role_and_something_to_say() {
    bad(Error, "messages", &ChatRequest::new("a/b"));
    bad(
        Warning,
        "messages[1].role",
        &fine().message(Message::new("robot", "x")),
    );
    let mut silent = Message::user("x");
    silent.content = None;
    bad(Error, "messages[1].content", &fine().message(silent));
    let mut nameless = Message::tool("x", "y");
    nameless.tool_call_id = None;
    bad(Error, "messages[1].tool_call_id", &fine().message(nameless));
    bad(
        Warning,
        "messages[1].tool_call_id",
        &fine().tool_result("never", "y"),
    );
}

#[test]
fn tools_have_names_of_their_own_and_are_there_to_be_chosen() {
    let tool = |name: &str| Tool::function(name, "");
    bad(Error, "tools[0].function.name", &fine().tool(tool("a b")));
    bad(
        Error,
        "tools[0].function.name",
        &fine().tool(tool(&"a".repeat(65))),
    );
    good(&fine().tool(tool(&"a".repeat(64))));
    bad(
        Error,
        "tools[1].function.name",
        &fine().tool(tool("a")).tool(tool("a")),
    );
    bad(Error, "tools[0]", &fine().tool(Tool::server("function")));
    good(&fine().tool(Tool::server("openrouter:datetime")));
    bad(
        Error,
        "tool_choice",
        &fine().tool_choice(ToolChoice::Required),
    );
    bad(
        Warning,
        "tool_choice",
        &fine().tool_choice(ToolChoice::Auto),
    );
    let other = ToolChoice::Function("b".into());
    bad(
        Error,
        "tool_choice",
        &fine().tool(tool("a")).tool_choice(other),
    );
}

#[test]
fn numbers_are_finite_and_in_range() {
    bad(Error, "temperature", &fine().temperature(f64::NAN));
    bad(Error, "temperature", &fine().temperature(2.1));
    bad(Error, "temperature", &fine().temperature(-0.1));
    bad(Error, "top_p", &fine().top_p(0.0));
    bad(Error, "top_p", &fine().top_p(1.1));
    bad(Error, "min_p", &fine().min_p(-0.1));
    bad(Error, "top_a", &fine().top_a(f64::INFINITY));
    bad(Error, "frequency_penalty", &fine().frequency_penalty(-2.1));
    bad(Error, "presence_penalty", &fine().presence_penalty(2.1));
    bad(Error, "repetition_penalty", &fine().repetition_penalty(0.0));
    bad(
        Error,
        "logit_bias[\"7\"]",
        &fine().logit_bias([("7".to_owned(), 101.0)]),
    );
    bad(
        Error,
        "top_logprobs",
        &fine().logprobs(true).top_logprobs(21),
    );
    bad(Error, "max_tokens", &fine().max_tokens(0));
    bad(
        Error,
        "max_completion_tokens",
        &fine().max_completion_tokens(0),
    );
    let most = |most| with(prefer().max_price(most));
    bad(
        Error,
        "provider.max_price.prompt",
        &most(MaxPrice::new().prompt(-1.0)),
    );
    bad(
        Error,
        "provider.max_price.image",
        &most(MaxPrice::new().image("much")),
    );
    bad(
        Error,
        "provider.max_price.audio",
        &most(MaxPrice::new().audio(f64::NAN)),
    );
    let throughput = prefer().preferred_min_throughput(-1.0);
    bad(
        Error,
        "provider.preferred_min_throughput, p50",
        &with(throughput),
    );
    let latency = prefer().preferred_max_latency(Cutoff::percentiles().p99(f64::NAN));
    bad(Error, "provider.preferred_max_latency, p99", &with(latency));
}

#[test]
fn formats_bring_what_they_need() {
    let format = |kind: &str| fine().response_format(ResponseFormat::new(kind));
    bad(Error, "response_format.json_schema", &format("json_schema"));
    bad(Error, "response_format.grammar", &format("grammar"));
    good(&format("json_object"));
    let schema = fine().response_format(ResponseFormat::schema("a b", json!({})));
    bad(Error, "response_format.json_schema.name", &schema);
    let healing = fine().plugin(Plugin::response_healing());
    good(&healing);
    bad(Warning, "plugins[0]", &healing.stream(true));
    bad(Advice, "plugins[0]", &fine().plugin(Plugin::web()));
    bad(Error, "stop", &fine().stop(["a"; 5]));
}

#[test]
fn identifiers_are_short_and_never_shown() {
    good(&fine().session_id("é".repeat(256)));
    let long = fine().session_id("secret".repeat(50));
    bad(Error, "session_id", &long);
    let shown = long.check(Level::Strict).unwrap_err().to_string();
    assert!(
        shown.contains("300 characters") && !shown.contains("secret"),
        "{shown}"
    );
    let pairs = |n: usize| (0..n).map(|n| (n.to_string(), "x".to_owned()));
    let metadata =
        |n: usize| fine().metadata(pairs(n).collect::<std::collections::BTreeMap<_, _>>());
    bad(Error, "metadata", &metadata(17));
    good(&metadata(16));
    let pair = |name: &str, value: &str| fine().metadata([(name.to_owned(), value.to_owned())]);
    bad(Error, "metadata[\"a[0]\"]", &pair("a[0]", "x"));
    bad(Error, "metadata[\"a\"]", &pair("a", &"x".repeat(513)));
    good(&pair(&"a".repeat(64), &"x".repeat(512)));
}

#[test]
fn lists_of_providers_that_leave_none_are_refused() {
    bad(Error, "provider.only", &with(prefer().only([""; 0])));
    bad(
        Error,
        "provider.only",
        &with(prefer().only(["a", "b/c"]).ignore(["b", "a"])),
    );
    good(&with(prefer().only(["a", "b"]).ignore(["b/c", "a"])));
    bad(
        Warning,
        "provider.order[1]",
        &with(prefer().order(["a", "b"]).ignore(["b"])),
    );
    bad(
        Warning,
        "provider.order[0]",
        &with(prefer().order(["a", "b"]).only(["b/x"])),
    );
    bad(
        Error,
        "provider.allow_fallbacks",
        &with(prefer().order([""; 0]).allow_fallbacks(false)),
    );
    bad(
        Warning,
        "provider.allow_fallbacks",
        &with(prefer().allow_fallbacks(false)),
    );
    bad(
        Warning,
        "provider.quantizations",
        &with(prefer().quantizations([""; 0])),
    );
}

#[test]
fn names_that_are_no_slugs_are_told_with_the_slug() {
    for (name, slug) in [
        ("AWS Bedrock", "amazon-bedrock"),
        ("Google AI Studio", "google-ai-studio"),
        ("DeepInfra/Turbo", "deepinfra/turbo"),
    ] {
        let request = with(prefer().ignore([name]));
        bad(Warning, "provider.ignore[0]", &request);
        let found = find(&request, "provider.ignore[0]").unwrap();
        assert_eq!(found.cure, format!("write {slug:?}"));
        let mut repaired = request.clone();
        assert_eq!(repaired.repair(None).len(), 1);
        good(&repaired);
        assert_eq!(repaired.provider.unwrap().ignore.unwrap(), [slug]);
    }
    bad(Warning, "provider.order[0]", &with(prefer().order(["€"])));
    // A list of providers knows which slugs there are.
    let list = ProviderList::from_slice(br#"{"data":[{"name":"Deep Infra","slug":"deepinfra"}]}"#);
    let list = list.unwrap();
    let checks = Checks::new(Level::Warn).providers(&list);
    let cure = |name: &str| {
        let found = checks.run(&with(prefer().only([name]))).unwrap();
        found.first().map(|own| own.cure.clone())
    };
    assert_eq!(cure("deepinfra/fp8"), None);
    assert_eq!(cure("deepinfar").unwrap(), "write \"deepinfra\"");
    assert_eq!(
        cure("nobody").unwrap(),
        "look it up in the list of providers"
    );
}

#[test]
fn unknown_words_are_told_and_sent_all_the_same() {
    bad(
        Warning,
        "provider.quantizations[1]",
        &with(prefer().quantizations(["fp8", "fp7"])),
    );
    bad(
        Warning,
        "provider.data_collection",
        &with(prefer().data_collection("perhaps")),
    );
    bad(
        Warning,
        "provider.sort",
        &with(prefer().sort(SortBy::from("mood"))),
    );
    let partition = Sort::within(SortBy::Price, Partition::from("half"));
    bad(
        Warning,
        "provider.sort.partition",
        &with(prefer().sort(partition)),
    );
    bad(Warning, "provider.later", &with(prefer().with("later", 1)));
    bad(Warning, "service_tier", &fine().service_tier("first"));
    bad(Warning, "verbosity", &fine().verbosity("epic"));
    bad(
        Warning,
        "reasoning_effort",
        &fine().reasoning_effort("hard"),
    );
    bad(
        Warning,
        "reasoning.effort",
        &fine().reasoning(Effort::from("hard")),
    );
    bad(
        Warning,
        "modalities",
        &fine().modalities([Modality::from("smell")]),
    );
}

#[test]
fn settings_that_switch_each_other_off_are_told() {
    let order = || prefer().order(["a"]);
    bad(Warning, "provider.sort", &with(order().sort(SortBy::Price)));
    bad(Advice, "provider.order", &with(order()).session_id("s"));
    bad(
        Advice,
        "provider.order",
        &with(order()).prompt_cache_key("k"),
    );
    let nitro = ChatRequest::new("a/b:nitro").user("Hi");
    bad(Advice, "provider.order", &nitro.clone().provider(order()));
    bad(Advice, "provider.sort", &with(prefer().sort(SortBy::Price)));
    bad(
        Advice,
        "provider.sort",
        &nitro.provider(prefer().sort(SortBy::Price)),
    );
    let partition = Sort::within(SortBy::Price, Partition::None);
    bad(
        Advice,
        "provider.sort.partition",
        &with(prefer().sort(partition)),
    );
    bad(Advice, "provider.zdr", &with(prefer().zdr(false)));
    bad(
        Warning,
        "max_tokens",
        &fine().max_tokens(5).max_completion_tokens(6),
    );
    good(&fine().max_tokens(5).max_completion_tokens(5));
    let both = Reasoning::from(Effort::Low).max_tokens(5);
    bad(Warning, "reasoning.max_tokens", &fine().reasoning(both));
    let two = fine().reasoning(Effort::Low).reasoning_effort(Effort::High);
    bad(Warning, "reasoning_effort", &two);
}

#[test]
fn what_does_nothing_and_what_is_old_is_told() {
    bad(
        Warning,
        "transforms",
        &fine().with("transforms", json!(["middle-out"])),
    );
    bad(
        Advice,
        "usage.include",
        &fine().with("usage", json!({"include": true})),
    );
    let usage = StreamOptions::new().include_usage(true);
    bad(
        Advice,
        "stream_options.include_usage",
        &fine().stream(true).stream_options(usage),
    );
    bad(Warning, "route", &fine().route(Route::Sort));
    let debug = fine().debug(DebugOptions::new().echo_upstream_body(true));
    bad(Warning, "debug", &debug);
    good(&debug.stream(true));
    bad(Warning, "top_logprobs", &fine().top_logprobs(3));
    bad(
        Error,
        "temperature",
        &fine().temperature(1.0).with("temperature", 0.5),
    );
}

#[test]
fn old_forms_are_repaired() {
    let mut old = fine().with("transforms", json!(["middle-out"]));
    assert_eq!(old.repair(None).len(), 1);
    good(&old);
    let json = serde_json::to_value(&old).unwrap();
    assert_eq!(
        json["plugins"],
        json!([{"id": "context-compression", "engine": "middle-out"}])
    );
    // What may mean something else stays.
    let mut other = fine().with("transforms", json!(["sideways"]));
    assert!(other.repair(None).is_empty());
    assert_eq!(other.extra["transforms"], json!(["sideways"]));
}

#[test]
fn the_worst_comes_first_and_an_error_reads_well() {
    let request = fine()
        .models(["a/1", "a/2", "a/3", "a/4"])
        .temperature(3.0)
        .provider(prefer().order(["AWS Bedrock"]).sort(SortBy::Price));
    let found = request.check(Level::Warn).unwrap();
    assert!(found.is_sorted_by(|a, b| a.severity >= b.severity));
    let error = request.check(Level::Strict).unwrap_err();
    assert_eq!(error.findings(), found);
    insta::assert_snapshot!(error);
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(all.join("\n"));
}
