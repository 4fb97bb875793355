//! Who is at fault: the table of causes, as code.
//!
//! Typed fields first (`limit_source`, `availability`, what the metadata holds, `error_type`), the
//! status second, the words of the message last. Where one of the typed fields has a value that
//! this version does not know, the next level decides.

use crate::fault::Cause;
use crate::fault::details::Evidence::{self, Phrase, Status, Typed};
use crate::fault::envelope::Envelope;
use crate::fault::phrases::Phrases;
use crate::fault::vocabulary::{AvailabilityCode, ErrorType, LimitSource};
use crate::key_info::BudgetScope;

/// Where an error was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the answer to a call that was refused.
    Response,
    /// Inside a 200: a provider had begun.
    InBand,
}

/// Decides the cause of an error, and from what.
pub(crate) fn classify(status: Option<u16>, e: &Envelope, place: Place) -> (Cause, Evidence) {
    let (cause, evidence) = decide(status, e, place, e.phrases());
    // What typed fields say counts as typed as long as words change nothing about the scope; what
    // a status says, as long as words change nothing.
    let (wordless, _) = decide(status, e, place, Phrases::none());
    let by_words = match evidence {
        Typed => wordless.scope() != cause.scope(),
        _ => wordless != cause,
    };
    (cause, if by_words { Phrase } else { evidence })
}

fn decide(status: Option<u16>, e: &Envelope, place: Place, phrases: Phrases) -> (Cause, Evidence) {
    let reading = Reading {
        status,
        e,
        place,
        phrases,
    };
    reading
        .by_limit()
        .or_else(|| reading.by_budget())
        .or_else(|| reading.by_availability())
        .or_else(|| reading.by_metadata())
        .or_else(|| {
            reading
                .by_type(e.error_type.as_ref())
                .map(|cause| (cause, Typed))
        })
        .or_else(|| reading.by_status())
        .or_else(|| {
            reading
                .by_type(e.native.as_ref())
                .map(|cause| (cause, Status))
        })
        .or_else(|| reading.by_phrase().map(|cause| (cause, Phrase)))
        .unwrap_or(match place {
            Place::InBand => (Cause::ErrorIn200, Status),
            Place::Response => (Cause::Unknown, Status),
        })
}

struct Reading<'a> {
    status: Option<u16>,
    e: &'a Envelope,
    place: Place,
    phrases: Phrases,
}

