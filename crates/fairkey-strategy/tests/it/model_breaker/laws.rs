//! The laws of gates, on a model breaker that is told of the faults of the calls that pass it.

use std::sync::Arc;

use fairkey_core::{
    Ask, At, Candidate, Denied, Gate, Outcome, Report, Scope, Scopes, Ticket, Timestamp,
};
use fairkey_strategy::{BreakerConfig, ModelBreaker, ModelBreakerConfig};
use fairkey_testkit::assert_holds;
use fairkey_testkit::law::gate;

/// Says that every ask is for one model, perhaps pinned to a provider, and tells of its faults.
#[derive(Debug)]
struct Told {
    breaker: ModelBreaker,
    providers: Vec<String>,
}

impl Told {
    fn ask(&self) -> Ask<'_> {
        Ask::new().with_model("m").with_providers(&self.providers)
    }
}

impl Gate for Told {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let ask = self.ask();
        self.breaker.check(&At { ask: &ask, ..*at })
    }
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        let ask = self.ask();
        self.breaker.enter(&At { ask: &ask, ..*at })
    }
    fn first_content(&self, key: Candidate<'_>, ticket: Ticket, at: Timestamp) {
        self.breaker.first_content(key, ticket, at);
    }
    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        let mut outcome = report.outcome;
        if let Outcome::Fault { kind, retry, .. } = outcome {
            let provider = self.providers.first().map(String::as_str);
            let (begun, ended) = (report.begun, report.ended);
            (self.breaker).fault("m", provider, kind, retry, begun, ended);
            outcome = Outcome::Neutral;
        }
        self.breaker
            .leave(key, ticket, &Report { outcome, ..*report });
    }
    fn hears(&self) -> Scopes {
        Scopes::of(Scope::Model).and(Scope::Provider)
    }
}

fn configs() -> [ModelBreakerConfig; 3] {
    let default = ModelBreakerConfig::default();
    let touchy = BreakerConfig {
        consecutive: Some(1),
        ramp: 4,
        ..BreakerConfig::default()
    };
    [
        default.clone(),
        ModelBreakerConfig {
            rules: touchy.clone(),
            entries: 2,
            ..default.clone()
        },
        ModelBreakerConfig {
            rules: BreakerConfig { ramp: 0, ..touchy },
            failing_providers: 0,
            ..default
        },
    ]
}

#[test]
fn a_breaker_of_models_obeys_the_laws_of_what_stands_for_all_keys() {
    for config in configs() {
        for providers in [vec![], vec!["p".to_owned()]] {
            println!("{config:?} {providers:?}");
            let make = || -> Arc<dyn Gate> {
                Arc::new(Told {
                    breaker: ModelBreaker::new(config.clone()).seed(3),
                    providers: providers.clone(),
                })
            };
            assert_holds(gate::check_of_all(make));
            assert_holds(gate::closes_everything(make));
            assert_holds(gate::never_shrinks_without_evidence(make));
            assert_holds(gate::at_most_one_probe(make));
            let scopes = Scopes::of(Scope::Model).and(Scope::Provider);
            assert_holds(gate::only_own_scope_is_heard(make, scopes));
        }
    }
}

#[test]
fn by_itself_it_obeys_the_laws_of_all_gates() {
    for config in configs() {
        let make = || -> Arc<dyn Gate> { Arc::new(ModelBreaker::new(config.clone()).seed(3)) };
        assert_holds(gate::check(make));
        assert_holds(gate::only_own_scope_is_heard(make, Scopes::NONE));
    }
}
