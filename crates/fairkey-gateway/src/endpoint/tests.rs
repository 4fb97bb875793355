//! Paths, by example and for all inputs.

use proptest::prelude::*;

use super::*;

fn of(line: &str) -> Option<Endpoint> {
    let (method, rest) = line.split_once(' ').unwrap();
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Endpoint::of(&method.parse().unwrap(), path, query)
}

#[track_caller]
fn check(line: &str, operation: Operation, treatment: &Treatment) {
    let endpoint = of(line).unwrap();
    assert_eq!(endpoint.operation, operation, "{line}");
    assert_eq!(&endpoint.treatment, treatment, "{line}");
    assert_eq!(endpoint.allow, None, "{line}");
}

#[test]
fn every_path_of_the_api_is_treated_as_what_it_is() {
    use Operation as Op;
    use Treatment as T;
    let owned = |id: &str| T::Owned(id.to_owned());
    for (line, operation) in [
        ("POST /api/v1/chat/completions", Op::Chat),
        ("POST /v1/chat/completions", Op::Chat),
        ("POST /v1/chat/completions/", Op::Chat),
        ("POST /api/v1/completions", Op::Completions),
        ("POST /api/v1/messages?beta=true", Op::Messages),
        ("POST /v1/messages", Op::Messages),
        ("POST /api/v1/responses", Op::Responses),
        ("POST /api/v1/embeddings", Op::Embeddings),
        ("POST /api/v1/rerank", Op::Rerank),
        ("POST /api/v1/images", Op::Images),
        ("POST /api/v1/audio/speech", Op::Speech),
        ("POST /api/v1/audio/transcriptions", Op::Transcriptions),
        ("POST /api/alpha/decisions", Op::Decisions),
        ("GET /api/v1/files", Op::Files),
        ("GET /api/v1/key", Op::Own),
        ("GET /api/v1/models/user", Op::Own),
        ("POST /api/v1/presets/p/chat/completions", Op::Own),
    ] {
        check(line, operation, &T::Pool);
    }
    for (line, operation) in [
        ("POST /api/v1/videos", Op::Videos),
        ("POST /api/v1/files", Op::Files),
        ("POST /api/beta/batches", Op::Batches),
    ] {
        check(line, operation, &T::Create);
    }
    for (line, operation, id) in [
        ("GET /api/v1/videos/v-1", Op::Videos, "v-1"),
        ("GET /api/v1/videos/v-1/content", Op::Videos, "v-1"),
        ("DELETE /api/v1/files/f-1", Op::Files, "f-1"),
        ("GET /v1/files/f-1/content", Op::Files, "f-1"),
        ("GET /api/beta/batches/b-1", Op::Batches, "b-1"),
        ("GET /api/v1/generation?id=gen-1", Op::Own, "gen-1"),
        (
            "GET /api/v1/generation/content?x=1&id=gen-1",
            Op::Own,
            "gen-1",
        ),
    ] {
        check(line, operation, &owned(id));
    }
    for line in [
        "GET /api/v1/models",
        "HEAD /api/v1/models",
        "GET /v1/models?output_modalities=all",
        "GET /api/v1/models/count",
        "GET /api/v1/models/openai/gpt-4o:free/endpoints",
        "GET /api/v1/model/openai/gpt-4o",
        "GET /api/v1/embeddings/models",
        "GET /api/v1/images/models/a/b/endpoints",
        "GET /api/v1/videos/models",
        "GET /api/v1/providers",
        "GET /api/v1/endpoints/zdr",
    ] {
        check(line, Op::Catalogue, &T::Cached);
    }
    for line in [
        "GET /api/v1/credits",
        "GET /api/v1/keys",
        "POST /v1/keys",
        "DELETE /api/v1/keys/hash",
        "POST /api/v1/auth/keys/code",
        "GET /api/v1/workspaces/w/budgets/monthly",
        "POST /api/v1/guardrails/g/assignments/keys/remove",
    ] {
        check(line, Op::Administration, &T::Manage);
    }
}

