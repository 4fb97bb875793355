use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

const TOKEN: &str = "tok-canary-3f1c9d";

fn config(id: &str, token: &str) -> TenantConfig {
    let mut config = TenantConfig::new(id);
    config.tokens = vec![TokenHash::of(token)];
    config
}

fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn tenant(change: impl FnOnce(&mut TenantConfig)) -> Arc<Tenant> {
    let mut config = config("team-a", TOKEN);
    change(&mut config);
    Arc::clone(&Tenants::new([config]).unwrap().all()[0])
}

fn at(s: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(s)
}

fn wall(s: u64) -> Duration {
    // 2025-01-01 12:00 UTC, a Wednesday.
    Duration::from_secs(1_735_732_800 + s)
}

fn cost(tokens: u64, micro_usd: u64) -> Cost {
    Cost {
        tokens,
        micro_usd,
        ..Cost::ONE
    }
}

#[test]
fn a_token_is_taken_from_either_header() {
    let tenants = Tenants::new([config("a", "tok-a"), config("b", "tok-b")]).unwrap();
    let who = |all: &[(&'static str, &str)]| {
        tenants
            .authenticate(&headers(all))
            .map(|tenant| tenant.id().to_owned())
    };
    assert_eq!(
        who(&[("authorization", "Bearer tok-a")]).as_deref(),
        Ok("a")
    );
    assert_eq!(
        who(&[("authorization", "bearer  tok-b ")]).as_deref(),
        Ok("b")
    );
    assert_eq!(who(&[("x-api-key", "tok-b")]).as_deref(), Ok("b"));
    let both = [("authorization", "Bearer other"), ("x-api-key", "tok-a")];
    assert_eq!(who(&both).as_deref(), Ok("a"), "one of both is known");
    for bad in [
        &[][..],
        &[("authorization", "Bearer ")],
        &[("authorization", "tok-a")],
        &[("authorization", "Basic tok-a")],
        &[("authorization", "Bearer tok-")],
        &[("authorization", "Bearer tok-aa")],
        &[("x-api-key", "TOK-A")],
    ] {
        assert_eq!(
            who(bad).unwrap_err().reason(),
            Reason::Unauthorized,
            "{bad:?}"
        );
    }
}

#[test]
fn without_tokens_everybody_is_the_same_tenant() {
    let tenants = Tenants::anybody();
    assert!(tenants.is_open());
    assert_eq!(
        tenants.authenticate(&HeaderMap::new()).unwrap().id(),
        ANYBODY
    );
}

#[test]
fn two_tokens_serve_while_one_takes_the_place_of_the_other() {
    let mut config = config("a", "old");
    config.tokens.push(TokenHash::of("new"));
    let tenants = Tenants::new([config]).unwrap();
    for token in ["old", "new"] {
        assert!(
            tenants
                .authenticate(&headers(&[("x-api-key", token)]))
                .is_ok()
        );
    }
}

#[test]
fn no_token_is_in_what_is_printed() {
    let tenants = Tenants::new([config("a", TOKEN)]).unwrap();
    let wrong = headers(&[("authorization", "Bearer tok-canary-wrong")]);
    let failure = tenants.authenticate(&wrong).unwrap_err();
    let body = failure.to_response(crate::Format::Chat, "r").into_body();
    let printed = [
        format!("{tenants:?} {failure:?} {}", failure.message()),
        String::from_utf8(body.to_vec()).unwrap(),
    ];
    for text in printed {
        assert!(!text.contains("canary"), "{text}");
        // Nor the whole hash, by which a guess could be checked.
        assert!(!text.contains(&TokenHash::of(TOKEN).to_string()), "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_cure() {
    type Change = fn(&mut TenantConfig);
    let changes: [(Change, &str); 7] = [
        (|it| it.id = "a b".into(), "letters"),
        (|it| it.tokens.clear(), "token"),
        (|it| it.tokens = vec![TokenHash::of("")], "empty"),
        (|it| it.weight = 0, "weight"),
        (|it| it.limits.in_flight = Some(0), "under way"),
        (
            |it| {
                it.limits.requests = Some(Rate {
                    limit: 0,
                    per: Duration::from_secs(1),
                });
            },
            "rate of nothing",
        ),
        (
            |it| {
                it.limits.tokens = Some(Rate {
                    limit: 1,
                    per: Duration::ZERO,
                });
            },
            "window",
        ),
    ];
    for (change, word) in changes {
        let mut config = config("a", TOKEN);
        change(&mut config);
        let error = Tenants::new([config]).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let twice = Tenants::new([config("a", "x"), config("a", "y")]).unwrap_err();
    assert!(twice.to_string().contains("two clients"), "{twice}");
    let same = Tenants::new([config("a", "x"), config("b", "x")]).unwrap_err();
    assert!(same.to_string().contains("same token"), "{same}");
    assert!(Tenants::new([]).is_err());
}

#[test]
fn models_and_routes_are_those_of_the_configuration() {
    let tenant = tenant(|it| {
        it.models = Globs::new(["openai/*", "a/b"]);
        it.routes = Globs::new(["chat", "embed*"]);
    });
    assert!(tenant.check_model(Some("openai/gpt-4o")).is_ok());
    for model in [Some("a/b:free"), Some("anthropic/x"), Some(""), None] {
        let failure = tenant.check_model(model).unwrap_err();
        assert_eq!(
            (failure.reason(), failure.status().as_u16()),
            (Reason::ModelNotAllowed, 403)
        );
    }
    assert!(tenant.check_route("chat").is_ok() && tenant.check_route("embeddings").is_ok());
    assert_eq!(
        tenant.check_route("files").unwrap_err().reason(),
        Reason::RouteNotAllowed
    );
    assert!(super::tests::tenant(|_| ()).check_model(None).is_ok());
}

#[test]
fn a_tenant_is_refused_past_its_rate_with_the_time_at_which_it_fits() {
    let tenant = tenant(|it| {
        it.limits.requests = Some(Rate {
            limit: 2,
            per: Duration::from_secs(64),
        });
    });
    for _ in 0..2 {
        let mut permit = tenant.admit(Cost::ONE, at(0), wall(0)).unwrap();
        permit.sent();
    }
    let refused = tenant.admit(Cost::ONE, at(10), wall(10)).unwrap_err();
    assert_eq!(refused.reason(), Reason::OverRate);
    let wait = refused.retry_after().unwrap();
    assert_eq!(
        wait,
        Duration::from_secs(55),
        "65 steps of a second, 10 of which are over"
    );
    assert!(tenant.admit(Cost::ONE, at(10) + wait, wall(65)).is_ok());
}

#[test]
fn what_was_never_sent_costs_nothing() {
    let tenant = tenant(|it| {
        it.limits.requests = Some(Rate {
            limit: 1,
            per: Duration::from_secs(60),
        });
        it.limits.tokens = Some(Rate {
            limit: 10,
            per: Duration::from_secs(60),
        });
        it.limits.money = vec![Budget {
            micro_usd: 100,
            per: Per::Day,
        }];
        it.limits.in_flight = Some(1);
    });
    for _ in 0..3 {
        let permit = tenant.admit(cost(10, 100), at(0), wall(0)).unwrap();
        assert_eq!(tenant.in_flight(), 1);
        drop(permit);
    }
    assert_eq!(
        (tenant.in_flight(), tenant.money(Per::Day, wall(0))),
        (0, (0, 0))
    );
}

#[derive(Debug, Default)]
struct Books(Mutex<Vec<Spent>>);

impl Record for Books {
    fn record(&self, spent: Spent) {
        self.0.lock().unwrap().push(spent);
    }
}

#[test]
fn a_call_is_put_right_when_it_ends_and_written_down_once() {
    let tenant = tenant(|it| {
        it.limits.tokens = Some(Rate {
            limit: 1_000,
            per: Duration::from_secs(60),
        });
        it.limits.money = vec![Budget {
            micro_usd: 1_000,
            per: Per::Day,
        }];
    });
    let books = Arc::new(Books::default());
    let mut permit = tenant.admit(cost(900, 800), at(0), wall(0)).unwrap();
    permit = permit.with_books(Arc::clone(&books) as Arc<dyn Record>);
    permit.sent();
    permit.served_by("k1".into(), Some("a/b".into()));
    let held = tenant.admit(cost(50, 300), at(0), wall(0)).unwrap_err();
    assert_eq!(
        (held.reason(), held.retry_after()),
        (Reason::TooManyInFlight, None)
    );
    let used = Used {
        tokens: 100,
        micro_usd: 100,
    };
    permit.settle(used);
    drop(permit);
    assert_eq!(tenant.money(Per::Day, wall(0)), (100, 0));
    let next = tenant.admit(cost(900, 900), at(1), wall(1)).unwrap();
    drop(next);
    let books = books.0.lock().unwrap();
    assert_eq!(books.len(), 1);
    assert_eq!((books[0].used, books[0].is_guess), (used, false));
    assert_eq!(books[0].key.as_ref().map(KeyIdExt::text), Some("k1"));
}

trait KeyIdExt {
    fn text(&self) -> &str;
}

impl KeyIdExt for fairkey_core::KeyId {
    fn text(&self) -> &str {
        self.as_str()
    }
}

#[test]
fn a_call_of_which_nothing_is_known_counts_as_expected() {
    let tenant = tenant(|it| {
        it.limits.money = vec![Budget {
            micro_usd: 1_000,
            per: Per::Day,
        }];
        it.limits.unpriced_micro_usd = 300;
    });
    let books = Arc::new(Books::default());
    for _ in 0..3 {
        let permit = tenant.admit(Cost::ONE, at(0), wall(0)).unwrap();
        permit
            .with_books(Arc::clone(&books) as Arc<dyn Record>)
            .sent();
    }
    assert_eq!(tenant.money(Per::Day, wall(0)), (900, 0));
    assert!(books.0.lock().unwrap().iter().all(|spent| spent.is_guess));
    let over = tenant.admit(Cost::ONE, at(0), wall(0)).unwrap_err();
    assert_eq!(over.reason(), Reason::OverBudget);
    assert_eq!(
        over.retry_after(),
        Some(Duration::from_secs(12 * 3_600)),
        "until midnight"
    );
    assert!(!over.should_retry());
    let mut refused = tenant.admit(Cost::ONE, at(0), wall(86_400)).unwrap();
    refused.refused();
    drop(refused);
    assert_eq!(tenant.money(Per::Day, wall(86_400)), (0, 0));
}

#[test]
fn a_reload_keeps_what_was_counted_and_takes_the_new_limits() {
    let budget = |micro_usd| {
        vec![Budget {
            micro_usd,
            per: Per::Total,
        }]
    };
    let mut old = config("a", "t");
    old.limits.money = budget(100);
    let tenants = Tenants::new([old, config("gone", "g")]).unwrap();
    let mut under_way = tenants.all()[0].admit(cost(0, 60), at(0), wall(0)).unwrap();
    under_way.sent();
    let mut new = config("a", "other token");
    new.limits.money = budget(70);
    new.limits.in_flight = Some(1);
    let tenants = tenants.reload([config("b", "b"), new]).unwrap();
    let a = &tenants.all()[1];
    assert_eq!(
        (a.index(), a.in_flight(), a.money(Per::Total, wall(0))),
        (1, 1, (0, 60))
    );
    assert_eq!(
        a.admit(cost(0, 1), at(0), wall(0)).unwrap_err().reason(),
        Reason::TooManyInFlight
    );
    drop(under_way);
    assert_eq!((a.in_flight(), a.money(Per::Total, wall(0))), (0, (60, 0)));
    assert_eq!(
        a.admit(cost(0, 11), at(0), wall(0)).unwrap_err().reason(),
        Reason::OverBudget
    );
    assert!(
        tenants
            .authenticate(&headers(&[("x-api-key", "t")]))
            .is_err()
    );
}

#[test]
fn many_threads_leave_nothing_behind_and_never_pass_the_cap() {
    let tenant = tenant(|it| {
        it.limits.money = vec![Budget {
            micro_usd: 5_000,
            per: Per::Day,
        }];
        it.limits.in_flight = Some(3);
    });
    std::thread::scope(|scope| {
        for n in 0..4u64 {
            let tenant = &tenant;
            scope.spawn(move || {
                for call in 0..500u64 {
                    if let Ok(mut permit) = tenant.admit(cost(0, 40), at(0), wall(0)) {
                        let (spent, reserved) = tenant.money(Per::Day, wall(0));
                        assert!(spent + reserved <= 5_000);
                        assert!(tenant.in_flight() <= 3);
                        permit.settle(Used {
                            micro_usd: (call + n) % 41,
                            ..Used::default()
                        });
                    }
                }
            });
        }
    });
    assert_eq!(
        (tenant.in_flight(), tenant.money(Per::Day, wall(0)).1),
        (0, 0)
    );
}

proptest! {
    /// A pattern means what the same pattern means as a slow search.
    #[test]
    fn a_glob_matches_what_it_says(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
        fn slow(pattern: &[u8], name: &[u8]) -> bool {
            match pattern.split_first() {
                None => name.is_empty(),
                Some((b'*', rest)) => (0..=name.len()).any(|at| slow(rest, &name[at..])),
                Some((byte, rest)) => name.first() == Some(byte) && slow(rest, &name[1..]),
            }
        }
        let expected = slow(pattern.as_bytes(), name.as_bytes());
        prop_assert_eq!(Globs::new([&pattern]).allow(&name), expected, "{} {}", pattern, name);
    }
}
