use std::sync::Arc;

use fairkey_core::Random;
use fairkey_openrouter::sizing::TOKENS_PER_BYTE;
use fairkey_openrouter::{ModelList, Usage};
use proptest::prelude::*;
use serde_json::json;

use super::table::MOST_MODELS;
use super::*;

const CHAT: &str = "/api/v1/chat/completions";
const DAY: u64 = 86_400;

fn demand(path: &str, body: &serde_json::Value) -> Demand {
    Content::read(path, body.to_string().as_bytes())
        .demand
        .expect("an object is measured")
}

/// A chat with so many bytes of text, and nothing else.
fn chat(bytes: usize, max_tokens: Option<u64>) -> Demand {
    let mut body = json!({"messages": [{"role": "user", "content": "x".repeat(bytes)}]});
    if let Some(max) = max_tokens {
        body["max_tokens"] = max.into();
    }
    demand(CHAT, &body)
}

fn usage(prompt: u64, completion: u64) -> Usage {
    Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt + completion,
        ..Usage::default()
    }
}

fn of(estimates: &Estimates, demand: &Demand, model: &str) -> Estimate {
    estimates.of(Some(demand), Some(model), None)
}

/// What a model with this ratio counts for a prompt.
fn counted(demand: &Demand, ratio: f64) -> u64 {
    (demand.size().bytes() as f64 * ratio) as u64 + demand.size().overhead_tokens()
}

fn learn(estimates: &Estimates, demand: &Demand, model: &str, usage: &Usage) {
    let reserved = of(estimates, demand, model).cost().tokens;
    estimates.learn(&model.into(), demand, usage, Some(reserved), 0);
}

#[test]
fn a_model_that_nobody_knows_is_estimated_by_the_first_belief() {
    let estimates = Estimates::default();
    let estimate = of(&estimates, &chat(3_600, None), "m/a");
    assert_eq!(
        (estimate.prompt_tokens, estimate.output_tokens),
        (1_107, 1_024)
    );
    assert_eq!((estimate.micro_usd, estimate.answers), (None, 0));
    assert_eq!(estimate.cost().tokens, 2_131);
    assert_eq!(
        of(&estimates, &chat(3_600, Some(50)), "m/a").output_tokens,
        50
    );
    assert_eq!(estimates.of(None, Some("m/a"), None).cost().tokens, 0);
}

#[test]
fn the_ratio_of_a_model_is_found_within_five_percent_in_thirty_answers() {
    // From vocabularies that are good at a language to one that knows single bytes.
    for ratio in [0.12, 0.22, 0.28, 0.4, 0.65, 1.0] {
        let (estimates, mut random) = (Estimates::default(), Random::new(5));
        let mut within = 0;
        for n in 1..=200 {
            let demand = chat(200 + random.below(8_000) as usize, Some(10));
            // Texts differ by a tenth to either side.
            let noise = 0.9 + 0.2 * f64::from(random.below(1_000)) / 1_000.0;
            learn(
                &estimates,
                &demand,
                "m/a",
                &usage(counted(&demand, ratio * noise), 10),
            );
            let known = estimates.read()[0].tokens_per_byte;
            let is_near = (known / ratio - 1.0).abs() <= 0.05;
            within = if is_near { within } else { n };
        }
        assert!(within < 30, "{ratio}: off by more after {within} answers");
    }
}

#[test]
fn a_ratio_that_changes_is_followed() {
    let estimates = Estimates::default();
    let demand = chat(2_000, None);
    for _ in 0..300 {
        learn(
            &estimates,
            &demand,
            "m/a",
            &usage(counted(&demand, 0.25), 5),
        );
    }
    for _ in 0..90 {
        learn(&estimates, &demand, "m/a", &usage(counted(&demand, 0.5), 5));
    }
    let known = estimates.read()[0].tokens_per_byte;
    assert!((known / 0.5 - 1.0).abs() < 0.05, "{known}");
}