impl Reading<'_> {
    fn has_provider(&self) -> bool {
        self.e.provider.is_some()
    }

    /// `limit_source`, and the `reason` that goes with two of them.
    fn by_limit(&self) -> Option<(Cause, Evidence)> {
        let cause = match (&self.e.limit_source, self.e.reason.as_deref()) {
            (Some(LimitSource::InFlightBudget), _) | (None, Some("in_flight_budget_exhausted")) => {
                Cause::InFlightBudget
            }
            (Some(LimitSource::Credits) | None, Some("weight_exceeds_budget")) => {
                Cause::RequestTooBigForBalance
            }
            (Some(LimitSource::Credits), _) if self.phrases.is_too_big() => {
                // The source is typed, the rest is prose; who pays is the same account.
                Cause::RequestTooBigForBalance
            }
            (Some(LimitSource::Credits), _) => Cause::BalanceExhausted,
            // Spent: 403. Too little left for this request: 402.
            (Some(LimitSource::KeyLimit), _) if self.phrases.has("key limit exceeded") => {
                Cause::KeyCapSpent
            }
            (Some(LimitSource::KeyLimit), _) if self.phrases.is_too_big() => Cause::KeyCapTooSmall,
            (Some(LimitSource::KeyLimit), _) if self.status == Some(402) => Cause::KeyCapTooSmall,
            (Some(LimitSource::KeyLimit), _) => Cause::KeyCapSpent,
            (Some(LimitSource::GuardrailBudget), _) => Cause::GuardrailBudget,
            (Some(LimitSource::WorkspaceBudget), _) => Cause::WorkspaceBudget,
            (Some(LimitSource::FreeTierDaily), _) => Cause::FreeDaily,
            (Some(LimitSource::FreeTierPerMinute), _) => Cause::FreePerMinute,
            (Some(LimitSource::SharedCapacity), _) => Cause::SharedCapacity,
            (Some(LimitSource::AdmissionControl), _) => Cause::AdmissionControl,
            (Some(LimitSource::ProviderPool), _) => Cause::ProviderPool,
            (Some(LimitSource::Other(new)), _) if new.starts_with("upstream_") => {
                Cause::ProviderRateLimited
            }
            _ => return None,
        };
        Some((cause, Typed))
    }

    /// A budget in the metadata, where no known source names it: what it applies to says whose it
    /// is.
    fn by_budget(&self) -> Option<(Cause, Evidence)> {
        if !matches!(self.status, None | Some(402 | 403 | 429)) {
            return None;
        }
        let scope = self.e.budget.as_ref()?.scope.as_ref()?;
        let cause = match scope {
            BudgetScope::KeyLimit => Cause::KeyCapSpent,
            BudgetScope::Workspace => Cause::WorkspaceBudget,
            known if known.is_known() => Cause::GuardrailBudget,
            _ => return None,
        };
        Some((cause, Typed))
    }

    fn by_availability(&self) -> Option<(Cause, Evidence)> {
        let availability = self.e.availability.as_ref()?;
        let cause = match (&availability.code, availability.retryable) {
            (AvailabilityCode::Other(_), Some(true)) => Cause::ModelUnavailable,
            (AvailabilityCode::Other(_), Some(false)) => Cause::RoutingFailed,
            (code, _) => code.cause()?,
        };
        Some((cause, Typed))
    }

    /// What the metadata holds besides words: patterns, reasons, the routing step that failed.
    fn by_metadata(&self) -> Option<(Cause, Evidence)> {
        // Others use such lists for other things; here they belong to refusals only.
        let refused = matches!(self.status, None | Some(400 | 403 | 404));
        let cause = if !refused {
            return None;
        } else if self.e.has_patterns {
            Cause::GuardrailContent
        } else if self.e.has_reasons {
            Cause::Moderation
        } else {
            match self.e.routing_step.as_deref()? {
                step if step.contains("Guardrail") || step.contains("Data Policy") => {
                    Cause::PolicyRestricted
                }
                _ => Cause::RoutingFailed,
            }
        };
        Some((cause, Typed))
    }

    fn by_type(&self, error_type: Option<&ErrorType>) -> Option<Cause> {
        use ErrorType as T;

        Some(match error_type? {
            T::ContextLengthExceeded
            | T::MaxTokensExceeded
            | T::TokenLimitExceeded
            | T::StringTooLong => Cause::ContextTooLong,
            T::ContentPolicyViolation | T::Refusal => Cause::Moderation,
            T::InvalidRequest | T::InvalidPrompt => self.bad_request(),
            T::InvalidImage
            | T::ImageTooLarge
            | T::ImageTooSmall
            | T::UnsupportedImageFormat
            | T::ImageDownloadFailed
            | T::ImageNotFound => Cause::BadRequest,
            T::Authentication => self.unauthorized(),
            T::PaymentRequired => self.payment(),
            T::PermissionDenied => self.forbidden(),
            T::NotFound => self.not_found(),
            T::PreconditionFailed => Cause::Conflict,
            T::PayloadTooLarge => Cause::TooLarge,
            T::Unprocessable => self.bad_request(),
            T::RateLimitExceeded => self.rate_limit(),
            T::Server | T::Unmapped if self.has_provider() => Cause::ProviderError,
            T::Server | T::Unmapped => Cause::ServerError,
            T::ProviderUnavailable => Cause::ProviderError,
            T::ProviderOverloaded => Cause::Overloaded,
            T::Timeout => Cause::ProviderTimeout,
            T::Other(_) => return None,
        })
    }

    fn by_status(&self) -> Option<(Cause, Evidence)> {
        let cause = match self.status? {
            400 | 422 => self.bad_request(),
            401 => self.unauthorized(),
            402 => self.payment(),
            403 => self.forbidden(),
            404 => self.not_found(),
            408 => Cause::RequestTimeout,
            409 | 412 => Cause::Conflict,
            410 => Cause::Gone,
            413 => Cause::TooLarge,
            429 => self.rate_limit(),
            502 => Cause::ProviderError,
            503 if self.has_provider() || self.phrases.has("overloaded") => Cause::Overloaded,
            503 => Cause::ModelUnavailable,
            504 | 524 => Cause::ProviderTimeout,
            // The edge's own: it could not reach OpenRouter.
            520..=523 | 525..=527 | 530 => Cause::EdgeFailed,
            529 => Cause::Overloaded,
            405..=499 => Cause::BadRequest,
            500 | 501 | 505..=599 if self.has_provider() => Cause::ProviderError,
            500..=599 => Cause::ServerError,
            _ => return None,
        };
        Some((cause, Status))
    }

    fn by_phrase(&self) -> Option<Cause> {
        let p = &self.phrases;
        Some(if p.has_any(&["insufficient credits", "can only afford"]) {
            self.payment()
        } else if p.names_key_limit() && !self.has_provider() {
            Cause::KeyCapSpent
        } else if p.has_any(&["rate limit", "rate-limited", "too many requests"]) {
            self.rate_limit()
        } else if p.has("overloaded") {
            Cause::Overloaded
        } else if p.has_any(&["timed out", "timeout"]) {
            Cause::ProviderTimeout
        } else if p.is_too_long() {
            Cause::ContextTooLong
        } else if p.is_about_content() {
            Cause::Moderation
        } else {
            return None;
        })
    }

    fn bad_request(&self) -> Cause {
        let p = &self.phrases;
        if p.has_any(&["not a valid model", "invalid model"]) {
            Cause::ModelNotFound
        } else if p.is_too_long() {
            Cause::ContextTooLong
        } else if self.has_provider() && p.is_about_content() {
            Cause::Moderation
        } else if self.has_provider() && p.has_any(&["api key not valid", "invalid api key"]) {
            // Some providers refuse a credential with a 400.
            Cause::ProviderAuth
        } else if self.has_provider() {
            Cause::RejectedByProvider
        } else {
            Cause::BadRequest
        }
    }

    fn unauthorized(&self) -> Cause {
        if self.has_provider() {
            Cause::ProviderAuth
        } else if self.phrases.is_about_expiry() {
            Cause::KeyExpired
        } else if self.phrases.is_about_disabling() {
            Cause::KeyDisabled
        } else {
            Cause::KeyInvalid
        }
    }

    fn payment(&self) -> Cause {
        let p = &self.phrases;
        if self.has_provider() {
            // Whatever it says of keys and credits, they are its own.
            Cause::ProviderQuota
        } else if p.has("key limit exceeded") {
            Cause::KeyCapSpent
        } else if p.has("create a key with a higher") {
            Cause::KeyCapTooSmall
        } else if p.is_too_big() {
            Cause::RequestTooBigForBalance
        } else if p.has_any(&["in-flight", "in flight"]) {
            Cause::InFlightBudget
        } else {
            Cause::BalanceExhausted
        }
    }

    /// Neither the status nor the type says whose permission is missing: every 403 has both.
    fn forbidden(&self) -> Cause {
        let p = &self.phrases;
        if self.has_provider() {
            // Whatever it says of keys and budgets, they are its own.
            if p.is_about_content() {
                Cause::Moderation
            } else if p.is_about_region() {
                Cause::RegionRestricted
            } else {
                Cause::ProviderAuth
            }
        } else if p.names_key_limit() {
            Cause::KeyCapSpent
        } else if p.has("workspace") && p.has("budget") {
            Cause::WorkspaceBudget
        } else if p.has("guardrail") && p.has("budget") {
            Cause::GuardrailBudget
        } else if p.has_any(&["only management keys", "only provisioning keys"]) {
            Cause::ManagementKeyRequired
        } else if p.has_any(&["management key", "provisioning key"]) {
            Cause::ManagementKey
        } else if p.is_about_region() {
            Cause::RegionRestricted
        } else if p.is_about_content() {
            Cause::Moderation
        } else if p.is_about_policy() {
            Cause::PolicyRestricted
        } else if self.place == Place::InBand || p.has_any(&["model", "endpoint"]) {
            Cause::PermissionDenied
        } else {
            Cause::KeyForbidden
        }
    }

    fn not_found(&self) -> Cause {
        let p = &self.phrases;
        if p.is_about_policy() {
            Cause::PolicyRestricted
        } else if p.has_any(&["endpoints", "providers"]) {
            Cause::RoutingFailed
        } else if p.has("model") {
            Cause::ModelNotFound
        } else {
            Cause::NotFound
        }
    }

    fn rate_limit(&self) -> Cause {
        let p = &self.phrases;
        let previous = &self.e.previous;
        if self.has_provider() {
            let code = self.e.provider_code.as_deref();
            return match self.e.native {
                Some(ErrorType::PaymentRequired) => Cause::ProviderQuota,
                _ if code == Some("insufficient_quota") => Cause::ProviderQuota,
                _ if p.has("insufficient_quota") => Cause::ProviderQuota,
                _ => Cause::ProviderRateLimited,
            };
        }
        if p.has("free-models-per-day") {
            Cause::FreeDaily
        } else if p.has("free-models-per-min") {
            Cause::FreePerMinute
        } else if p.has_any(&["limit_rpm/", "limit_rpd/", "limit_tpm/", "limit_tpd/"]) {
            Cause::SharedCapacity
        } else if self.e.native == Some(ErrorType::PaymentRequired) {
            Cause::BalanceExhausted
        } else if self.e.hints.is_platform {
            // Only the platform's own limits carry these headers.
            Cause::AccountRateLimited
        } else if !previous.is_empty() && previous.iter().all(|e| e.status == Some(429)) {
            Cause::CapacityExhausted
        } else if self.place == Place::InBand || p.has_any(&["upstream", "provider returned error"])
        {
            Cause::ProviderRateLimited
        } else {
            Cause::AccountRateLimited
        }
    }
}
