//! What a body says of the call: [`Asked`].

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use fairkey_client::{CallOptions, MeasuredBody};
use fairkey_core::hash_label;
use fairkey_openrouter::sizing;
use fairkey_openrouter::splice::{self, Peek};
use http::HeaderName;

use super::Inbound;
use crate::gateway::Shared;
use crate::{Failure, Operation, Reason};

/// The longest name of a model; real ones have some tens of bytes. The upstream repeats it in what it
/// refuses, and a refusal that is too long to be read is nobody's fault that could be told.
const MAX_MODEL_BYTES: usize = 1_024;
/// The session that a call belongs to.
const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// Whether identical requests are answered from OpenRouter's cache.
const X_OPENROUTER_CACHE: HeaderName = HeaderName::from_static("x-openrouter-cache");

/// A body, and what it asks for.
pub(super) struct Asked {
    /// As it came, but for what a route adds.
    pub(super) body: Bytes,
    pub(super) options: CallOptions,
    /// Whether a stream of events is asked for.
    pub(super) stream: bool,
    /// What was read of the body, where it was.
    pub(super) measured: Option<MeasuredBody>,
}

impl Asked {
    /// Reads a body.
    pub(super) fn of(shared: &Shared, inbound: &Inbound, body: Bytes) -> Result<Self, Failure> {
        let operation = inbound.operation();
        let mut asked = Self {
            body,
            options: CallOptions {
                hold_json: operation.is_inference(),
                ..inbound.options()
            },
            stream: false,
            measured: None,
        };
        let headers = &inbound.parts.headers;
        asked.options.affinity = headers
            .get(X_SESSION_ID)
            .and_then(|session| session.to_str().ok())
            .map(hash_label);
        if operation.is_inference() && inbound.is_plain() {
            asked.look(shared, inbound)?;
        } else if operation.is_inference() {
            // What cannot be looked into names no model.
            inbound.tenant.check_model(None)?;
        }
        // Identical requests are answered from the cache of the key that was asked before.
        let cached = headers.get(X_OPENROUTER_CACHE);
        if cached.is_some_and(|on| on.as_bytes().eq_ignore_ascii_case(b"true")) {
            let mut hasher = DefaultHasher::new();
            hasher.write(&asked.body);
            asked.options.affinity = Some(hasher.finish());
        }
        Ok(asked)
    }

    fn look(&mut self, shared: &Shared, inbound: &Inbound) -> Result<(), Failure> {
        let path = inbound.endpoint.target.below();
        // Read once, for everything that is to be known of it.
        let body = self.body.clone();
        let read = Read::of(path, &body)?;
        if read.models().any(|model| model.len() > MAX_MODEL_BYTES) {
            let message = format!("a model's name has more than {MAX_MODEL_BYTES} bytes");
            return Err(Failure::new(Reason::BadRequest, message));
        }
        if shared.profiles().passes(read.models()) {
            self.options.model = read.peek.model.as_deref().map(Into::into);
            return self.heed(inbound, &read.peek, read.measured);
        }
        let profiles = shared.profiles();
        let routed = profiles.apply_for(Some(inbound.tenant.id()), path, &body);
        let routed = routed.map_err(|error| Failure::new(Reason::BadRequest, error.to_string()))?;
        let Some(routed) = routed else {
            self.options.model = read.peek.model.as_deref().map(Into::into);
            return self.heed(inbound, &read.peek, read.measured);
        };
        self.options = std::mem::take(&mut self.options).routed(&routed);
        let body = routed.body;
        self.body = body.clone();
        let read = Read::of(path, &body)?;
        self.heed(inbound, &read.peek, read.measured)
    }

    /// Heeds what the body says.
    fn heed(
        &mut self,
        inbound: &Inbound,
        peek: &Peek<'_>,
        measured: Option<MeasuredBody>,
    ) -> Result<(), Failure> {
        self.measured = measured;
        let session = peek.session_id.as_deref();
        let session = session.or(peek.prompt_cache_key.as_deref());
        self.options.affinity = session.map(hash_label).or(self.options.affinity);
        let asked = self.options.model.as_deref();
        if asked.is_some() || peek.models.is_empty() {
            inbound.tenant.check_model(asked)?;
        }
        let others = self.options.models.iter().map(AsRef::as_ref);
        for model in others.chain(peek.models.iter().map(String::as_str)) {
            inbound.tenant.check_model(Some(model))?;
        }
        // What a preset makes of the model is known at OpenRouter only.
        let models = &inbound.tenant.config().models;
        if !models.is_any() && splice::find(&self.body, ["preset"]).is_ok_and(|[it]| it.is_some()) {
            let message = format!(
                "client \"{}\" may not name a preset, which may stand for any model; it may use \
                 {models}",
                inbound.tenant.id()
            );
            return Err(Failure::new(Reason::ModelNotAllowed, message));
        }
        // A speech is bytes, whatever it says of streaming.
        self.stream = peek.stream && inbound.operation() != Operation::Speech;
        Ok(())
    }
}

/// A body that was read.
struct Read<'a> {
    peek: Peek<'a>,
    /// `None`: it cannot be measured.
    measured: Option<MeasuredBody>,
}

impl<'a> Read<'a> {
    fn of(path: &str, body: &'a [u8]) -> Result<Self, Failure> {
        if let Ok(measured) = sizing::measure(body) {
            let kept = MeasuredBody::new(path, &measured);
            return Ok(Self {
                peek: measured.peek,
                measured: Some(kept),
            });
        }
        let peek =
            splice::peek(body).map_err(|error| Failure::new(Reason::BadJson, error.to_string()))?;
        Ok(Self {
            peek,
            measured: None,
        })
    }

    /// Returns the models that it names.
    fn models(&self) -> impl Iterator<Item = &str> {
        let listed = self.peek.models.iter().map(String::as_str);
        self.peek.model.as_deref().into_iter().chain(listed)
    }
}
