//! What OpenRouter tells of its routing.

use serde_json::{Map, Value};

use crate::lenient::lenient_object;

lenient_object! {
    /// What OpenRouter tells of its routing, when the header `X-OpenRouter-Metadata: enabled` asks
    /// for it: beside the answer, in the last chunk of a stream, or beside the error.
    pub struct RouterMetadata {
        /// The model that was asked for.
        requested: plain String;
        /// How the model was chosen: `direct`, `auto`, `fallback`, `alias`, …
        strategy: some String;
        /// Where.
        region: some String;
        /// All of it in a sentence.
        summary: some String;
        /// The attempt that answered, from 1; 0: no provider was reached.
        attempt: count u64;
        /// Whether a provider key of the caller's own was used.
        is_byok: some bool;
        /// The endpoints that were there.
        endpoints: some RouterEndpoints;
        /// The attempts, in order.
        attempts: items RouterAttempt;
        /// What the router changed of the parameters.
        params: some Map<String, Value>;
        /// The stages that the request went through.
        pipeline: items Value;
    }
}

lenient_object! {
    /// The endpoints that were there.
    pub struct RouterEndpoints {
        /// How many.
        total: count u64;
        /// Those that could serve.
        available: items RouterEndpoint;
    }
}

lenient_object! {
    /// An endpoint that could serve.
    pub struct RouterEndpoint {
        /// The provider, by its display name.
        provider: plain String;
        /// The model.
        model: plain String;
        /// Whether it was chosen.
        selected: plain bool;
    }
}

lenient_object! {
    /// An attempt at a provider.
    pub struct RouterAttempt {
        /// The provider, by its display name.
        provider: plain String;
        /// The model.
        model: plain String;
        /// The status that it answered with.
        status: some Value;
    }
}