#[test]
fn one_absurd_answer_does_not_spoil_what_is_known() {
    let estimates = Estimates::default();
    let demand = chat(2_000, None);
    for _ in 0..100 {
        learn(
            &estimates,
            &demand,
            "m/a",
            &usage(counted(&demand, 0.25), 5),
        );
    }
    for tokens in [u64::MAX / 4, 1] {
        learn(&estimates, &demand, "m/a", &usage(tokens, 5));
        let known = estimates.read()[0].tokens_per_byte;
        assert!((0.2..0.36).contains(&known), "{tokens}: {known}");
    }
}

#[test]
fn a_long_prompt_and_one_of_other_than_text_do_not_decide_alone() {
    let estimates = Estimates::default();
    let short = chat(1_000, None);
    for _ in 0..100 {
        learn(&estimates, &short, "m/a", &usage(counted(&short, 0.25), 5));
    }
    let long = chat(4 << 20, None);
    learn(&estimates, &long, "m/a", &usage(counted(&long, 1.0), 5));
    let known = estimates.read()[0].tokens_per_byte;
    assert!(known < 0.65, "{known}");

    let estimates = Estimates::default();
    let image = json!({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}});
    let image = demand(CHAT, &json!({"messages": [{"content": [image]}]}));
    learn(&estimates, &image, "m/a", &usage(90_000, 5));
    assert_eq!(estimates.read()[0].tokens_per_byte, TOKENS_PER_BYTE);
}

#[test]
fn answers_are_reserved_as_long_as_nine_in_ten_were() {
    let (estimates, mut random) = (Estimates::default(), Random::new(7));
    let mut lengths = Vec::new();
    for _ in 0..400 {
        // Many short ones, a few long ones.
        let length = 20 + u64::from(random.below(600)) * u64::from(random.below(4));
        lengths.push(length);
        learn(&estimates, &chat(300, None), "m/a", &usage(100, length));
    }
    lengths.sort_unstable();
    let exact = lengths[lengths.len() * 9 / 10] as f64;
    let told = of(&estimates, &chat(300, None), "m/a").output_tokens as f64;
    assert!((0.85..1.3).contains(&(told / exact)), "{told} for {exact}");
    let bounded = of(&estimates, &chat(300, Some(64)), "m/a");
    assert_eq!(bounded.output_tokens, 64);
    assert_eq!(of(&estimates, &chat(300, None), "m/b").output_tokens, 1_024);
}

#[test]
fn after_nine_answers_the_first_belief_counts_no_more() {
    let estimates = Estimates::default();
    for n in 1..=12 {
        learn(&estimates, &chat(300, None), "m/a", &usage(100, 100));
        let told = of(&estimates, &chat(300, None), "m/a").output_tokens;
        assert_eq!(told > 1_000, n < 9, "{n}: {told}");
    }
    let eager = Estimates::default();
    learn(&eager, &chat(300, None), "m/a", &usage(100, 9_000));
    assert!(of(&eager, &chat(300, None), "m/a").output_tokens >= 9_000);
}

#[test]
fn several_answers_count_each() {
    let estimates = Estimates::default();
    let three = json!({"n": 3, "max_tokens": 50, "messages": [{"content": "x"}]});
    let three = demand(CHAT, &three);
    assert_eq!(of(&estimates, &three, "m/a").output_tokens, 150);
    for _ in 0..20 {
        learn(&estimates, &three, "m/a", &usage(10, 30));
    }
    assert_eq!(estimates.read()[0].output_p90, 10);
    assert_eq!(of(&estimates, &three, "m/a").output_tokens, 30);
}

#[test]
fn what_is_embedded_has_no_answer_and_no_form_of_a_conversation() {
    let estimates = Estimates::default();
    let body = json!({"input": ["x".repeat(100), "x".repeat(100)]});
    let estimate = of(&estimates, &demand("/api/v1/embeddings", &body), "m/e");
    assert_eq!((estimate.prompt_tokens, estimate.output_tokens), (62, 0));
    let tokens = demand("/api/v1/embeddings", &json!({"input": [1, 2, 3]}));
    assert_eq!(of(&estimates, &tokens, "m/e").cost().tokens, 3);
}

