//! Latency, and faults by chance under the seed.

use std::time::Duration;

use crate::fault::Fault;
use crate::random::Rng;
use crate::script::{Break, Spoil};

/// How long answers take. Default: no time at all.
///
/// A stream sends its head and its keep-alive comments after half of `first_token`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// From the whole request to the first token.
    pub first_token: Duration,
    /// For each further token; a plain answer waits for all of them.
    pub per_token: Duration,
    /// Each wait is drawn evenly from `1 - jitter` to `1 + jitter` times its length. 0 to 1.
    pub jitter: f64,
}

impl Latency {
    /// A latency without jitter.
    pub const fn new(first_token: Duration, per_token: Duration) -> Self {
        Self {
            first_token,
            per_token,
            jitter: 0.0,
        }
    }

    /// With this jitter, 0 to 1; values outside are brought inside.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = if jitter.is_nan() {
            0.0
        } else {
            jitter.clamp(0.0, 1.0)
        };
        self
    }

    pub(crate) fn draw(&self, wait: Duration, rng: &mut Rng) -> Duration {
        if wait.is_zero() || self.jitter <= 0.0 {
            return wait;
        }
        wait.mul_f64(1.0 + self.jitter.min(1.0) * (2.0 * rng.unit() - 1.0))
    }
}

/// Faults that may come by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// 429 `upstream_provider_shared_pool`, with the provider's name.
    ProviderRateLimited,
    /// 502 with the provider's name.
    ProviderError,
    /// 529 with the provider's name.
    Overloaded,
    /// 504 with the provider's name.
    ProviderTimeout,
    /// 503 `provider_overloaded` with the provider's name.
    ProviderOverloaded,
    /// 401 with the provider's name: it rejects OpenRouter's credential.
    ProviderCredential,
    /// 400 with the provider's name: its own complaint about the request.
    ProviderBadRequest,
    /// 429 `capacity_exhausted`.
    CapacityExhausted,
    /// 429 `openrouter_shared_capacity`.
    SharedCapacity,
    /// 429 `openrouter_admission_control`.
    AdmissionControl,
    /// 500.
    Internal,
    /// 408.
    RequestTimeout,
    /// 503 `temporarily_unavailable`.
    Unavailable,
    /// 524.
    EdgeTimeout,
    /// A web page with status 502.
    EdgePage,
    /// A 200 with a bare error.
    ErrorIn200,
    /// A 200 with an error in its choice.
    ChoiceError,
    /// A 200 whose choice ends in `error` and says no more.
    NativeFinish,
    /// The connection is reset before the head.
    ResetBeforeHead,
    /// The connection is reset in the middle of the body.
    ResetMidBody,
    /// The body ends cleanly and too early.
    Truncated,
    /// The answer stops in the middle and never goes on.
    Stalled,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::ProviderRateLimited,
        Self::ProviderError,
        Self::Overloaded,
        Self::ProviderTimeout,
        Self::ProviderOverloaded,
        Self::ProviderCredential,
        Self::ProviderBadRequest,
        Self::CapacityExhausted,
        Self::SharedCapacity,
        Self::AdmissionControl,
        Self::Internal,
        Self::RequestTimeout,
        Self::Unavailable,
        Self::EdgeTimeout,
        Self::EdgePage,
        Self::ErrorIn200,
        Self::ChoiceError,
        Self::NativeFinish,
        Self::ResetBeforeHead,
        Self::ResetMidBody,
        Self::Truncated,
        Self::Stalled,
    ];

    /// Its name in scenario files and on command lines: `provider-error`, `reset-mid-body` …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderRateLimited => "provider-rate-limited",
            Self::ProviderError => "provider-error",
            Self::Overloaded => "overloaded",
            Self::ProviderTimeout => "provider-timeout",
            Self::ProviderOverloaded => "provider-overloaded",
            Self::ProviderCredential => "provider-credential",
            Self::ProviderBadRequest => "provider-bad-request",
            Self::CapacityExhausted => "capacity-exhausted",
            Self::SharedCapacity => "shared-capacity",
            Self::AdmissionControl => "admission-control",
            Self::Internal => "internal",
            Self::RequestTimeout => "request-timeout",
            Self::Unavailable => "unavailable",
            Self::EdgeTimeout => "edge-timeout",
            Self::EdgePage => "edge-page",
            Self::ErrorIn200 => "error-in-200",
            Self::ChoiceError => "choice-error",
            Self::NativeFinish => "native-finish",
            Self::ResetBeforeHead => "reset-before-head",
            Self::ResetMidBody => "reset-mid-body",
            Self::Truncated => "truncated",
            Self::Stalled => "stalled",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether OpenRouter would go on to the next provider.
    pub(crate) fn is_rerouted(self) -> bool {
        matches!(
            self,
            Self::ProviderRateLimited
                | Self::ProviderError
                | Self::Overloaded
                | Self::ProviderTimeout
                | Self::ProviderOverloaded
                | Self::ProviderCredential
        )
    }

    pub(crate) fn effect(self, provider: &str) -> Effect {
        const HINT: Duration = Duration::from_secs(1);
        let fault = match self {
            Self::ProviderRateLimited => Fault::provider_rate_limited(provider),
            Self::ProviderError => Fault::provider_error_502(provider),
            Self::Overloaded => Fault::overloaded_529().provider(provider),
            Self::ProviderTimeout => Fault::timeout_504(provider),
            Self::ProviderOverloaded => Fault::overloaded_503(provider),
            Self::ProviderCredential => Fault::provider_credential_401(provider),
            Self::ProviderBadRequest => Fault::provider_bad_request_400(provider),
            Self::CapacityExhausted => Fault::capacity_exhausted(HINT),
            Self::SharedCapacity => Fault::shared_capacity(),
            Self::AdmissionControl => Fault::admission_control(HINT),
            Self::Internal => Fault::internal_500(),
            Self::RequestTimeout => Fault::timeout_408(),
            Self::Unavailable => Fault::no_provider_503(HINT),
            Self::EdgeTimeout => Fault::edge_timeout_524(),
            Self::EdgePage => Fault::html_from_edge(),
            Self::ErrorIn200 => Fault::error_in_200(),
            Self::ChoiceError => Fault::choice_error_in_200(),
            Self::NativeFinish => Fault::native_finish_error(),
            Self::ResetBeforeHead => {
                let before_head = Some(Break::Reset);
                return Effect::Spoil(Spoil {
                    before_head,
                    ..Spoil::default()
                });
            }
            Self::ResetMidBody => return Effect::broken(Break::Reset),
            Self::Truncated => return Effect::broken(Break::Truncate),
            Self::Stalled => return Effect::broken(Break::Stall),
        };
        Effect::Fault(Box::new(fault))
    }
}

