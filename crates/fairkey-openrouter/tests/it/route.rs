//! The dry run of routing: each filter, each order, odds, prices and cures.

use fairkey_openrouter::route::{self, AccountPolicy, Context, Field, Ordering, Plan};
use fairkey_openrouter::{
    ChatRequest, ContentPart, Cutoff, DataCollection, MaxPrice, ModelEndpoints, Partition,
    ProviderList, ProviderPreferences, Quantization, ResponseFormat, ServiceTier, Sort, SortBy,
    Tool, ZdrEndpoints,
};
use proptest::prelude::*;
use serde_json::json;

/// Four usual endpoints and one of each tier. Prices in dollars per million tokens: cheap 1 and 2,
/// middle 2 and 4, quick 4 and 8, sick 1 and 1.
fn endpoints() -> ModelEndpoints {
    let price = |million: f64| json!(format!("{:.9}", million / 1e6));
    let of = |tag: &str, prompt: f64, completion: f64| {
        json!({
            "tag": tag, "provider_name": tag.split('/').next(), "name": tag, "model_id": "a/b-1",
            "status": 0, "context_length": 8000,
            "pricing": {"prompt": price(prompt), "completion": price(completion)},
            "supported_parameters": ["max_tokens", "temperature", "tools", "response_format"],
        })
    };
    let mut cheap = of("cheap", 1.0, 2.0);
    cheap["quantization"] = json!("fp8");
    cheap["throughput_last_30m"] = json!({"p50": 20, "p90": 10});
    cheap["latency_last_30m"] = json!({"p50": 2000, "p90": 6000});
    let mut middle = of("middle/eu", 2.0, 4.0);
    middle["quantization"] = json!("bf16");
    middle["throughput_last_30m"] = json!({"p50": 40, "p90": 30});
    middle["supported_parameters"] = json!(["max_tokens", "seed"]);
    let mut quick = of("quick", 4.0, 8.0);
    quick["throughput_last_30m"] = json!({"p50": 200, "p90": 150});
    quick["latency_last_30m"] = json!({"p50": 200, "p90": 300});
    quick["context_length"] = json!(200_000);
    let mut sick = of("sick", 1.0, 1.0);
    sick["status"] = json!(-2);
    let body = json!({"data": {
        "id": "a/b",
        "architecture": {"input_modalities": ["text", "file"]},
        "endpoints": [cheap, middle, quick, sick, of("quick/priority", 9.0, 9.0), of("cheap/flex", 0.5, 1.0)],
    }});
    ModelEndpoints::from_slice(body.to_string().as_bytes()).unwrap()
}

fn request(model: &str) -> ChatRequest {
    ChatRequest::new(model).user("Hi").max_tokens(1000)
}

fn with(provider: ProviderPreferences) -> ChatRequest {
    request("a/b").provider(provider)
}

fn prefer() -> ProviderPreferences {
    ProviderPreferences::new()
}

fn plan(request: &ChatRequest) -> Plan {
    plan_in(request, &Context::new().prompt_tokens(1000))
}

fn plan_in(request: &ChatRequest, context: &Context<'_>) -> Plan {
    route::plan(request, &[endpoints()], context)
}

fn tags(plan: &Plan) -> Vec<&str> {
    plan.candidates.iter().map(|own| own.tag.as_str()).collect()
}

/// Which endpoints are removed by which fields.
fn removed(plan: &Plan) -> Vec<(&str, Vec<&str>)> {
    plan.removed
        .iter()
        .map(|own| {
            let fields = own.reasons.iter().map(|why| why.field.as_str()).collect();
            (own.tag.as_str(), fields)
        })
        .collect()
}

#[track_caller]
fn left(request: &ChatRequest, expected: &[&str]) -> Plan {
    let plan = plan(request);
    assert_eq!(tags(&plan), expected, "{plan}");
    plan
}

fn is_near(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() < 1e-9)
}