#[test]
fn the_error_of_estimates_is_told_and_becomes_small() {
    let estimates = Estimates::default();
    let demand = chat(4_000, None);
    let used = usage(counted(&demand, 0.5), 700);
    let told = |estimates: &Estimates| estimates.read().remove(0);
    learn(&estimates, &demand, "m/a", &used);
    let first = told(&estimates);
    let mean = first.mean_ratio.unwrap();
    assert!((mean - 2_711.0 / 2_255.0).abs() < 0.05, "{first:?}");
    assert!(first.error_p90.unwrap() > 0.14, "{first:?}");
    for _ in 0..600 {
        learn(&estimates, &demand, "m/a", &used);
    }
    let last = told(&estimates);
    assert!((last.mean_ratio.unwrap() - 1.0).abs() < 0.05, "{last:?}");
    assert!(last.error_p90.unwrap() < 0.05, "{last:?}");

    // What the caller has said is no estimate of ours.
    let said = Estimates::default();
    said.learn(&"m/a".into(), &demand, &used, None, 0);
    assert_eq!(
        (told(&said).mean_ratio, told(&said).error_p90),
        (None, None)
    );
    assert_eq!(told(&said).answers, 1);
}

#[test]
fn a_hundred_thousand_names_take_no_more_room_than_a_few() {
    let estimates = Estimates::default();
    let demand = chat(100, None);
    for n in 0..100_000 {
        let name: Arc<str> = format!("m/{n}").into();
        let _ = of(&estimates, &demand, &name);
        if n < 5_000 {
            estimates.learn(&name, &demand, &usage(30, 30), None, 0);
            // One that is used stays.
            estimates.learn(&"m/kept".into(), &demand, &usage(30, 30), None, 0);
        }
    }
    assert_eq!(
        estimates.len(),
        MOST_MODELS,
        "only answers are learned from"
    );
    let all = estimates.read();
    assert!(
        all.iter()
            .any(|known| &*known.model == "m/kept" && known.answers == 5_000)
    );
    let long: Arc<str> = "x".repeat(257).into();
    assert_eq!(
        estimates.learn(&long, &demand, &usage(30, 30), None, 0),
        table::Learnt::default()
    );
    assert!(estimates.read().iter().all(|known| known.model.len() < 257));
}

fn list(models: &serde_json::Value) -> Arc<ModelList> {
    Arc::new(ModelList::from_slice(json!({"data": models}).to_string().as_bytes()).unwrap())
}

fn money(model: &serde_json::Value, demand: &Demand, name: &str) -> Option<u64> {
    let estimates = Estimates::default();
    let list = list(&json!([model]));
    estimates
        .of(Some(demand), Some(name), Some(&list))
        .micro_usd
}

#[test]
fn money_is_the_most_that_is_billed_and_not_the_likeliest() {
    let model = |pricing| {
        json!({"id": "m/a", "context_length": 10_000, "pricing": pricing,
            "top_provider": {"max_completion_tokens": 4_000}})
    };
    let plain = json!({"prompt": "0.000002", "completion": "0.00001"});
    // 1107 tokens in, at 2 micro-dollars; 500 out, at 10.
    let bounded = chat(3_600, Some(500));
    assert_eq!(
        money(&model(plain.clone()), &bounded, "m/a"),
        Some(2_214 + 5_000)
    );
    // Without a limit, the model's own, not what is likely.
    assert_eq!(
        money(&model(plain.clone()), &chat(3_600, None), "m/a"),
        Some(2_214 + 40_000)
    );
    let room = json!({"id": "m/a", "context_length": 2_107, "pricing": plain});
    assert_eq!(
        money(&room, &chat(3_600, None), "m/a"),
        Some(2_214 + 10_000)
    );
    let no_ceiling = json!({"id": "m/a", "pricing": plain});
    assert_eq!(
        money(&no_ceiling, &chat(3_600, None), "m/a"),
        Some(2_214 + 10_240)
    );

    let dear = json!({"prompt": "0.000002", "completion": "0.00001", "request": "0.001",
        "image": "0.005", "input_cache_write": "0.000003", "internal_reasoning": "0.00002"});
    let image = json!({"type": "image_url", "image_url": {"url": ""},
        "cache_control": {"type": "ephemeral"}});
    let cached = demand(
        CHAT,
        &json!({"max_tokens": 1, "messages": [{"content": [image]}]}),
    );
    // 1,607 tokens that are written to the cache, one of reasoning, a request, an image.
    assert_eq!(
        money(&model(dear), &cached, "m/a"),
        Some(4_821 + 20 + 1_000 + 5_000)
    );

    let long = json!({"prompt": "0.000002", "completion": "0", "overrides":
        [{"min_prompt_tokens": 1_000, "prompt": "0.000004"}]});
    assert_eq!(money(&model(long), &bounded, "m/a"), Some(4_428));
}

