use http::{Request, Version};
use proptest::prelude::*;

use super::*;

fn head(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder()
        .method("POST")
        .uri("/api/v1/chat/completions");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn open() -> Guard {
    Guard::without_tokens(Origins::none(), ["host.docker.internal"])
}

fn listed() -> Origins {
    Origins::list(["https://app.example", "http://localhost:3000"]).unwrap()
}

fn is_let_in(guard: &Guard, head: &Parts) -> bool {
    match guard.admit(head) {
        Ok(Admitted::Request(None)) => true,
        Err(failure) => {
            assert!(matches!(
                failure.reason(),
                Reason::ForeignOrigin | Reason::BadRequest
            ));
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_tokens_only_loopback_is_listened_on() {
    for (address, fine) in [
        ("127.0.0.1:4210", true),
        ("127.9.9.9:4210", true),
        ("[::1]:4210", true),
        ("[::ffff:127.0.0.1]:4210", true),
        ("0.0.0.0:4210", false),
        ("[::]:4210", false),
        ("192.168.1.4:4210", false),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(open().check_listen(address).is_ok(), fine, "{address}");
        assert!(
            Guard::with_tokens(Origins::none())
                .check_listen(address)
                .is_ok()
        );
    }
    let error = open()
        .check_listen("0.0.0.0:4210".parse().unwrap())
        .unwrap_err();
    assert!(error.to_string().contains("[[clients]]"), "{error}");
    let any = Guard::without_tokens(Origins::list(["*"]).unwrap(), []);
    assert!(any.check_listen("127.0.0.1:1".parse().unwrap()).is_err());
}

#[test]
fn without_tokens_only_names_of_this_machine_are_served() {
    for (host, fine) in [
        ("127.0.0.1:4210", true),
        ("127.1.2.3", true),
        ("localhost", true),
        ("LocalHost:4210", true),
        ("gateway.localhost:4210", true),
        ("localhost.", true),
        ("[::1]:4210", true),
        ("[::ffff:127.0.0.1]", true),
        ("host.docker.internal:4210", true),
        ("evil.example", false),
        ("evil.example:4210", false),
        ("localhost.evil.example", false),
        ("evillocalhost", false),
        ("127.0.0.1.evil.example", false),
        ("127.0.0.1@evil.example", false),
        ("evil.example@127.0.0.1", false),
        ("[::1]evil", false),
        ("[::2]:4210", false),
        ("0.0.0.0:4210", false),
        ("2130706433", false),
        ("", false),
    ] {
        assert_eq!(is_let_in(&open(), &head(&[("host", host)])), fine, "{host}");
    }
    assert!(!is_let_in(&open(), &head(&[])), "no host at all");
    assert!(!is_let_in(
        &open(),
        &head(&[("host", "localhost"), ("host", "evil.example")])
    ));
    let tokens = Guard::with_tokens(Origins::none());
    assert!(is_let_in(&tokens, &head(&[("host", "gateway.example")])));
}

#[test]
fn the_authority_of_a_uri_is_a_host_too() {
    let parts = |uri: &str| {
        let request = Request::builder().version(Version::HTTP_2).uri(uri);
        request.body(()).unwrap().into_parts().0
    };
    assert!(is_let_in(
        &open(),
        &parts("http://localhost:4210/v1/models")
    ));
    assert!(!is_let_in(
        &open(),
        &parts("http://evil.example:4210/v1/models")
    ));
}

#[test]
fn without_tokens_no_page_of_another_site_is_served() {
    let own = [
        ("host", "localhost:4210"),
        ("origin", "http://localhost:4210"),
    ];
    assert!(is_let_in(&open(), &head(&own)));
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost:3000",
        "file://",
        "http://LOCALHOST",
    ] {
        let head = head(&[("host", "localhost:4210"), ("origin", origin)]);
        assert!(!is_let_in(&open(), &head), "{origin}");
    }
    for (site, fine) in [
        ("same-origin", true),
        ("none", true),
        ("cross-site", false),
        ("same-site", false),
    ] {
        let head = head(&[("host", "localhost:4210"), ("sec-fetch-site", site)]);
        assert_eq!(is_let_in(&open(), &head), fine, "{site}");
    }
}

#[test]
fn an_origin_that_is_listed_is_told_that_it_may_read() {
    for guard in [
        Guard::with_tokens(listed()),
        Guard::without_tokens(listed(), []),
    ] {
        let head = head(&[("host", "localhost"), ("origin", "http://localhost:3000")]);
        let Ok(Admitted::Request(Some(cors))) = guard.admit(&head) else {
            panic!("it is listed");
        };
        let mut headers = HeaderMap::new();
        cors.apply(&mut headers);
        assert_eq!(
            headers["access-control-allow-origin"],
            "http://localhost:3000"
        );
        assert_eq!(headers["vary"], "origin");
    }
}

#[test]
fn a_preflight_of_a_listed_page_is_answered_and_no_others() {
    let preflight = |origin: &str| {
        let mut head = head(&[
            ("host", "localhost"),
            ("origin", origin),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,x-stainless-lang",
            ),
        ]);
        head.method = http::Method::OPTIONS;
        head
    };
    let guard = Guard::with_tokens(listed());
    let Ok(Admitted::Preflight(response)) = guard.admit(&preflight("https://app.example")) else {
        panic!("it is listed");
    };
    assert_eq!(response.status(), 204);
    let allowed = &response.headers()["access-control-allow-headers"];
    assert_eq!(allowed, "authorization,x-stainless-lang");
    assert!(matches!(
        guard.admit(&preflight("https://evil.example")),
        Ok(Admitted::Request(None))
    ));
    assert!(!is_let_in(&open(), &preflight("https://evil.example")));
}

#[test]
fn what_is_no_origin_is_refused_where_it_is_configured() {
    for origin in [
        "app.example",
        "https://app.example/",
        "https://a b",
        "https://",
        "x",
    ] {
        assert!(Origins::list([origin]).is_err(), "{origin}");
    }
    assert!(Origins::list(["vscode-webview://abc", "https://APP.example"]).is_ok());
}

proptest! {
    /// Whatever a name looks like: only what is this machine's is served, and nothing panics.
    #[test]
    fn no_name_but_this_machines_is_served(host in "[ -~]{0,40}|\\[?[a-f0-9:.@]{0,20}\\]?(:[0-9]{1,5})?") {
        let name = host_of(&host);
        if is_loopback(name) {
            let bare = name.trim_end_matches('.');
            let ip = bare.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            let is_ip = ip.is_ok_and(|ip| ip.to_canonical().is_loopback());
            let lower = bare.to_ascii_lowercase();
            prop_assert!(is_ip || lower == "localhost" || lower.ends_with(".localhost"), "{}", host);
        }
    }
}
