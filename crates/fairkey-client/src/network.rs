//! What a transport's error means: who is at fault, and whether the request may be running.

use std::time::Duration;

use fairkey_openrouter::{Cause, Fault, Phase};
use fairkey_transport::{Deadlines, Phase as Waiting, TransportError, TransportErrorKind};

/// Reads a transport's error.
///
/// A peer that is silent beyond the head or the idle deadline is at fault, as a provider. The
/// deadline of the whole call is the caller's own and blames nobody upstream, and so does any
/// deadline that the call made shorter than the `usual` one.
pub(crate) fn fault(error: &TransportError, deadlines: &Deadlines, usual: &Deadlines) -> Fault {
    let message = error.to_string();
    match error.kind() {
        TransportErrorKind::Timeout(waiting) => {
            let (phase, limit) = phase(waiting, deadlines);
            timed_out(phase, limit, self::phase(waiting, usual).1)
        }
        TransportErrorKind::Request => Fault::new(Cause::BadRequest, &message),
        TransportErrorKind::TooLarge | TransportErrorKind::Overloaded => Fault::local(&message),
        _ => Fault::network(&message),
    }
}

/// Returns the fault of a deadline that passed after `limit`, where the client's own is `usual`.
pub(crate) fn timed_out(phase: Phase, limit: Duration, usual: Duration) -> Fault {
    if limit < usual {
        Fault::timeout(Phase::Total, limit)
    } else {
        Fault::timeout(phase, limit)
    }
}

fn phase(waiting: Waiting, deadlines: &Deadlines) -> (Phase, Duration) {
    match waiting {
        Waiting::Connect => (Phase::Connect, deadlines.connect),
        Waiting::Head => (Phase::Head, deadlines.head),
        Waiting::FirstChunk => (Phase::FirstContent, deadlines.first_content),
        Waiting::Idle => (Phase::Idle, deadlines.idle),
        Waiting::Total => (Phase::Total, deadlines.total),
    }
}

/// Returns the fault of a client that failed in words we do not know.
#[cfg(feature = "tower")]
pub(crate) fn unknown() -> Fault {
    Fault::network("the HTTP client failed")
}

/// Tells whether the request may be running upstream, so that sending it again may bill it twice.
pub(crate) fn may_run(error: &TransportError) -> bool {
    !error.before_sent()
}

#[cfg(test)]
mod tests {
    use fairkey_core::Scope;

    use super::*;

    #[test]
    fn every_kind_of_error_has_its_scope() {
        use TransportErrorKind as Kind;
        for (kind, scope, running) in [
            (Kind::Connect, Scope::Network, false),
            (Kind::Tls, Scope::Network, false),
            (Kind::Proxy, Scope::Network, false),
            (Kind::Timeout(Waiting::Connect), Scope::Network, false),
            (Kind::Timeout(Waiting::Head), Scope::Provider, true),
            (Kind::Timeout(Waiting::FirstChunk), Scope::Provider, true),
            (Kind::Timeout(Waiting::Idle), Scope::Provider, true),
            (Kind::Timeout(Waiting::Total), Scope::Caller, true),
            (Kind::Reset, Scope::Network, true),
            (Kind::Protocol, Scope::Network, true),
            (Kind::Body, Scope::Network, true),
            (Kind::Canceled, Scope::Network, true),
            (Kind::TooLarge, Scope::Local, true),
            (Kind::Overloaded, Scope::Local, false),
            (Kind::Request, Scope::Request, false),
        ] {
            let error = TransportError::new(kind, "what happened");
            assert_eq!(
                fault(&error, &Deadlines::default(), &Deadlines::default()).scope(),
                scope,
                "{kind:?}"
            );
            assert_eq!(may_run(&error), running, "{kind:?}");
        }
    }

    #[test]
    fn a_deadline_that_the_caller_made_shorter_blames_nobody_upstream() {
        let usual = Deadlines::default();
        let hasty = Deadlines {
            head: Duration::from_millis(50),
            idle: usual.idle * 2,
            ..usual
        };
        let scope = |waiting| {
            let error = TransportError::new(TransportErrorKind::Timeout(waiting), "late");
            fault(&error, &hasty, &usual).scope()
        };
        assert_eq!(scope(Waiting::Head), Scope::Caller);
        assert_eq!(scope(Waiting::Idle), Scope::Provider);
        assert_eq!(scope(Waiting::FirstChunk), Scope::Provider);
    }
}