#[test]
fn a_limit_that_no_model_can_reach_is_one_all_the_same() {
    let priced = json!({"id": "m/a", "pricing": {"prompt": "0.001", "completion": "0.001"}});
    for limit in [u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX] {
        let (few, many) = (chat(1, Some(limit)), chat(5_000, Some(limit)));
        assert!(few.limit().is_some(), "{limit}");
        assert!(money(&priced, &few, "m/a") <= money(&priced, &many, "m/a"));
    }
}

#[test]
fn an_unknown_price_is_unknown_and_a_free_model_costs_nothing() {
    let demand = chat(100, Some(10));
    let priced = |id, usd| json!({"id": id, "pricing": {"prompt": usd, "completion": usd}});
    assert_eq!(money(&priced("m/a", "0.001"), &demand, "m/b"), None);
    assert_eq!(
        money(&priced("m/a", "-1"), &demand, "m/a"),
        None,
        "a router"
    );
    assert_eq!(money(&json!({"id": "m/a"}), &demand, "m/a"), None);
    assert_eq!(
        money(&priced("m/a:free", "0"), &demand, "m/a:free"),
        Some(0)
    );
    assert_eq!(money(&priced("m/a", "0.001"), &demand, "m/a:free"), None);
    let nitro = money(&priced("m/a", "0.001"), &demand, "m/a:nitro");
    assert_eq!(nitro, money(&priced("m/a", "0.001"), &demand, "m/a"));
    assert_eq!(
        money(&priced("m/a", "1e300"), &demand, "m/a"),
        Some(u64::MAX)
    );
    assert_eq!(Estimate::default().cost().micro_usd, 0);
}

#[test]
fn a_newer_list_has_the_newer_prices() {
    let estimates = Estimates::default();
    let demand = chat(100, Some(10));
    let mut found = Vec::new();
    for usd in ["0.001", "0.002"] {
        let model = json!({"id": "m/a", "pricing": {"prompt": usd, "completion": "0"}});
        let list = list(&json!([{"id": "m/0"}, model]));
        for _ in 0..2 {
            found.push(
                estimates
                    .of(Some(&demand), Some("m/a"), Some(&list))
                    .micro_usd
                    .unwrap(),
            );
        }
    }
    assert_eq!((found[0], found[2]), (found[1], found[3]));
    assert_eq!(found[2], 2 * found[0]);
}

fn taught() -> Estimates {
    let estimates = Estimates::default();
    let demand = chat(2_000, None);
    for n in 0..100 {
        let used = usage(counted(&demand, 0.5), 100 + n);
        estimates.learn(&"m/a".into(), &demand, &used, None, 40 * DAY);
    }
    estimates
}

#[test]
fn what_was_learned_is_taken_up_again_and_learned_on() {
    let estimates = taught();
    let before = estimates.read().remove(0);
    let memories = estimates.memories();
    let after = Estimates::default();
    after.restore(&memories, 40 * DAY);
    let read = after.read().remove(0);
    assert_eq!(read.answers, 100);
    assert_eq!(read.output_p90, before.output_p90);
    assert!((read.tokens_per_byte / before.tokens_per_byte - 1.0).abs() < 1e-9);
    // Its own words are the same again.
    assert_eq!(after.memories(), memories);
    let demand = chat(2_000, None);
    for _ in 0..60 {
        learn(
            &after,
            &demand,
            "m/a",
            &usage(counted(&demand, 0.25), 1_000),
        );
    }
    let read = after.read().remove(0);
    assert!((read.tokens_per_byte / 0.25 - 1.0).abs() < 0.1, "{read:?}");
    assert!(read.output_p90 >= 1_000, "{read:?}");
}