#[test]
fn without_preferences_odds_go_by_price_squared_and_what_is_sick_waits() {
    let plan = left(&request("a/b"), &["cheap", "middle/eu", "quick", "sick"]);
    assert_eq!(plan.ordering, Ordering::Balanced);
    // 1, 1/4 and 1/16 of 21/16.
    for (candidate, odds) in plan
        .candidates
        .iter()
        .zip([16.0 / 21.0, 4.0 / 21.0, 1.0 / 21.0])
    {
        assert!(is_near(candidate.odds, odds), "{plan}");
    }
    assert_eq!(plan.candidates[3].odds, None);
    assert!(plan.candidates[3].set_back[0].contains("-2"), "{plan}");
    let price = |n: usize| plan.candidates[n].price_usd;
    assert!(is_near(price(0), 0.003) && is_near(price(2), 0.012));
    // 0.003, 0.006 and 0.012, weighed.
    assert!(is_near(
        plan.expected_usd,
        (16.0 * 3.0 + 4.0 * 6.0 + 12.0) / 21.0 / 1000.0
    ));
    assert!(is_near(plan.most_usd, 0.012));
}

#[test]
fn what_is_free_shares_the_odds() {
    let free = ModelEndpoints::from_slice(
        br#"{"id":"a/b:free","endpoints":[
            {"tag":"x","pricing":{"prompt":"0","completion":"0"}},
            {"tag":"y","pricing":{"prompt":"0","completion":"0"}},
            {"tag":"z","pricing":{"prompt":"1","completion":"1"}}]}"#,
    )
    .unwrap();
    let plan = route::plan(&request("a/b:free"), &[free], &Context::new());
    let odds: Vec<_> = plan.candidates.iter().map(|own| own.odds).collect();
    assert_eq!(odds, [Some(0.5), Some(0.5), Some(0.0)]);
    assert_eq!(plan.expected_usd, Some(0.0));
}

#[test]
fn lists_keep_and_remove_by_base_and_by_full_slug() {
    let plan = left(
        &with(prefer().only(["middle", "quick"])),
        &["middle/eu", "quick"],
    );
    assert_eq!(
        removed(&plan),
        [
            ("cheap", vec!["provider.only"]),
            ("sick", vec!["provider.only"])
        ]
    );
    left(&with(prefer().only(["middle/eu"])), &["middle/eu"]);
    left(&with(prefer().only(["middle/us"])), &[]);
    let plan = left(
        &with(prefer().ignore(["cheap", "sick"])),
        &["middle/eu", "quick"],
    );
    assert_eq!(plan.removed[0].reasons[0].field, Field::Ignore);
}

#[test]
fn the_accounts_lists_intersect_and_unite_with_the_requests() {
    let account = AccountPolicy {
        only: Some(vec!["cheap".into(), "quick".into()]),
        ignore: vec!["quick".into()],
        zdr: false,
    };
    let context = Context::new().account(account);
    let plan = plan_in(&with(prefer().only(["quick", "middle"])), &context);
    assert!(plan.candidates.is_empty());
    assert_eq!(
        removed(&plan),
        [
            ("cheap", vec!["provider.only"]),
            ("middle/eu", vec!["account: allowed providers"]),
            ("quick", vec!["account: ignored providers"]),
            ("sick", vec!["account: allowed providers", "provider.only"]),
        ]
    );
}

#[test]
fn an_order_comes_first_and_the_others_follow_unless_they_may_not() {
    let order = prefer().order(["quick", "sick"]);
    let plan = left(
        &with(order.clone()),
        &["quick", "sick", "cheap", "middle/eu"],
    );
    assert_eq!(plan.ordering, Ordering::Order);
    assert!(plan.candidates.iter().all(|own| own.odds.is_none()));
    assert!(is_near(plan.expected_usd, 0.012));
    let plan = left(&with(order.allow_fallbacks(false)), &["quick", "sick"]);
    assert_eq!(plan.removed[0].reasons[0].field, Field::AllowFallbacks);
}

#[test]
fn without_fallbacks_only_the_first_choice_is_left() {
    let alone = prefer().allow_fallbacks(false);
    left(&with(alone.clone().sort(SortBy::Throughput)), &["quick"]);
    // Any of those with odds may be it.
    left(&with(alone), &["cheap", "middle/eu", "quick"]);
}

