//! The rows.

use std::time::Duration;

use fairkey_core::Random;
use fairkey_mock::{Budget, Fault, Key, MockOpenRouter, On, Reset, Step};

use super::{FREE_MODEL, MODEL, OTHER_MODEL, Row};
use crate::caller::secret;

/// Makes every call fail that `on` selects, until the scripts are cleared.
fn fail(mock: &MockOpenRouter, on: On, fault: Fault) {
    mock.script(on, [Step::reply(fault).forever()]);
}

/// The same for every key of account a.
fn fail_account_a(mock: &MockOpenRouter, fault: &Fault) {
    for key in ["a1", "a2"] {
        fail(mock, On::key(key), fault.clone());
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns every row, in the order of their statuses.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = keys_and_money();
    rows.extend(requests());
    rows.extend(throttles());
    rows.extend(upstream());
    rows.extend(inside_200());
    rows.extend(untyped());
    rows.sort_by_key(|row| row.name);
    rows
}

/// What a key, a budget or an account is to blame for.
fn keys_and_money() -> Vec<Row> {
    vec![
        Row::script("401 a key is revoked, for good", |mock| {
            mock.revoke_key("a1");
        })
        .events(vec![(super::BEGINS, |mock| mock.revoke_key("a1"))]),
        Row::script("401 a key is disabled for 20 s", |mock| {
            mock.disable_key("a1");
        })
        .events(vec![
            (super::BEGINS, |mock| mock.disable_key("a1")),
            (super::ENDS, |mock| mock.enable_key("a1")),
        ]),
        Row::script("402 an account's balance is spent for 20 s", |_| {}).events(vec![
            (super::BEGINS, |mock| mock.set_balance("a", 0.0)),
            (super::ENDS, |mock| mock.set_balance("a", 50.0)),
        ]),
        Row::script(
            "402 the request is too big for one account's balance",
            |mock| {
                fail_account_a(mock, &Fault::request_too_big_for_balance(4096, 100));
            },
        ),
        Row::script("402 weight_exceeds_budget in one account", |mock| {
            fail_account_a(mock, &Fault::weight_exceeds_budget());
        }),
        Row::script("402 one key's cap is too small for the request", |mock| {
            fail(
                mock,
                On::key("a1"),
                Fault::key_limit_too_small(Reset::Daily, 4096, 100),
            );
        }),
        Row::script("402 an account's in-flight budget is full", |mock| {
            fail_account_a(mock, &Fault::in_flight_budget(secs(15)));
        }),
        Row::script("403 one key's daily cap is spent until its reset", |_| {})
            .in_world(|builder| {
                builder.now(
                    "2026-10-01T23:59:30Z"
                        .parse::<fairkey_mock::Timestamp>()
                        .expect("a time"),
                )
            })
            .key_a1(|key| key.limit_usd(0.000_3).limit_reset(Reset::Daily))
            .events(Vec::new()),
        Row::script("403 a workspace's budget is spent until its reset", |_| {})
            .in_world(|builder| {
                builder
                    .now(
                        "2026-10-01T23:59:30Z"
                            .parse::<fairkey_mock::Timestamp>()
                            .expect("a time"),
                    )
                    .key(Key::new(secret("w")).label("w").account("a").workspace("w"))
                    .budget(Budget::workspace("w", 0.000_1).resets(Reset::Daily))
            })
            .events(vec![
                (super::BEGINS, |mock| {
                    let reset = mock.now().next_day();
                    let fault = Fault::workspace_budget(Reset::Daily, 5.0, 5.0, Some(reset));
                    fail_account_a(mock, &fault);
                }),
                (super::ENDS, MockOpenRouter::clear_scripts),
            ]),
        Row::script(
            "403 a guardrail's budget is spent until its reset",
            |mock| {
                let reset = mock.now().plus(secs(20));
                fail(
                    mock,
                    On::key("a1"),
                    Fault::guardrail_budget(5.0, 5.0, Some(reset)),
                );
            },
        ),
        Row::script("403 a management key among the others", |mock| {
            fail(mock, On::key("a1"), Fault::management_key_for_inference());
        }),
    ]
}

/// What the request itself is to blame for.
fn requests() -> Vec<Row> {
    vec![
        Row::hopeless("400 bad parameters", |mock| {
            fail(
                mock,
                On::any(),
                Fault::bad_request("temperature must be at most 2"),
            );
        }),
        Row::hopeless("400 the context is too long", |mock| {
            fail(mock, On::any(), Fault::context_length_exceeded(8192, 9000));
        }),
        Row::hopeless("403 content is moderated", |mock| {
            fail(mock, On::any(), Fault::moderation_403("OpenAI", MODEL));
        }),
        Row::hopeless("403 a guardrail blocks the content", |mock| {
            fail(mock, On::any(), Fault::guardrail_403());
        }),
        Row::hopeless("403 the model is not open in this region", |mock| {
            fail(mock, On::any(), Fault::region_restricted_403(MODEL));
        }),
        Row::hopeless("404 no endpoint is left", |mock| {
            fail(mock, On::any(), Fault::no_endpoints(MODEL));
        }),
        Row::hopeless("413 the request is too large", |mock| {
            fail(mock, On::any(), Fault::payload_too_large());
        }),
        Row::hopeless("422 the request makes no sense", |mock| {
            fail(mock, On::any(), Fault::unprocessable());
        }),
    ]
}

/// Who says slow down.
fn throttles() -> Vec<Row> {
    vec![
        Row::script(
            "429 an account's free quota of the day is used up",
            |mock| {
                let fault = Fault::free_tier_daily(mock.now().next_day());
                for key in ["a1", "a2"] {
                    fail(mock, On::key(key).and_model(FREE_MODEL), fault.clone());
                }
            },
        )
        .models(&[FREE_MODEL, MODEL]),
        Row::script(
            "429 an account's free quota of the minute is used up",
            |mock| {
                let fault = Fault::free_tier_per_minute(mock.now().plus(secs(20)));
                for key in ["a1", "a2"] {
                    fail(mock, On::key(key).and_model(FREE_MODEL), fault.clone());
                }
            },
        )
        .models(&[FREE_MODEL, MODEL]),
        Row::script("429 a busy free model is guarded", |mock| {
            fail(mock, On::model(FREE_MODEL), Fault::shared_capacity());
        })
        .models(&[FREE_MODEL, MODEL]),
        Row::script("429 a provider is full", |mock| {
            let fault = Fault::provider_rate_limited("OpenAI").retry_after(secs(5));
            fail(mock, On::model(MODEL), fault);
        })
        .models(&[MODEL, OTHER_MODEL]),
        Row::script("429 every provider of a model is full", |mock| {
            fail(mock, On::model(MODEL), Fault::capacity_exhausted(secs(5)));
        })
        .models(&[MODEL, OTHER_MODEL]),
        Row::script("429 admission control of an account", |mock| {
            fail_account_a(mock, &Fault::admission_control(secs(10)));
        }),
        Row::script("429 an account's limit of 10 requests in 10 s", |_| {})
            .account_a(|account| account.requests_per_window(10, secs(10)))
            .events(Vec::new()),
    ]
}

/// What a provider, OpenRouter or the network is to blame for.
fn upstream() -> Vec<Row> {
    vec![
        Row::script("401 a provider refuses its own credential", |mock| {
            fail(
                mock,
                On::model(MODEL),
                Fault::provider_credential_401("OpenAI"),
            );
        })
        .models(&[MODEL, OTHER_MODEL]),
        Row::script("408 the request timed out, one in four", |mock| {
            mock.script(On::any(), one_in_four(Fault::timeout_408()));
        }),
        Row::script("500 OpenRouter fails", |mock| {
            fail(mock, On::any(), Fault::internal_500());
        }),
        Row::script("502 a provider fails, one call in four", |mock| {
            mock.script(On::any(), one_in_four(Fault::provider_error_502("OpenAI")));
        }),
        Row::script("502 a provider fails", |mock| {
            fail(mock, On::model(MODEL), Fault::provider_error_502("OpenAI"));
        })
        .models(&[MODEL, OTHER_MODEL]),
        Row::script("503 no provider meets the routing now", |mock| {
            fail(mock, On::model(MODEL), Fault::no_provider_503(secs(5)));
        })
        .models(&[MODEL, OTHER_MODEL]),
        Row::script("504 a provider is too slow, one call in four", |mock| {
            mock.script(On::any(), one_in_four(Fault::timeout_504("OpenAI")));
        }),
        Row::script("524 the edge timed out, one call in four", |mock| {
            mock.script(On::any(), one_in_four(Fault::edge_timeout_524()));
        }),
        Row::script("529 a provider is overloaded", |mock| {
            fail(mock, On::model(MODEL), Fault::overloaded_529());
        })
        .models(&[MODEL, OTHER_MODEL]),
        Row::script("5xx a web page from the edge", |mock| {
            fail(mock, On::any(), Fault::html_from_edge());
        }),
        Row::script("net connections break, one in four", |mock| {
            mock.script(On::any(), mixed(&Step::reset_before_head()));
        }),
        Row::script("net every connection breaks", |mock| {
            mock.script(On::any(), [Step::reset_before_head().forever()]);
        }),
    ]
}

/// What fails although the status is 200.
fn inside_200() -> Vec<Row> {
    vec![
        Row::script("200 an error instead of an answer, one in four", |mock| {
            mock.script(On::any(), one_in_four(Fault::error_in_200()));
        }),
        Row::script("200 an error beside half an answer, one in four", |mock| {
            mock.script(On::any(), one_in_four(Fault::choice_error_in_200()));
        }),
        Row::script("200 a finish that is an error, one in four", |mock| {
            mock.script(On::any(), one_in_four(Fault::native_finish_error()));
        }),
        Row::script("200 the body ends too early, one in four", |mock| {
            mock.script(On::any(), mixed(&Step::truncate_after_chunks(1)));
        }),
    ]
}

/// What carries no typed field: the same bare status, in three extents.
fn untyped() -> Vec<Row> {
    vec![
        Row::script("429 bare, one key", |mock| {
            fail(mock, On::key("a1"), bare_429());
        }),
        Row::script("429 bare, one account", |mock| {
            fail_account_a(mock, &bare_429());
        }),
        Row::script("429 bare, every key", |mock| {
            fail(mock, On::any(), bare_429());
        }),
        Row::script("401 bare, every key", |mock| {
            fail(
                mock,
                On::any(),
                Fault::new(401, "Unauthorized").without_metadata(),
            );
        }),
        Row::script("403 bare, every key", |mock| {
            fail(
                mock,
                On::any(),
                Fault::new(403, "Forbidden").without_metadata(),
            );
        }),
    ]
}

fn bare_429() -> Fault {
    Fault::new(429, "Too many requests").without_metadata()
}

/// Returns steps of which one in four is that fault, by chance under a seed.
fn one_in_four(fault: Fault) -> Vec<Step> {
    mixed(&Step::reply(fault))
}

/// Returns steps of which one in four is `bad`, by chance under a seed: in turn, retries would
/// meet it in step.
fn mixed(bad: &Step) -> Vec<Step> {
    let mut chance = Random::new(7);
    let mut step = |_| {
        if chance.unit() < 0.25 {
            bad.clone()
        } else {
            Step::pass()
        }
    };
    (0..4096).map(&mut step).collect()
}