#[test]
fn what_nobody_knows_is_unknown_and_a_wrong_method_is_told_the_right_ones() {
    for line in [
        "POST /api/v1/new-thing",
        "GET /api/gamma/x",
        "POST /api/v1//chat/completions",
        "POST /api/v1/chat%2fcompletions",
        "GET /api/v1/models/../keys",
        "GET /api/v1/%6beys",
        "GET /api/v1/.",
        "GET /v1",
    ] {
        let endpoint = of(line).unwrap();
        assert_eq!(endpoint.treatment, Treatment::Unknown, "{line}");
        assert_eq!(endpoint.operation, Operation::Other, "{line}");
    }
    for line in [
        "GET /",
        "GET /metrics",
        "POST /chat/completions",
        "GET /apiary/v1",
        "GET /v10",
    ] {
        assert_eq!(of(line), None, "{line}");
    }
    assert_eq!(of("GET /api/v1/messages").unwrap().allow, Some("POST"));
    assert_eq!(of("PUT /api/v1/files").unwrap().allow, Some("GET, POST"));
    let messages = of("POST /v1/messages").unwrap();
    assert_eq!(messages.format(), Format::Messages);
    // What a client of Anthropic counts tokens by, and OpenRouter does not have.
    for (path, format) in [
        ("/v1/messages/count_tokens", Format::Messages),
        ("/v1/responses/resp-1", Format::Responses),
        ("/v1/messagesque", Format::Chat),
        ("/v1/fine_tuning/jobs", Format::Chat),
    ] {
        let unknown = of(&format!("POST {path}")).unwrap();
        assert_eq!(unknown.treatment, Treatment::Unknown, "{path}");
        assert_eq!(unknown.format(), format, "{path}");
    }
}

#[test]
fn paths_are_mapped_one_to_one_onto_the_upstream() {
    let uri = |line: &str, base: &str| {
        let query = line.split_once('?').map(|(_, query)| query);
        of(line).unwrap().target.uri(base, query)
    };
    let real = "https://openrouter.ai/api/v1";
    for (line, expected) in [
        ("POST /v1/chat/completions?a=b", "/chat/completions?a=b"),
        ("GET /api/v1/models", "/models"),
        (
            "GET /api/beta/batches/b",
            "https://openrouter.ai/api/beta/batches/b",
        ),
        ("GET /api/v1", "/"),
    ] {
        assert_eq!(uri(line, real).as_deref(), Some(expected), "{line}");
    }
    assert_eq!(
        uri("GET /api/beta/batches/b", "http://127.0.0.1:1/base"),
        None
    );
    assert_eq!(
        uri("GET /api/beta/batches/b", "http://127.0.0.1:1/proxy/v1").as_deref(),
        Some("http://127.0.0.1:1/proxy/beta/batches/b"),
    );
}

proptest! {
    /// A management path never gets a key of the pool, however it is written.
    #[test]
    fn no_spelling_of_an_administrative_path_is_taken_for_another(
        prefix in "(/api)?/v1",
        slashes in "/{1,3}",
        dots in "(\\./|\\.\\./|%2e%2e/|x/\\.\\./)?",
        name in "(keys|KEYS|%6beys|credits|workspaces)",
        rest in "(/[a-z.%]{0,4}){0,2}",
    ) {
        let path = format!("{prefix}{slashes}{dots}{name}{rest}");
        let endpoint = Endpoint::of(&Method::GET, &path, None).unwrap();
        prop_assert!(
            matches!(endpoint.treatment, Treatment::Manage | Treatment::Unknown),
            "{path}: {endpoint:?}"
        );
    }

    #[test]
    fn no_path_makes_it_panic_and_what_is_sent_is_what_came(path in "(/api/|/v1/)?.{0,40}") {
        if let Some(endpoint) = Endpoint::of(&Method::GET, &path, None) {
            // Slashes at the end are nobody's.
            let (sent, came) = (endpoint.target.path(), path.trim_end_matches('/'));
            prop_assert!(sent.trim_end_matches('/').ends_with(came), "{sent}");
        }
    }
}