#[test]
fn the_older_a_memory_the_less_it_counts_and_the_oldest_is_none() {
    let memory = taught().memories().remove(0);
    let weights = [40, 47, 54, 72, 73].map(|day| memory.weight(day * DAY));
    assert_eq!(weights[..3], [20.0, 10.0, 5.0]);
    assert_eq!((weights[3], weights[4]), (1.0, 0.0));
    assert_eq!(memory.clone().believed(73 * DAY), Ok(None));
    assert_eq!(memory.clone().believed(72 * DAY), Ok(Some(memory.clone())));
    // A clock that was wrong.
    assert_eq!(memory.clone().believed(DAY).unwrap().unwrap().at, DAY);
    for broken in [
        ModelMemory {
            tokens_per_byte: f64::NAN,
            ..memory.clone()
        },
        ModelMemory {
            tokens_per_byte: 3.0,
            ..memory.clone()
        },
        ModelMemory {
            mean_bytes: 0.0,
            ..memory.clone()
        },
        ModelMemory {
            output_p50: 500,
            output_p90: 400,
            ..memory.clone()
        },
        ModelMemory {
            output_p90: u64::MAX,
            ..memory.clone()
        },
        ModelMemory {
            model: "x".repeat(300),
            ..memory.clone()
        },
        ModelMemory {
            model: String::new(),
            ..memory.clone()
        },
    ] {
        assert!(broken.clone().believed(40 * DAY).is_err(), "{broken:?}");
    }
}

#[test]
fn a_body_is_read_for_gates_too() {
    let body = json!({"model": "m/a", "models": ["m/b"], "provider":
        {"only": ["Amazon Bedrock", "deepinfra/turbo"]}});
    let content = Content::read(CHAT, body.to_string().as_bytes());
    assert_eq!(content.model.as_deref(), Some("m/a"));
    assert_eq!(content.models, ["m/b".into()]);
    assert_eq!(*content.providers, ["amazon-bedrock", "deepinfra"]);
    for nothing in ["", "[]", "--boundary\r\n"] {
        let content = Content::read(CHAT, nothing.as_bytes());
        assert!(
            content.model.is_none() && content.demand.is_none(),
            "{nothing}"
        );
    }
}

proptest! {
    #[test]
    fn no_estimate_overflows_and_more_needs_no_less(
        bytes in 0_usize..3_000,
        more in 0_usize..3_000,
        max in prop::option::of(any::<u64>()),
        prompt in any::<u64>(),
        completion in any::<u64>(),
        usd in prop::sample::select(vec!["0", "1e-9", "0.00001", "1e12", "1e300"]),
        rounds in 0..5,
    ) {
        let estimates = Estimates::default();
        let pricing = json!({"prompt": usd, "completion": usd, "request": usd, "image": usd});
        let list = list(&json!([{"id": "m/a", "pricing": pricing, "context_length": u64::MAX}]));
        let (few, many) = (chat(bytes, max), chat(bytes + more, max));
        for _ in 0..rounds {
            let used = Usage {
                prompt_tokens: prompt,
                completion_tokens: completion,
                ..Usage::default()
            };
            learn(&estimates, &few, "m/a", &used);
        }
        let of = |demand: &Demand| estimates.of(Some(demand), Some("m/a"), Some(&list));
        let (small, large) = (of(&few), of(&many));
        prop_assert!(small.prompt_tokens <= large.prompt_tokens);
        prop_assert!(small.cost().tokens <= large.cost().tokens);
        prop_assert!(max.is_none() || small.micro_usd <= large.micro_usd);
        // The bounds of what a byte can be, whatever was learned.
        prop_assert!(small.prompt_tokens >= bytes as u64 / 64 + 7);
        prop_assert!(small.prompt_tokens <= bytes as u64 * 2 + 8);
        prop_assert!(small.output_tokens <= max.unwrap_or(u64::MAX));
        let told = &estimates.read();
        prop_assert!(told.iter().all(|one| one.tokens_per_byte.is_finite()));
        for memory in estimates.memories() {
            // Answers of more than all models can give make no sense on paper either.
            let is_sane = memory.output_p90 <= 1 << 24;
            prop_assert_eq!(memory.believed(0).is_ok(), is_sane);
        }
    }
}
