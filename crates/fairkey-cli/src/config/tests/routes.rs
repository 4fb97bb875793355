//! Routes: `[routes]`.

use super::*;

#[test]
fn a_route_is_read_with_all_that_it_can_say() {
    let config = parse(
        r#"
[routes.fast]
models = ["a/1", "a/2:nitro", "a/3", "a/4"]
allow = ["team-a"]
[routes.fast.provider]
order = ["groq"]
only = ["groq", "together"]
ignore = ["azure"]
allow_fallbacks = true
require_parameters = true
data_collection = "deny"
zdr = true
enforce_distillable_text = true
quantizations = ["fp8"]
sort = { by = "throughput", partition = "none" }
preferred_min_throughput = 50
preferred_max_latency = { p90 = 2.5 }
max_price = { prompt = 1, completion = "2.5" }
options = { groq = { x = 1 } }
[routes.fast.defaults]
max_tokens = 500
temperature = 0.2
stop = ["END"]
reasoning = { effort = "low" }
service_tier = "auto"
[routes."cheap.and-private"]
models = ["b/1"]
"#,
    )
    .unwrap();
    let fast = config.profiles.get("fast").unwrap();
    assert_eq!(fast.models.len(), 4);
    assert_eq!(fast.allow.as_deref(), Some(&["team-a".to_owned()][..]));
    let provider = serde_json::to_value(&fast.provider).unwrap();
    assert_eq!(provider.as_object().unwrap().len(), 14);
    assert_eq!(provider["sort"]["partition"], "none");
    assert_eq!(provider["max_price"]["completion"], "2.5");
    assert_eq!(fast.defaults["reasoning"]["effort"], "low");
    assert_eq!(fast.defaults.len(), 5);
    assert!(config.profiles.get("route:cheap.and-private").is_some());
}

#[test]
fn a_route_that_cannot_be_is_refused_where_it_stands() {
    let route = |rest: &str| format!("[routes.x]\nmodels = [\"a/b\"]\n{rest}\n");
    for (text, place, what) in [
        ("[routes.x]\n".to_owned(), "line 1", "models"),
        (
            "[routes.x]\nmodels = []\n".to_owned(),
            "line 1 column 9",
            "no model",
        ),
        (
            "[routes.x]\nmodels = [\"a/b\", \"a b\"]\n".to_owned(),
            "line 2 column 18",
            "white space",
        ),
        (
            "[routes.x]\nmodels = [\"a/b\", \"a/b\"]\n".to_owned(),
            "line 2 column 18",
            "twice",
        ),
        (
            "[routes.\"a/b\"]\nmodels = [\"a/b\"]\n".to_owned(),
            "line 1 column 9",
            "cannot be the name",
        ),
        (
            "[routes.x]\nmodels = [\"y\"]\n[routes.y]\nmodels = [\"a/b\"]\n".to_owned(),
            "line 2",
            "has the route \"y\"",
        ),
        (route("modles = 1"), "line 3 column 1", "`modles`"),
        (route("provider = { zrd = true }"), "line 3", "`zrd`"),
        (
            route("defaults = { temprature = 1 }"),
            "line 3",
            "`temprature`",
        ),
        (
            route("provider = { max_price = { promt = 1 } }"),
            "line 3 column 28",
            "`promt`",
        ),
        (
            route("defaults = { reasoning = { efort = 1 } }"),
            "line 3 column 28",
            "`efort`",
        ),
        (
            route("provider = { only = [] }"),
            "line 3 column 21",
            "no provider may serve",
        ),
        (
            route("provider = { only = [\"a\"], ignore = [\"a\"] }"),
            "line 3 column 21",
            "provider.ignore excludes all of it",
        ),
        (
            route("[routes.x.provider]\norder = []\nallow_fallbacks = false"),
            "line 5 column 19",
            "no other may serve",
        ),
        (
            route("provider = { max_price = { prompt = -1 } }"),
            "line 3 column 37",
            "from 0 up",
        ),
        (
            route("provider = { quantizations = [\"fp8\", \"fp88\"] }"),
            "line 3 column 38",
            "does not know",
        ),
        (
            route("[routes.x.defaults]\ntemperature = 7"),
            "line 4 column 15",
            "from 0 to 2",
        ),
        (
            route("defaults = { max_tokens = 0 }"),
            "line 3 column 27",
            "at least one token",
        ),
        (
            route("defaults = { max_tokens = \"many\" }"),
            "line 3",
            "invalid type",
        ),
    ] {
        refused(&text, place, what);
    }
    let secret = route(&format!(
        "provider = {{ only = [\"{CANARY} x\"], zdr = 1 }}"
    ));
    refused(&secret, "line 3", "");
    let secret = format!("[routes.x]\nmodels = [\"{CANARY} x\"]\n");
    refused(&secret, "line 2", "white space");
}

#[test]
fn what_is_odd_about_a_route_is_warned_about() {
    let text = "[routes.x]\nmodels = [\"a/b\"]\nprovider = { order = [\"AWS Bedrock\"] }\n";
    let config = parse(text).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(
        config.warnings[0].contains("route \"x\", provider.order.0: it is no provider's slug"),
        "{:?}",
        config.warnings
    );
}
