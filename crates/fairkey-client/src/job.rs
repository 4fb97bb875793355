//! What one call sends, and what it wants of the pool: [`Job`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{Class, Cost, Only};
use fairkey_strategy::queue::Tenant;
use fairkey_transport::{Deadlines, StreamedBody};
use http::{HeaderMap, Method, Uri};

use crate::RetryConfig;
use crate::attempts::Mode;
use crate::call::CallOptions;
use crate::estimate::{Content, Demand, MeasuredBody};
use crate::models::Models;

/// What is sent, again and again if need be: the same bytes each time. And what the call wants of
/// the pool.
///
/// It never changes, and its place in line shares it. A hundred thousand calls may wait, so what
/// few of them have is in boxes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Arc<Target>,
    /// The caller's, with ours; `None`: those of plain JSON.
    pub(crate) headers: Option<Box<HeaderMap>>,
    pub(crate) body: Payload,
    pub(crate) mode: Mode,
    pub(crate) class: Class,
    pub(crate) tenant: Option<Tenant>,
    has_affinity: bool,
    affinity: u64,
    pub(crate) only: Option<Arc<Only>>,
    /// The model that the call asks for first.
    pub(crate) model: Option<Arc<str>>,
    /// How much is asked for; `None`: it cannot be measured.
    pub(crate) demand: Option<Demand>,
    /// In nanoseconds; the largest number: none.
    deadline: u64,
    rare: Option<Box<Rare>>,
}

const NO_DEADLINE: u64 = u64::MAX;

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
}

/// What few calls have.
#[derive(Debug)]
struct Rare {
    /// The models to go on with.
    fallbacks: Vec<Arc<str>>,
    at_once: usize,
    /// The list that the body itself has.
    own: Vec<Arc<str>>,
    providers: Arc<[String]>,
    cost: Option<Cost>,
    deadlines: Option<Deadlines>,
    attempts: Option<u32>,
    failovers: Option<u32>,
}

impl Rare {
    fn is_needed(&self) -> bool {
        !(self.fallbacks.is_empty() && self.own.is_empty() && self.providers.is_empty())
            || self.cost.is_some()
            || self.deadlines.is_some()
            || self.attempts.is_some()
            || self.failovers.is_some()
    }
}

/// The body of a call.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Whole bytes, the same for each attempt.
    Whole(Bytes),
    /// A body that comes while it is sent, once.
    Streamed(StreamedBody),
}

impl Payload {
    /// Returns what can be looked at before it is sent.
    pub(crate) fn bytes(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        match self {
            Self::Whole(bytes) => bytes,
            Self::Streamed(_) => &NONE,
        }
    }

    /// Returns whether it is gone, so that there can be no other attempt.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Streamed(body) if body.is_begun())
    }
}

impl Job {
    /// Reads the body, once for all attempts.
    pub(crate) fn new(
        mode: Mode,
        target: Arc<Target>,
        headers: Option<Box<HeaderMap>>,
        body: Payload,
        options: CallOptions,
    ) -> Arc<Self> {
        let content = Content::read(target.uri.path(), body.bytes());
        Arc::new(Self::of(mode, target, headers, body, options, content))
    }

    /// Does the same with a body that the caller has read.
    pub(crate) fn measured(
        mode: Mode,
        target: Arc<Target>,
        headers: Option<Box<HeaderMap>>,
        body: Payload,
        options: CallOptions,
        measured: MeasuredBody,
    ) -> Arc<Self> {
        Arc::new(Self::of(mode, target, headers, body, options, measured.0))
    }

    /// A call whose request somebody else sends: it wants a key, and nothing is known of it but
    /// what the options say.
    #[cfg(any(test, feature = "tower"))]
    pub(crate) fn of_options(options: CallOptions) -> Self {
        let target = Target {
            method: Method::GET,
            uri: Uri::default(),
        };
        let (mode, body) = (Mode::Pass { hold: false }, Payload::Whole(Bytes::new()));
        Self::of(
            mode,
            Arc::new(target),
            None,
            body,
            options,
            Content::default(),
        )
    }

    fn of(
        mode: Mode,
        target: Arc<Target>,
        headers: Option<Box<HeaderMap>>,
        body: Payload,
        options: CallOptions,
        content: Content,
    ) -> Self {
        let rare = Rare {
            fallbacks: options.models,
            at_once: options.models_at_once,
            own: content.models,
            providers: content.providers,
            cost: options.cost,
            deadlines: options.deadlines,
            attempts: options.attempts,
            failovers: options.failovers,
        };
        Self {
            target,
            headers,
            body,
            mode,
            class: options.class,
            tenant: options.tenant,
            has_affinity: options.affinity.is_some(),
            affinity: options.affinity.unwrap_or_default(),
            only: options.only,
            model: options.model.or(content.model),
            demand: content.demand,
            deadline: options.deadline.map_or(NO_DEADLINE, |deadline| {
                u64::try_from(deadline.as_nanos()).unwrap_or(NO_DEADLINE)
            }),
            rare: rare.is_needed().then(|| Box::new(rare)),
        }
    }