#[test]
fn sorts_and_variants_order_by_their_measure_and_the_unmeasured_last() {
    // The sick one is the cheapest, and last all the same.
    let price = ["cheap", "middle/eu", "quick", "sick"];
    left(&with(prefer().sort(SortBy::Price)), &price);
    let throughput = ["quick", "middle/eu", "cheap", "sick"];
    left(&with(prefer().sort(SortBy::Throughput)), &throughput);
    let latency = ["quick", "cheap", "middle/eu", "sick"];
    left(&with(prefer().sort(SortBy::Latency)), &latency);
    // Variants admit tiers, which have no measure here.
    left(
        &request("a/b:nitro"),
        &["quick", "middle/eu", "cheap", "quick/priority", "sick"],
    );
    left(
        &request("a/b:floor"),
        &["cheap/flex", "cheap", "middle/eu", "quick", "sick"],
    );
    let hidden = plan(&request("a/b:exacto"));
    assert_eq!(hidden.ordering, Ordering::Hidden);
    assert!(hidden.unknown.iter().any(|text| text.contains("exacto")));
    // An order switches the admission off.
    let ordered = request("a/b:nitro").provider(prefer().order(["cheap"]));
    left(&ordered, &["cheap", "middle/eu", "quick", "sick"]);
}

#[test]
fn tiers_take_part_where_they_are_asked_for() {
    left(
        &with(prefer().only(["quick/priority"])),
        &["quick/priority"],
    );
    let priority = request("a/b").service_tier(ServiceTier::Priority);
    assert_eq!(plan(&priority).candidates[0].tag, "quick/priority");
    let flex = left(
        &request("a/b").service_tier(ServiceTier::Flex),
        &["cheap/flex"],
    );
    assert!(
        flex.removed
            .iter()
            .all(|own| own.reasons[0].field == Field::ServiceTier)
    );
}

#[test]
fn prices_above_the_most_are_removed_and_the_cure_says_how_much_is_needed() {
    let most = |most| with(prefer().max_price(most));
    left(
        &most(MaxPrice::new().prompt(2.0)),
        &["cheap", "middle/eu", "sick"],
    );
    left(
        &most(MaxPrice::new().completion("3.99")),
        &["cheap", "sick"],
    );
    let plan = left(&most(MaxPrice::new().prompt(0.5)), &[]);
    assert_eq!(plan.cures.len(), 1);
    assert_eq!(
        plan.cures[0].changes,
        ["raise provider.max_price.prompt from 0.5 to 1"]
    );
    assert_eq!(plan.cures[0].admits, ("a/b".to_owned(), "sick".to_owned()));
    assert_eq!(plan.cures[0].others, 3);
}

#[test]
fn quantizations_are_matched_and_none_is_unknown() {
    let of = |list: Vec<Quantization>| with(prefer().quantizations(list));
    left(&of(vec![Quantization::Fp8]), &["cheap"]);
    left(&of(vec![Quantization::Unknown]), &["quick", "sick"]);
    left(&of(vec![]), &[]);
}

#[test]
fn required_parameters_remove_and_wished_ones_set_back() {
    let tools = request("a/b").tool(Tool::function("f", ""));
    let plan = left(&tools, &["cheap", "quick", "middle/eu", "sick"]);
    assert_eq!(plan.candidates[2].set_back, ["it does not support tools"]);
    let required = tools.provider(prefer().require_parameters(true));
    left(&required, &["cheap", "quick", "sick"]);
    let seed = request("a/b").seed(7);
    left(&seed, &["cheap", "middle/eu", "quick", "sick"]);
    left(
        &seed.provider(prefer().require_parameters(true)),
        &["middle/eu"],
    );
    let schema = request("a/b").response_format(ResponseFormat::schema("x", true));
    assert!(
        plan_in(&schema, &Context::new())
            .candidates
            .iter()
            .all(|c| !c.set_back.is_empty())
    );
}

#[test]
fn preferred_measures_set_back_and_remove_nothing() {
    let fast = with(prefer().preferred_min_throughput(50.0));
    left(&fast, &["quick", "cheap", "middle/eu", "sick"]);
    let soon = with(prefer().preferred_max_latency(Cutoff::percentiles().p50(3.0).p90(5.0)));
    // What is not measured is not blamed.
    let plan = left(&soon, &["middle/eu", "quick", "cheap", "sick"]);
    assert_eq!(
        plan.candidates[2].set_back,
        ["its latency p90 is 6 s, above 5 s"]
    );
}