/// What chance does to a call.
#[derive(Debug)]
pub(crate) enum Effect {
    Fault(Box<Fault>),
    Spoil(Spoil),
}

impl Effect {
    fn broken(how: Break) -> Self {
        Self::Spoil(Spoil {
            after_chunks: Some((2, how)),
            ..Spoil::default()
        })
    }
}

/// How likely faults are, for every call and per provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    all: Vec<(FaultKind, f64)>,
    by_provider: Vec<(String, FaultKind, f64)>,
}

impl Rates {
    pub(crate) fn set(&mut self, kind: FaultKind, probability: f64) {
        self.all.retain(|(other, _)| *other != kind);
        if probability > 0.0 {
            self.all.push((kind, probability));
        }
    }

    pub(crate) fn set_provider(&mut self, provider: String, kind: FaultKind, probability: f64) {
        self.by_provider
            .retain(|(name, other, _)| *other != kind || *name != provider);
        if probability > 0.0 {
            self.by_provider.push((provider, kind, probability));
        }
    }

    /// What befalls a call whatever its provider.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Option<FaultKind> {
        Self::pick(self.all.iter().copied(), rng)
    }

    /// What befalls a call at one provider.
    pub(crate) fn draw_at(&self, provider: &str, rng: &mut Rng) -> Option<FaultKind> {
        let rates = self
            .by_provider
            .iter()
            .filter(|(name, ..)| name == provider);
        Self::pick(rates.map(|(_, kind, rate)| (*kind, *rate)), rng)
    }

    fn pick(rates: impl Iterator<Item = (FaultKind, f64)>, rng: &mut Rng) -> Option<FaultKind> {
        let mut left = rng.unit();
        for (kind, rate) in rates {
            if left < rate {
                return Some(kind);
            }
            left -= rate;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(FaultKind::from_name("nonsense"), None);
    }

    #[test]
    fn rates_are_kept_each_on_its_own() {
        let mut rates = Rates::default();
        rates.set(FaultKind::Internal, 0.1);
        rates.set(FaultKind::ProviderError, 0.2);
        let mut rng = Rng::new(&[1]);
        let mut hits = [0; 2];
        for _ in 0..100_000 {
            match rates.draw(&mut rng) {
                Some(FaultKind::Internal) => hits[0] += 1,
                Some(_) => hits[1] += 1,
                None => {}
            }
        }
        assert!((9_500..10_500).contains(&hits[0]), "{hits:?}");
        assert!((19_200..20_800).contains(&hits[1]), "{hits:?}");
    }

    #[test]
    fn jitter_stays_inside_its_bounds() {
        let latency = Latency::new(Duration::ZERO, Duration::ZERO).jitter(0.5);
        let mut rng = Rng::new(&[2]);
        for _ in 0..1000 {
            let wait = latency.draw(Duration::from_millis(100), &mut rng);
            assert!((50..=150).contains(&wait.as_millis()), "{wait:?}");
        }
    }
}