    /// Returns which calls would like the same key as this one: those of the same number.
    pub(crate) fn affinity(&self) -> Option<u64> {
        self.has_affinity.then_some(self.affinity)
    }

    /// Returns how long the caller waits. Centuries are no deadline.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        (self.deadline != NO_DEADLINE).then(|| Duration::from_nanos(self.deadline))
    }

    /// Returns the models that it may ask for; `None`: the one that it names, or that is not named.
    pub(crate) fn models(&self) -> Option<Box<Models>> {
        let rare = self.rare.as_ref()?;
        if !rare.own.is_empty() {
            Some(Box::new(Models::own(self.model.as_ref(), &rare.own)))
        } else if rare.fallbacks.is_empty() {
            None
        } else {
            let body = self.body.bytes();
            let first = self.model.clone();
            let models = Models::of(first, &rare.fallbacks, rare.at_once, body);
            Some(Box::new(models))
        }
    }

    /// Returns the only providers that may serve it; empty where any may.
    pub(crate) fn providers(&self) -> &[String] {
        self.rare.as_ref().map_or(&[], |rare| &rare.providers)
    }

    /// Returns the same, to be kept.
    pub(crate) fn shared_providers(&self) -> Arc<[String]> {
        let providers = self.rare.as_ref().map(|rare| Arc::clone(&rare.providers));
        providers.unwrap_or_default()
    }

    /// Returns what the caller says that it needs.
    pub(crate) fn cost(&self) -> Option<Cost> {
        self.rare.as_ref()?.cost
    }

    /// Returns how long the parts of an attempt may take, where `client` holds for all.
    pub(crate) fn deadlines(&self, client: Deadlines) -> Deadlines {
        let own = self.rare.as_ref().and_then(|rare| rare.deadlines);
        own.unwrap_or(client)
    }

    /// Returns how it is tried again, where `client` holds for all.
    pub(crate) fn retry(&self, client: &RetryConfig) -> RetryConfig {
        let rare = self.rare.as_ref();
        let fewer = |own: Option<u32>, all: u32| own.map_or(all, |own| own.min(all));
        RetryConfig {
            attempts: fewer(rare.and_then(|rare| rare.attempts), client.attempts),
            failovers: fewer(rare.and_then(|rare| rare.failovers), client.failovers),
            ..client.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_was_measured_before_makes_the_same_call() {
        let body = br#"{"model":"a/b","models":["a/b","a/c"],"max_tokens":9,"n":2,
            "provider":{"only":["Acme"]},"messages":[{"role":"user","content":"ping"}]}"#;
        let target = Arc::new(Target {
            method: Method::POST,
            uri: Uri::from_static("https://openrouter.ai/api/v1/chat/completions"),
        });
        let payload = || Payload::Whole(Bytes::from_static(body));
        let (mode, options) = (Mode::Pass { hold: true }, CallOptions::default());
        let measured = fairkey_openrouter::sizing::measure(body).unwrap();
        let measured = MeasuredBody::new("/chat/completions", &measured);
        let read = Job::new(
            mode.clone(),
            Arc::clone(&target),
            None,
            payload(),
            options.clone(),
        );
        let spared = Job::measured(mode, target, None, payload(), options, measured);
        assert!(read.demand.is_some() && !read.providers().is_empty());
        assert_eq!(format!("{read:?}"), format!("{spared:?}"));
    }

    #[test]
    fn what_few_calls_have_takes_no_room_in_the_others() {
        let plain = Job::of_options(CallOptions {
            model: Some("a/b".into()),
            tenant: Some(Tenant::new("team")),
            affinity: Some(7),
            deadline: Some(Duration::from_secs(1)),
            ..CallOptions::default()
        });
        assert!(plain.rare.is_none(), "{plain:?}");
        assert_eq!(plain.affinity(), Some(7));
        assert_eq!(plain.deadline(), Some(Duration::from_secs(1)));
        for deadline in [None, Some(Duration::MAX)] {
            let job = Job::of_options(CallOptions {
                deadline,
                ..CallOptions::default()
            });
            assert_eq!((job.affinity(), job.deadline()), (None, None));
        }
        for options in [
            CallOptions {
                models: vec!["a/c".into()],
                ..CallOptions::default()
            },
            CallOptions {
                cost: Some(Cost::ONE),
                ..CallOptions::default()
            },
            CallOptions {
                deadlines: Some(Deadlines::default()),
                ..CallOptions::default()
            },
            CallOptions {
                attempts: Some(1),
                ..CallOptions::default()
            },
            CallOptions {
                failovers: Some(1),
                ..CallOptions::default()
            },
        ] {
            let job = Job::of_options(options);
            assert!(job.rare.is_some(), "{job:?}");
        }
        // With the two counts of an `Arc`, 168 bytes: what an allocator gives out without waste.
        assert!(size_of::<Job>() <= 152, "{}", size_of::<Job>());
    }
}