#[test]
fn a_prompt_that_does_not_fit_removes() {
    let context = Context::new().prompt_tokens(8001);
    let plan = plan_in(&request("a/b"), &context);
    assert_eq!(tags(&plan), ["quick"]);
    let picture = request("a/b").user([ContentPart::image_url("data:,x")]);
    let plan = plan_in(&picture, &context);
    assert!(tags(&plan).is_empty());
    let video = request("a/b").user([ContentPart::file("a.pdf", "data:,x")]);
    assert_eq!(tags(&plan_in(&video, &context)), ["quick"]);
}

#[test]
fn retention_is_looked_up_where_the_list_is_known() {
    let zdr =
        ZdrEndpoints::from_slice(br#"{"data":[{"tag":"quick","model_id":"a/b-1"}]}"#).unwrap();
    let request = with(prefer().zdr(true).data_collection(DataCollection::Deny));
    let known = plan_in(&request, &Context::new().zdr(&zdr));
    assert_eq!(tags(&known), ["quick"]);
    let unknown = plan(&request);
    assert_eq!(unknown.candidates.len(), 4);
    for word in ["provider.zdr", "provider.data_collection"] {
        assert!(
            unknown.unknown.iter().any(|text| text.contains(word)),
            "{unknown}"
        );
    }
    let policy = AccountPolicy {
        zdr: true,
        ..AccountPolicy::default()
    };
    let by_account = plan_in(
        &self::request("a/b"),
        &Context::new().zdr(&zdr).account(policy),
    );
    assert_eq!(tags(&by_account), ["quick"]);
}

#[test]
fn several_models_follow_each_other_or_mix() {
    let other = ModelEndpoints::from_slice(
        br#"{"id":"c/d","endpoints":[{"tag":"best","throughput_last_30m":{"p50":90},
            "pricing":{"prompt":"0.0000001","completion":"0.0000001"}}]}"#,
    )
    .unwrap();
    let lists = [other, endpoints()];
    let both = |provider| {
        ChatRequest::default()
            .models(["a/b", "c/d"])
            .max_tokens(1)
            .provider(provider)
    };
    let names = |plan: &Plan| -> Vec<String> {
        plan.candidates
            .iter()
            .map(|own| format!("{} {}", own.model, own.tag))
            .collect()
    };
    let one_by_one = route::plan(&both(prefer()), &lists, &Context::new());
    assert_eq!(
        names(&one_by_one),
        [
            "a/b cheap",
            "a/b middle/eu",
            "a/b quick",
            "a/b sick",
            "c/d best"
        ]
    );
    assert_eq!(one_by_one.candidates[4].odds, None);
    let mixed = both(prefer().sort(Sort::within(SortBy::Throughput, Partition::None)));
    let mixed = route::plan(&mixed, &lists, &Context::new());
    assert_eq!(
        names(&mixed),
        [
            "a/b quick",
            "c/d best",
            "a/b middle/eu",
            "a/b cheap",
            "a/b sick"
        ]
    );
}

#[test]
fn what_is_not_known_is_told() {
    let plan = route::plan(&request("x/y"), &[endpoints()], &Context::new());
    assert!(plan.candidates.is_empty() && plan.removed.is_empty() && plan.cures.is_empty());
    assert!(plan.unknown[0].contains("x/y"), "{plan}");
    let plan = plan_in(&ChatRequest::default(), &Context::new());
    assert!(plan.unknown[0].contains("default"));
    // A free variant is a model of its own.
    let plan = plan_in(&request("a/b:free"), &Context::new());
    assert!(plan.unknown[0].contains("a/b:free"));
    let providers =
        ProviderList::from_slice(br#"{"data":[{"name":"Cheap","slug":"cheap"}]}"#).unwrap();
    let named = with(prefer().order(["Cheap"]));
    let plan = plan_in(&named, &Context::new().providers(&providers));
    assert!(
        plan.unknown.iter().any(|text| text.contains("\"cheap\"")),
        "{plan}"
    );
}

#[test]
fn the_least_cure_comes_first_and_larger_ones_that_contain_it_are_not_told() {
    let nothing = prefer()
        .only(["cheap", "quick"])
        .max_price(MaxPrice::new().prompt(0.1))
        .zdr(true);
    let zdr =
        ZdrEndpoints::from_slice(br#"{"data":[{"tag":"quick","model_id":"a/b-1"}]}"#).unwrap();
    let plan = plan_in(&with(nothing), &Context::new().zdr(&zdr));
    assert!(plan.candidates.is_empty());
    // quick: the price alone. cheap: price and zdr. middle and sick: all three.
    assert_eq!(plan.cures.len(), 1, "{plan}");
    assert_eq!(plan.cures[0].admits.1, "quick");
    assert_eq!(
        plan.cures[0].changes,
        ["raise provider.max_price.prompt from 0.1 to 4"]
    );
}

#[test]
fn a_plan_reads_well() {
    let ignoring = with(
        prefer()
            .ignore(["quick"])
            .max_price(MaxPrice::new().prompt(1.5)),
    );
    insta::assert_snapshot!(plan(&ignoring));
    let nothing = with(
        prefer()
            .only(["quick"])
            .max_price(MaxPrice::new().prompt(1.5)),
    );
    insta::assert_snapshot!(plan(&nothing));
}

fn any_preferences() -> impl proptest::strategy::Strategy<Value = ProviderPreferences> {
    let list = || {
        let slugs = vec![
            "cheap",
            "middle",
            "middle/eu",
            "quick",
            "sick",
            "quick/priority",
            "x",
        ];
        prop::option::of(prop::sample::subsequence(slugs, 0..4))
    };
    let price = || prop::option::of(0.5f64..10.0);
    (
        list(),
        list(),
        list(),
        any::<Option<bool>>(),
        price(),
        price(),
        0..5usize,
    )
        .prop_map(
            |(order, only, ignore, fallbacks, prompt, completion, sort)| {
                let mut of = ProviderPreferences::new();
                let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
                of.order = order.map(owned);
                of.only = only.map(owned);
                of.ignore = ignore.map(owned);
                of.allow_fallbacks = fallbacks;
                of.sort = SortBy::KNOWN.get(sort).cloned().map(Sort::from);
                let mut most = MaxPrice::new();
                most.prompt = prompt.map(Into::into);
                most.completion = completion.map(Into::into);
                of.max_price(most)
            },
        )
}

proptest! {
    #[test]
    fn every_endpoint_is_told_of_once_and_odds_add_up(provider in any_preferences()) {
        let plan = plan(&with(provider.clone()));
        let mut all: Vec<&str> = tags(&plan);
        all.extend(plan.removed.iter().map(|own| own.tag.as_str()));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), count);
        prop_assert!(count == 4 || count == 5);
        let odds: f64 = plan.candidates.iter().filter_map(|own| own.odds).sum();
        let expected = f64::from(u8::from(
            plan.ordering == Ordering::Balanced && !plan.candidates.is_empty(),
        ));
        prop_assert!((odds - expected).abs() < 1e-9, "{}", odds);
        prop_assert!(plan.removed.iter().all(|own| !own.reasons.is_empty()));
        prop_assert_eq!(plan.cures.is_empty(), !plan.candidates.is_empty() || plan.removed.is_empty());
        prop_assert!(!plan.to_string().is_empty());
    }

    #[test]
    fn a_hard_field_less_never_removes_more(provider in any_preferences()) {
        let before = plan(&with(provider.clone()));
        for relax in [
            |of: &mut ProviderPreferences| of.only = None,
            |of: &mut ProviderPreferences| of.ignore = None,
            |of: &mut ProviderPreferences| of.max_price = None,
        ] {
            let mut wider = provider.clone();
            wider.allow_fallbacks = None;
            let mut narrow = wider.clone();
            narrow.allow_fallbacks = None;
            relax(&mut wider);
            let (wide, narrow) = (plan(&with(wider)), plan(&with(narrow)));
            for tag in tags(&narrow) {
                prop_assert!(tag.contains('/') || tags(&wide).contains(&tag), "{} {}", narrow, wide);
            }
        }
        // The same input gives the same plan.
        prop_assert_eq!(plan(&with(provider)), before);
    }
}
